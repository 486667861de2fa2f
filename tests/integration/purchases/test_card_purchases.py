"""Purchases that a card pays: Stripe's own library against our own Stripe, over HTTP."""

import asyncio
import contextlib

import pytest
from sqlalchemy.exc import DBAPIError

from domain.errors import (
    GatewayOutcomeUnknownError,
    GatewayUnavailableError,
    InsufficientAvailableBalanceError,
    PurchaseStateError,
)
from domain.purchases import PurchaseStatus, PurchaseTask, RefundStatus
from ledger import chart
from models.purchases import CardSecret, Purchase
from tests.integration.purchases.test_chain_purchases import spend
from tests.support.purchases import ITD, Shop

PAY = 1_000
FULL = 11 * ITD


async def at_stripe(shop: Shop) -> int:
    """Return what Stripe says that we have there."""
    answer = await shop.stripe.http.get(
        "/v1/balance", headers={"Authorization": f"Bearer {shop.stripe.server.api_key}"}
    )
    return sum(each["amount"] for each in answer.json()["available"])


async def assert_equal_to_stripe(shop: Shop) -> None:
    """Books and gateway agree, and what is issued is somebody's."""
    assert -await shop.books.balance(chart.gateway("stripe"), "EUR") == await at_stripe(shop)
    assert await shop.issued() == await shop.available() + await shop.available(user_id="u2")


async def run_tasks(shop: Shop, purchase: Purchase) -> PurchaseStatus:
    """Do what a workflow does until nothing is left to do."""
    standing = await shop.advance(purchase)
    for _ in range(10):
        match standing.task:
            case PurchaseTask.CREATE_INTENT:
                await shop.cards.create_intent(purchase.id)
            case PurchaseTask.CANCEL_INTENT:
                await shop.cards.cancel_intent(purchase.id)
            case PurchaseTask.REFUND:
                await shop.cards.refund(str(standing.refund_id))
            case None:
                return standing.status
        standing = await shop.advance(purchase)
    raise AssertionError(standing)


class TestIntent:
    async def test_is_asked_for_when_it_is_opened(self, shop: Shop) -> None:
        purchase = await shop.bought(PAY, pay="EUR")
        standing = await shop.advance(purchase)
        assert (standing.task, purchase.address_id) == (PurchaseTask.CREATE_INTENT, None)

    async def test_is_made_once_however_often_it_is_asked_for(self, shop: Shop) -> None:
        purchase = await shop.bought(PAY, pay="EUR")
        await asyncio.gather(
            *(shop.cards.create_intent(purchase.id) for _ in range(4)), return_exceptions=True
        )
        await shop.cards.create_intent(purchase.id)
        intent = shop.stripe.only("payment_intent")
        assert (intent["amount"], intent["currency"]) == (PAY, "eur")
        assert intent["metadata"] == {"purchase_id": purchase.id}

    async def test_is_found_again_after_a_lost_answer(self, shop: Shop) -> None:
        purchase = await shop.bought(PAY, pay="EUR")
        await shop.stripe.play("fault", kind="lost", path="/v1/payment_intents")
        with pytest.raises(GatewayOutcomeUnknownError):
            await shop.cards.create_intent(purchase.id)
        await shop.cards.create_intent(purchase.id)
        secret = shop.stripe.only("payment_intent")["client_secret"]
        assert await shop.client_secret(purchase) == secret

    async def test_waits_while_stripe_is_busy(self, shop: Shop) -> None:
        purchase = await shop.bought(PAY, pay="EUR")
        await shop.stripe.play("fault", kind="busy", path="/v1/payment_intents")
        with pytest.raises(GatewayUnavailableError):
            await shop.cards.create_intent(purchase.id)

    async def test_that_stripe_refuses_ends_the_purchase(self, shop: Shop) -> None:
        purchase = await shop.bought(10, pay="EUR")
        assert await run_tasks(shop, purchase) == PurchaseStatus.CANCELLED
        assert (await shop.purchase(purchase.id)).reason_code == "gateway_refused"

    async def test_has_a_secret_that_the_worker_cannot_read(self, shop: Shop) -> None:
        purchase = await shop.card_bought(PAY)
        async with shop.books.worker.transaction() as session:
            with pytest.raises(DBAPIError, match="permission denied"):
                await session.get(CardSecret, purchase.id)

    async def test_has_a_secret_that_is_forgotten_at_the_end(self, shop: Shop) -> None:
        purchase = await shop.card_bought(PAY, "pm_card_visa")
        async with shop.api.transaction() as session:
            assert await session.get(CardSecret, purchase.id) is None


class TestPayment:
    async def test_is_credited_once(self, shop: Shop) -> None:
        purchase = await shop.card_bought(PAY, "pm_card_visa")
        await asyncio.gather(*(shop.look(purchase) for _ in range(4)))

        assert purchase.status == PurchaseStatus.COMPLETED
        assert await shop.available() == FULL
        await assert_equal_to_stripe(shop)

    async def test_that_is_declined_credits_nothing(self, shop: Shop) -> None:
        purchase = await shop.card_bought(PAY, "pm_card_chargeDeclined")
        assert purchase.status == PurchaseStatus.AWAITING_PAYMENT
        await shop.stripe.pay(await shop.client_secret(purchase))
        await shop.look(purchase)
        assert await shop.available() == FULL

    async def test_that_is_processed_is_waited_for(self, shop: Shop) -> None:
        purchase = await shop.card_bought(PAY, "pm_card_delayed")
        assert purchase.status == PurchaseStatus.CONFIRMING
        shop.wait(hours=5)
        assert await run_tasks(shop, purchase) == PurchaseStatus.CONFIRMING
        await shop.stripe.play("decide", shop.stripe.only("payment_intent")["id"])
        assert (await shop.look(purchase)).status != PurchaseStatus.CONFIRMING

    async def test_does_not_believe_an_older_answer(self, shop: Shop) -> None:
        purchase = await shop.card_bought(PAY)
        intent_id = shop.stripe.only("payment_intent")["id"]
        asked, answered = asyncio.Event(), asyncio.Event()
        ask = shop.gateway.payment

        async def slowly(given: str) -> object:
            found = await ask(given)
            asked.set()
            await answered.wait()
            return found

        shop.gateway.payment = slowly  # type: ignore[assignment,method-assign]
        older = asyncio.create_task(shop.cards.sync(purchase.id))
        await asked.wait()
        shop.gateway.payment = ask  # type: ignore[method-assign]
        await shop.stripe.pay(await shop.client_secret(purchase))
        await shop.look(purchase)
        answered.set()
        await older
        await shop.advance(purchase)

        assert (intent_id, await shop.available()) == (intent_id, FULL)


class TestExpiry:
    async def test_cancels_the_intent_before_anything_is_over(self, shop: Shop) -> None:
        purchase = await shop.card_bought(PAY)
        shop.wait(minutes=31)
        standing = await shop.advance(purchase)
        assert standing.task == PurchaseTask.CANCEL_INTENT
        assert standing.status == PurchaseStatus.AWAITING_PAYMENT

        assert await run_tasks(shop, purchase) == PurchaseStatus.EXPIRED
        assert shop.stripe.only("payment_intent")["status"] == "canceled"

    async def test_credits_what_was_paid_in_time_and_heard_of_later(self, shop: Shop) -> None:
        purchase = await shop.card_bought(PAY)
        await shop.stripe.pay(await shop.client_secret(purchase))
        shop.stripe.only("charge")["created"] = int(purchase.expires_at.timestamp())
        shop.wait(minutes=31)
        assert await run_tasks(shop, purchase) == PurchaseStatus.COMPLETED
        assert await shop.available() == FULL

    async def test_gives_back_what_was_paid_late_at_another_rate(self, shop: Shop) -> None:
        purchase = await shop.card_bought(PAY)
        await shop.stripe.pay(await shop.client_secret(purchase))
        shop.stripe.only("charge")["created"] = int(purchase.expires_at.timestamp()) + 1
        pairs = [{"pay_asset": "EUR", "buy_asset": "ITD", "price": "2"}]
        await shop.set_rates(pairs=pairs)
        shop.wait(minutes=31)

        assert await run_tasks(shop, purchase) == PurchaseStatus.EXPIRED
        assert (await shop.available(), await at_stripe(shop)) == (0, 0)
        assert [r.status for r in await shop.refunds(purchase)] == [RefundStatus.SUCCEEDED]
        await assert_equal_to_stripe(shop)

    async def test_gives_back_what_was_paid_after_a_cancellation(self, shop: Shop) -> None:
        purchase = await shop.card_bought(PAY)
        secret = await shop.client_secret(purchase)
        await shop.desk.cancel(purchase.id)
        await shop.stripe.pay(secret)

        assert await run_tasks(shop, purchase) == PurchaseStatus.CANCELLED
        assert (await shop.available(), await at_stripe(shop)) == (0, 0)


class TestDispute:
    async def test_that_comes_before_the_credit_leaves_nothing_to_credit(self, shop: Shop) -> None:
        purchase = await shop.card_bought(PAY, "pm_card_createDispute")

        assert (await shop.available(), await shop.issued()) == (0, 0)
        assert purchase.status == PurchaseStatus.CLAWED_BACK
        assert not await shop.is_frozen()
        await assert_equal_to_stripe(shop)

    async def test_leaves_a_debt_where_it_was_spent(self, shop: Shop) -> None:
        purchase = await shop.card_bought(PAY, "pm_card_visa")
        await spend(shop, FULL)
        await shop.stripe.play("dispute", shop.stripe.only("charge")["id"])
        await shop.look(purchase)

        assert await shop.available() == -FULL
        assert await shop.is_frozen()
        await assert_equal_to_stripe(shop)

    async def test_that_is_won_gives_it_again(self, shop: Shop) -> None:
        purchase = await shop.card_bought(PAY, "pm_card_visa")
        await shop.stripe.play("dispute", shop.stripe.only("charge")["id"])
        await shop.look(purchase)
        await shop.stripe.play("resolve", shop.stripe.only("dispute")["id"], status="won")
        await shop.look(purchase)

        assert await shop.available() == FULL
        assert (await shop.purchase(purchase.id)).status == PurchaseStatus.COMPLETED
        assert not await shop.is_frozen()
        await assert_equal_to_stripe(shop)

    async def test_that_is_lost_changes_nothing_more(self, shop: Shop) -> None:
        purchase = await shop.card_bought(PAY, "pm_card_visa")
        await shop.stripe.play("dispute", shop.stripe.only("charge")["id"])
        await shop.look(purchase)
        await shop.stripe.play("resolve", shop.stripe.only("dispute")["id"], status="lost")
        await shop.look(purchase)
        assert (await shop.available(), await shop.is_frozen()) == (0, True)

    async def test_of_a_part_takes_back_a_part(self, shop: Shop) -> None:
        purchase = await shop.card_bought(PAY, "pm_card_visa")
        await shop.stripe.play("dispute", shop.stripe.only("charge")["id"], amount="250")
        await shop.look(purchase)
        assert await shop.available() == FULL * 3 // 4
        await assert_equal_to_stripe(shop)

    async def test_that_only_inquires_takes_nothing(self, shop: Shop) -> None:
        await shop.card_bought(PAY, "pm_card_createDisputeInquiry")
        assert await shop.available() == FULL


class TestRefund:
    async def test_goes_through_stripe(self, shop: Shop) -> None:
        purchase = await shop.card_bought(PAY, "pm_card_visa")
        request = await shop.refund(purchase, 400)
        assert await shop.available() == FULL * 6 // 10
        assert await shop.books.balance(chart.purchase_clearing("stripe"), "EUR") == 400

        assert await run_tasks(shop, purchase) == PurchaseStatus.COMPLETED
        assert await at_stripe(shop) == 600
        assert await shop.books.balance(chart.purchase_clearing("stripe"), "EUR") == 0
        assert shop.stripe.only("refund")["metadata"] == {"refund_id": request.refund_id}
        await assert_equal_to_stripe(shop)

    async def test_happens_once_whatever_is_lost(self, shop: Shop) -> None:
        purchase = await shop.card_bought(PAY, "pm_card_visa")
        request = await shop.refund(purchase, 400)
        await shop.stripe.play("fault", kind="lost", path="/v1/refunds")
        for kind in ("lost", "broken"):
            await shop.stripe.play("fault", kind=kind, path="/v1/refunds")
        for _ in range(5):
            with contextlib.suppress(GatewayOutcomeUnknownError, GatewayUnavailableError):
                await shop.cards.refund(request.refund_id)
        await run_tasks(shop, purchase)

        assert (await at_stripe(shop), len(shop.stripe.things["refund"])) == (600, 1)
        await assert_equal_to_stripe(shop)

    async def test_is_not_made_twice_after_stripe_forgot_the_key(self, shop: Shop) -> None:
        purchase = await shop.card_bought(PAY, "pm_card_visa")
        request = await shop.refund(purchase, 400)
        await shop.gateway.refund(
            refund_id=request.refund_id,
            intent_id=shop.stripe.only("payment_intent")["id"],
            amount_minor=400,
        )
        shop.stripe.server.store.answers.clear()
        await run_tasks(shop, purchase)
        assert await at_stripe(shop) == 600

    async def test_of_all_ends_it(self, shop: Shop) -> None:
        purchase = await shop.card_bought(PAY, "pm_card_visa")
        await shop.refund(purchase, PAY)
        assert await run_tasks(shop, purchase) == PurchaseStatus.REFUNDED
        assert (await shop.available(), await at_stripe(shop)) == (0, 0)

    async def test_that_fails_gives_it_again(self, shop: Shop) -> None:
        purchase = await shop.card_bought(PAY, "pm_card_refundFail")
        await shop.refund(purchase, 400)
        await run_tasks(shop, purchase)

        assert await shop.available() == FULL
        assert [r.status for r in await shop.refunds(purchase)] == [RefundStatus.FAILED]
        await assert_equal_to_stripe(shop)

    async def test_that_stripe_refuses_gives_it_again(self, shop: Shop) -> None:
        purchase = await shop.card_bought(PAY, "pm_card_visa")
        await shop.refund(purchase, 400)
        await shop.stripe.play("dispute", shop.stripe.only("charge")["id"], amount="1")
        await run_tasks(shop, purchase)

        assert [r.status for r in await shop.refunds(purchase)] == [RefundStatus.FAILED]
        assert await shop.available() == FULL * 999 // 1_000
        await assert_equal_to_stripe(shop)

    async def test_in_stripes_dashboard_takes_back_what_was_bought(self, shop: Shop) -> None:
        purchase = await shop.card_bought(PAY, "pm_card_visa")
        await spend(shop, FULL)
        answer = await shop.stripe.http.post(
            "/v1/refunds",
            data={"payment_intent": shop.stripe.only("payment_intent")["id"], "amount": "500"},
            headers={"Authorization": f"Bearer {shop.stripe.server.api_key}"},
        )
        assert answer.status_code == 200
        await shop.look(purchase)

        assert await shop.available() == -FULL // 2
        assert await shop.is_frozen()
        await assert_equal_to_stripe(shop)

    async def test_is_refused_where_it_was_spent_or_is_too_much(self, shop: Shop) -> None:
        purchase = await shop.card_bought(PAY, "pm_card_visa")
        with pytest.raises(PurchaseStateError):
            await shop.refund(purchase, PAY + 1)
        await spend(shop, 1)
        with pytest.raises(InsufficientAvailableBalanceError):
            await shop.refund(purchase, PAY)
        assert not shop.stripe.things["refund"]
