"""
Asking for money, and saying no: of one user, or of whoever has the link.

Paying is a transfer (``transfers.desk``); the database ends the request with it, exactly once.
Nothing runs when a request runs out: its time is compared whenever somebody looks or pays.
"""

from datetime import datetime

from sqlalchemy import func
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.errors import (
    IdempotencyKeyReusedError,
    MoneyRequestLimitError,
    MoneyRequestNotFoundError,
    MoneyRequestStateError,
    OwnTransferError,
    StrongroomError,
    UnknownAssetError,
)
from domain.ids import MONEY_REQUEST, new_id
from domain.transfers import MoneyRequestStatus, MoneyRequestTerms, Recipient, present_status
from events.outbox import Event, publish
from models.transfers import MoneyRequest
from models.wallets import Asset
from transfers.lookups import Party, find, lock_user, look_up

OPEN_MAX = 1_000
"""Open requests of one user: each may reach somebody's screen."""


async def ask(
    session: AsyncSession, terms: MoneyRequestTerms, *, now: datetime
) -> MoneyRequest | StrongroomError:
    """
    Return the request that these terms make, now or when they were sent before.

    A refusal by a lookup is returned, to be raised after the commit; see ``transfers.lookups``.

    Raises:
        IdempotencyKeyReusedError, UnknownAssetError, OwnTransferError: As named.
        MoneyRequestLimitError: The user has ``OPEN_MAX`` open ones.
    """
    await lock_user(session, terms.user_id)
    known = await session.exec(
        select(MoneyRequest).where(
            MoneyRequest.principal == terms.principal,
            MoneyRequest.idempotency_key == terms.idempotency_key,
        )
    )
    if (row := known.one_or_none()) is not None:
        if row.request_hash != terms.request_hash:
            raise IdempotencyKeyReusedError
        return row
    await check_asset(session, terms.asset)
    await _check_count(session, terms.user_id, now=now)
    payer: Party | StrongroomError | None = None
    if terms.payer is not None:
        payer = await look_up(session, terms.payer, by=terms.user_id, now=now)
    if isinstance(payer, StrongroomError):
        return payer
    if payer is not None and payer.user_id == terms.user_id:
        raise OwnTransferError
    row = _row(terms, payer.user_id if payer else None, now=now)
    session.add(row)
    await session.flush()
    if payer is not None:
        await _tell(session, row, "received", payer.user_id, party=terms.user_id)
    return row


async def decline(
    session: AsyncSession, request_id: str, *, user_id: str, now: datetime
) -> MoneyRequest:
    """
    Let the user who was asked say no; again changes nothing.

    Raises:
        MoneyRequestNotFoundError: There is none that asks this user.
        MoneyRequestStateError: It was paid or cancelled, or is over.
    """
    row = await _locked(session, request_id)
    if row is None or row.payer_id != user_id:
        raise MoneyRequestNotFoundError
    if _end(row, MoneyRequestStatus.DECLINED, now=now):
        await _tell(session, row, "declined", row.user_id, party=user_id)
    return row


async def cancel(
    session: AsyncSession, request_id: str, *, user_id: str, now: datetime
) -> MoneyRequest:
    """
    Let the user who asked take it back; again changes nothing.

    Raises:
        MoneyRequestNotFoundError: There is none of this user.
        MoneyRequestStateError: It was paid or declined, or is over.
    """
    row = await _locked(session, request_id)
    if row is None or row.user_id != user_id:
        raise MoneyRequestNotFoundError
    if _end(row, MoneyRequestStatus.CANCELLED, now=now) and row.payer_id is not None:
        await _tell(session, row, "cancelled", row.payer_id, party=user_id)
    return row


async def check_asset(session: AsyncSession, code: str) -> None:
    """
    Pass for an asset that users may send each other.

    Raises:
        UnknownAssetError: There is no such asset, or it is disabled.
    """
    asset = await session.get(Asset, code)
    if asset is None or not asset.enabled:
        msg = f"There is no asset {code!r}."
        raise UnknownAssetError(msg)


def state_error(row: MoneyRequest, *, now: datetime) -> MoneyRequestStateError:
    """Return the refusal that says where the request stands."""
    standing = present_status(row.status, expires_at=row.expires_at, now=now)
    return MoneyRequestStateError(f"The money request is {standing}.")


def _row(terms: MoneyRequestTerms, payer_id: str | None, *, now: datetime) -> MoneyRequest:
    return MoneyRequest(
        id=new_id(MONEY_REQUEST),
        user_id=terms.user_id,
        payer_id=payer_id,
        principal=terms.principal,
        idempotency_key=terms.idempotency_key,
        request_hash=terms.request_hash,
        asset=terms.asset,
        amount_minor=terms.amount_minor,
        note=terms.note,
        status=MoneyRequestStatus.OPEN,
        expires_at=now + terms.lifetime,
        created_at=now,
        updated_at=now,
    )


async def _check_count(session: AsyncSession, user_id: str, *, now: datetime) -> None:
    found = await session.exec(
        select(func.count())
        .select_from(MoneyRequest)
        .where(
            MoneyRequest.user_id == user_id,
            MoneyRequest.status == MoneyRequestStatus.OPEN,
            col(MoneyRequest.expires_at) > now,
        )
    )
    if found.one() >= OPEN_MAX:
        msg = f"At most {OPEN_MAX} money requests may be open at once."
        raise MoneyRequestLimitError(msg)


async def _locked(session: AsyncSession, request_id: str) -> MoneyRequest | None:
    return await session.get(MoneyRequest, request_id, with_for_update=True)


def _end(row: MoneyRequest, status: MoneyRequestStatus, *, now: datetime) -> bool:
    """End a request; return whether this call did."""
    if row.status == status:
        return False
    if (
        present_status(row.status, expires_at=row.expires_at, now=now)
        is not MoneyRequestStatus.OPEN
    ):
        raise state_error(row, now=now)
    row.status, row.updated_at = status, now
    return True


async def _tell(
    session: AsyncSession, row: MoneyRequest, what: str, user_id: str, *, party: str
) -> None:
    other = await find(session, Recipient(user_id=party))
    data = {
        "asset": row.asset,
        "amount": None if row.amount_minor is None else str(row.amount_minor),
        "note": row.note,
        "party": {"user_id": party, "handle": other.handle if other else None},
    }
    await publish(session, Event(user_id, f"money_request.{what}", row.id, data))
