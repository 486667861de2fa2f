"""A bank that converts ITD and ETH at a rate at which a hundred wei are an amount."""

from typing import Any

from domain.ids import new_id
from domain.rate_table import parse_rate_table
from gateways.rates.table import store_table
from ledger import chart, rules
from ledger.service import Ledger
from payouts.catalog import apply_catalog
from tests.support.bank import Bank
from tests.support.purchases import OFF_CHAIN

ITD_PER_WEI = 2_000
"""Minor units of ITD for one wei; there is no spread."""

STOCK_WEI = 1_000_000
ITD_MINOR = 10**9

TABLE: dict[str, Any] = {
    "pairs": [
        {
            "pay_asset": "ETH",
            "buy_asset": "ITD",
            "price": str(ITD_PER_WEI * 10**12),
            "purposes": ["purchase", "conversion"],
        },
        {"pay_asset": "EUR", "buy_asset": "ITD", "price": "1.1"},
    ],
    "quote_s": 120,
}


async def let_convert(bank: Bank) -> None:
    """Give the bank rates and a stock, and its customer some ITD."""
    async with bank.database.transaction() as session:
        await apply_catalog(session, OFF_CHAIN)
        await store_table(session, parse_rate_table(TABLE), by="test")
    ledger, at = Ledger(bank.database), bank.clock.now()
    await ledger.post(
        rules.transfer(
            key=new_id("itd"),
            source=chart.mint("ITD"),
            target=chart.available(bank.customer.id),
            asset="ITD",
            amount_minor=ITD_MINOR,
            at=at,
        ),
        rules.conversion_stock(
            key=new_id("stock"), source=chart.CAPITAL, asset="ETH", amount_minor=STOCK_WEI, at=at
        ),
    )
