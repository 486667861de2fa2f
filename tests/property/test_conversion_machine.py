"""Conversions against a chain in memory: killed, cancelled or reorganized, nobody gains by it."""

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.errors import AmountOutOfRangeError
from domain.payouts import PayoutStatus
from domain.pockets import Route
from ledger import chart
from ledger.queries import asset_sums
from models.purchases import Quote
from payouts.conversions import conversions_of
from tests.support.conversions import ConvertingBooks
from tests.support.evm_books import CONFIRMATIONS, ETHER
from tests.support.pocket_books import STEPS
from tests.support.postgres import PostgresServer, fresh_database
from tests.support.purchases import ITD

ROUTES: dict[str, tuple[Route, str, str]] = {
    "buy ETH": (Route.FUND, "ITD", "ETH"),
    "swap USD": (Route.FUND, "USD", "ETH"),
    "sell ETH": (Route.REDEEM, "ETH", "ITD"),
    "sell USD": (Route.REDEEM, "USD", "ETH"),
}
parts = st.fractions(min_value=0, max_value=1, max_denominator=97)
operations = st.one_of(
    st.tuples(st.sampled_from(sorted(ROUTES)), parts),
    st.tuples(st.just("cancel"), st.integers(0, 5)),
    st.tuples(st.just("price"), st.sampled_from(["1900", "1985", "2000", "2015", "2100.7"])),
    st.tuples(st.just("wait"), st.sampled_from([30, 3_600, 3 * 3_600])),
    st.tuples(st.just("die"), st.integers(0, len(STEPS) - 1)),
    st.tuples(st.just("work"), st.integers(1, 4)),
    st.tuples(st.just("reorg"), st.integers(1, CONFIRMATIONS + 1)),
)
MOST = {"ITD": 400 * ITD, "USD": 400 * 10**6, "ETH": ETHER // 8}


class Exchange(ConvertingBooks):
    """A user who converts, and what they were promised."""

    async def play(self, name: str, value: Any) -> None:
        if name in ROUTES:
            await self.try_to_convert(*ROUTES[name], value)
        elif name == "cancel":
            await self.cancel_one(value)
        elif name == "price":
            await self.set_price(value)
        elif name == "wait":
            self.clock.advance(timedelta(seconds=value))
        else:
            await self.run(name, "", value)

    async def try_to_convert(self, route: Route, pay: str, buy: str, part: Any) -> None:
        try:
            quote = await self.quote(pay, buy, int(MOST[pay] * part) + 1)
        except AmountOutOfRangeError:
            return
        before = await self.standing()
        accepted = await self.ask_converted(route, quote)
        if accepted.status == PayoutStatus.REFUSED:
            assert await self.standing() == before

    async def cancel_one(self, place: int) -> None:
        waiting = [p.id for p in await self.payouts() if p.status == PayoutStatus.READY]
        if waiting:
            await self.desk.cancel(waiting[place % len(waiting)])

    async def assert_fair(self) -> None:
        """Every transfer gave at most what its quote says of what it took."""
        async with self.owner.transaction() as session:
            payouts = await self.payouts()
            conversions = await conversions_of(session, payouts)
            assert set((await asset_sums(session)).values()) == {0}
        for payout in payouts:
            conversion = conversions.get(payout.id)
            if conversion is not None:
                quote: Quote = conversion.quote
                got_minor = conversion.got_minor(payout)
                assert got_minor <= quote.buy_minor
                if payout.route == Route.REDEEM:
                    arrived = payout.arrived_booked_minor
                    assert got_minor * quote.pay_minor <= arrived * quote.buy_minor
        for asset in ("ETH", "USD"):
            assert await self.balance(chart.CONVERSION_RESERVED, asset) == 0
            assert await self.balance(chart.CONVERSION_STOCK, asset) >= 0

    async def settle_all(self) -> None:
        """Bring everything to its end; see ``PocketBooks.finish``, where nothing is cancelled."""
        for payout in await self.payouts():
            if not PayoutStatus(payout.status).is_final:
                await self.to_its_end(payout.id)
        await self.mine(2 * CONFIRMATIONS)
        self.wait(61)
        await self.mine(CONFIRMATIONS)
        await self.assert_books_equal_chain()
        await self.assert_fair()


@pytest.mark.timeout(600)
def test_give_what_was_quoted_or_nothing(postgres_server: PostgresServer) -> None:
    @settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(operations, min_size=4, max_size=12))
    def check(asked: list[tuple[str, Any]]) -> None:
        async def play() -> None:
            async with AsyncExitStack() as stack:
                books = Exchange(stack.enter_context(fresh_database(postgres_server)))
                stack.push_async_callback(books.close)
                await books.begin()
                for operation in asked:
                    await books.play(*operation)
                await books.settle_all()

        asyncio.run(play())

    check()
