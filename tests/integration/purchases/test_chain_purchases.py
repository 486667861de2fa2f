"""Purchases that are paid on a chain: in time, too little, too much, late, in parts, taken back."""

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy.exc import DBAPIError

from domain.errors import InsufficientAvailableBalanceError, PurchaseStateError
from domain.limits import Operation
from domain.purchases import PurchaseStatus
from ledger import chart, rules
from tests.support.books import CHAIN
from tests.support.limits import row, set_limits, used
from tests.support.purchases import ETH, ITD, Shop

FULL = 1_980 * ITD


async def spend(shop: Shop, amount_minor: int, asset: str = "ITD") -> None:
    """Let the customer spend something."""
    await shop.books.ledger.post(
        rules.transfer(
            key=f"spent {amount_minor} {asset}",
            source=chart.available("u1"),
            target=chart.available("u2"),
            asset=asset,
            amount_minor=amount_minor,
            at=shop.clock.now(),
        )
    )


class TestOpen:
    async def test_hands_out_an_address_of_its_own(self, shop: Shop) -> None:
        first, second = await shop.bought(), await shop.bought()
        assert first.address_id
        assert first.address_id != second.address_id
        assert first.expires_at == shop.clock.now() + timedelta(hours=1)

    async def test_answers_the_same_when_repeated(self, shop: Shop) -> None:
        request = shop.request((await shop.quote()).id)
        first = await shop.desk.open(request)
        shop.wait(hours=2)
        assert await shop.desk.open(request) == first

    async def test_takes_a_quote_once_however_many_ask_at_once(self, shop: Shop) -> None:
        quote = await shop.quote()
        answers = await asyncio.gather(*(shop.open(quote.id) for _ in range(6)))
        assert sorted(a.reason_code or "" for a in answers) == ["", *["quote_used"] * 5]

    async def test_refuses_a_quote_that_is_over(self, shop: Shop) -> None:
        quote = await shop.quote()
        shop.wait(seconds=61)
        request = shop.request(quote.id)
        refused = await shop.desk.open(request)
        assert refused.reason_code == "quote_expired"
        assert (await shop.desk.open(request)).reason_code == "quote_expired"

    async def test_refuses_somebody_elses_quote(self, shop: Shop) -> None:
        quote = await shop.quote()
        assert (await shop.open(quote.id, user_id="u2")).reason_code == "quote_not_found"

    async def test_writes_no_terms_but_the_quotes(self, shop: Shop) -> None:
        await shop.bought()
        async with shop.books.worker.transaction() as session:
            connection = await session.connection()
            with pytest.raises(DBAPIError, match="permission denied"):
                await connection.exec_driver_sql("UPDATE purchase SET amount_minor = 1")
        with pytest.raises(DBAPIError, match="terms of a purchase do not change"):
            await shop.books.execute("UPDATE purchase SET amount_minor = 1")


class TestLimits:
    @pytest.fixture(autouse=True)
    async def limit(self, shop: Shop) -> None:
        cap = row(asset="ITD", operation=Operation.PURCHASE, count=2)
        await set_limits(shop.books, cap)

    async def test_are_used_when_it_is_opened(self, shop: Shop) -> None:
        await shop.bought()
        await shop.bought()
        third = await shop.open((await shop.quote()).id)
        assert third.reason_code == "limit_exceeded"
        assert "leaves 0 of 2 operations" in str(third.reason)

    async def test_are_free_again_when_it_expires_or_is_cancelled(self, shop: Shop) -> None:
        first, second = await shop.bought(), await shop.bought()
        await shop.desk.cancel(second.id)
        shop.wait(hours=1)
        await shop.advance(first)
        assert await used(shop.books) == [(0, None)]

    async def test_stay_used_when_something_was_bought(self, shop: Shop) -> None:
        purchase = await shop.bought()
        await shop.paid(purchase, ETH // 2)
        shop.wait(hours=1)
        await shop.advance(purchase)
        assert await used(shop.books) == [(1, None)]

    async def test_hold_for_late_payments_too(self, shop: Shop) -> None:
        late = await shop.bought()
        shop.wait(hours=1, seconds=1)
        await shop.advance(late)
        for _ in range(2):
            await shop.bought()
        await shop.paid(late, ETH)
        assert (await shop.available(), await shop.available("ETH")) == (0, ETH)


class TestPayment:
    async def test_is_credited_at_the_locked_rate(self, shop: Shop) -> None:
        purchase = await shop.bought()
        await shop.set_price("1")
        await shop.paid(purchase, ETH)

        assert (await shop.purchase(purchase.id)).status == PurchaseStatus.COMPLETED
        assert await shop.available() == await shop.issued() == FULL
        assert await shop.books.balance(chart.PURCHASE_PROCEEDS) == ETH
        assert await shop.available("ETH") == 0
        assert await shop.told(purchase) == [
            "purchase.awaiting_payment",
            "purchase.completed",
            "purchase.credited",
        ]

    async def test_is_nobodys_balance_until_it_is_converted(self, shop: Shop) -> None:
        purchase = await shop.bought()
        await shop.confirm(await shop.seen(purchase, ETH))

        assert await shop.available("ETH") == 0
        assert await shop.books.balance(chart.purchase_clearing(CHAIN)) == ETH

    async def test_is_credited_once_however_often_it_looks(self, shop: Shop) -> None:
        purchase = await shop.bought()
        await shop.paid(purchase, ETH)
        await asyncio.gather(*(shop.advance(purchase) for _ in range(5)))
        assert await shop.issued() == FULL

    async def test_shows_that_it_confirms(self, shop: Shop) -> None:
        purchase = await shop.bought()
        await shop.seen(purchase, ETH)
        standing = await shop.advance(purchase)
        assert (standing.status, standing.is_waiting) == (PurchaseStatus.CONFIRMING, True)

    async def test_in_another_asset_is_an_ordinary_deposit(self, shop: Shop) -> None:
        purchase = await shop.bought()
        await shop.confirm(await shop.seen(purchase, 77, asset="USD"))
        standing = await shop.advance(purchase)
        assert standing.status == PurchaseStatus.AWAITING_PAYMENT
        assert await shop.available("USD") == 77

    async def test_in_parts_is_credited_part_by_part(self, shop: Shop) -> None:
        purchase = await shop.bought()
        for part in (ETH // 3, ETH // 3, ETH - 2 * (ETH // 3)):
            await shop.paid(purchase, part)
        assert (await shop.purchase(purchase.id)).status == PurchaseStatus.COMPLETED
        assert await shop.available() == FULL

    async def test_of_less_is_credited_pro_rata(self, shop: Shop) -> None:
        purchase = await shop.bought()
        await shop.paid(purchase, ETH // 4)
        assert (await shop.purchase(purchase.id)).status == PurchaseStatus.PARTIALLY_PAID
        shop.wait(hours=1)
        standing = await shop.advance(purchase)

        assert (standing.status, standing.is_waiting) == (PurchaseStatus.UNDERPAID, False)
        assert await shop.available() == FULL // 4

    async def test_of_more_leaves_the_rest_as_balance(self, shop: Shop) -> None:
        purchase = await shop.bought()
        await shop.paid(purchase, ETH + 5)
        await shop.paid(purchase, 7)

        assert (await shop.available(), await shop.available("ETH")) == (FULL, 12)
        assert (await shop.purchase(purchase.id)).status == PurchaseStatus.COMPLETED

    async def test_that_is_too_small_to_be_credited_buys_nothing(self, shop: Shop) -> None:
        purchase = await shop.bought()
        deposit_id = await shop.seen(purchase, 1)
        await shop._change(deposit_id, reason_code="below_minimum")
        await shop.confirm(deposit_id)
        await shop.advance(purchase)
        assert await shop.books.balance(chart.UNCLAIMED) == 1
        assert await shop.books.balance(chart.purchase_clearing(CHAIN)) == 0


class TestLatePayment:
    async def expired(self, shop: Shop) -> str:
        purchase = await shop.bought()
        shop.wait(hours=1, seconds=1)
        assert (await shop.advance(purchase)).status == PurchaseStatus.EXPIRED
        return purchase.id

    async def test_buys_at_the_present_rate_where_that_is_worse(self, shop: Shop) -> None:
        purchase = await shop.purchase(await self.expired(shop))
        await shop.set_price("1980")
        await shop.paid(purchase, ETH)
        assert await shop.available() == 1_980 * ITD * 99 // 100

    async def test_buys_at_the_locked_rate_where_the_present_one_is_better(
        self, shop: Shop
    ) -> None:
        purchase = await shop.purchase(await self.expired(shop))
        await shop.set_price("2020")
        await shop.paid(purchase, ETH)
        assert await shop.available() == FULL

    @pytest.mark.parametrize("price", ["1900", "2100"])
    async def test_is_plain_balance_where_the_rate_moved_too_far(
        self, shop: Shop, price: str
    ) -> None:
        purchase = await shop.purchase(await self.expired(shop))
        await shop.set_price(price)
        await shop.paid(purchase, ETH)
        assert (await shop.available(), await shop.available("ETH")) == (0, ETH)

    async def test_is_plain_balance_where_no_rate_is_to_be_had(self, shop: Shop) -> None:
        purchase = await shop.purchase(await self.expired(shop))
        await shop.set_rates(pairs=[])
        await shop.paid(purchase, ETH)
        assert (await shop.available(), await shop.available("ETH")) == (0, ETH)

    async def test_is_plain_balance_after_a_cancellation(self, shop: Shop) -> None:
        purchase = await shop.bought()
        await shop.desk.cancel(purchase.id)
        await shop.paid(purchase, ETH)
        assert (await shop.available(), await shop.available("ETH")) == (0, ETH)
        assert (await shop.purchase(purchase.id)).status == PurchaseStatus.CANCELLED

    async def test_is_what_was_seen_in_time_and_confirmed_far_too_late(self, shop: Shop) -> None:
        purchase = await shop.bought()
        deposit_id = await shop.seen(purchase, ETH)
        await shop.set_price("1")
        shop.wait(hours=3, seconds=1)
        assert (await shop.advance(purchase)).status == PurchaseStatus.CONFIRMING
        await shop.confirm(deposit_id)
        await shop.advance(purchase)
        assert (await shop.available(), await shop.available("ETH")) == (0, ETH)

    async def test_is_not_what_was_seen_in_time_and_confirmed_a_little_later(
        self, shop: Shop
    ) -> None:
        purchase = await shop.bought()
        deposit_id = await shop.seen(purchase, ETH)
        await shop.set_price("1")
        shop.wait(hours=2)
        await shop.confirm(deposit_id)
        await shop.advance(purchase)
        assert await shop.available() == FULL


class TestReorg:
    async def test_takes_back_what_was_bought(self, shop: Shop) -> None:
        purchase = await shop.bought()
        deposit_id = await shop.paid(purchase, ETH)
        await shop.drop(deposit_id)
        standing = await shop.advance(purchase)

        assert standing.status == PurchaseStatus.CLAWED_BACK
        assert await shop.available() == await shop.issued() == 0
        assert await shop.books.balance(chart.PURCHASE_PROCEEDS) == 0
        assert await shop.books.balance(chart.purchase_clearing(CHAIN)) == 0
        assert await shop.is_frozen()

    async def test_leaves_a_debt_where_it_was_spent(self, shop: Shop) -> None:
        purchase = await shop.bought()
        deposit_id = await shop.paid(purchase, ETH + 5)
        await spend(shop, FULL)
        await spend(shop, 5, "ETH")
        await shop.drop(deposit_id)
        await shop.advance(purchase)

        assert (await shop.available(), await shop.available("ETH")) == (-FULL, -5)

    async def test_gives_it_again_when_the_payment_comes_back(self, shop: Shop) -> None:
        purchase = await shop.bought()
        deposit_id = await shop.paid(purchase, ETH)
        await shop.drop(deposit_id)
        await shop.advance(purchase)
        await shop.confirm(deposit_id)
        await shop.advance(purchase)

        assert await shop.available() == FULL
        assert (await shop.purchase(purchase.id)).status == PurchaseStatus.COMPLETED
        assert not await shop.is_frozen()

    async def test_makes_room_for_the_payment_that_replaced_it(self, shop: Shop) -> None:
        purchase = await shop.bought()
        deposit_id = await shop.paid(purchase, ETH)
        replacement = await shop.seen(purchase, ETH)
        await shop.drop(deposit_id)
        await shop.confirm(replacement)
        await shop.advance(purchase)

        assert (await shop.available(), await shop.available("ETH")) == (FULL, 0)

    async def test_that_ends_where_it_began_moves_nothing(self, shop: Shop) -> None:
        purchase = await shop.bought()
        deposit_id = await shop.paid(purchase, ETH)
        before = await shop.purchase(purchase.id)
        await shop.drop(deposit_id)
        await shop.confirm(deposit_id)
        await shop.advance(purchase)
        assert (await shop.purchase(purchase.id)).postings == before.postings


class TestExpiry:
    async def test_waits_for_what_was_seen_in_time(self, shop: Shop) -> None:
        purchase = await shop.bought()
        deposit_id = await shop.seen(purchase, ETH)
        shop.wait(hours=1, seconds=1)
        assert (await shop.advance(purchase)).status == PurchaseStatus.CONFIRMING
        await shop.forget(deposit_id)
        assert (await shop.advance(purchase)).status == PurchaseStatus.EXPIRED

    async def test_asks_to_be_woken_then(self, shop: Shop) -> None:
        purchase = await shop.bought()
        shop.wait(minutes=50)
        assert (await shop.advance(purchase)).wake_at == purchase.expires_at


class TestCancel:
    async def test_is_refused_once_something_was_seen(self, shop: Shop) -> None:
        purchase = await shop.bought()
        await shop.seen(purchase, 1_000)
        with pytest.raises(PurchaseStateError):
            await shop.desk.cancel(purchase.id)

    async def test_answers_the_same_when_repeated(self, shop: Shop) -> None:
        purchase = await shop.bought()
        first = await shop.desk.cancel(purchase.id)
        assert first.status == PurchaseStatus.CANCELLED
        assert await shop.desk.cancel(purchase.id) == first


class TestRefund:
    async def test_gives_the_payment_back_for_what_it_bought(self, shop: Shop) -> None:
        purchase = await shop.bought()
        await shop.paid(purchase, ETH)
        await shop.refund(purchase, ETH)

        assert (await shop.available(), await shop.available("ETH")) == (0, ETH)
        assert (await shop.purchase(purchase.id)).status == PurchaseStatus.REFUNDED

    async def test_of_a_part_leaves_the_rest(self, shop: Shop) -> None:
        purchase = await shop.bought()
        await shop.paid(purchase, ETH)
        await shop.refund(purchase, ETH // 4)

        assert (await shop.available(), await shop.available("ETH")) == (FULL * 3 // 4, ETH // 4)
        assert (await shop.purchase(purchase.id)).status == PurchaseStatus.COMPLETED

    async def test_counts_once(self, shop: Shop) -> None:
        purchase = await shop.bought()
        await shop.paid(purchase, ETH)
        for _ in range(3):
            await shop.refund(purchase, ETH // 4, "same")
        assert await shop.available("ETH") == ETH // 4

    async def test_is_refused_where_it_was_spent(self, shop: Shop) -> None:
        purchase = await shop.bought()
        await shop.paid(purchase, ETH)
        await spend(shop, 1)
        with pytest.raises(InsufficientAvailableBalanceError):
            await shop.refund(purchase, ETH)
        assert await shop.available() == FULL - 1

    @pytest.mark.parametrize("amount_minor", [0, -1, ETH + 1])
    async def test_is_refused_beyond_what_was_paid(self, shop: Shop, amount_minor: int) -> None:
        purchase = await shop.bought()
        await shop.paid(purchase, ETH)
        with pytest.raises(PurchaseStateError):
            await shop.refund(purchase, amount_minor)

    async def test_and_a_reorg_of_the_payment_owe_it_back(self, shop: Shop) -> None:
        purchase = await shop.bought()
        deposit_id = await shop.paid(purchase, ETH)
        await shop.refund(purchase, ETH)
        await shop.drop(deposit_id)
        await shop.advance(purchase)
        assert (await shop.available(), await shop.available("ETH")) == (0, 0)
