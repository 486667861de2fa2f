"""Everything that the books of a history say, read at once."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlmodel import SQLModel, select

from domain.payouts import PayoutStatus
from models.chain_transactions import ChainAttempt, ChainTransaction
from models.ledger import Hold, HoldStatus, LedgerAccount
from models.payouts import Payout
from tests.support.books import TOKEN, Books

ASSETS = {"ETH": None, "USD": TOKEN}
OPENING_MINOR = 300_000
"""What each customer has of each asset at first."""

IN_FLIGHT = (PayoutStatus.BATCHED, PayoutStatus.READY)


@dataclass(frozen=True)
class Facts:
    """Everything that the database says at one moment."""

    payouts: Sequence[Payout]
    holds: dict[str, Hold]
    transactions: Sequence[ChainTransaction]
    attempts: Sequence[ChainAttempt]
    balances: dict[tuple[str, str], int]

    def balance(self, code: str, asset: str) -> int:
        return self.balances.get((code, asset), 0)

    def is_captured(self, payout: Payout) -> bool:
        if payout.run_id is not None:
            return payout.is_captured
        hold = self.holds.get(str(payout.hold_id))
        return hold is not None and hold.status == HoldStatus.CAPTURED


async def facts_of(books: Books) -> Facts:
    """Read the books, as their owner."""
    async with books.owner.snapshot() as session:

        async def rows[Row: SQLModel](table: type[Row]) -> Sequence[Row]:
            return list(await session.exec(select(table)))

        accounts = await rows(LedgerAccount)
        return Facts(
            payouts=await rows(Payout),
            holds={hold.id: hold for hold in await rows(Hold)},
            transactions=await rows(ChainTransaction),
            attempts=await rows(ChainAttempt),
            balances={(a.code, a.asset): a.balance_minor for a in accounts},
        )


def total_of(payouts: Sequence[Payout]) -> int:
    """Return amounts and fees."""
    return sum(payout.amount_minor + payout.fee_minor for payout in payouts)
