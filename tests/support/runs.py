"""Runs of many lines on the books of a test, uploaded and started without the API."""

from collections.abc import Sequence
from typing import Protocol

from sqlmodel import col, select

from domain.disperse import runtime_code
from domain.ids import ACTION, DECISION, PAYOUT, PAYOUT_RUN, derived_id, new_id
from domain.payouts import DecisionKind
from domain.runs import (
    RunAcceptance,
    RunCancellation,
    RunDecisionRequest,
    RunStanding,
    RunStart,
    RunStatus,
)
from infra.database import Database
from models.payouts import Payout
from models.runs import PayoutRun, PayoutRunLine
from runs.desk import PostgresRunDesk
from tests.support.books import CHAIN, FEE_MINOR, Books
from tests.support.clocks import MovableClock

FIRST_LINE = 2
"""The header is line 1."""


DISPERSE = "0x5FC8d32690cc91D4c39d9d3abcBD16989F875707"


async def allow_dispersals(books: Books, *, outputs_max: int = 3) -> None:
    """Put our contract onto the scripted chain, for so many payouts in one transaction."""
    books.chain.codes[DISPERSE] = runtime_code()
    await books.execute(
        f"UPDATE chain SET disperse_address = '{DISPERSE}', outputs_max = {outputs_max}"  # noqa: S608
    )


class AnyBooks(Protocol):
    """What the books of every chain have."""

    owner: Database
    worker: Database
    clock: MovableClock


async def store_draft(
    books: AnyBooks,
    paid: Sequence[tuple[str, int]],
    *,
    asset: str,
    chain_id: str,
    fee_minor: int,
    user_id: str = "u1",
) -> str:
    """Store a draft that pays these destinations these amounts, and return its id."""
    run_id = new_id(PAYOUT_RUN)
    run = PayoutRun(
        id=run_id,
        user_id=user_id,
        principal=user_id,
        name="salaries",
        asset=asset,
        chain_id=chain_id,
        priority="normal",
        content_sha256="00",
        line_count=len(paid),
        total_minor=sum(amount_minor for _, amount_minor in paid),
        fee_total_minor=fee_minor * len(paid),
        problem_count=0,
        status=RunStatus.DRAFT,
        created_at=books.clock.now(),
        updated_at=books.clock.now(),
    )
    async with books.owner.transaction() as session:
        session.add(run)
        await session.flush()
        session.add_all(
            PayoutRunLine(
                run_id=run_id,
                number=number,
                payout_id=derived_id(PAYOUT, run_id, str(number)),
                destination=destination,
                amount_minor=amount_minor,
            )
            for number, (destination, amount_minor) in enumerate(paid, FIRST_LINE)
        )
    return run_id


async def started_run(
    books: AnyBooks, paid: Sequence[tuple[str, int]], *, asset: str, chain_id: str, fee_minor: int
) -> str:
    """Store a draft, start it, and return its id; the policy of these books asks nobody."""
    run_id = await store_draft(books, paid, asset=asset, chain_id=chain_id, fee_minor=fee_minor)
    desk = PostgresRunDesk(books.worker, books.clock)
    acceptance = await desk.start(RunStart(run_id, "u1", run_id))
    assert acceptance.reason_code is None, acceptance.reason
    return run_id


class Runs:
    """What a test does with runs of one set of books."""

    def __init__(self, books: Books) -> None:
        self.books = books
        self.desk = PostgresRunDesk(books.worker, books.clock)

    async def upload(
        self, amounts_minor: Sequence[int], *, asset: str = "ETH", user_id: str = "u1"
    ) -> str:
        """Store a draft that pays these amounts to as many strangers."""
        paid = [(stranger(n), amount) for n, amount in enumerate(amounts_minor, FIRST_LINE)]
        return await store_draft(
            self.books, paid, asset=asset, chain_id=CHAIN, fee_minor=FEE_MINOR, user_id=user_id
        )

    async def start(self, run_id: str, *, key: str = "key") -> RunAcceptance:
        return await self.desk.start(RunStart(run_id, "u1", key))

    async def started(self, *amounts_minor: int, asset: str = "ETH") -> str:
        run_id = await self.upload(amounts_minor, asset=asset)
        acceptance = await self.start(run_id)
        assert acceptance.reason_code is None, acceptance.reason
        return run_id

    async def decide(
        self,
        run_id: str,
        approver_id: str,
        *,
        kind: DecisionKind = DecisionKind.APPROVE,
        lines: str | None = None,
        decision_id: str | None = None,
    ) -> RunStanding:
        return await self.desk.decide(
            RunDecisionRequest(
                decision_id or new_id(DECISION), run_id, approver_id, kind, "totp", lines
            )
        )

    async def cancel(self, run_id: str, *, lines: str | None = None) -> RunStanding:
        return await self.desk.cancel(RunCancellation(new_id(ACTION), run_id, lines))

    async def allocated(self) -> str:
        """Bring what may leave to where it awaits signing; return the batch's id."""
        batch_id = await self.books.claim()
        await self.books.runner.prepare(batch_id)
        assert await self.books.log.allocate(batch_id)
        return batch_id

    async def run(self, run_id: str) -> PayoutRun:
        async with self.books.owner.transaction() as session:
            return await session.get_one(PayoutRun, run_id)

    async def lines(self, run_id: str) -> list[Payout]:
        """Return the payouts that a run's lines have become, in order of line."""
        async with self.books.owner.transaction() as session:
            found = await session.exec(
                select(Payout).where(Payout.run_id == run_id).order_by(col(Payout.line_number))
            )
            return list(found)


def stranger(number: int) -> str:
    """Return somebody else's address."""
    return f"0x{number + 2**100:040x}"
