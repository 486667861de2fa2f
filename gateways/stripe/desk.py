"""
The steps of a card payment that ask the gateway: ask outside any unit of work, then write down.

An answer is written only if no later question was answered before: two that ask at once cannot
leave the older answer behind.
"""

import logging

from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.clock import Clock
from domain.errors import GatewayMismatchError, GatewayRefusedError, GatewayUnavailableError
from domain.gateway_ports import CardGateway, CardPayment, IntentStatus
from domain.purchases import PurchaseStatus, RefundStatus
from infra.database import Database
from models.purchases import (
    CardPaymentRow,
    CardSecret,
    GatewayEvent,
    Purchase,
    PurchaseRefund,
)

logger = logging.getLogger(__name__)


class PostgresCardDesk:
    """``domain.gateway_ports.CardDesk`` on PostgreSQL and a gateway."""

    def __init__(self, database: Database, gateway: CardGateway | None, clock: Clock) -> None:
        """Take the database as the worker's role; without a gateway whoever asks has to wait."""
        self._database = database
        self._gateway = gateway
        self._clock = clock

    @property
    def _asked(self) -> CardGateway:
        if self._gateway is None:
            msg = "No payment gateway is configured."
            raise GatewayUnavailableError(msg)
        return self._gateway

    async def create_intent(self, purchase_id: str) -> None:
        """Set the payment up, once; that the gateway refuses it is written down too."""
        async with self._database.transaction() as session:
            row = await session.get_one(CardPaymentRow, purchase_id)
            purchase = await session.get_one(Purchase, purchase_id)
        if row.intent_id is not None or not PurchaseStatus(purchase.status).is_open:
            return
        try:
            intent = await self._asked.create_intent(
                purchase_id=purchase_id,
                amount_minor=purchase.pay_minor,
                currency=purchase.pay_asset,
            )
        except GatewayRefusedError as error:
            logger.warning("card payment of %s: %s", purchase_id, error.detail)
            async with self._database.transaction() as session:
                row = await _locked(session, purchase_id)
                row.status, row.updated_at = IntentStatus.REFUSED, self._clock.now()
            return
        async with self._database.transaction() as session:
            row = await _locked(session, purchase_id)
            row.intent_id, row.updated_at = intent.intent_id, self._clock.now()
            await session.execute(
                insert(CardSecret)
                .values(purchase_id=purchase_id, client_secret=intent.client_secret)
                .on_conflict_do_nothing()
            )

    async def sync(self, purchase_id: str) -> None:
        """Write down how the payment stands now."""
        async with self._database.transaction() as session:
            row = await _locked(session, purchase_id)
            if row.intent_id is None:
                return
            row.asked += 1
            ticket, intent_id = row.asked, row.intent_id
        payment = await self._asked.payment(intent_id)
        async with self._database.transaction() as session:
            row = await _locked(session, purchase_id)
            if row.answered < ticket:
                row.answered = ticket
                await self._write(session, row, payment)

    async def cancel_intent(self, purchase_id: str) -> None:
        """Give the payment up, and write down how it stands then."""
        async with self._database.transaction() as session:
            row = await session.get_one(CardPaymentRow, purchase_id)
        if row.intent_id is not None:
            await self._asked.cancel_intent(purchase_id=purchase_id, intent_id=row.intent_id)
            await self.sync(purchase_id)

    async def refund(self, refund_id: str) -> None:
        """Give back what a refund says, and write down what came of it."""
        async with self._database.transaction() as session:
            refund = await session.get_one(PurchaseRefund, refund_id)
            row = await session.get_one(CardPaymentRow, refund.purchase_id)
        if refund.status != RefundStatus.REQUESTED or row.intent_id is None:
            return
        try:
            await self._asked.refund(
                refund_id=refund_id, intent_id=row.intent_id, amount_minor=refund.amount_minor
            )
        except GatewayRefusedError as error:
            logger.error("refund %s was refused: %s", refund_id, error.detail)  # noqa: TRY400
            async with self._database.transaction() as session:
                await _locked(session, refund.purchase_id)
                await self._end(session, refund_id, RefundStatus.FAILED, None)
        await self.sync(refund.purchase_id)

    async def resolve(self, event_id: str) -> str | None:
        """Return the purchase that an event of the inbox is about; None: none of ours."""
        async with self._database.transaction() as session:
            event = await session.get_one(GatewayEvent, event_id)
        intent_id = await self._asked.intent_of(event.kind, event.object_id)
        async with self._database.transaction() as session:
            found = await session.exec(
                select(CardPaymentRow.purchase_id).where(
                    CardPaymentRow.intent_id == intent_id,
                    col(CardPaymentRow.intent_id).is_not(None),
                )
            )
            return found.first()

    async def mark_handled(self, event_id: str, purchase_id: str | None) -> None:
        """Remember that an event's purchase was told."""
        async with self._database.transaction() as session:
            event = await session.get_one(GatewayEvent, event_id)
            event.handled_at, event.purchase_id = self._clock.now(), purchase_id
            session.add(event)

    async def _write(
        self, session: AsyncSession, row: CardPaymentRow, payment: CardPayment
    ) -> None:
        purchase = await session.get_one(Purchase, row.purchase_id)
        if (payment.amount_minor, payment.currency.upper()) != (
            purchase.pay_minor,
            purchase.pay_asset,
        ) or payment.received_minor > purchase.pay_minor:
            raise GatewayMismatchError
        row.status = payment.status
        row.received_minor = payment.received_minor
        row.refunded_minor = payment.refunded_minor
        row.disputed_minor = payment.disputed_minor
        row.paid_at = payment.paid_at
        row.updated_at = self._clock.now()
        session.add(row)
        for refund in payment.refunds:
            if refund.refund_id is not None:
                status = RefundStatus.FAILED if refund.is_failed else RefundStatus.SUCCEEDED
                await self._end(session, refund.refund_id, status, refund.gateway_id)

    async def _end(
        self,
        session: AsyncSession,
        refund_id: str,
        status: RefundStatus,
        gateway_id: str | None,
    ) -> None:
        refund = await session.get(PurchaseRefund, refund_id)
        if refund is not None and refund.status != status:
            refund.status, refund.updated_at = status, self._clock.now()
            refund.gateway_id = gateway_id or refund.gateway_id
            session.add(refund)


async def _locked(session: AsyncSession, purchase_id: str) -> CardPaymentRow:
    """Return the payment behind its purchase's lock: whoever books it reads one state of both."""
    await session.exec(select(Purchase.id).where(Purchase.id == purchase_id).with_for_update())
    return await session.get_one(CardPaymentRow, purchase_id, populate_existing=True)
