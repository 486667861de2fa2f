"""
The transfer desk: money from one user to another, in one unit of work and one ledger transaction.

Either everything is written (transfer, posting, limits, events, the second factor's use, the end of
a money request) or nothing is. So a refused transfer uses no code up, and there is no workflow.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.clock import Clock
from domain.errors import (
    IdempotencyKeyReusedError,
    MoneyRequestMismatchError,
    MoneyRequestNotFoundError,
    OwnTransferError,
    StrongroomError,
    ValidationError,
)
from domain.limits import Operation
from domain.transfers import (
    MoneyRequestStatus,
    Recipient,
    TransferRequest,
    TransferStatus,
    present_status,
)
from events.outbox import Event, Json, publish
from identity.permits import Permits
from infra.database import Database
from limits.reservation import reserve
from models.transfers import MoneyRequest, Transfer, UserHandle
from transfers.lookups import Party, lock_user, look_up
from transfers.money_requests import check_asset, state_error
from transfers.posting import make, permit_content

SpendSecondFactor = Callable[[AsyncSession], Awaitable[str | StrongroomError]]
"""Judges the sender's second factor in this unit of work: which kind it was, or why not."""


class TransferDesk:
    """Makes transfers."""

    def __init__(self, database: Database, clock: Clock, permits: Permits) -> None:
        """Take the database, the time, and what vouches to the database for second factors."""
        self._database = database
        self._clock = clock
        self._permits = permits

    async def send(self, request: TransferRequest, *, spend: SpendSecondFactor) -> Transfer:
        """
        Return the transfer that this request made, now or when it was sent before.

        Raises:
            RequestError, ConflictError: Refused; nothing is changed.
            DatabaseUnavailableError: Unknown whether it was made; repeat the same request.
        """
        await self._permits.register()
        async with self._database.transaction() as session:
            outcome = await self._send_in(session, request, spend)
        # What is returned and not raised was to be committed: a guess that was counted.
        if isinstance(outcome, StrongroomError):
            raise outcome
        return outcome

    async def _send_in(
        self, session: AsyncSession, request: TransferRequest, spend: SpendSecondFactor
    ) -> Transfer | StrongroomError:
        # One at a time per sender: a repeat must see what the first one did.
        await lock_user(session, request.user_id)
        if (known := await session.get(Transfer, request.transfer_id)) is not None:
            if known.request_hash != request.request_hash:
                raise IdempotencyKeyReusedError
            return known
        judged = await session.begin_nested()
        proof = await spend(session)
        if isinstance(proof, StrongroomError):
            return proof
        now = self._clock.now()
        request = await _completed(session, request, now=now)
        recipient = await _recipient(session, request, now=now)
        if isinstance(recipient, StrongroomError):
            # A code is given back, as by any refusal; what a lookup costs is not.
            await judged.rollback()
            return _refusal(await _recipient(session, request, now=now))
        transfer = await _drawn_up(session, request, recipient, proof=proof, now=now)
        await self._carry_out(session, transfer)
        return transfer

    async def _carry_out(self, session: AsyncSession, transfer: Transfer) -> None:
        # Limits are locked before the books, as everywhere; the books come last.
        await reserve(
            session,
            user_id=transfer.user_id,
            operation=Operation.SEND,
            asset=transfer.asset,
            amount_minor=transfer.amount_minor,
            at=transfer.created_at,
            hold_id=None,
            resource_id=transfer.id,
        )
        await publish(session, *_events(transfer))
        await make(session, transfer, self._permits.issue(*permit_content(transfer)))


async def _completed(
    session: AsyncSession, request: TransferRequest, *, now: datetime
) -> TransferRequest:
    """Return the request with what its money request says, which it may not contradict."""
    if request.money_request_id is None:
        return request
    asked = await session.get(MoneyRequest, request.money_request_id, with_for_update=True)
    if asked is None or asked.payer_id not in (None, request.user_id):
        raise MoneyRequestNotFoundError
    if (
        present_status(asked.status, expires_at=asked.expires_at, now=now)
        != MoneyRequestStatus.OPEN
    ):
        raise state_error(asked, now=now)
    if request.asset not in (None, asked.asset):
        msg = f"The money request asks for {asked.asset}."
        raise MoneyRequestMismatchError(msg)
    if asked.amount_minor is not None and request.amount_minor not in (None, asked.amount_minor):
        msg = f"The money request asks for exactly {asked.amount_minor} minor units."
        raise MoneyRequestMismatchError(msg)
    return replace(
        request,
        recipient=request.recipient or Recipient(user_id=asked.user_id),
        asset=asked.asset,
        amount_minor=asked.amount_minor or request.amount_minor,
    )


async def _recipient(
    session: AsyncSession, request: TransferRequest, *, now: datetime
) -> Party | StrongroomError:
    if request.recipient is None:
        raise _missing("to")
    # Money that arrives is no lookup; guesses that miss cost as much as anywhere.
    return await look_up(
        session, request.recipient, by=request.user_id, now=now, hit_cost=timedelta(0)
    )


def _refusal(found: Party | StrongroomError) -> StrongroomError:
    assert isinstance(found, StrongroomError)
    return found


async def _drawn_up(
    session: AsyncSession,
    request: TransferRequest,
    recipient: Party,
    *,
    proof: str,
    now: datetime,
) -> Transfer:
    if recipient.user_id == request.user_id:
        raise OwnTransferError
    if request.asset is None:
        raise _missing("asset")
    if request.amount_minor is None:
        raise _missing("amount")
    await check_asset(session, request.asset)
    return Transfer(
        id=request.transfer_id,
        user_id=request.user_id,
        recipient_id=recipient.user_id,
        principal=request.principal,
        idempotency_key=request.idempotency_key,
        request_hash=request.request_hash,
        asset=request.asset,
        amount_minor=request.amount_minor,
        note=request.note,
        sender_handle=await _handle_of(session, request.user_id),
        recipient_handle=recipient.handle,
        money_request_id=request.money_request_id,
        second_factor=proof,
        status=TransferStatus.COMPLETED,
        created_at=now,
        updated_at=now,
    )


async def _handle_of(session: AsyncSession, user_id: str) -> str | None:
    found = await session.exec(
        select(UserHandle.shown).where(
            UserHandle.user_id == user_id, col(UserHandle.released_at).is_(None)
        )
    )
    return found.one_or_none()


def _events(transfer: Transfer) -> list[Event]:
    sender: dict[str, Json] = {"user_id": transfer.user_id, "handle": transfer.sender_handle}
    recipient = {"user_id": transfer.recipient_id, "handle": transfer.recipient_handle}
    request_id = transfer.money_request_id
    amount: dict[str, Json] = {"asset": transfer.asset, "amount": str(transfer.amount_minor)}
    data = amount | {"note": transfer.note, "money_request_id": request_id}
    told = [
        Event(transfer.user_id, "transfer.sent", transfer.id, data | {"party": recipient}),
        Event(transfer.recipient_id, "transfer.received", transfer.id, data | {"party": sender}),
    ]
    if request_id is not None:
        paid = amount | {"party": sender, "transfer_id": transfer.id}
        told.append(Event(transfer.recipient_id, "money_request.paid", request_id, paid))
    return told


def _missing(field: str) -> ValidationError:
    return ValidationError(errors=[{"field": field, "message": "Field required"}])
