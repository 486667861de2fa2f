"""Mixes: ask for one, follow it, give it up or pause it; and an operator's hold and audit trail."""

import logging
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Response

from api.dependencies import (
    IdempotencyKey,
    PayoutsWritePrincipal,
    ReadPrincipal,
    SecondFactor,
    State,
    require_role,
)
from api.pagination import PageQuery, listed
from api.problems import (
    BODY_PROBLEMS,
    SECOND_FACTOR_PROBLEMS,
    SESSION_PROBLEMS,
    problem_responses,
)
from api.schemas.base import Listed, id_pattern
from api.schemas.mixes import (
    MixAuditTrailView,
    MixBody,
    MixDetailView,
    MixHoldBody,
    MixOutcomeView,
    MixReleaseBody,
    MixView,
    audit_view,
    mix_detail_view,
    mix_view,
)
from api.schemas.payouts import ListScope
from api.state import AppState
from domain.errors import (
    AccountNotReadyError,
    AddressDeniedError,
    AddressReusedError,
    DepositAddressLimitError,
    DestinationCoolingDownError,
    DestinationNotInBookError,
    ForbiddenDestinationError,
    IdempotencyKeyInvalidError,
    IdempotencyKeyMissingError,
    IdempotencyKeyReusedError,
    InternalAssetError,
    InvalidAddressError,
    InvalidCursorError,
    LimitExceededError,
    MixingNotAllowedError,
    MixNotFoundError,
    MixStateError,
    NoMixerError,
    RoleMissingError,
    ScreeningUnavailableError,
    UnknownAssetError,
    ValidationError,
    WalletFrozenError,
    WorkflowEngineUnavailableError,
)
from domain.ids import MIX
from domain.mixing.messages import MixAction, MixStanding, MixStatus
from identity.principals import Principal
from infra.paging import Position
from mixers.audit import read_trail
from mixers.queries import list_mixes as mixes_on
from mixers.queries import mix_detail, mix_for
from models.identity import Role
from models.mixing import Mix

router = APIRouter(prefix="/v1/mixes", tags=["mixing"])
logger = logging.getLogger(__name__)

STAFF = (Role.OPERATOR, Role.AUDITOR)
"""Who sees everybody's mixes: those who have to answer for them, and no other admin."""

MixPath = Annotated[str, Path(pattern=id_pattern(MIX))]
Operator = Annotated[Principal, Depends(require_role(Role.OPERATOR))]
Reader = Annotated[Principal, Depends(require_role(*STAFF))]

_ONE = (*SESSION_PROBLEMS, MixNotFoundError, ValidationError)
_ACT = (*_ONE, MixStateError, WorkflowEngineUnavailableError)
_HOLD = (*BODY_PROBLEMS, *_ACT, *SECOND_FACTOR_PROBLEMS, RoleMissingError)


@router.post(
    "",
    status_code=202,
    responses=problem_responses(
        *BODY_PROBLEMS,
        *SESSION_PROBLEMS,
        *SECOND_FACTOR_PROBLEMS,
        IdempotencyKeyMissingError,
        IdempotencyKeyInvalidError,
        IdempotencyKeyReusedError,
        MixingNotAllowedError,
        NoMixerError,
        UnknownAssetError,
        InternalAssetError,
        InvalidAddressError,
        ForbiddenDestinationError,
        AddressReusedError,
        AddressDeniedError,
        DestinationNotInBookError,
        DestinationCoolingDownError,
        LimitExceededError,
        WalletFrozenError,
        AccountNotReadyError,
        DepositAddressLimitError,
        ScreeningUnavailableError,
        MixStateError,
        WorkflowEngineUnavailableError,
    ),
)
async def create_mix(
    body: MixBody,
    idempotency_key: IdempotencyKey,
    principal: PayoutsWritePrincipal,
    second_factor: SecondFactor,
    state: State,
    response: Response,
) -> MixDetailView:
    """
    Open a mix and say where to pay in; what comes in time leaves in parts to the addresses given.

    Needs KYC level 2. Every address is screened, now and when it is paid.
    """
    mix = await state.mix_requests.submit(
        body, idempotency_key=idempotency_key, principal=principal, second_factor=second_factor
    )
    response.headers["Location"] = f"{state.settings.public_url}{router.prefix}/{mix.id}"
    return await _detail(state, mix.id, principal.user_id)


@router.get(
    "",
    responses=problem_responses(
        *SESSION_PROBLEMS, RoleMissingError, InvalidCursorError, ValidationError
    ),
)
async def list_mixes(
    principal: ReadPrincipal,
    state: State,
    page: PageQuery,
    scope: Annotated[ListScope, Query(description="`all` needs a role.")] = "mine",
    status: Annotated[MixStatus | None, Query()] = None,
) -> Listed[MixView]:
    """List mixes, newest first."""
    if scope == "all" and not principal.has_role(*STAFF):
        msg = "Only operators and auditors see everybody's mixes."
        raise RoleMissingError(msg)
    user_id = None if scope == "all" else principal.user_id
    async with state.database.transaction() as session:
        rows = await mixes_on(session, page, user_id=user_id, status=status)
    return listed(rows, page, item=mix_view, position=_position)


@router.get("/{mix_id}", responses=problem_responses(*_ONE))
async def get_mix(mix_id: MixPath, principal: ReadPrincipal, state: State) -> MixDetailView:
    """Return a mix with where it is paid in, what is paid where, and its history."""
    found = await _detail(state, mix_id, own_mixes_of(principal))
    if found.user_id != principal.user_id:
        # It says as much of where it is paid as the audit trail.
        logger.warning("%s read the mix %s", principal.user_id, mix_id)
    return found


@router.post("/{mix_id}/cancellation", responses=problem_responses(*_ACT))
async def cancel_mix(
    mix_id: MixPath, principal: PayoutsWritePrincipal, state: State
) -> MixOutcomeView:
    """Give a mix up before its first part leaves: what came, the fee too, is your balance."""
    mix = await _own(state, mix_id, principal)
    return _outcome(await state.mix_workflows.cancel(mix.id, mix.mixer_id))


@router.post("/{mix_id}/pause", responses=problem_responses(*_ACT))
async def pause_mix(
    mix_id: MixPath, principal: PayoutsWritePrincipal, state: State
) -> MixOutcomeView:
    """Let nothing leave until the mix is resumed."""
    mix = await _own(state, mix_id, principal)
    return _outcome(await state.mix_workflows.pause(mix.id, mix.mixer_id))


@router.post("/{mix_id}/resumption", responses=problem_responses(*_ACT))
async def resume_mix(
    mix_id: MixPath, principal: PayoutsWritePrincipal, state: State
) -> MixOutcomeView:
    """Go on; what became due meanwhile leaves at moments that are drawn anew."""
    mix = await _own(state, mix_id, principal)
    return _outcome(await state.mix_workflows.resume(mix.id, mix.mixer_id))


@router.post("/{mix_id}/hold", responses=problem_responses(*_HOLD))
async def hold_mix(
    mix_id: MixPath,
    body: MixHoldBody,
    principal: Operator,
    second_factor: SecondFactor,
    state: State,
) -> MixOutcomeView:
    """Let nothing leave, be given back or be purged, until an operator lifts it: a legal hold."""
    mix = await _any(state, mix_id)
    await second_factor.require()
    action = MixAction(mix.id, principal.user_id, body.note)
    return _outcome(await state.mix_workflows.hold(action, mix.mixer_id))


@router.post("/{mix_id}/hold/release", responses=problem_responses(*_HOLD))
async def release_mix(
    mix_id: MixPath,
    body: MixReleaseBody,
    principal: Operator,
    second_factor: SecondFactor,
    state: State,
) -> MixOutcomeView:
    """
    Let a held mix go on; what became due meanwhile leaves at moments that are drawn anew.

    With `gives_back` what has not left becomes its user's balance instead, and nothing more leaves.
    """
    mix = await _any(state, mix_id)
    await second_factor.require()
    action = MixAction(mix.id, principal.user_id, body.note, body.gives_back)
    return _outcome(await state.mix_workflows.release_hold(action, mix.mixer_id))


@router.get("/{mix_id}/audit", responses=problem_responses(*_ONE, RoleMissingError))
async def read_audit(mix_id: MixPath, principal: Reader, state: State) -> MixAuditTrailView:
    """Open what the audit trail still keeps of a mix; who did so is logged."""
    async with state.database.transaction() as session:
        await mix_for(session, mix_id, user_id=None)
        lines = await read_trail(session, state.mixer_keys, mix_id)
    logger.warning("%s read the audit trail of %s", principal.user_id, mix_id)
    return MixAuditTrailView(items=[audit_view(line) for line in lines])


def own_mixes_of(principal: Principal) -> str | None:
    """Return whose mixes alone the caller may see among everybody's payouts; None for all."""
    return None if principal.has_role(*STAFF) else principal.user_id


async def _own(state: AppState, mix_id: str, principal: Principal) -> Mix:
    async with state.database.transaction() as session:
        return await mix_for(session, mix_id, user_id=principal.user_id)


async def _any(state: AppState, mix_id: str) -> Mix:
    async with state.database.transaction() as session:
        return await mix_for(session, mix_id, user_id=None)


async def _detail(state: AppState, mix_id: str, user_id: str | None) -> MixDetailView:
    async with state.database.transaction() as session:
        return mix_detail_view(await mix_detail(session, mix_id, user_id=user_id))


def _outcome(standing: MixStanding) -> MixOutcomeView:
    return MixOutcomeView(mix_id=standing.mix_id, status=standing.status)


def _position(mix: Mix) -> Position:
    return Position(mix.created_at, mix.id)
