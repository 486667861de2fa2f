"""Runs of many lines on the books of a test, uploaded and started without the API."""

from collections.abc import Sequence

from sqlmodel import col, select

from domain.disperse import runtime_code
from domain.ids import DECISION, PAYOUT, PAYOUT_RUN, derived_id, new_id
from domain.payouts import DecisionKind
from domain.runs import (
    RunAcceptance,
    RunCancellation,
    RunDecisionRequest,
    RunStanding,
    RunStart,
    RunStatus,
)
from models.payouts import Payout
from models.runs import PayoutRun, PayoutRunLine
from runs.desk import PostgresRunDesk
from tests.support.books import CHAIN, FEE_MINOR, Books

FIRST_LINE = 2
"""The header is line 1."""


DISPERSE = "0x5FC8d32690cc91D4c39d9d3abcBD16989F875707"


async def allow_dispersals(books: Books, *, outputs_max: int = 3) -> None:
    """Put our contract onto the scripted chain, for so many payouts in one transaction."""
    books.chain.codes[DISPERSE] = runtime_code()
    await books.execute(
        f"UPDATE chain SET disperse_address = '{DISPERSE}', outputs_max = {outputs_max}"  # noqa: S608
    )


class Runs:
    """What a test does with runs of one set of books."""

    def __init__(self, books: Books) -> None:
        self.books = books
        self.desk = PostgresRunDesk(books.worker, books.clock)

    async def upload(
        self, amounts_minor: Sequence[int], *, asset: str = "ETH", user_id: str = "u1"
    ) -> str:
        """Store a draft that pays these amounts to as many strangers."""
        run_id = new_id(PAYOUT_RUN)
        run = PayoutRun(
            id=run_id,
            user_id=user_id,
            principal=user_id,
            name="salaries",
            asset=asset,
            chain_id=CHAIN,
            priority="normal",
            content_sha256="00",
            line_count=len(amounts_minor),
            total_minor=sum(amounts_minor),
            fee_total_minor=FEE_MINOR * len(amounts_minor),
            problem_count=0,
            status=RunStatus.DRAFT,
            created_at=self.books.clock.now(),
            updated_at=self.books.clock.now(),
        )
        async with self.books.owner.transaction() as session:
            session.add(run)
            await session.flush()
            session.add_all(
                PayoutRunLine(
                    run_id=run_id,
                    number=number,
                    payout_id=derived_id(PAYOUT, run_id, str(number)),
                    destination=stranger(number),
                    amount_minor=amount_minor,
                )
                for number, amount_minor in enumerate(amounts_minor, FIRST_LINE)
            )
        return run_id

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

    async def cancel(
        self, run_id: str, *, lines: str | None = None, action_id: str = "act"
    ) -> RunStanding:
        return await self.desk.cancel(RunCancellation(action_id, run_id, lines))

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
