"""
The steps of one purchase, each one unit of work that may be repeated.

Nothing is told to a purchase but that it should look: what was paid, and what was taken back, is
read from the deposits and from what the gateway last said, and the books are brought there by one
posting. So it does not matter in which order news come, or how often.
"""

from sqlalchemy import delete
from sqlalchemy.exc import IntegrityError
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from deposits.freezes import freeze_buyer, thaw_buyer
from domain.clock import Clock
from domain.errors import (
    ConflictError,
    GatewayRefusedError,
    IdempotencyKeyReusedError,
    PurchaseStateError,
    RequestError,
    StrongroomError,
)
from domain.purchases import (
    OPEN,
    PaymentMethod,
    Position,
    PurchaseAcceptance,
    PurchaseRequest,
    PurchaseStanding,
    PurchaseStatus,
    RefundReason,
    RefundRequest,
    RefundStatus,
)
from infra.database import Database
from ledger import rules
from limits.reservation import give_back
from models.purchases import CardSecret, Purchase, PurchaseRefund
from purchases.books import position_of, settle
from purchases.card_payments import CardStanding, read_card, refunds_of
from purchases.chain_payments import ChainFacts, read_chain
from purchases.history import locked_purchase, move
from purchases.opening import acceptance_of, keep_refusal, open_purchase, refused
from purchases.standing import Facts, next_of, rule_of, standing_of, status_of


class PostgresPurchaseDesk:
    """``domain.gateway_ports.PurchaseDesk`` on PostgreSQL."""

    def __init__(self, database: Database, clock: Clock) -> None:
        """Take the database as the worker's role."""
        self._database = database
        self._clock = clock

    async def open(self, request: PurchaseRequest) -> PurchaseAcceptance:
        """Take the quote and say where to pay, or refuse it; a repeat answers the same."""
        try:
            return await self._open_or_refuse(request)
        except IntegrityError:
            # The same request came twice at once, and the other one is stored by now.
            return await self._open_or_refuse(request)

    async def _open_or_refuse(self, request: PurchaseRequest) -> PurchaseAcceptance:
        try:
            async with self._database.transaction() as session:
                if known := await session.get(Purchase, request.purchase_id):
                    return acceptance_of(known)
                return acceptance_of(await open_purchase(session, request, clock=self._clock))
        except (RequestError, ConflictError) as refusal:
            return await self._refuse(request, refusal)

    async def _refuse(
        self, request: PurchaseRequest, refusal: StrongroomError
    ) -> PurchaseAcceptance:
        async with self._database.transaction() as session:
            if known := await session.get(Purchase, request.purchase_id):
                return acceptance_of(known)
            kept = await keep_refusal(session, request, refusal, clock=self._clock)
            return (
                refused(request, refusal) if kept is None else acceptance_of(kept, refusal.detail)
            )

    async def advance(self, purchase_id: str) -> PurchaseStanding:
        """Book what was paid, or taken back, since the last time, and say what is next."""
        async with self._database.transaction() as session:
            purchase = await locked_purchase(session, purchase_id)
            if purchase.status == PurchaseStatus.REFUSED:
                return standing_of(purchase)
            return await self._advance(session, purchase)

    async def cancel(self, purchase_id: str) -> PurchaseStanding:
        """Give up a purchase that nothing was paid for; a repeat answers the same."""
        async with self._database.transaction() as session:
            purchase = await locked_purchase(session, purchase_id)
            facts = await self._facts(session, purchase)
            if purchase.status != PurchaseStatus.CANCELLED:
                is_paid = facts.is_pending or facts.target != Position()
                if purchase.status != PurchaseStatus.AWAITING_PAYMENT or is_paid:
                    msg = "Only a purchase that nothing was paid for is cancelled."
                    raise PurchaseStateError(msg)
                await self._end(session, purchase, PurchaseStatus.CANCELLED)
            return next_of(purchase, facts, now=self._clock.now())

    async def request_refund(self, request: RefundRequest) -> PurchaseStanding:
        """Take back what a payment bought, so that it can be given back; once per refund."""
        async with self._database.transaction() as session:
            purchase = await locked_purchase(session, request.purchase_id)
            known = await session.get(PurchaseRefund, request.refund_id)
            facts = await self._facts(session, purchase)
            if known is not None and known.amount_minor != request.amount_minor:
                raise IdempotencyKeyReusedError
            if known is not None:
                return next_of(purchase, facts, now=self._clock.now())
            left = facts.target.converted_minor
            if facts.target != position_of(purchase) or not 0 < request.amount_minor <= left:
                msg = f"There are {left} minor units of {purchase.pay_asset} to give back."
                raise PurchaseStateError(msg)
            is_card = purchase.method == PaymentMethod.CARD
            session.add(self._refund(request, is_card=is_card))
            if not is_card:
                purchase.refunded_minor += request.amount_minor
            await session.flush()
            facts = await self._facts(session, purchase)
            await self._move(session, purchase, facts)
            await settle(session, purchase, facts.target, rules.purchase_refund, clock=self._clock)
            return next_of(purchase, facts, now=self._clock.now())

    def _refund(self, request: RefundRequest, *, is_card: bool) -> PurchaseRefund:
        now = self._clock.now()
        return PurchaseRefund(
            id=request.refund_id,
            purchase_id=request.purchase_id,
            amount_minor=request.amount_minor,
            reason=RefundReason.OPERATOR,
            # On a chain nothing is sent: it is the customer's balance from now on.
            status=RefundStatus.REQUESTED if is_card else RefundStatus.SUCCEEDED,
            requested_by=request.operator_id,
            note=request.note,
            created_at=now,
            updated_at=now,
        )

    async def _advance(self, session: AsyncSession, purchase: Purchase) -> PurchaseStanding:
        facts = await self._facts(session, purchase)
        before = position_of(purchase)
        await self._move(session, purchase, facts)
        if facts.target != before:
            if purchase.method == PaymentMethod.CARD:
                await self._freeze(session, purchase, facts, is_loss=_is_loss(before, facts.target))
            rule = rule_of(purchase, before, facts.target)
            await settle(session, purchase, facts.target, rule, clock=self._clock)
        return next_of(purchase, facts, now=self._clock.now())

    async def _freeze(
        self, session: AsyncSession, purchase: Purchase, facts: Facts, *, is_loss: bool
    ) -> None:
        """Freeze whose card payment was taken back; a chain's reversal did so by itself."""
        if is_loss and facts.is_taken_back:
            await freeze_buyer(
                session,
                purchase_id=purchase.id,
                user_id=purchase.user_id,
                posting=purchase.postings + 1,
                clock=self._clock,
            )
        elif not facts.is_taken_back:
            await thaw_buyer(session, purchase.id, clock=self._clock)

    async def _facts(self, session: AsyncSession, purchase: Purchase) -> Facts:
        if purchase.method == PaymentMethod.CHAIN:
            chain: ChainFacts = await read_chain(session, purchase, clock=self._clock)
            return Facts(
                chain.target, chain.is_pending, chain.is_taken_back, purchase.refunded_minor
            )
        card: CardStanding = await read_card(session, purchase, clock=self._clock)
        refunds = await refunds_of(session, purchase.id)
        ours = (
            refund.amount_minor
            for refund in refunds
            if refund.status != RefundStatus.FAILED and refund.reason == RefundReason.OPERATOR
        )
        return Facts(
            card.target,
            card.is_pending,
            card.is_taken_back,
            sum(ours),
            card=card.row,
            open_refund_id=card.open_refund_id,
        )

    async def _move(self, session: AsyncSession, purchase: Purchase, facts: Facts) -> None:
        status = status_of(purchase, facts, now=self._clock.now())
        if facts.is_refused:
            purchase.reason_code = GatewayRefusedError.code
        if status in (PurchaseStatus.EXPIRED, PurchaseStatus.CANCELLED):
            await self._end(session, purchase, status)
        else:
            await move(session, purchase, status, clock=self._clock)
        if status not in OPEN and purchase.method == PaymentMethod.CARD:
            await session.execute(
                delete(CardSecret).where(col(CardSecret.purchase_id) == purchase.id)
            )

    async def _end(self, session: AsyncSession, purchase: Purchase, status: PurchaseStatus) -> None:
        """End a purchase that bought nothing: what was reserved for it is free again."""
        if purchase.status != status:
            await move(session, purchase, status, clock=self._clock)
            await give_back(session, purchase.id)


def _is_loss(before: Position, target: Position) -> bool:
    """Tell whether what was bought is taken back, or more money than the payment brought in."""
    is_overdrawn = target.cash_minor < min(0, before.cash_minor)
    return is_overdrawn or target.credited_minor < before.credited_minor
