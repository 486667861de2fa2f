"""Screening from the request to the signature."""

from collections.abc import Collection, Mapping

import pytest
from sqlmodel import col, select

from domain.errors import ChainUnavailableError, ScreeningUnavailableError
from domain.payouts import OperatorAction, PayoutStatus
from domain.ports import Screened, ScreeningVerdict
from models.chain_transactions import ChainTransactionStatus
from models.runs import AddressScreening
from payouts.desk import PostgresPayoutDesk
from payouts.explain import explain
from payouts.queries import payout_detail
from payouts.screening import PostgresScreener, list_entries, put_entry, remove_entry
from tests.support.books import CHAIN, DESTINATION, OTHER_DESTINATION, Books

DENY, ALLOW = ScreeningVerdict.DENY, ScreeningVerdict.ALLOW


class Provider:
    """Denies what it is told to, and can be silent."""

    def __init__(self, *denied: str) -> None:
        self.denied = denied
        self.asked: list[set[str]] = []
        self.failure: Exception | None = None
        self.forgets = False

    async def screen(self, chain_id: str, addresses: Collection[str]) -> Mapping[str, Screened]:
        assert chain_id == CHAIN
        self.asked.append(set(addresses))
        if self.failure is not None:
            raise self.failure
        if self.forgets:
            return {}
        return {a: Screened(DENY if a in self.denied else ALLOW, "provider") for a in addresses}


@pytest.fixture(autouse=True)
async def funds(books: Books) -> None:
    await books.deposit("u1", "ETH", 100_000)


async def say(
    books: Books, address: str, verdict: ScreeningVerdict = DENY, *, reason: str = "listed"
) -> None:
    entry = AddressScreening(
        chain_id=CHAIN, address=address, verdict=verdict, reason=reason, created_by="a1"
    )
    async with books.owner.transaction() as session:
        await put_entry(session, entry, clock=books.clock)


async def forget(books: Books, address: str) -> None:
    async with books.owner.transaction() as session:
        await remove_entry(session, CHAIN, address)


class TestRequest:
    async def test_to_a_denied_address_is_refused_for_ever(self, books: Books) -> None:
        await say(books, DESTINATION.lower())
        request = books.request()
        refused = await books.desk.freeze(request)
        assert (refused.status, refused.reason_code) == (PayoutStatus.REFUSED, "address_denied")
        assert (await books.freeze(destination=OTHER_DESTINATION)).status == PayoutStatus.READY
        await forget(books, DESTINATION)
        assert await books.desk.freeze(request) == refused
        assert (await books.freeze()).status == PayoutStatus.READY
        await books.assert_sound()

    async def test_asks_a_provider_only_what_the_list_does_not_say(self, books: Books) -> None:
        provider = Provider(DESTINATION, OTHER_DESTINATION)
        desk = PostgresPayoutDesk(
            books.worker, books.clock, PostgresScreener(books.worker, provider)
        )
        await say(books, DESTINATION, ALLOW)
        assert (await desk.freeze(books.request())).status == PayoutStatus.READY
        assert provider.asked == []
        refused = await desk.freeze(books.request(destination=OTHER_DESTINATION))
        assert refused.reason_code == "address_denied"
        assert provider.asked == [{OTHER_DESTINATION}]

    @pytest.mark.parametrize("is_silent", [True, False])
    async def test_is_not_accepted_while_the_provider_says_nothing(
        self, books: Books, *, is_silent: bool
    ) -> None:
        provider = Provider()
        provider.failure = ChainUnavailableError() if is_silent else None
        provider.forgets = not is_silent
        desk = PostgresPayoutDesk(
            books.worker, books.clock, PostgresScreener(books.worker, provider)
        )
        request = books.request()
        expected = ChainUnavailableError if is_silent else ScreeningUnavailableError
        with pytest.raises(expected):
            await desk.freeze(request)
        assert await books.payouts() == []
        assert await books.money() == (100_000, 0)
        provider.failure, provider.forgets = None, False
        assert (await desk.freeze(request)).status == PayoutStatus.READY


class TestReadyPayout:
    async def test_is_not_claimed_while_denied_and_explains_itself(self, books: Books) -> None:
        payout_id = (await books.freeze()).payout_id
        await say(books, DESTINATION, reason="sanctioned")
        claimed = await books.log.claim(chain_id=CHAIN, wallet_address="0x", claim_key="k")
        assert claimed is None
        async with books.worker.transaction() as session:
            detail = await payout_detail(session, payout_id, user_id="u1")
            said = await explain(session, detail, now=books.clock.now())
        assert said.waiting_for == "address_denied"
        assert "sanctioned" not in said.sentence
        await forget(books, DESTINATION)
        await books.claim()

    async def test_is_refunded_by_an_operator_without_ever_being_claimed(
        self, books: Books
    ) -> None:
        payout_id = (await books.freeze()).payout_id
        await say(books, DESTINATION)
        outcome = await books.log.refund(OperatorAction(payout_id, "op"))
        assert outcome.status == PayoutStatus.REFUNDED
        assert await books.money() == (100_000, 0)
        await books.assert_sound()


class TestBatch:
    async def test_goes_on_without_what_was_denied_before_it_had_its_place(
        self, books: Books
    ) -> None:
        denied = await books.freeze()
        kept = await books.freeze(destination=OTHER_DESTINATION)
        batch_id = await books.claim()
        await books.runner.prepare(batch_id)
        await say(books, DESTINATION)
        assert await books.log.allocate(batch_id)
        assert (await books.payout(denied.payout_id)).status == PayoutStatus.READY
        assert (await books.payout(kept.payout_id)).status == PayoutStatus.BATCHED
        statuses = {row.status for row in await books.transactions(batch_id)}
        assert statuses == {ChainTransactionStatus.ABANDONED, ChainTransactionStatus.ALLOCATED}
        assert (await books.signer.sign(batch_id)).signed == 1
        await books.assert_sound()

    async def test_waits_at_the_signer_and_is_set_aside(self, books: Books) -> None:
        batch_id = await books.allocated(100)
        await say(books, DESTINATION)
        outcome = await books.signer.sign(batch_id)
        assert (outcome.signed, outcome.refused, outcome.waiting) == (0, 0, 1)
        assert (await books.batch(batch_id)).waiting_for == "address_denied"
        await books.runner.plan_bumps(batch_id)
        (payout,) = await books.payouts()
        assert (payout.status, payout.chain_transaction_id) == (PayoutStatus.READY, None)
        # Its nonce goes to a filler, so that nothing waits behind it.
        assert (await books.signer.sign(batch_id)).signed == 1
        assert await books.in_flight() == 110
        await forget(books, DESTINATION)
        assert await books.claim() != batch_id

    async def test_signs_a_replacement_of_what_was_signed_before(self, books: Books) -> None:
        batch_id = await books.broadcast(100)
        await say(books, DESTINATION)
        books.wait(120)
        assert await books.runner.plan_bumps(batch_id) == 1
        assert (await books.signer.sign(batch_id)).signed == 1

    async def test_of_another_chain_is_no_matter(self, books: Books) -> None:
        await books.execute(
            'INSERT INTO chain SELECT (jsonb_populate_record(c, \'{"id": "eip155:2"}\')).*'
            " FROM chain c",
            "INSERT INTO address_screening VALUES"  # noqa: S608
            f" ('eip155:2', '{DESTINATION}', 'deny', 'x', 'a1', now())",
        )
        batch_id = await books.allocated(100)
        assert (await books.signer.sign(batch_id)).signed == 1


class TestList:
    async def test_is_read_in_order_from_a_place(self, books: Books) -> None:
        for address in (DESTINATION, OTHER_DESTINATION):
            await say(books, address)
        async with books.owner.transaction() as session:
            first = await list_entries(session, after=None, limit=1)
            after = (CHAIN, first[0].address)
            rest = await list_entries(session, after=after, limit=1)
            found = await session.exec(
                select(AddressScreening.address).order_by(col(AddressScreening.address))
            )
            assert [first[0].address, rest[0].address] == list(found)
        assert (len(first), len(rest)) == (2, 1)

    async def test_keeps_the_newest_word(self, books: Books) -> None:
        await say(books, DESTINATION, DENY)
        await say(books, DESTINATION, ALLOW, reason="checked")
        async with books.owner.transaction() as session:
            (entry,) = await list_entries(session, after=None, limit=5)
        assert (entry.verdict, entry.reason) == (ALLOW, "checked")
