"""Reading the books: balances now and as of a moment, and a statement page by page."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from ledger import chart
from models.ledger import LedgerAccount, LedgerEntry, LedgerTransaction


@dataclass(frozen=True, slots=True)
class CustomerBalance:
    """One asset of one customer, in minor units: ``posted`` is all that is theirs."""

    asset: str
    available_minor: int
    held_minor: int

    @property
    def posted_minor(self) -> int:
        """Available plus held."""
        return self.available_minor + self.held_minor


@dataclass(frozen=True, slots=True)
class SystemBalance:
    """Credits minus debits of accounts of ours."""

    code: str
    asset: str
    balance_minor: int


@dataclass(frozen=True, slots=True)
class StatementLine:
    """One entry as its owner reads it; ``position`` counts the account's entries from 1."""

    position: int
    asset: str
    account: str
    amount_minor: int
    balance_after_minor: int
    rule: str
    resource: str | None
    transaction_key: str
    effective_at: datetime
    recorded_at: datetime


def codes_of(user_id: str) -> str:
    """Return what the codes of all accounts of a customer begin with; see ``ledger.chart``."""
    return chart.available(user_id).removesuffix("available")


async def customer_balances(
    session: AsyncSession, user_id: str, *, as_of: datetime | None = None
) -> list[CustomerBalance]:
    """Return the customer's balances by asset; ``as_of`` counts by effective time."""
    codes = (chart.available(user_id), chart.held(user_id))
    totals: dict[str, dict[str, int]] = {}
    for code, asset, amount_minor in await _balances(session, codes, as_of):
        totals.setdefault(asset, {})[code] = int(amount_minor or 0)
    return [
        CustomerBalance(asset, by_code.get(codes[0], 0), by_code.get(codes[1], 0))
        for asset, by_code in sorted(totals.items())
    ]


async def account_balance(session: AsyncSession, code: str, asset: str) -> int:
    """Return credits minus debits of one account; 0 when it was never used."""
    found = await session.exec(
        select(LedgerAccount.balance_minor).where(
            LedgerAccount.code == code, LedgerAccount.asset == asset
        )
    )
    return found.first() or 0


async def system_balances(session: AsyncSession) -> list[SystemBalance]:
    """Return what is not on customers' balances; customers' fees and lent gas are sums."""
    # A chain's id (CAIP-2) has two parts; what follows is the customer.
    code = func.regexp_replace(
        LedgerAccount.code, "^((fees:network|gas):[^:]+:[^:]+):.*$", r"\1:(customers)"
    )
    found = await session.exec(
        select(code, LedgerAccount.asset, func.sum(LedgerAccount.balance_minor))
        .where(~col(LedgerAccount.code).like("user:%"))
        .group_by(code, col(LedgerAccount.asset))
        .order_by(code, col(LedgerAccount.asset))
    )
    return [SystemBalance(code, asset, int(total)) for code, asset, total in found]


async def asset_sums(session: AsyncSession) -> dict[str, int]:
    """Return the sum over all accounts per asset; every one of them must be zero."""
    found = await session.exec(
        select(LedgerAccount.asset, func.sum(LedgerAccount.balance_minor)).group_by(
            LedgerAccount.asset
        )
    )
    return {asset: int(total) for asset, total in found}


async def statement(
    session: AsyncSession, *, code: str, asset: str, before: int | None, limit: int
) -> list[StatementLine]:
    """Return up to ``limit`` entries of an account, newest first, below position ``before``."""
    query = (
        select(LedgerEntry, LedgerTransaction)
        .join(LedgerAccount, col(LedgerAccount.id) == col(LedgerEntry.account_id))
        .join(LedgerTransaction, col(LedgerTransaction.id) == col(LedgerEntry.transaction_id))
        .where(LedgerAccount.code == code, LedgerAccount.asset == asset)
        .order_by(col(LedgerEntry.account_version).desc())
        .limit(limit)
    )
    if before is not None:
        query = query.where(LedgerEntry.account_version < before)
    return [
        StatementLine(
            position=entry.account_version,
            asset=asset,
            account=code,
            amount_minor=entry.amount_minor,
            balance_after_minor=entry.balance_after_minor,
            rule=transaction.rule,
            resource=transaction.resource,
            transaction_key=transaction.key,
            effective_at=entry.effective_at,
            recorded_at=transaction.recorded_at,
        )
        for entry, transaction in await session.exec(query)
    ]


async def _balances(
    session: AsyncSession, codes: Sequence[str], as_of: datetime | None
) -> Sequence[tuple[str, str, int | None]]:
    if as_of is None:
        now = select(LedgerAccount.code, LedgerAccount.asset, LedgerAccount.balance_minor)
        return (await session.exec(now.where(col(LedgerAccount.code).in_(codes)))).all()
    past = (
        select(LedgerAccount.code, LedgerAccount.asset, func.sum(LedgerEntry.amount_minor))
        .join(LedgerEntry, col(LedgerEntry.account_id) == col(LedgerAccount.id))
        .where(col(LedgerAccount.code).in_(codes), LedgerEntry.effective_at <= as_of)
        .group_by(LedgerAccount.code, LedgerAccount.asset)
    )
    return (await session.exec(past)).all()
