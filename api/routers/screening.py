"""Screening: which addresses must not be paid."""

import base64
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query

from api.dependencies import SecondFactor, State, require_role
from api.pagination import LIMIT_DEFAULT, LIMIT_MAX
from api.problems import (
    BODY_PROBLEMS,
    SECOND_FACTOR_PROBLEMS,
    SESSION_PROBLEMS,
    problem_responses,
)
from api.schemas.base import PLAIN_TEXT_PATTERN, Listed
from api.schemas.chains import CHAIN_ID_PATTERN
from api.schemas.screening import ScreeningBody, ScreeningView
from domain.errors import (
    ChainNotFoundError,
    InvalidAddressError,
    InvalidCursorError,
    RoleMissingError,
    ScreeningNotFoundError,
    ValidationError,
)
from identity.principals import Principal
from models.identity import Role, Scope
from models.runs import AddressScreening
from payouts import screening

router = APIRouter(prefix="/v1/screening", tags=["screening"])

ChainPath = Annotated[
    str, Path(pattern=CHAIN_ID_PATTERN, description="CAIP-2.", examples=["eip155:1"])
]
AddressPath = Annotated[str, Path(min_length=1, max_length=128, pattern=PLAIN_TEXT_PATTERN)]
Operator = Annotated[Principal, Depends(require_role(Role.OPERATOR))]
Staff = Annotated[
    Principal,
    Depends(require_role(Role.OPERATOR, Role.AUDITOR, Role.OWNER, scope=Scope.READ)),
]

_ONE = (*SESSION_PROBLEMS, RoleMissingError, ChainNotFoundError, InvalidAddressError)


@router.get(
    "",
    responses=problem_responses(
        *SESSION_PROBLEMS, RoleMissingError, InvalidCursorError, ValidationError
    ),
)
async def list_screenings(
    principal: Staff,
    state: State,
    limit: Annotated[int, Query(ge=1, le=LIMIT_MAX)] = LIMIT_DEFAULT,
    cursor: Annotated[str | None, Query(max_length=300)] = None,
) -> Listed[ScreeningView]:
    """List what is said of addresses, in order of chain and address."""
    del principal
    after = None if cursor is None else _place(cursor)
    async with state.database.transaction() as session:
        rows = await screening.list_entries(session, after=after, limit=limit)
    shown = rows[:limit]
    return Listed(
        items=[ScreeningView.of(row) for row in shown],
        next_cursor=_cursor(shown[-1]) if len(rows) > limit else None,
    )


@router.get(
    "/{chain_id}/{address}",
    responses=problem_responses(*_ONE, ScreeningNotFoundError, ValidationError),
)
async def get_screening(
    chain_id: ChainPath, address: AddressPath, principal: Staff, state: State
) -> ScreeningView:
    """Return what is said of an address."""
    del principal
    async with state.database.transaction() as session:
        return ScreeningView.of(await screening.entry_of(session, chain_id, address))


@router.put(
    "/{chain_id}/{address}",
    responses=problem_responses(*_ONE, *BODY_PROBLEMS, *SECOND_FACTOR_PROBLEMS),
)
async def put_screening(
    chain_id: ChainPath,
    address: AddressPath,
    body: ScreeningBody,
    principal: Operator,
    second_factor: SecondFactor,
    state: State,
) -> ScreeningView:
    """Deny an address, or allow it whatever a provider says."""
    async with state.database.transaction() as session:
        await screening.canonical(session, chain_id, address)
    await second_factor.require()
    entry = AddressScreening(
        chain_id=chain_id, address=address, created_by=principal.user_id, **body.model_dump()
    )
    async with state.database.transaction() as session:
        return ScreeningView.of(await screening.put_entry(session, entry, clock=state.clock))


@router.delete(
    "/{chain_id}/{address}",
    status_code=204,
    responses=problem_responses(
        *_ONE, *SECOND_FACTOR_PROBLEMS, ScreeningNotFoundError, ValidationError
    ),
)
async def remove_screening(
    chain_id: ChainPath,
    address: AddressPath,
    principal: Operator,
    second_factor: SecondFactor,
    state: State,
) -> None:
    """Forget what is said of an address; payouts that it held back go on."""
    del principal
    async with state.database.transaction() as session:
        await screening.entry_of(session, chain_id, address)
    await second_factor.require()
    async with state.database.transaction() as session:
        await screening.remove_entry(session, chain_id, address)


def _cursor(entry: AddressScreening) -> str:
    return base64.urlsafe_b64encode(f"{entry.chain_id} {entry.address}".encode()).decode()


def _place(cursor: str) -> tuple[str, str]:
    try:
        text = base64.b64decode(cursor.encode("ascii"), altchars=b"-_", validate=True).decode()
    except ValueError:
        raise InvalidCursorError from None
    chain_id, separator, address = text.partition(" ")
    if not separator or "\x00" in text:
        raise InvalidCursorError
    return chain_id, address
