"""Reading transfers and money requests: one, or a page of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func
from sqlalchemy.orm import aliased
from sqlmodel import col, or_, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.errors import MoneyRequestNotFoundError, TransferNotFoundError
from domain.transfers import MoneyRequestStatus
from infra.paging import Page, paged
from models.transfers import MoneyRequest, Transfer, TransferEvent, UserHandle


@dataclass(frozen=True, slots=True)
class FoundRequest:
    """A money request, by whom it was paid, and under which handles its parties go now."""

    row: MoneyRequest
    transfer_id: str | None
    paid_by: str | None
    requester_handle: str | None
    payer_handle: str | None


async def transfer_for(
    session: AsyncSession, transfer_id: str, *, user_id: str | None
) -> tuple[Transfer, Sequence[TransferEvent]]:
    """
    Return a transfer with its history; ``user_id`` restricts it to those they are a party of.

    Raises:
        TransferNotFoundError: There is none, or it is between others.
    """
    row = await session.get(Transfer, transfer_id)
    if row is None or user_id not in (None, row.user_id, row.recipient_id):
        raise TransferNotFoundError
    events = await session.exec(
        select(TransferEvent)
        .where(TransferEvent.transfer_id == transfer_id)
        .order_by(col(TransferEvent.id))
    )
    return row, events.all()


async def list_transfers(
    session: AsyncSession,
    page: Page,
    *,
    sender_id: str | None = None,
    recipient_id: str | None = None,
    asset: str | None = None,
) -> Sequence[Transfer]:
    """Return a page of transfers of either party, newest first, and one row more."""
    query = select(Transfer)
    sides = []
    if sender_id is not None:
        sides.append(col(Transfer.user_id) == sender_id)
    if recipient_id is not None:
        sides.append(col(Transfer.recipient_id) == recipient_id)
    if sides:
        query = query.where(or_(*sides))
    if asset is not None:
        query = query.where(Transfer.asset == asset)
    query = paged(query, page, created_at=Transfer.created_at, row_id=Transfer.id)
    return (await session.exec(query)).all()


async def money_request_for(
    session: AsyncSession, request_id: str, *, user_id: str, is_by_link: bool = False
) -> FoundRequest:
    """
    Return a money request that this user sent, was asked with, or paid.

    ``is_by_link`` lets through whoever knows the id of one that names no payer.

    Raises:
        MoneyRequestNotFoundError: There is none, or it is between others.
    """
    found = (await session.exec(_requests().where(MoneyRequest.id == request_id))).one_or_none()
    if found is None:
        raise MoneyRequestNotFoundError
    request = FoundRequest(*found)
    parties = {request.row.user_id, request.row.payer_id, request.paid_by}
    if user_id not in parties and not (is_by_link and request.row.payer_id is None):
        raise MoneyRequestNotFoundError
    return request


async def list_money_requests(
    session: AsyncSession,
    page: Page,
    *,
    requester_id: str | None = None,
    payer_id: str | None = None,
    status: MoneyRequestStatus | None = None,
    now: datetime,
) -> list[FoundRequest]:
    """Return a page of money requests of either party, newest first, and one row more."""
    query = _requests()
    sides = []
    if requester_id is not None:
        sides.append(col(MoneyRequest.user_id) == requester_id)
    if payer_id is not None:
        sides.append(or_(col(MoneyRequest.payer_id) == payer_id, col(Transfer.user_id) == payer_id))
    query = query.where(or_(*sides))
    if status is not None:
        is_open = status in (MoneyRequestStatus.OPEN, MoneyRequestStatus.EXPIRED)
        stored = MoneyRequestStatus.OPEN if is_open else status
        query = query.where(MoneyRequest.status == stored)
        if status is MoneyRequestStatus.OPEN:
            query = query.where(MoneyRequest.expires_at > now)
        if status is MoneyRequestStatus.EXPIRED:
            query = query.where(MoneyRequest.expires_at <= now)
    query = paged(query, page, created_at=MoneyRequest.created_at, row_id=MoneyRequest.id)
    return [FoundRequest(*found) for found in await session.exec(query)]


def _requests() -> Any:
    asked, asker = aliased(UserHandle), aliased(UserHandle)
    return (
        select(MoneyRequest, Transfer.id, Transfer.user_id, asker.shown)
        .add_columns(col(asked.shown))
        .outerjoin(Transfer, col(Transfer.money_request_id) == col(MoneyRequest.id))
        .outerjoin(
            asker,
            (col(asker.user_id) == col(MoneyRequest.user_id)) & col(asker.released_at).is_(None),
        )
        .outerjoin(
            asked,
            (col(asked.user_id) == func.coalesce(MoneyRequest.payer_id, Transfer.user_id))
            & col(asked.released_at).is_(None),
        )
    )
