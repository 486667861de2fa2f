"""What payouts, bulk payouts and deposits tell, in the unit of work that changes them."""

from collections.abc import Sequence
from typing import Any

import pytest
from sqlmodel import select

from deposits.desk import PostgresDepositDesk
from deposits.history import move
from domain.deposits import DepositStatus
from domain.ids import derived_id
from domain.payouts import DecisionKind, OperatorAction
from events.outbox import START, events_after
from models.chain_transactions import ChainHead
from models.deposits import ChainAddress, ChainDeposit
from models.events import OutboxEvent
from models.payouts import Payout
from tests.support.books import CHAIN, Books
from tests.support.runs import Runs

ONE_APPROVAL = {"rules": [{"asset": "*", "up_to_minor": None, "approvals": 1}]}
DEPOSIT_ID = derived_id("dep", "one")


async def told(books: Books) -> Sequence[OutboxEvent]:
    async with books.worker.transaction() as session:
        return await events_after(session, START, limit=1_000)


async def kinds(books: Books) -> list[str]:
    return [event.kind for event in await told(books)]


class TestPayout:
    async def test_tells_of_every_status_it_comes_to(self, books: Books) -> None:
        await books.set_policy(ONE_APPROVAL)
        await books.deposit("u1", "ETH", 1_000)
        acceptance = await books.freeze(amount_minor=100)
        await books.decide(acceptance.payout_id, "a1")
        batch_id = await books.claim()
        await books.runner.prepare(batch_id)
        await books.log.allocate(batch_id)
        await books.signer.sign(batch_id)
        await books.runner.broadcast(batch_id)
        books.chain.mine(3)
        await books.watch.watch_once()
        await books.log.settle(batch_id)

        events = await told(books)

        assert [e.kind for e in events] == [
            "payout.awaiting_approval",
            "payout.ready",
            "payout.batched",
            "payout.settled",
        ]
        assert {(e.user_id, e.resource_id) for e in events} == {("u1", acceptance.payout_id)}
        assert [e.data["amount"] for e in events] == ["100"] * 4

    async def test_tells_why_it_was_refused(self, books: Books) -> None:
        await books.freeze(amount_minor=100)

        (event,) = await told(books)

        assert event.kind == "payout.refused"
        assert event.data["reason_code"] == "insufficient_available_balance"

    async def test_tells_nothing_twice_where_a_step_is_repeated(self, books: Books) -> None:
        await books.set_policy(ONE_APPROVAL)
        await books.deposit("u1", "ETH", 1_000)
        await books.freeze(amount_minor=100, key="same")
        acceptance = await books.freeze(amount_minor=100, key="same")
        for _ in range(2):
            await books.desk.cancel(acceptance.payout_id)

        assert await kinds(books) == ["payout.awaiting_approval", "payout.cancelled"]

    async def test_tells_of_a_refund(self, books: Books) -> None:
        await books.deposit("u1", "ETH", 1_000)
        await books.allocated(100)
        (payout,) = await books.payouts()
        await books.tamper("UPDATE chain_transaction SET status = 'abandoned'")
        await books.log.refund(OperatorAction(payout.id, "op"))

        assert (await kinds(books))[-1] == "payout.refunded"


class TestRun:
    async def test_tells_of_its_standing_and_of_lines_together(self, books: Books) -> None:
        await books.set_policy(ONE_APPROVAL)
        await books.deposit("u1", "ETH", 10_000)
        runs = Runs(books)
        run_id = await runs.started(100, 200, 300, 400)
        await runs.decide(run_id, "a1", lines="2-3", kind=DecisionKind.REJECT)
        await runs.decide(run_id, "a1", lines="4")
        await runs.cancel(run_id, lines="5")
        await runs.cancel(run_id, lines="4")

        events = await told(books)

        assert [(e.kind, _of_lines(e)) for e in events] == [
            ("payout_run.awaiting_approval", None),
            ("payout_run.lines_ended", ("rejected", 2, "300")),
            ("payout_run.lines_ended", ("cancelled", 1, "400")),
            ("payout_run.paying", None),
            ("payout_run.lines_ended", ("cancelled", 1, "300")),
            ("payout_run.finished", None),
        ]
        assert {e.resource_id for e in events} == {run_id}

    async def test_tells_of_lines_that_one_transaction_settled_in_one_event(
        self, books: Books
    ) -> None:
        await books.deposit("u1", "ETH", 100_000)
        runs = Runs(books)
        run_id = await runs.started(*range(100, 110))
        await books.settled()
        async with books.owner.transaction() as session:
            found = await session.exec(select(Payout.status).where(Payout.run_id == run_id))
            assert set(found) == {"settled"}

        ended = [e for e in await told(books) if e.kind == "payout_run.lines_ended"]

        assert [_of_lines(e) for e in ended] == [("settled", 10, str(sum(range(100, 110))))]


def _of_lines(event: OutboxEvent) -> tuple[Any, ...] | None:
    names = ("status", "line_count", "amount")
    return tuple(event.data[n] for n in names) if event.kind.endswith("lines_ended") else None


class TestDeposit:
    @pytest.fixture
    async def deposits(self, books: Books) -> PostgresDepositDesk:
        async with books.owner.transaction() as session:
            address = ChainAddress(
                id="adr_1",
                chain_id=CHAIN,
                address="0x1",
                lookup_key=b"1",
                branch=0,
                index=0,
                user_id="u1",
            )
            session.add(address)
            session.add(ChainHead(chain_id=CHAIN, height=10, seen_at=books.clock.now()))
        return PostgresDepositDesk(books.worker, books.clock)

    @staticmethod
    async def _see(books: Books, status: DepositStatus = DepositStatus.SEEN) -> None:
        async with books.worker.transaction() as session:
            deposit = ChainDeposit(
                id=DEPOSIT_ID,
                chain_id=CHAIN,
                address_id="adr_1",
                user_id="u1",
                asset="ETH",
                txid="ab" * 32,
                position="tx",
                amount_minor=700,
                confirmations_required=3,
                status=status,
                seen_at=books.clock.now(),
            )
            move(session, deposit, DepositStatus.SEEN, clock=books.clock)

    @staticmethod
    async def _move(books: Books, status: DepositStatus, height: int | None) -> None:
        async with books.worker.transaction() as session:
            deposit = await session.get_one(ChainDeposit, DEPOSIT_ID)
            deposit.block_height = height
            deposit.block_hash = None if height is None else f"0x{height}"
            deposit.missing_since = books.clock.now() if height is None else None
            move(session, deposit, status, clock=books.clock)

    async def test_tells_how_it_comes_in_and_goes(
        self, books: Books, deposits: PostgresDepositDesk
    ) -> None:
        await self._see(books)
        await self._move(books, DepositStatus.CONFIRMING, 8)
        await deposits.advance(DEPOSIT_ID)
        await deposits.advance(DEPOSIT_ID)
        # The block that credited it left the chain and came back: no money again.
        await self._move(books, DepositStatus.CREDITED, None)
        await self._move(books, DepositStatus.CREDITED, 8)
        assert (await kinds(books))[-1] == "deposit.credited"
        await self._move(books, DepositStatus.CREDITED, None)
        await deposits.advance(DEPOSIT_ID)

        events = await told(books)

        assert [e.kind for e in events] == [
            "deposit.seen",
            "deposit.confirming",
            "deposit.credited",
            "deposit.reversed",
        ]
        assert {(e.user_id, e.data["amount"]) for e in events} == {("u1", "700")}

    async def test_tells_nothing_where_it_is_in_no_book(
        self, books: Books, deposits: PostgresDepositDesk
    ) -> None:
        del deposits
        await self._see(books, DepositStatus.IGNORED)
        await self._move(books, DepositStatus.CONFIRMING, 8)

        assert await kinds(books) == []
