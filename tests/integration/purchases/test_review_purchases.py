"""What a reviewer tried on purchases: limits that were given back, disputes of what is gone."""

import pytest

from domain.limits import Operation
from domain.purchases import PurchaseStatus
from tests.support.limits import row, set_limits, used
from tests.support.purchases import ETH, Shop


class TestLateLimits:
    async def test_are_asked_for_again_where_a_late_payment_was_first_seen_unconfirmed(
        self, shop: Shop
    ) -> None:
        await set_limits(shop.books, row(asset="ITD", operation=Operation.PURCHASE, count=1))
        late = await shop.bought()
        shop.wait(hours=1, seconds=1)
        assert (await shop.advance(late)).status == PurchaseStatus.EXPIRED
        await shop.bought()

        deposit_id = await shop.seen(late, ETH)
        await shop.advance(late)
        await shop.confirm(deposit_id)
        await shop.advance(late)

        assert (await shop.available(), await shop.available("ETH")) == (0, ETH)
        assert await used(shop.books) == [(1, None)]

    async def test_are_used_once_where_they_are_still_to_be_had(self, shop: Shop) -> None:
        await set_limits(shop.books, row(asset="ITD", operation=Operation.PURCHASE, count=9))
        late = await shop.bought()
        shop.wait(hours=1, seconds=1)
        await shop.advance(late)
        for part in (ETH // 2, ETH // 2):
            deposit_id = await shop.seen(late, part)
            await shop.advance(late)
            await shop.confirm(deposit_id)
            await shop.advance(late)

        assert (await shop.purchase(late.id)).status == PurchaseStatus.COMPLETED
        assert await used(shop.books) == [(1, None)]


class TestDisputeOfWhatIsGone:
    @pytest.mark.parametrize("given_back", ["refund", "cancellation"])
    async def test_freezes_whoever_has_their_money_twice(self, shop: Shop, given_back: str) -> None:
        purchase = await shop.card_bought(1_000)
        secret = await shop.client_secret(purchase)
        if given_back == "cancellation":
            await shop.desk.cancel(purchase.id)
        await shop.stripe.pay(secret, "pm_card_visa")
        await shop.look(purchase)
        if given_back == "refund":
            await shop.refund(purchase, 1_000)
        (refund,) = await shop.refunds(purchase)
        await shop.cards.refund(refund.id)
        await shop.look(purchase)
        assert not await shop.is_frozen()

        await shop.stripe.play("dispute", shop.stripe.only("charge")["id"], amount="1000")
        await shop.look(purchase)

        assert await shop.is_frozen()
