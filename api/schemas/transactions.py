"""Operations of every unit, and statements, as clients see them."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import AwareDatetime, Field

from api.schemas.base import ULID_PATTERN, Answer
from domain.months import MONTH_PATTERN
from domain.transactions import Direction, TransactionKind, TransactionState
from transactions.queries import (
    ChainLink,
    LedgerLine,
    StatusLine,
    TransactionDetail,
    WalletTransaction,
)
from transactions.statements import Section, Statement

TRANSACTION_ID_PATTERN = rf"^[a-z]{{3}}_{ULID_PATTERN}$"
MonthText = Annotated[str, Field(pattern=MONTH_PATTERN, examples=["2026-11"])]


class TransactionView(Answer):
    """One operation of any unit, as its user sees it. Amounts are minor units, never negative."""

    id: str = Field(examples=["pay_01JD3ZQ6V9K3E8M5T2R7W4X1YB"])
    user_id: str
    kind: TransactionKind
    direction: Direction
    state: TransactionState
    status: str = Field(description="The unit's own word for where it stands.")
    asset: str
    amount: str
    fee: str = Field(description="Service fee, in the same asset.")
    to_asset: str | None = Field(description="What it is converted into on its way, if it is.")
    to_amount: str | None = Field(description="How much of that was quoted.")
    counterparty: str | None = Field(description="An address, or another user.")
    chain_id: str | None
    group_id: str | None = Field(description="What it is a part of, such as a bulk payout.")
    note: str | None
    created_at: AwareDatetime
    updated_at: AwareDatetime


class StatusLineView(Answer):
    """A line of an operation's history."""

    status: str
    detail: str | None
    at: AwareDatetime


class LedgerLineView(Answer):
    """What the books did for it; a credit is positive."""

    transaction_key: str
    kind: str = Field(description="Name of the posting rule.")
    account: str
    asset: str
    amount: str
    recorded_at: AwareDatetime


class ChainLinkView(Answer):
    """A chain transaction of ours that carried it, or swept its money."""

    id: str
    chain_id: str
    status: str
    txids: list[str] = Field(description="Of every candidate; at most one of them is mined.")


class TransactionDetailView(TransactionView):
    """An operation with its history, and where it is in the books and on the chain."""

    history: list[StatusLineView]
    ledger: list[LedgerLineView] = Field(
        description="Entries on the user's own accounts; staff see those of every account."
    )
    chain_transaction: ChainLinkView | None
    txid: str | None = Field(description="Of a chain transaction that is not ours.")
    workflow_id: str | None
    workflow_url: str | None


class SectionView(Answer):
    """What one asset did in one place during a month; minor units."""

    asset: str
    chain_id: str | None = Field(
        description="The chain of the user's own wallet; null: what is owed off-chain."
    )
    opening: str
    total_in: str
    total_out: str
    closing: str
    lines: int


class StatementView(Answer):
    """A month in UTC: opening balances, what came and went, closing balances."""

    month: str
    is_final: bool = Field(description="The month is over; nothing can be added to it any more.")
    sections: list[SectionView]


class StatementList(Answer):
    """The months that have a statement, newest first."""

    items: list[str] = Field(examples=[["2026-11", "2026-10"]])


def transaction_view(row: WalletTransaction) -> TransactionView:
    """Return what may be shown of an operation."""
    return TransactionView(**_fields(row))


def transaction_detail_view(
    detail: TransactionDetail, *, workflow_id: str | None, workflow_url: str | None
) -> TransactionDetailView:
    """Return everything that may be shown of an operation."""
    link = detail.chain_transaction
    return TransactionDetailView(
        **_fields(detail.transaction),
        txid=detail.transaction.txid,
        history=[_status_line(line) for line in detail.history],
        ledger=[_ledger_line(line) for line in detail.ledger],
        chain_transaction=None if link is None else _chain_link(link),
        workflow_id=workflow_id,
        workflow_url=workflow_url,
    )


def statement_view(statement: Statement) -> StatementView:
    """Return a statement without its lines."""
    return StatementView(
        month=str(statement.month),
        is_final=statement.is_final,
        sections=_sections(statement.sections),
    )


def _fields(row: WalletTransaction) -> dict[str, object]:
    return {
        "id": row.id,
        "user_id": row.user_id,
        "kind": row.kind,
        "direction": row.direction,
        "state": row.state,
        "status": row.status,
        "asset": row.asset,
        "amount": str(row.amount_minor),
        "fee": str(row.fee_minor),
        "to_asset": row.to_asset,
        "to_amount": None if row.to_amount_minor is None else str(row.to_amount_minor),
        "counterparty": row.counterparty,
        "chain_id": row.chain_id,
        "group_id": row.group_id,
        "note": row.note,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
    }


def _status_line(line: StatusLine) -> StatusLineView:
    return StatusLineView(status=line.status, detail=line.detail, at=line.at)


def _ledger_line(line: LedgerLine) -> LedgerLineView:
    return LedgerLineView(
        transaction_key=line.transaction_key,
        kind=line.rule,
        account=line.account,
        asset=line.asset,
        amount=str(line.amount_minor),
        recorded_at=line.recorded_at,
    )


def _chain_link(link: ChainLink) -> ChainLinkView:
    return ChainLinkView(
        id=link.id, chain_id=link.chain_id, status=link.status, txids=list(link.txids)
    )


def _sections(sections: Sequence[Section]) -> list[SectionView]:
    return [
        SectionView(
            asset=s.asset,
            chain_id=s.chain_id,
            opening=str(s.opening_minor),
            total_in=str(s.in_minor),
            total_out=str(s.out_minor),
            closing=str(s.closing_minor),
            lines=s.lines,
        )
        for s in sections
    ]
