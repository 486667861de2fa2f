"""
What endpoints ask for by type: the caller, their rights, their second factor, the request's key.

A second factor is *asked for in the endpoint*, by ``await second_factor.require()``: dependencies
run before the body is judged, and a code must not be used up by a request that is refused anyway.
"""

import hashlib
import json
from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, Header, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from api.second_factor import SecondFactorCheck
from api.state import AppState
from domain.errors import AuthenticationError, RoleMissingError, ScopeMissingError
from identity.fingerprints import operation_fingerprint
from identity.principals import Principal
from identity.totp import CODE_PATTERN
from models.identity import Role, Scope

Check = Callable[..., Awaitable[Principal]]
"""A dependency that lets a caller pass, or not."""

bearer = HTTPBearer(
    auto_error=False,
    scheme_name="bearer",
    description="A session token `srs_…` (POST /v1/sessions) or an API key `srk_…`.",
)


async def app_state(request: Request) -> AppState:
    """Return the collaborators that the application opened."""
    state: AppState = request.app.state.strongroom
    return state


State = Annotated[AppState, Depends(app_state)]


async def current_principal(
    state: State, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]
) -> Principal:
    """
    Return the caller, whatever they may do.

    Raises:
        AuthenticationError: No bearer token.
        SessionExpiredError: The token is not valid.
    """
    if credentials is None:
        raise AuthenticationError
    return await state.identity.authentication.resolve(credentials.credentials)


CurrentPrincipal = Annotated[Principal, Depends(current_principal)]
"""Any caller. Prefer one of the narrower types below: this one lets every API key pass."""


async def require_session(principal: CurrentPrincipal) -> Principal:
    """Return the caller if a person's login stands behind them."""
    if not principal.is_session:
        msg = "API keys may not do this; log in."
        raise ScopeMissingError(msg)
    return principal


def require_scope(scope: Scope) -> Check:
    """Return a dependency: a session, or an API key with this scope."""

    async def check(principal: CurrentPrincipal) -> Principal:
        if not principal.has_scope(scope):
            msg = f"The API key lacks the scope {scope}."
            raise ScopeMissingError(msg)
        return principal

    return check


def require_role(*roles: Role, scope: Scope | None = None) -> Check:
    """Return a dependency: a user with one of the roles; API keys only where a scope is named."""
    check_kind: Check = require_session if scope is None else require_scope(scope)

    async def check(principal: Annotated[Principal, Depends(check_kind)]) -> Principal:
        if not principal.has_role(*roles):
            msg = f"This needs one of the roles {', '.join(sorted(roles))}."
            raise RoleMissingError(msg)
        return principal

    return check


SessionPrincipal = Annotated[Principal, Depends(require_session)]
ReadPrincipal = Annotated[Principal, Depends(require_scope(Scope.READ))]
PayoutsWritePrincipal = Annotated[Principal, Depends(require_scope(Scope.PAYOUTS_WRITE))]
DepositsWritePrincipal = Annotated[Principal, Depends(require_scope(Scope.DEPOSITS_WRITE))]
OwnerPrincipal = Annotated[Principal, Depends(require_role(Role.OWNER))]

IdempotencyKey = Annotated[
    str,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        pattern=r"^[\x20-\x7e]+$",
        description="Chosen by the caller, one per intent; repeat it when repeating the request.",
    ),
]


OptionalIdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        pattern=r"^[\x20-\x7e]+$",
        description="With one, a repeat of the request is answered as the first was.",
    ),
]


async def second_factor_check(
    request: Request,
    state: State,
    *,
    principal: CurrentPrincipal,
    totp_code: Annotated[
        str | None,
        Header(alias="TOTP-Code", pattern=CODE_PATTERN, description="A fresh one-time code."),
    ] = None,
    step_up_token: Annotated[
        str | None,
        Header(
            alias="Step-Up-Token",
            max_length=100,
            description="Instead of a code: a token from POST /v1/2fa/step-up.",
        ),
    ] = None,
) -> SecondFactorCheck:
    """Collect the second factor and what it must be bound to."""
    body = await request.body()

    def fingerprint() -> str:
        return operation_fingerprint(
            request.method,
            request.scope["path"],
            _fingerprinted(body),
            idempotency_key=request.headers.get("Idempotency-Key"),
        )

    return SecondFactorCheck(
        state.identity.step_ups, principal, fingerprint, totp_code, step_up_token
    )


SecondFactor = Annotated[SecondFactorCheck, Depends(second_factor_check)]


def _fingerprinted(body: bytes) -> object:
    if not body:
        return None
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        # Not JSON, an uploaded table for instance: it counts by its digest.
        return {"sha256": hashlib.sha256(body).hexdigest()}
