"""What webhooks never brought: found in the gateway's own list, and taken to its purchase."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest
from sqlmodel import select

from domain.errors import GatewayUnavailableError
from domain.purchases import PurchaseStatus
from gateways.stripe.review import OVERLAP, PostgresCardReview
from gateways.stripe.webhooks import Delivery, keep
from ledger import chart
from models.purchases import GatewayCursor, GatewayEvent, Purchase
from tests.integration.purchases.test_card_purchases import assert_equal_to_stripe
from tests.support.purchases import ITD, Shop

PAY = 1_000
FULL = 11 * ITD
GRACE = timedelta(minutes=5)


def review_of(shop: Shop) -> PostgresCardReview:
    return PostgresCardReview(shop.books.worker, shop.gateway, shop.clock, grace=GRACE)


async def handle(shop: Shop, event_ids: Sequence[str]) -> list[str | None]:
    """Do what the activity does with what was missed; return the purchases that it would tell."""
    told = []
    for event_id in event_ids:
        purchase_id = await shop.cards.resolve(event_id)
        await shop.cards.mark_handled(event_id, purchase_id)
        told.append(purchase_id)
    return told


async def missed_after_a_while(shop: Shop) -> Sequence[str]:
    await review_of(shop).missed()
    shop.clock.advance(GRACE)
    return await review_of(shop).missed()


async def told_at_last(shop: Shop, purchase: Purchase) -> None:
    """Review until everything is handled, and let the purchase look where it is told to."""
    told = await handle(shop, await missed_after_a_while(shop))
    assert purchase.id in told
    await shop.look(purchase)


async def inbox(shop: Shop) -> dict[str, GatewayEvent]:
    async with shop.books.owner.transaction() as session:
        return {event.id: event for event in await session.exec(select(GatewayEvent))}


class TestReview:
    async def test_tells_of_a_payment_that_no_webhook_told(self, shop: Shop) -> None:
        purchase = await shop.card_bought(PAY)
        await shop.stripe.pay(await shop.client_secret(purchase))
        await told_at_last(shop, purchase)

        assert await shop.available() == FULL
        await assert_equal_to_stripe(shop)

    async def test_tells_of_a_refund_after_the_purchase_has_ended(self, shop: Shop) -> None:
        purchase = await shop.card_bought(PAY, "pm_card_visa")
        await handle(shop, await missed_after_a_while(shop))
        shop.clock.advance(timedelta(days=20))
        await shop.stripe.refund_elsewhere()
        await told_at_last(shop, purchase)

        assert (await shop.available(), await shop.issued()) == (0, 0)
        assert (await shop.purchase(purchase.id)).status == PurchaseStatus.CLAWED_BACK
        await assert_equal_to_stripe(shop)

    async def test_tells_of_a_dispute_and_of_its_end(self, shop: Shop) -> None:
        purchase = await shop.card_bought(PAY, "pm_card_visa")
        await shop.stripe.play("dispute", shop.stripe.only("charge")["id"])
        await told_at_last(shop, purchase)
        assert await shop.available() == 0

        shop.clock.advance(timedelta(days=60))
        await shop.stripe.play("resolve", shop.stripe.only("dispute")["id"], status="won")
        await told_at_last(shop, purchase)
        assert await shop.available() == FULL
        await assert_equal_to_stripe(shop)

    async def test_leaves_to_the_webhook_what_it_may_still_bring(self, shop: Shop) -> None:
        await shop.card_bought(PAY, "pm_card_visa")
        assert await review_of(shop).missed() == []
        assert await inbox(shop)

    async def test_tells_of_nothing_that_was_handled(self, shop: Shop) -> None:
        await shop.card_bought(PAY, "pm_card_visa")
        first = await missed_after_a_while(shop)
        await handle(shop, first)
        assert first
        assert await missed_after_a_while(shop) == []

    async def test_tells_again_of_what_a_killed_process_left(self, shop: Shop) -> None:
        await shop.card_bought(PAY, "pm_card_visa")
        first = await missed_after_a_while(shop)
        assert await review_of(shop).missed() == first

    async def test_takes_up_what_the_api_kept_and_handed_to_nobody(self, shop: Shop) -> None:
        purchase = await shop.card_bought(PAY, "pm_card_visa")
        await handle(shop, await missed_after_a_while(shop))
        delivery = Delivery("evt_kept", "charge.refunded", shop.stripe.only("charge")["id"])
        async with shop.api.transaction() as session:
            await keep(session, delivery, clock=shop.clock)
        assert await handle(shop, await missed_after_a_while(shop)) == [purchase.id]

    async def test_asks_for_no_more_than_it_does_not_know(self, shop: Shop) -> None:
        await shop.card_bought(PAY, "pm_card_visa")
        await review_of(shop).missed()
        asked = []
        ask = shop.gateway.news

        async def noted(since: object) -> object:
            asked.append(since)
            return await ask(since)  # type: ignore[arg-type]

        shop.gateway.news = noted  # type: ignore[assignment,method-assign]
        await review_of(shop).missed()
        async with shop.books.owner.transaction() as session:
            cursor = (await session.exec(select(GatewayCursor))).one()
        assert asked == [cursor.seen_until - OVERLAP]
        newest = max(event["created"] for event in shop.stripe.things["event"].values())
        assert cursor.seen_until.timestamp() == newest

    async def test_reads_every_page(self, shop: Shop) -> None:
        purchase = await shop.card_bought(PAY, "pm_card_visa")
        dispute = await shop.stripe.play("dispute", shop.stripe.only("charge")["id"])
        for turn in range(150):
            status = ("under_review", "needs_response")[turn % 2]
            await shop.stripe.play("resolve", dispute["id"], status=status)
        told = await handle(shop, await missed_after_a_while(shop))
        assert len(told) > 150
        assert set(told) == {purchase.id}

    async def test_keeps_nothing_of_a_list_that_broke_off(self, shop: Shop) -> None:
        await shop.card_bought(PAY, "pm_card_visa")
        await shop.stripe.play("fault", kind="error", path="/v1/events")
        with pytest.raises(GatewayUnavailableError):
            await review_of(shop).missed()
        assert await missed_after_a_while(shop)

    async def test_by_two_at_once_tells_the_same(self, shop: Shop) -> None:
        purchase = await shop.card_bought(PAY)
        await shop.stripe.pay(await shop.client_secret(purchase))
        await asyncio.gather(*(review_of(shop).missed() for _ in range(4)))
        shop.clock.advance(GRACE)
        for event_ids in await asyncio.gather(*(review_of(shop).missed() for _ in range(4))):
            assert set(await handle(shop, event_ids)) == {purchase.id}
        for _ in range(3):
            await shop.look(purchase)

        assert await shop.available() == FULL
        assert -await shop.books.balance(chart.gateway("stripe"), "EUR") == PAY

    async def test_is_nothing_without_a_gateway(self, shop: Shop) -> None:
        alone = PostgresCardReview(shop.books.worker, None, shop.clock, grace=GRACE)
        assert await alone.missed() == ()
