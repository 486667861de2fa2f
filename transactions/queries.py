"""Reading operations of every unit: lists with filters, and one with all that belongs to it."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, exists, or_, select
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.errors import TransactionNotFoundError
from domain.transactions import Direction, TransactionKind, TransactionState
from infra.paging import Page, paged
from ledger.queries import codes_of
from models.chain_transactions import ChainAttempt, ChainTransaction
from models.ledger import LedgerAccount, LedgerEntry, LedgerTransaction
from models.payouts import Payout
from transactions.views import WALLET_TRANSACTION, WALLET_TRANSACTION_EVENT

_PIECE_ROWS: Final = 500
_VIEW = WALLET_TRANSACTION.c


@dataclass(frozen=True, slots=True)
class WalletTransaction:
    """One operation as its user sees it; a transfer is one for each side, under one id."""

    id: str
    user_id: str
    kind: str
    direction: str
    status: str
    """The unit's own word for where it stands."""
    state: str
    asset: str
    amount_minor: int
    fee_minor: int
    counterparty: str | None
    chain_id: str | None
    group_id: str | None
    """What it is a part of, such as a bulk payout."""
    note: str | None
    chain_transaction_id: str | None
    txid: str | None
    """Of a chain transaction that is not ours."""
    created_at: datetime
    updated_at: datetime
    to_asset: str | None
    """What it is converted into on its way; None: it is not."""
    to_amount_minor: int | None
    """How much of that was quoted."""


@dataclass(frozen=True, slots=True)
class TransactionFilter:
    """Which operations are wanted; None leaves a field out of account."""

    user_id: str | None
    kind: TransactionKind | None = None
    direction: Direction | None = None
    state: TransactionState | None = None
    asset: str | None = None
    group_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    """The first moment that does not belong to it."""
    search: str | None = None
    """An id, a txid, or a counterparty, in full; or a part of the note."""
    own_mixes_of: str | None = None
    """Parts of mixes of this user alone; not all who see everybody's operations see mixes."""


@dataclass(frozen=True, slots=True)
class StatusLine:
    """A line of an operation's history."""

    status: str
    detail: str | None
    at: datetime


@dataclass(frozen=True, slots=True)
class LedgerLine:
    """What a ledger transaction did to one account."""

    transaction_key: str
    rule: str
    account: str
    asset: str
    amount_minor: int
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class ChainLink:
    """A chain transaction of ours that carried an operation, or swept its money."""

    id: str
    chain_id: str
    status: str
    txids: list[str]
    """Of every candidate that was signed, oldest first; at most one of them is mined."""


@dataclass(frozen=True, slots=True)
class TransactionDetail:
    """An operation with its history, and where it is in the books and on the chain."""

    transaction: WalletTransaction
    history: list[StatusLine]
    ledger: list[LedgerLine]
    chain_transaction: ChainLink | None


async def list_transactions(
    session: AsyncSession, page: Page, wanted: TransactionFilter
) -> Sequence[WalletTransaction]:
    """Return a page of operations, newest first, and one more."""
    query = paged(_filtered(wanted), page, created_at=_VIEW.created_at, row_id=_VIEW.id)
    return [_transaction(row) for row in await session.execute(query)]


async def stream_transactions(
    session: AsyncSession, wanted: TransactionFilter
) -> AsyncIterator[list[WalletTransaction]]:
    """Yield all of them piece by piece, newest first."""
    query = _filtered(wanted).order_by(_VIEW.created_at.desc(), _VIEW.id.desc())
    found = await session.stream(query, execution_options={"yield_per": _PIECE_ROWS})
    async for piece in found.partitions():
        yield [_transaction(row) for row in piece]


async def transactions_by_id(
    session: AsyncSession, ids: Sequence[str], *, user_id: str
) -> dict[str, WalletTransaction]:
    """Return those of the ids that are operations of this user."""
    query = _selected().where(_VIEW.id.in_(ids), _VIEW.user_id == user_id)
    return {str(row.id): _transaction(row) for row in await session.execute(query)}


async def transaction_detail(
    session: AsyncSession,
    transaction_id: str,
    *,
    user_id: str | None,
    viewer_id: str,
    own_mixes_of: str | None = None,
) -> TransactionDetail:
    """
    Return one operation with all that belongs to it; with a ``user_id``, only if it is theirs.

    With ``own_mixes_of`` a part of a mix is found by this user alone.

    Of an operation with two sides, staff see the sender's, a party sees their own.

    Raises:
        TransactionNotFoundError: There is none, or it is somebody else's: the answer is the same.
    """
    query = _selected().where(_VIEW.id == transaction_id)
    if user_id is not None:
        query = query.where(_VIEW.user_id == user_id)
    if own_mixes_of is not None:
        query = query.where(_is_seen_by(own_mixes_of))
    sides = [_transaction(row) for row in await session.execute(query)]
    if not sides:
        raise TransactionNotFoundError
    shown = min(sides, key=lambda side: (side.user_id != viewer_id, side.direction != "out"))
    return TransactionDetail(
        transaction=shown,
        history=await _history(session, transaction_id),
        ledger=await _ledger_lines(session, shown, owner=user_id),
        chain_transaction=await _chain_link(session, shown.chain_transaction_id),
    )


def _selected() -> Select[Any]:
    return select(*(_VIEW[name] for name in WalletTransaction.__dataclass_fields__))


def _filtered(wanted: TransactionFilter) -> Select[Any]:
    equal = {
        "user_id": wanted.user_id,
        "kind": wanted.kind,
        "direction": wanted.direction,
        "state": wanted.state,
        "group_id": wanted.group_id,
    }
    query = _selected().where(*(_VIEW[name] == v for name, v in equal.items() if v is not None))
    if wanted.asset is not None:
        query = query.where(or_(_VIEW.asset == wanted.asset, _VIEW.to_asset == wanted.asset))
    if wanted.since is not None:
        query = query.where(_VIEW.created_at >= wanted.since)
    if wanted.until is not None:
        query = query.where(_VIEW.created_at < wanted.until)
    if wanted.own_mixes_of is not None:
        query = query.where(_is_seen_by(wanted.own_mixes_of))
    return query if wanted.search is None else query.where(_matches(wanted.search))


def _is_seen_by(user_id: str) -> ColumnElement[bool]:
    """Leave out parts of mixes of anybody else."""
    part = exists().where(
        col(Payout.id) == _VIEW.id, col(Payout.mix_id).is_not(None), col(Payout.user_id) != user_id
    )
    return ~part


def _matches(text: str) -> ColumnElement[bool]:
    carried = select(col(ChainAttempt.chain_transaction_id)).where(col(ChainAttempt.txid) == text)
    return or_(
        _VIEW.id == text,
        _VIEW.txid == text,
        _VIEW.counterparty == text,
        _VIEW.group_id == text,
        _VIEW.note.icontains(text, autoescape=True),
        _VIEW.chain_transaction_id.in_(carried),
    )


def _transaction(row: Any) -> WalletTransaction:
    values = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's documented way to a row's names
    values["amount_minor"], values["fee_minor"] = int(row.amount_minor), int(row.fee_minor)
    to_minor = row.to_amount_minor
    values["to_amount_minor"] = None if to_minor is None else int(to_minor)
    return WalletTransaction(**values)


async def _history(session: AsyncSession, transaction_id: str) -> list[StatusLine]:
    event = WALLET_TRANSACTION_EVENT.c
    found = await session.execute(
        select(event.status, event.detail, event.at)
        .where(event.transaction_id == transaction_id)
        .order_by(event.at, event.sequence)
    )
    return [StatusLine(*row) for row in found]


async def _ledger_lines(
    session: AsyncSession, transaction: WalletTransaction, *, owner: str | None
) -> list[LedgerLine]:
    """Return what was posted for it; an owner sees their own accounts, staff every one."""
    query = (
        select(
            col(LedgerTransaction.key),
            col(LedgerTransaction.rule),
            col(LedgerAccount.code),
            col(LedgerEntry.asset),
            col(LedgerEntry.amount_minor),
            col(LedgerTransaction.recorded_at),
        )
        .join(LedgerEntry, col(LedgerEntry.transaction_id) == col(LedgerTransaction.id))
        .join(LedgerAccount, col(LedgerAccount.id) == col(LedgerEntry.account_id))
        .where(col(LedgerTransaction.resource) == transaction.id)
        .order_by(col(LedgerTransaction.id), col(LedgerEntry.id))
    )
    if owner is not None:
        query = query.where(col(LedgerAccount.code).startswith(codes_of(owner), autoescape=True))
    found = await session.execute(query)
    return [LedgerLine(k, r, c, a, int(amount), at) for k, r, c, a, amount, at in found]


async def _chain_link(session: AsyncSession, chain_transaction_id: str | None) -> ChainLink | None:
    if chain_transaction_id is None:
        return None
    row = await session.get_one(ChainTransaction, chain_transaction_id)
    txids = await session.execute(
        select(col(ChainAttempt.txid))
        .where(
            col(ChainAttempt.chain_transaction_id) == chain_transaction_id,
            col(ChainAttempt.txid).is_not(None),
        )
        .order_by(col(ChainAttempt.sequence))
    )
    return ChainLink(row.id, row.chain_id, row.status, [str(txid) for (txid,) in txids])
