"""
A month of a customer's accounts: opening balances, every change, closing balances.

Entries count in the month in which they were *recorded*, so a statement of a month that is over
never changes, and each month opens with what the one before closed with. What only moves between a
customer's own accounts of one place, such as a freeze, changes nothing here.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import case, func, select
from sqlmodel import col
from sqlmodel import select as sqlmodel_select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.errors import StatementNotFoundError
from domain.months import Month
from ledger.queries import codes_of
from models.identity import User
from models.ledger import LedgerAccount, LedgerEntry, LedgerTransaction
from models.wallets import Asset
from transactions.queries import WalletTransaction, transactions_by_id

SETTLING: Final = timedelta(minutes=10)
"""A unit of work of the month's last moment may become visible a little later."""
_PIECE_ROWS: Final = 500
_PLACE: Final = case(
    (
        func.split_part(LedgerAccount.code, ":", 3).like("onchain%"),
        func.regexp_replace(LedgerAccount.code, "^user:[^:]+:[^:]+:", ""),
    ),
    else_="",
)


@dataclass(frozen=True, slots=True)
class Section:
    """What one asset did in one place; amounts in minor units."""

    asset: str
    chain_id: str | None
    """The chain that the user's own wallet is on; None for what is owed off-chain."""
    decimals: int
    opening_minor: int
    in_minor: int = 0
    out_minor: int = 0
    """Not negative."""
    lines: int = 0

    @property
    def closing_minor(self) -> int:
        """The balance at the end of the month."""
        return self.opening_minor + self.in_minor - self.out_minor


@dataclass(frozen=True, slots=True)
class StatementEntry:
    """One ledger transaction as it changed one section's balance."""

    section: Section
    recorded_at: datetime
    rule: str
    transaction_key: str
    transaction: WalletTransaction | None
    """What it belongs to; None where that is no operation of its own."""
    reference: str | None
    amount_minor: int
    balance_minor: int


@dataclass(frozen=True, slots=True)
class Statement:
    """A month of one customer, without its lines."""

    user_id: str
    email: str
    month: Month
    made_at: datetime
    sections: Sequence[Section]

    @property
    def is_final(self) -> bool:
        """Tell whether nothing can be added to it any more."""
        return self.made_at >= self.month.ends_at + SETTLING

    @property
    def lines(self) -> int:
        """How many lines it has in all."""
        return sum(section.lines for section in self.sections)


async def months_of(session: AsyncSession, user_id: str) -> list[Month]:
    """Return the months that have a statement, newest first; from the first booking on."""
    first = (await session.execute(_entries(user_id, func.min(_RECORDED)))).scalar()
    if first is None:
        return []
    months, month = [], Month.of(await _now(session))
    while month >= Month.of(first):
        months.append(month)
        month = month.before
    return months


async def read_statement(session: AsyncSession, user_id: str, month: Month) -> Statement:
    """
    Return the month's sections, of a snapshot.

    Raises:
        StatementNotFoundError: It lies in the future, or nothing was ever booked by its end.
    """
    user = await session.get(User, user_id)
    opening = await _totals(session, user_id, month.starts_at > _RECORDED)
    in_month = await _changes(session, user_id, month)
    keys = sorted(opening.keys() | in_month.keys())
    now = await _now(session)
    if user is None or month.starts_at > now or not keys:
        raise StatementNotFoundError
    decimals = await _decimals(session, {asset for asset, _ in keys})
    sections = [
        Section(
            asset,
            place or None,
            decimals[asset],
            opening.get((asset, place), 0),
            *in_month.get((asset, place), (0, 0, 0)),
        )
        for asset, place in keys
    ]
    shown = [section for section in sections if section.opening_minor or section.lines]
    return Statement(user.id, user.email, month, now, shown)


async def statement_entries(
    session: AsyncSession, statement: Statement
) -> AsyncIterator[list[StatementEntry]]:
    """Yield the lines of a statement piece by piece, by section and time, from its snapshot."""
    query = _netted(statement.user_id, statement.month).order_by("asset", "place", "id")
    found = await session.stream(query, execution_options={"yield_per": _PIECE_ROWS})
    sections = {(s.asset, s.chain_id or ""): s for s in statement.sections}
    balances = {place: section.opening_minor for place, section in sections.items()}
    async for rows in found.partitions():
        resources = [row.resource for row in rows if row.resource is not None]
        known = await transactions_by_id(session, resources, user_id=statement.user_id)
        piece = []
        for row in rows:
            place = (row.asset, row.place)
            balances[place] += int(row.amount)
            piece.append(_entry(row, sections[place], known.get(row.resource), balances[place]))
        yield piece


_RECORDED: Final = col(LedgerTransaction.recorded_at)


async def _now(session: AsyncSession) -> datetime:
    # By the database's clock, which dates what is recorded.
    found: datetime = (await session.execute(select(func.now()))).scalar_one()
    return found


def _entry(
    row: Any, section: Section, transaction: WalletTransaction | None, balance_minor: int
) -> StatementEntry:
    return StatementEntry(
        section=section,
        recorded_at=row.recorded_at,
        rule=row.rule,
        transaction_key=row.key,
        transaction=transaction,
        reference=row.resource,
        amount_minor=int(row.amount),
        balance_minor=balance_minor,
    )


def _entries(user_id: str, *columns: Any) -> Any:
    """Return a query over the entries of all accounts of a customer."""
    return (
        select(*columns)
        .select_from(LedgerEntry)
        .join(LedgerAccount, col(LedgerAccount.id) == col(LedgerEntry.account_id))
        .join(LedgerTransaction, col(LedgerTransaction.id) == col(LedgerEntry.transaction_id))
        .where(col(LedgerAccount.code).startswith(codes_of(user_id), autoescape=True))
    )


def _netted(user_id: str, month: Month) -> Any:
    """Return a query for what each ledger transaction of the month changed in each section."""
    total = func.sum(LedgerEntry.amount_minor)
    return (
        _entries(
            user_id,
            col(LedgerTransaction.id).label("id"),
            col(LedgerTransaction.key).label("key"),
            col(LedgerTransaction.rule).label("rule"),
            col(LedgerTransaction.resource).label("resource"),
            _RECORDED.label("recorded_at"),
            col(LedgerEntry.asset).label("asset"),
            _PLACE.label("place"),
            total.label("amount"),
        )
        .where(month.starts_at <= _RECORDED, month.ends_at > _RECORDED)
        .group_by(col(LedgerTransaction.id), col(LedgerEntry.asset), _PLACE)
        .having(total != 0)
    )


async def _changes(
    session: AsyncSession, user_id: str, month: Month
) -> dict[tuple[str, str], tuple[int, int, int]]:
    net = _netted(user_id, month).subquery()
    amount = net.c.amount
    found = await session.execute(
        select(
            net.c.asset,
            net.c.place,
            func.coalesce(func.sum(amount).filter(amount > 0), 0),
            func.coalesce(-func.sum(amount).filter(amount < 0), 0),
            func.count(),
        ).group_by(net.c.asset, net.c.place)
    )
    return {(asset, place): (int(i), int(o), int(n)) for asset, place, i, o, n in found}


async def _totals(session: AsyncSession, user_id: str, *where: Any) -> dict[tuple[str, str], int]:
    total = func.sum(LedgerEntry.amount_minor)
    query = _entries(user_id, col(LedgerEntry.asset), _PLACE, total).where(*where)
    found = await session.execute(query.group_by(col(LedgerEntry.asset), _PLACE))
    return {(asset, place): int(minor) for asset, place, minor in found}


async def _decimals(session: AsyncSession, assets: set[str]) -> dict[str, int]:
    found = await session.exec(
        sqlmodel_select(Asset.code, Asset.decimals).where(col(Asset.code).in_(assets))
    )
    return dict(found.all())
