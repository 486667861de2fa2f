from datetime import timedelta

import pytest

from domain.errors import (
    AlreadyInBookError,
    BookEntryNotFoundError,
    ChainNotFoundError,
    InvalidAddressError,
)
from domain.payouts import PayoutStatus
from infra.paging import Page
from models.runs import AddressBookEntry
from payouts import book
from tests.support.books import CHAIN, DESTINATION, OTHER_DESTINATION, Books

COOLDOWN = timedelta(hours=24)


@pytest.fixture(autouse=True)
async def funds(books: Books) -> None:
    await books.deposit("u1", "ETH", 100_000)
    await books.deposit("u2", "ETH", 100_000)


async def add(
    books: Books,
    address: str = DESTINATION,
    *,
    name: str = "mine",
    chain_id: str = CHAIN,
    user_id: str = "u1",
) -> AddressBookEntry:
    entry = AddressBookEntry(id="", user_id=user_id, chain_id=chain_id, address=address, name=name)
    async with books.owner.transaction() as session:
        return await book.add_entry(session, entry, cooldown=COOLDOWN, clock=books.clock)


async def remove(books: Books, entry_id: str, user_id: str = "u1") -> None:
    async with books.owner.transaction() as session:
        await book.remove_entry(session, user_id, entry_id, clock=books.clock)


async def only(books: Books, *, is_on: bool) -> None:
    async with books.owner.transaction() as session:
        await book.set_book_only(session, "u1", is_on=is_on, cooldown=COOLDOWN, clock=books.clock)


async def verdict(books: Books, **asked: str) -> str | None:
    """Return why a payout is refused now, or None if it is accepted."""
    accepted = await books.freeze(**asked)
    assert (accepted.status == PayoutStatus.REFUSED) == (accepted.reason_code is not None)
    return accepted.reason_code


class TestBookOnly:
    async def test_lets_pay_usable_entries_alone(self, books: Books) -> None:
        await only(books, is_on=True)
        assert await verdict(books) == "destination_not_in_book"
        await add(books)
        assert await verdict(books) == "destination_cooling_down"
        books.wait(COOLDOWN.total_seconds() - 1)
        assert await verdict(books) == "destination_cooling_down"
        books.wait(1)
        assert await verdict(books) is None
        assert await verdict(books, destination=OTHER_DESTINATION) == "destination_not_in_book"

    async def test_is_one_users_own_affair(self, books: Books) -> None:
        await only(books, is_on=True)
        await add(books, user_id="u2")
        books.wait(COOLDOWN.total_seconds())
        assert await verdict(books) == "destination_not_in_book"
        assert await verdict(books, user_id="u2", destination=OTHER_DESTINATION) is None

    async def test_holds_for_the_cooldown_after_it_was_switched_off(self, books: Books) -> None:
        await only(books, is_on=True)
        await only(books, is_on=False)
        books.wait(COOLDOWN.total_seconds() - 1)
        await only(books, is_on=False)
        assert await verdict(books) == "destination_not_in_book"
        books.wait(1)
        assert await verdict(books) is None

    async def test_switched_on_again_forgets_that_it_was_switched_off(self, books: Books) -> None:
        await only(books, is_on=True)
        await only(books, is_on=False)
        await only(books, is_on=True)
        books.wait(2 * COOLDOWN.total_seconds())
        assert await verdict(books) == "destination_not_in_book"

    async def test_never_asked_for_lets_pay_anybody(self, books: Books) -> None:
        await add(books)
        assert await verdict(books) is None
        await only(books, is_on=False)
        assert await verdict(books) is None


class TestEntries:
    async def test_are_kept_in_canonical_form_and_once(self, books: Books) -> None:
        first = await add(books, DESTINATION.lower())
        assert first.address == DESTINATION
        books.wait(60)
        assert (await add(books)).id == first.id
        with pytest.raises(AlreadyInBookError):
            await add(books, name="another")

    async def test_cool_down_anew_after_they_were_removed(self, books: Books) -> None:
        entry = await add(books)
        books.wait(COOLDOWN.total_seconds())
        await remove(books, entry.id)
        await only(books, is_on=True)
        assert await verdict(books) == "destination_not_in_book"
        await add(books)
        assert await verdict(books) == "destination_cooling_down"

    async def test_are_removed_by_their_owner_alone_and_once(self, books: Books) -> None:
        entry = await add(books)
        with pytest.raises(BookEntryNotFoundError):
            await remove(books, entry.id, "u2")
        await remove(books, entry.id)
        with pytest.raises(BookEntryNotFoundError):
            await remove(books, entry.id)

    async def test_are_listed_newest_first(self, books: Books) -> None:
        older = await add(books)
        books.wait(1)
        newer = await add(books, OTHER_DESTINATION)
        await add(books, user_id="u2")
        async with books.owner.transaction() as session:
            rows = await book.list_entries(session, "u1", Page())
        assert [row.id for row in rows] == [newer.id, older.id]

    async def test_must_be_addresses_of_a_chain(self, books: Books) -> None:
        with pytest.raises(InvalidAddressError):
            await add(books, "0x12")
        with pytest.raises(ChainNotFoundError):
            await add(books, chain_id="eip155:999")
