"""
The address book: destinations that a user named, each usable after a cool-down.

A user may ask that only those are paid. Whoever steals a session can then neither pay an address of
their own at once, nor switch that off at once.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy import any_, bindparam
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.exc import IntegrityError
from sqlmodel import String, col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.clock import Clock
from domain.errors import (
    AlreadyInBookError,
    BookEntryNotFoundError,
    ConflictError,
    DestinationCoolingDownError,
    DestinationNotInBookError,
)
from domain.ids import BOOK_ENTRY, new_id
from infra.paging import Page, paged
from models.runs import AddressBookEntry, PayoutPreference
from payouts.screening import canonical


async def check_in_book(
    session: AsyncSession, user_id: str, chain_id: str, address: str, *, now: datetime
) -> None:
    """
    Pass for an address (canonical form) that this user's own rule lets them pay.

    Raises:
        DestinationNotInBookError, DestinationCoolingDownError: As named.
    """
    faults = await faults_of(session, user_id, chain_id, [address], now=now)
    if fault := faults.get(address):
        raise fault


async def faults_of(
    session: AsyncSession,
    user_id: str,
    chain_id: str,
    addresses: Collection[str],
    *,
    now: datetime,
) -> Mapping[str, ConflictError]:
    """Return which of these addresses the user's own rule does not let them pay, and why."""
    if not is_book_only(await preference_of(session, user_id), now=now):
        return {}
    wanted = bindparam(None, sorted(set(addresses)), ARRAY(String))
    found = await session.exec(
        select(AddressBookEntry).where(
            AddressBookEntry.user_id == user_id,
            AddressBookEntry.chain_id == chain_id,
            col(AddressBookEntry.address) == any_(wanted),
            col(AddressBookEntry.removed_at).is_(None),
        )
    )
    usable_from = {entry.address: entry.usable_from for entry in found}
    faults: dict[str, ConflictError] = {
        address: DestinationNotInBookError() for address in set(addresses) - usable_from.keys()
    }
    for address, moment in usable_from.items():
        if now < moment:
            detail = f"It may be paid from {moment:%Y-%m-%d %H:%M} UTC on."
            faults[address] = DestinationCoolingDownError(detail)
    return faults


def is_book_only(preference: PayoutPreference | None, *, now: datetime) -> bool:
    """Tell whether only addresses of the book are paid at this moment."""
    if preference is None:
        return False
    until = preference.book_only_until
    return preference.is_book_only or (until is not None and now < until)


async def preference_of(session: AsyncSession, user_id: str) -> PayoutPreference | None:
    """Return what a user asked for; None: never anything."""
    return await session.get(PayoutPreference, user_id)


async def set_book_only(
    session: AsyncSession, user_id: str, *, is_on: bool, cooldown: timedelta, clock: Clock
) -> PayoutPreference:
    """Pay only addresses of the book from now on; or any again, after the cool-down."""
    now = clock.now()
    preference = await session.get(PayoutPreference, user_id, with_for_update=True)
    preference = preference or PayoutPreference(user_id=user_id)
    if preference.is_book_only and not is_on:
        preference.book_only_until = now + cooldown
    elif is_on:
        preference.book_only_until = None
    preference.is_book_only, preference.updated_at = is_on, now
    session.add(preference)
    await session.flush()
    return preference


async def add_entry(
    session: AsyncSession, entry: AddressBookEntry, *, cooldown: timedelta, clock: Clock
) -> AddressBookEntry:
    """
    Add an entry, usable after the cool-down; the same one again answers the first.

    Raises:
        AlreadyInBookError: The address is there, under another name.
        ChainNotFoundError, InvalidAddressError: As named.
    """
    entry.address = await canonical(session, entry.chain_id, entry.address)
    entry.id, entry.created_at = new_id(BOOK_ENTRY), clock.now()
    entry.usable_from = entry.created_at + cooldown
    found = await session.exec(
        select(AddressBookEntry).where(
            AddressBookEntry.user_id == entry.user_id,
            AddressBookEntry.chain_id == entry.chain_id,
            AddressBookEntry.address == entry.address,
            col(AddressBookEntry.removed_at).is_(None),
        )
    )
    if known := found.first():
        if known.name != entry.name:
            raise AlreadyInBookError
        return known
    session.add(entry)
    try:
        await session.flush()
    except IntegrityError as error:
        # Another request added it just now; a repeat finds it.
        raise AlreadyInBookError from error
    return entry


async def remove_entry(session: AsyncSession, user_id: str, entry_id: str, *, clock: Clock) -> None:
    """
    Take an entry out at once; added again, it cools down again.

    Raises:
        BookEntryNotFoundError: It is not there, or in somebody else's book.
    """
    entry = await session.get(AddressBookEntry, entry_id, with_for_update=True)
    if entry is None or entry.user_id != user_id or entry.removed_at is not None:
        raise BookEntryNotFoundError
    entry.removed_at = clock.now()


async def list_entries(
    session: AsyncSession, user_id: str, page: Page
) -> Sequence[AddressBookEntry]:
    """Return a page of a user's entries and one more, newest first."""
    query = select(AddressBookEntry).where(
        AddressBookEntry.user_id == user_id, col(AddressBookEntry.removed_at).is_(None)
    )
    query = paged(query, page, created_at=AddressBookEntry.created_at, row_id=AddressBookEntry.id)
    return (await session.exec(query)).all()
