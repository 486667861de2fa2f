"""A shop on test books: rates, quotes, purchases, deposits as the watcher would write them."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from sqlmodel import col, select

from deposits.desk import PostgresDepositDesk
from domain.deposits import DepositStatus
from domain.ids import DEPOSIT, PURCHASE, derived_id, new_id
from domain.purchases import (
    PurchaseAcceptance,
    PurchaseRequest,
    PurchaseStanding,
    PurchaseStatus,
    RefundRequest,
)
from domain.rate_table import parse_rate_table
from gateways.rates.quotes import QuoteRequest, Side, give_quote
from gateways.rates.table import store_table
from gateways.stripe.client import StripeGateway
from gateways.stripe.desk import PostgresCardDesk
from infra.database import Database
from ledger import chart
from models.chain_transactions import ChainHead
from models.deposits import ChainDeposit, UserFreeze
from models.events import OutboxEvent
from models.purchases import Purchase, PurchaseRefund, Quote
from payouts.catalog import Catalog, apply_catalog
from purchases.desk import PostgresPurchaseDesk
from tests.support.bank import hd_account
from tests.support.books import CHAIN, Books, as_role, opened_books
from tests.support.gateways import API_KEY, LocalStripe, local_stripe

ETH = 10**18
ITD = 10**6
PRICE = 2_000
"""ITD for one ETH."""
SPREAD_BPS = 100

OFF_CHAIN = Catalog.model_validate(
    {
        "assets": [
            {"code": "ITD", "kind": "internal", "decimals": 6, "name": "Internet dollar"},
            {"code": "EUR", "kind": "fiat", "decimals": 2, "name": "Euro"},
        ]
    }
)


def rate_table(**changes: Any) -> dict[str, Any]:
    return {
        "pairs": [
            {
                "pay_asset": "ETH",
                "buy_asset": "ITD",
                "price": str(PRICE),
                "spread_bps": SPREAD_BPS,
            },
            {"pay_asset": "EUR", "buy_asset": "ITD", "price": "1.1"},
        ],
        "chain_window_s": 3_600,
        "card_window_s": 1_800,
        "settle_grace_s": 7_200,
        "late_tolerance_bps": 200,
        **changes,
    }


@dataclass
class Shop:
    """Everything between a quote and its credit, step by step, each part as its own role."""

    books: Books
    api: Database
    stripe: LocalStripe
    gateway: StripeGateway
    height: int = field(default=100)

    def __post_init__(self) -> None:
        self.clock = self.books.clock
        self.desk = PostgresPurchaseDesk(self.books.worker, self.clock)
        self.cards = PostgresCardDesk(self.books.worker, self.gateway, self.clock)
        self.deposits = PostgresDepositDesk(self.books.worker, self.clock)

    async def set_rates(self, **changes: Any) -> None:
        async with self.api.transaction() as session:
            await store_table(session, parse_rate_table(rate_table(**changes)), by="owner")

    async def set_price(self, price: str) -> None:
        pairs = rate_table()["pairs"]
        pairs[0]["price"] = price
        await self.set_rates(pairs=pairs)

    async def quote(
        self,
        amount_minor: int = ETH,
        *,
        pay: str = "ETH",
        side: Side = "pay",
        user_id: str = "u1",
    ) -> Quote:
        wanted = QuoteRequest(user_id, pay, "ITD", side, amount_minor)
        async with self.api.transaction() as session:
            return await give_quote(session, wanted, clock=self.clock)

    def request(
        self, quote_id: str, *, key: str | None = None, user_id: str = "u1"
    ) -> PurchaseRequest:
        key = key or new_id("key")
        return PurchaseRequest(
            purchase_id=derived_id(PURCHASE, user_id, key),
            user_id=user_id,
            principal=user_id,
            idempotency_key=key,
            request_hash=f"hash of {quote_id}",
            quote_id=quote_id,
        )

    async def open(self, quote_id: str, **asked: Any) -> PurchaseAcceptance:
        return await self.desk.open(self.request(quote_id, **asked))

    async def bought(self, amount_minor: int = ETH, **asked: Any) -> Purchase:
        """Return an open purchase."""
        quote = await self.quote(amount_minor, **asked)
        accepted = await self.open(quote.id, user_id=quote.user_id)
        assert accepted.status == PurchaseStatus.AWAITING_PAYMENT, accepted
        return await self.purchase(accepted.purchase_id)

    async def purchase(self, purchase_id: str) -> Purchase:
        async with self.books.owner.transaction() as session:
            return await session.get_one(Purchase, purchase_id)

    async def seen(self, purchase: Purchase, amount_minor: int, *, asset: str | None = None) -> str:
        """Write a deposit as the watcher does that sees it in the pool."""
        async with self.books.owner.transaction() as session:
            deposit = ChainDeposit(
                id=new_id(DEPOSIT),
                chain_id=CHAIN,
                address_id=str(purchase.address_id),
                user_id=purchase.user_id,
                asset=asset or purchase.pay_asset,
                txid=new_id("tx"),
                position="native",
                amount_minor=amount_minor,
                status=DepositStatus.SEEN,
                confirmations_required=3,
                seen_at=self.clock.now(),
            )
            session.add(deposit)
            return deposit.id

    async def confirm(self, deposit_id: str) -> None:
        """Bury a deposit deep enough, and book it."""
        await self._change(
            deposit_id,
            block_height=self.height - 10,
            block_hash="b",
            status=DepositStatus.CONFIRMING,
            missing_since=None,
        )
        await self.deposits.advance(deposit_id)

    async def drop(self, deposit_id: str) -> None:
        """Let a reorg take a booked deposit."""
        await self._change(
            deposit_id, block_height=None, block_hash=None, missing_since=self.clock.now()
        )
        await self.deposits.advance(deposit_id)

    async def forget(self, deposit_id: str) -> None:
        await self._change(deposit_id, status=DepositStatus.FORGOTTEN)

    async def paid(self, purchase: Purchase, amount_minor: int) -> str:
        """Pay, confirm, and let the purchase look."""
        deposit_id = await self.seen(purchase, amount_minor)
        await self.confirm(deposit_id)
        await self.desk.advance(purchase.id)
        return deposit_id

    async def advance(self, purchase: Purchase) -> PurchaseStanding:
        return await self.desk.advance(purchase.id)

    async def look(self, purchase: Purchase) -> PurchaseStanding:
        """Ask the gateway, then book."""
        await self.cards.sync(purchase.id)
        return await self.desk.advance(purchase.id)

    async def card_bought(self, amount_minor: int = 1_000, card: str | None = None) -> Purchase:
        """Return a purchase that a card may pay, or has paid."""
        purchase = await self.bought(amount_minor, pay="EUR")
        await self.cards.create_intent(purchase.id)
        if card is not None:
            await self.stripe.pay(await self.client_secret(purchase), card)
            await self.look(purchase)
        return await self.purchase(purchase.id)

    async def client_secret(self, purchase: Purchase) -> str:
        async with self.books.owner.transaction() as session:
            connection = await session.connection()
            found = await connection.exec_driver_sql(
                "SELECT client_secret FROM card_secret WHERE purchase_id = %(id)s",
                {"id": purchase.id},
            )
            return str(found.scalar_one())

    async def refund(self, purchase: Purchase, amount_minor: int, key: str = "r") -> RefundRequest:
        request = RefundRequest(
            derived_id("prf", purchase.id, key), purchase.id, "a1", str(amount_minor)
        )
        await self.desk.request_refund(request)
        return request

    async def refunds(self, purchase: Purchase) -> list[PurchaseRefund]:
        async with self.books.owner.transaction() as session:
            found = await session.exec(
                select(PurchaseRefund).where(PurchaseRefund.purchase_id == purchase.id)
            )
            return list(found)

    async def available(self, asset: str = "ITD", user_id: str = "u1") -> int:
        return await self.books.balance(chart.available(user_id), asset)

    async def issued(self) -> int:
        return -await self.books.balance(chart.mint("ITD"), "ITD")

    async def is_frozen(self, user_id: str = "u1") -> bool:
        async with self.books.owner.transaction() as session:
            found = await session.exec(
                select(UserFreeze.id).where(
                    UserFreeze.user_id == user_id, col(UserFreeze.lifted_at).is_(None)
                )
            )
            return found.first() is not None

    async def told(self, purchase: Purchase) -> list[str]:
        """Return the kinds of events of a purchase, oldest first."""
        async with self.books.owner.transaction() as session:
            found = await session.exec(
                select(OutboxEvent.kind)
                .where(OutboxEvent.resource_id == purchase.id)
                .order_by(col(OutboxEvent.seq))
            )
            return list(found)

    def wait(self, **step: float) -> None:
        self.clock.advance(timedelta(**step))

    async def _change(self, deposit_id: str, **values: Any) -> None:
        async with self.books.owner.transaction() as session:
            deposit = await session.get_one(ChainDeposit, deposit_id)
            for name, value in values.items():
                setattr(deposit, name, value)


@asynccontextmanager
async def opened_shop(url: str) -> AsyncIterator[Shop]:
    async with AsyncExitStack() as stack:
        books = await stack.enter_async_context(opened_books(url))
        stripe = await stack.enter_async_context(local_stripe(clock=books.clock))
        gateway = StripeGateway(API_KEY, base_url=stripe.url)
        stack.push_async_callback(gateway.close)
        api = Database(as_role(url, "api"))
        stack.push_async_callback(api.close)
        shop = Shop(books, api, stripe, gateway)
        async with books.owner.transaction() as session:
            await apply_catalog(session, OFF_CHAIN)
            session.add(hd_account(CHAIN))
            session.add(
                ChainHead(
                    chain_id=CHAIN,
                    height=shop.height,
                    tip_height=shop.height,
                    seen_at=shop.clock.now(),
                )
            )
        await shop.set_rates()
        yield shop
