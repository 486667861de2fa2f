"""
The steps of one payout before the chain: freeze, decide, cancel, expire.

Each method is one unit of work. A workflow may repeat any of them after a crash, so each looks at
what is there before it changes anything.
"""

from sqlalchemy.exc import IntegrityError
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from deposits.freezes import check_not_frozen
from domain.clock import Clock
from domain.errors import (
    AddressDeniedError,
    DestinationCoolingDownError,
    DestinationNotInBookError,
    InsufficientAvailableBalanceError,
    LimitExceededError,
    PayoutStateError,
    RequestError,
    StrongroomError,
    WalletFrozenError,
)
from domain.ids import HOLD, derived_id
from domain.limits import Operation
from domain.payouts import (
    Acceptance,
    Decision,
    DecisionOutcome,
    PayoutOutcome,
    PayoutRequest,
    PayoutStatus,
)
from domain.policy import limit_reservations, requirement
from domain.ports import AddressScreener
from infra.database import Database
from ledger import rules
from ledger.service import Ledger
from limits.reservation import reserve
from models.chain_transactions import ChainTransaction
from models.payouts import Payout, PayoutEvent
from payouts.approvals import record_decision
from payouts.book import check_in_book
from payouts.history import begin, locked_payout, move, outcome_of
from payouts.money import return_postings
from payouts.policy import PolicyVersion, current_policy
from payouts.retries import check_retry, lock_failed
from payouts.screening import PostgresScreener, check_allowed
from payouts.validation import PayoutTarget, validate_target

CANCELLABLE = (PayoutStatus.AWAITING_APPROVAL, PayoutStatus.READY)


class PostgresPayoutDesk:
    """``domain.ports.PayoutDesk`` on PostgreSQL."""

    def __init__(
        self, database: Database, clock: Clock, screener: AddressScreener | None = None
    ) -> None:
        """Take the database as the worker's role, and who screens; by default our own list."""
        self._database = database
        self._clock = clock
        self._screener = screener or PostgresScreener(database)

    async def freeze(self, request: PayoutRequest) -> Acceptance:
        """Write the payout and hold amount plus fee, or refuse it; a repeat answers the same."""
        try:
            return await self._freeze_or_refuse(request)
        except IntegrityError:
            # The same request came twice at once, and the other one is stored by now.
            return await self._freeze_or_refuse(request)

    async def _freeze_or_refuse(self, request: PayoutRequest) -> Acceptance:
        try:
            return await self._try_freeze(request)
        except (
            InsufficientAvailableBalanceError,
            LimitExceededError,
            WalletFrozenError,
            AddressDeniedError,
            DestinationNotInBookError,
            DestinationCoolingDownError,
            PayoutStateError,
        ) as refusal:
            return await self._refuse(request, refusal)
        except RequestError as refusal:
            return refused(request.payout_id, request.request_hash, refusal)

    async def _try_freeze(self, request: PayoutRequest) -> Acceptance:
        async with self._database.transaction() as session:
            if known := await session.get(Payout, request.payout_id):
                return await acceptance_of(session, known)
            target = await _target(session, request)
            await check_in_book(
                session,
                request.user_id,
                target.chain_id,
                target.destination,
                now=self._clock.now(),
            )
        # Outside any unit of work: whoever screens may be far away.
        await check_allowed(self._screener, target.chain_id, target.destination)
        async with self._database.transaction() as session:
            await check_not_frozen(session, request.user_id)
            if request.retry_of is not None:
                await lock_failed(session, request)
                await check_retry(session, request, destination=target.destination)
            policy = await current_policy(session)
            payout = self._new_payout(request, target, policy)
            begin(session, payout)
            await session.flush()
            limits = limit_reservations(
                policy.document,
                asset=payout.asset,
                amount_minor=payout.amount_minor,
                at=payout.created_at,
            )
            posting = rules.payout_freeze(
                payout_id=payout.id,
                hold_id=str(payout.hold_id),
                user_id=payout.user_id,
                asset=payout.asset,
                total_minor=payout.amount_minor + payout.fee_minor,
                limits=limits,
                expires_at=payout.approval_expires_at,
                at=payout.created_at,
            )
            await reserve(
                session,
                user_id=payout.user_id,
                operation=Operation.PAYOUT,
                asset=payout.asset,
                amount_minor=payout.amount_minor,
                at=payout.created_at,
                hold_id=payout.hold_id,
                resource_id=payout.id,
            )
            await Ledger.post_in(session, [posting])
            return await acceptance_of(session, payout)

    def _new_payout(
        self, request: PayoutRequest, target: PayoutTarget, policy: PolicyVersion
    ) -> Payout:
        now = self._clock.now()
        needed = requirement(
            policy.document, asset=request.asset, amount_minor=request.amount_minor
        )
        is_open = needed.approvals > 0
        return Payout(
            id=request.payout_id,
            user_id=request.user_id,
            principal=request.principal,
            idempotency_key=request.idempotency_key,
            request_hash=request.request_hash,
            asset=request.asset,
            chain_id=target.chain_id,
            amount_minor=request.amount_minor,
            fee_minor=target.asset.payout_fee_minor,
            destination=target.destination,
            note=request.note,
            priority=request.priority,
            retry_of=request.retry_of,
            status=PayoutStatus.AWAITING_APPROVAL if is_open else PayoutStatus.READY,
            policy_version=policy.version,
            approvals_required=needed.approvals,
            approval_expires_at=now + needed.expires_after if is_open else None,
            hold_id=derived_id(HOLD, request.payout_id),
            created_at=now,
            updated_at=now,
        )

    async def _refuse(self, request: PayoutRequest, refusal: StrongroomError) -> Acceptance:
        """Keep the refusal, so that the same Idempotency-Key answers the same for ever."""
        async with self._database.transaction() as session:
            if known := await session.get(Payout, request.payout_id):
                return await acceptance_of(session, known)
            target = await _target(session, request)
            payout = self._new_payout(request, target, await current_policy(session))
            payout.hold_id = payout.approval_expires_at = None
            # From the first write on: a refused retry must not meet the one that stands.
            payout.status = PayoutStatus.REFUSED
            session.add(payout)
            await session.flush()
            move(
                session,
                [payout],
                PayoutStatus.REFUSED,
                clock=self._clock,
                reason_code=refusal.code,
                detail=refusal.detail,
            )
            return await acceptance_of(session, payout)

    async def decide(self, decision: Decision) -> DecisionOutcome:
        """Record an approver's decision; see ``payouts.approvals``."""
        async with self._database.transaction() as session:
            payout = await locked_payout(session, decision.payout_id)
            outcome = await record_decision(session, payout, decision, clock=self._clock)
            if outcome.status == payout.status:
                return outcome
            if outcome.status == PayoutStatus.REJECTED:
                await self._release(session, payout, PayoutStatus.REJECTED, detail=decision.note)
            else:
                move(session, [payout], outcome.status, clock=self._clock)
            return outcome

    async def cancel(self, payout_id: str) -> PayoutOutcome:
        """Release the hold of a payout that no batch has taken; a repeat answers the same."""
        async with self._database.transaction() as session:
            payout = await locked_payout(session, payout_id)
            if payout.status != PayoutStatus.CANCELLED:
                if payout.status not in CANCELLABLE:
                    msg = f"A payout that is {payout.status} cannot be cancelled."
                    raise PayoutStateError(msg)
                await self._release(session, payout, PayoutStatus.CANCELLED)
            return outcome_of(payout)

    async def expire(self, payout_id: str) -> PayoutOutcome:
        """Release the hold if approvals are still missing; otherwise say where it stands."""
        async with self._database.transaction() as session:
            payout = await locked_payout(session, payout_id)
            if payout.status == PayoutStatus.AWAITING_APPROVAL:
                await self._release(session, payout, PayoutStatus.EXPIRED)
            return outcome_of(payout)

    async def outcome(self, payout_id: str) -> PayoutOutcome:
        """Return where the payout stands."""
        async with self._database.transaction() as session:
            payout = await session.get_one(Payout, payout_id)
            txid = await session.exec(
                select(ChainTransaction.txid).where(
                    ChainTransaction.id == payout.chain_transaction_id
                )
            )
            return outcome_of(payout, txid=txid.first())

    async def _release(
        self,
        session: AsyncSession,
        payout: Payout,
        status: PayoutStatus,
        *,
        detail: str | None = None,
    ) -> None:
        is_expiry = status == PayoutStatus.EXPIRED
        postings = await return_postings(session, [payout], clock=self._clock, is_expiry=is_expiry)
        await Ledger.post_in(session, postings)
        move(session, [payout], status, clock=self._clock, detail=detail)


async def _target(session: AsyncSession, request: PayoutRequest) -> PayoutTarget:
    return await validate_target(
        session,
        asset_code=request.asset,
        amount_minor=request.amount_minor,
        destination=request.destination,
    )


async def acceptance_of(session: AsyncSession, payout: Payout) -> Acceptance:
    """Return what became of a request that was written down."""
    is_refused = payout.status == PayoutStatus.REFUSED
    return Acceptance(
        payout_id=payout.id,
        status=PayoutStatus(payout.status),
        request_hash=payout.request_hash,
        reason_code=payout.reason_code,
        reason=await _why_refused(session, payout) if is_refused else None,
        approvals_required=payout.approvals_required,
        approval_expires_at=payout.approval_expires_at,
    )


async def _why_refused(session: AsyncSession, payout: Payout) -> str | None:
    """Return what was said at the first time, so that every repeat says it too."""
    await session.flush()
    found = await session.exec(
        select(PayoutEvent.detail).where(
            PayoutEvent.payout_id == payout.id, PayoutEvent.status == PayoutStatus.REFUSED
        )
    )
    return found.first()


def refused(payout_id: str, request_hash: str, error: StrongroomError) -> Acceptance:
    """Return the answer to a request that nothing was written of."""
    return Acceptance(
        payout_id=payout_id,
        status=PayoutStatus.REFUSED,
        request_hash=request_hash,
        reason_code=error.code,
        reason=error.detail,
    )
