"""Pockets whose transfers convert: rates, stock, quotes, over a chain in memory."""

import copy
from dataclasses import dataclass
from typing import Any, override

from sqlalchemy import func
from sqlmodel import select

from domain.payouts import Acceptance, PayoutStatus
from domain.pockets import Route
from domain.rate_table import Purpose, parse_rate_table
from gateways.rates.quotes import QuoteRequest, give_quote
from gateways.rates.table import check_assets, store_table
from ledger import chart, rules
from ledger.stock import Source, set_aside
from models.ledger import LedgerTransaction
from models.payouts import Payout, PocketConversion
from models.purchases import Quote
from payouts.catalog import apply_catalog
from tests.support.clocks import MovableClock
from tests.support.evm import CHAIN_ID
from tests.support.evm_books import CONFIRMATIONS, ETHER
from tests.support.fake_chain import FakeChain
from tests.support.pocket_books import PocketBooks
from tests.support.pockets import transfer_request
from tests.support.purchases import ITD, OFF_CHAIN

PRICE = 2_000
"""ITD for one ETH, before the spread of 1 %; USD for ITD is one for one."""

ITD_MINOR = 10_000 * ITD
STOCK_MINOR = {"ETH": 2 * ETHER, "USD": 100_000 * 10**6}


def conversion_table(**changes: Any) -> dict[str, Any]:
    return {
        "pairs": [
            {
                "pay_asset": "ETH",
                "buy_asset": "ITD",
                "price": str(PRICE),
                "spread_bps": 100,
                "purposes": ["purchase", "conversion"],
            },
            {
                "pay_asset": "USD",
                "buy_asset": "ITD",
                "price": "1",
                "purposes": ["conversion"],
            },
        ],
        "chain_window_s": 3_600,
        "settle_grace_s": 3_600,
        "late_tolerance_bps": 200,
        **changes,
    }


@dataclass(frozen=True, slots=True)
class Begun:
    """Books as they are when they were opened, to be copied by tests: opening takes seconds."""

    database: str
    chain: FakeChain
    clock: MovableClock
    hot: str
    contracts: dict[str, str]

    def copied(self, url: str) -> "ConvertingBooks":
        """Return the same books on a copy of their database."""
        chain, clock = copy.deepcopy(self.chain), copy.deepcopy(self.clock)
        books = ConvertingBooks(url, chain=chain, clock=clock)
        books.hot, books.contracts = self.hot, dict(self.contracts)
        return books


async def begun_on(url: str) -> Begun:
    """Open books on an empty database, and leave it to be copied."""
    books = ConvertingBooks(url)
    await books.begin()
    await books.close()
    name = url.rpartition("/")[2]
    return Begun(name, books.chain, books.clock, books.hot, books.contracts)


class ConvertingBooks(PocketBooks):
    """Books of a user who owns coin, tokens and ITD, and of a house that converts."""

    @override
    async def begin(self) -> None:
        await super().begin()
        async with self.owner.transaction() as session:
            await apply_catalog(session, OFF_CHAIN)
        await self.set_rates()
        await self.ledger.post(
            rules.transfer(
                key="bought",
                source=chart.mint("ITD"),
                target=chart.available("u1"),
                asset="ITD",
                amount_minor=ITD_MINOR,
                at=self.clock.now(),
            )
        )
        for asset, amount_minor in STOCK_MINOR.items():
            await self.set_aside(asset, amount_minor)

    async def set_aside(self, asset: str, amount_minor: int, *, key: str = "") -> int:
        async with self.owner.transaction() as session:
            return await set_aside(
                session,
                asset=asset,
                amount_minor=amount_minor,
                source=Source.CAPITAL,
                key=key or f"{asset} {amount_minor} {self.clock.now()}",
                clock=self.clock,
            )

    async def set_rates(self, **changes: Any) -> None:
        document = parse_rate_table(conversion_table(**changes))
        async with self.api.transaction() as session:
            await check_assets(session, document)
            await store_table(session, document, by="owner")

    async def set_price(self, price: str) -> None:
        pairs = conversion_table()["pairs"]
        pairs[0]["price"] = price
        await self.set_rates(pairs=pairs)

    async def quote(self, pay_asset: str, buy_asset: str, amount_minor: int, **asked: Any) -> Quote:
        about: dict[str, Any] = {
            "side": "pay",
            "purpose": Purpose.CONVERSION,
            "user_id": "u1",
        } | asked
        wanted = QuoteRequest(
            pay_asset=pay_asset, buy_asset=buy_asset, amount_minor=amount_minor, **about
        )
        async with self.api.transaction() as session:
            return await give_quote(session, wanted, clock=self.clock)

    async def ask_converted(self, route: Route, quote: Quote, **changes: Any) -> Acceptance:
        """Ask for a transfer that is exactly what its quote says, but for the changes."""
        about: dict[str, Any] = {
            "asset": quote.pay_asset,
            "to_asset": quote.buy_asset,
            "amount": quote.pay_minor,
            "quote_id": quote.id,
        } | changes
        amount = about.pop("amount")
        request = transfer_request(route, amount, chain_id=CHAIN_ID, **about)
        return await self.pocket_desk.freeze(request)

    async def converted(
        self, route: Route, pay_asset: str, buy_asset: str, amount_minor: int
    ) -> tuple[Payout, Quote]:
        """Take a transfer that converts to its end."""
        quote = await self.quote(pay_asset, buy_asset, amount_minor)
        accepted = await self.ask_converted(route, quote)
        assert accepted.status == PayoutStatus.READY, accepted
        await self.to_its_end(accepted.payout_id)
        return await self.payout(accepted.payout_id), quote

    async def to_its_end(self, transfer_id: str) -> None:
        while not PayoutStatus((await self.payout(transfer_id)).status).is_final:
            await self.work()
        await self.mine(CONFIRMATIONS)

    async def conversion(self, transfer_id: str) -> PocketConversion:
        async with self.owner.transaction() as session:
            return await session.get_one(PocketConversion, transfer_id)

    async def stock(self, asset: str) -> tuple[int, int]:
        """Return what is set aside, and what is promised."""
        free_minor = await self.balance(chart.CONVERSION_STOCK, asset)
        return free_minor, await self.balance(chart.CONVERSION_RESERVED, asset)

    async def count_of(self, rule: str) -> int:
        """Return how often a rule was posted."""
        async with self.owner.transaction() as session:
            query = select(func.count()).where(LedgerTransaction.rule == rule)
            return (await session.exec(query)).one()

    async def standing(self) -> dict[str, int]:
        """Return what a transfer that does not take place must leave as it was."""
        places = [(chart.available("u1"), asset) for asset in ("ETH", "USD", "ITD")] + [
            (chart.held("u1"), asset) for asset in ("ETH", "USD", "ITD")
        ]
        places += [(chart.onchain("u1", CHAIN_ID), asset) for asset in ("ETH", "USD")]
        places += [(chart.onchain_held("u1", CHAIN_ID), asset) for asset in ("ETH", "USD")]
        places += [(chart.CONVERSION_STOCK, asset) for asset in ("ETH", "USD")]
        places += [(chart.CONVERSION_RESERVED, asset) for asset in ("ETH", "USD")]
        places += [(chart.mint("ITD"), "ITD"), (chart.inflight(CHAIN_ID), "ITD")]
        return {f"{code} {asset}": await self.balance(code, asset) for code, asset in places}
