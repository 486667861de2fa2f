"""Address books: destinations that a user named, and paying only those."""

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Path

from api.dependencies import ReadPrincipal, SecondFactor, SessionPrincipal, State
from api.pagination import PageQuery, listed
from api.problems import (
    BODY_PROBLEMS,
    SECOND_FACTOR_PROBLEMS,
    SESSION_PROBLEMS,
    problem_responses,
)
from api.schemas.address_book import (
    BookEntryBody,
    BookEntryView,
    PreferenceBody,
    PreferenceView,
)
from api.schemas.base import Listed, id_pattern
from api.state import AppState
from domain.errors import (
    AlreadyInBookError,
    BookEntryNotFoundError,
    ChainNotFoundError,
    InvalidAddressError,
    InvalidCursorError,
    ValidationError,
)
from domain.ids import BOOK_ENTRY
from infra.paging import Position
from models.runs import AddressBookEntry
from payouts import book
from payouts.screening import canonical

router = APIRouter(prefix="/v1/address-book", tags=["address-book"])

_CHANGE = (*BODY_PROBLEMS, *SESSION_PROBLEMS, *SECOND_FACTOR_PROBLEMS)


@router.get("", responses=problem_responses(*SESSION_PROBLEMS, InvalidCursorError, ValidationError))
async def list_book_entries(
    principal: ReadPrincipal, state: State, page: PageQuery
) -> Listed[BookEntryView]:
    """List the caller's entries, newest first."""
    async with state.database.transaction() as session:
        rows = await book.list_entries(session, principal.user_id, page)
    return listed(rows, page, item=BookEntryView.of, position=_position)


@router.post(
    "",
    status_code=201,
    responses=problem_responses(
        *_CHANGE, ChainNotFoundError, InvalidAddressError, AlreadyInBookError
    ),
)
async def add_book_entry(
    body: BookEntryBody, principal: SessionPrincipal, second_factor: SecondFactor, state: State
) -> BookEntryView:
    """Name an address; it may be paid once its cool-down is over. A repeat answers the same."""
    async with state.database.transaction() as session:
        await canonical(session, body.chain_id, body.address)
    await second_factor.require()
    entry = AddressBookEntry(user_id=principal.user_id, **body.model_dump())
    async with state.database.transaction() as session:
        added = await book.add_entry(session, entry, cooldown=_cooldown(state), clock=state.clock)
    return BookEntryView.of(added)


@router.delete(
    "/{entry_id}",
    status_code=204,
    responses=problem_responses(*SESSION_PROBLEMS, BookEntryNotFoundError, ValidationError),
)
async def remove_book_entry(
    entry_id: Annotated[str, Path(pattern=id_pattern(BOOK_ENTRY))],
    principal: SessionPrincipal,
    state: State,
) -> None:
    """Take an entry out at once."""
    async with state.database.transaction() as session:
        await book.remove_entry(session, principal.user_id, entry_id, clock=state.clock)


@router.get("/preference", responses=problem_responses(*SESSION_PROBLEMS))
async def get_book_preference(principal: ReadPrincipal, state: State) -> PreferenceView:
    """Tell whether only addresses of the book are paid."""
    async with state.database.transaction() as session:
        preference = await book.preference_of(session, principal.user_id)
    return PreferenceView.of(preference, now=state.clock.now())


@router.put("/preference", responses=problem_responses(*_CHANGE))
async def set_book_preference(
    body: PreferenceBody, principal: SessionPrincipal, second_factor: SecondFactor, state: State
) -> PreferenceView:
    """
    Pay only addresses of the book from now on, or any again.

    Switching it off asks for a second factor and takes effect after the cool-down.
    """
    if not body.book_only:
        await second_factor.require()
    async with state.database.transaction() as session:
        preference = await book.set_book_only(
            session,
            principal.user_id,
            is_on=body.book_only,
            cooldown=_cooldown(state),
            clock=state.clock,
        )
    return PreferenceView.of(preference, now=state.clock.now())


def _cooldown(state: AppState) -> timedelta:
    return timedelta(seconds=state.settings.address_book_cooldown_s)


def _position(entry: AddressBookEntry) -> Position:
    return Position(entry.created_at, entry.id)
