import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from domain.errors import (
    AlreadyDecidedError,
    ApprovalExpiredError,
    OwnRequestError,
    PayoutNotFoundError,
    PayoutStateError,
    RoleMissingError,
)
from domain.money import UINT256_MAX
from domain.payouts import DecisionKind, PayoutStatus
from models.payouts import PayoutEvent
from payouts.queries import payout_detail
from tests.support.books import DESTINATION, HOT, TOKEN, Books

TWO = {"rules": [{"asset": "*", "approvals": 2}], "approval_expires_s": 3_600}


@pytest.fixture(autouse=True)
async def funds(books: Books) -> None:
    await books.deposit("u1", "ETH", 1_000)


async def awaiting(books: Books, amount_minor: int = 100) -> str:
    await books.set_policy(TWO)
    return (await books.freeze(amount_minor=amount_minor)).payout_id


async def history(books: Books, payout_id: str) -> list[PayoutEvent]:
    async with books.owner.transaction() as session:
        return (await payout_detail(session, payout_id, user_id=None)).events


class TestFreeze:
    async def test_holds_amount_and_fee(self, books: Books) -> None:
        accepted = await books.freeze(amount_minor=100)
        assert (accepted.status, accepted.approvals_required) == (PayoutStatus.READY, 0)
        assert await books.money() == (890, 110)

    async def test_asks_for_approvals_where_the_policy_says_so(self, books: Books) -> None:
        await books.set_policy(TWO)
        accepted = await books.freeze(amount_minor=100)
        assert accepted.status == PayoutStatus.AWAITING_APPROVAL
        assert accepted.approvals_required == 2
        assert accepted.approval_expires_at == books.clock.now() + timedelta(hours=1)

    async def test_answers_the_same_when_repeated(self, books: Books) -> None:
        request = books.request()
        first = await books.desk.freeze(request)
        books.wait(5)
        assert await books.desk.freeze(request) == first
        assert await books.money() == (890, 110)

    async def test_holds_once_however_many_ask_at_once(self, books: Books) -> None:
        request = books.request()
        answers = await asyncio.gather(*(books.desk.freeze(request) for _ in range(8)))
        assert len(set(answers)) == 1
        assert await books.money() == (890, 110)
        await books.assert_sound()

    async def test_lets_exactly_as_many_through_as_the_balance_covers(self, books: Books) -> None:
        answers = await asyncio.gather(*(books.freeze(amount_minor=190) for _ in range(12)))
        statuses = sorted(answer.status for answer in answers)
        assert statuses == [PayoutStatus.READY] * 5 + [PayoutStatus.REFUSED] * 7
        assert await books.money() == (0, 1_000)

    async def test_remembers_a_refusal_for_ever(self, books: Books) -> None:
        request = books.request(amount_minor=991)
        refused = await books.desk.freeze(request)
        assert (refused.status, refused.reason_code) == (
            PayoutStatus.REFUSED,
            "insufficient_available_balance",
        )
        await books.deposit("u1", "ETH", 1_000)
        assert await books.desk.freeze(request) == refused
        assert await books.money() == (2_000, 0)

    async def test_remembers_a_refusal_by_a_limit_and_gives_nothing_to_the_counter(
        self, books: Books
    ) -> None:
        limits = [{"asset": "ETH", "window_s": 3_600, "amount_minor": "150"}]
        await books.set_policy({"rules": [{"asset": "*", "approvals": 0}], "limits": limits})
        await books.freeze(amount_minor=100)
        refused = await books.freeze(amount_minor=51)
        assert (refused.status, refused.reason_code) == (PayoutStatus.REFUSED, "limit_exceeded")
        assert (await books.freeze(amount_minor=50)).status == PayoutStatus.READY
        books.wait(3_600)
        assert (await books.freeze(amount_minor=150)).status == PayoutStatus.READY

    @pytest.mark.parametrize(
        ("asked", "code"),
        [
            ({"asset": "BTC"}, "unknown_asset"),
            ({"destination": HOT}, "forbidden_destination"),
            ({"destination": TOKEN}, "forbidden_destination"),
            ({"destination": "0x12"}, "invalid_address"),
        ],
    )
    async def test_refuses_what_cannot_be_paid(
        self, books: Books, asked: dict[str, str], code: str
    ) -> None:
        refused = await books.freeze(**asked)
        assert (refused.status, refused.reason_code) == (PayoutStatus.REFUSED, code)
        assert await books.payouts() == []
        assert await books.money() == (1_000, 0)

    async def test_refuses_our_own_contract(self, books: Books) -> None:
        await books.execute(f"UPDATE chain SET disperse_address = '{DESTINATION}'")  # noqa: S608
        assert (await books.freeze()).reason_code == "forbidden_destination"

    async def test_refuses_amounts_out_of_the_assets_range(self, books: Books) -> None:
        await books.execute("UPDATE asset SET payout_min_minor = 50, payout_max_minor = 60")
        for amount_minor in (49, 61, UINT256_MAX):
            refused = await books.freeze(amount_minor=amount_minor)
            assert refused.reason_code == "amount_out_of_range"
        for amount_minor in (50, 60):
            assert (await books.freeze(amount_minor=amount_minor)).status == PayoutStatus.READY

    async def test_refuses_the_largest_amount_there_is_without_a_fault(self, books: Books) -> None:
        refused = await books.freeze(amount_minor=UINT256_MAX)
        assert refused.reason_code == "insufficient_available_balance"

    async def test_stores_the_address_with_its_checksum(self, books: Books) -> None:
        accepted = await books.freeze(destination=DESTINATION.lower())
        assert (await books.payout(accepted.payout_id)).destination == DESTINATION


class TestDecide:
    async def test_makes_it_ready_with_the_last_approval(self, books: Books) -> None:
        payout_id = await awaiting(books)
        first = await books.decide(payout_id, "a1")
        assert (first.status, first.approvals) == (PayoutStatus.AWAITING_APPROVAL, 1)
        second = await books.decide(payout_id, "a2")
        assert (second.status, second.approvals) == (PayoutStatus.READY, 2)
        assert await books.money() == (890, 110)

    async def test_follows_the_policy_that_accepted_the_payout(self, books: Books) -> None:
        payout_id = await awaiting(books)
        await books.set_policy({"rules": [{"asset": "*", "approvals": 1}]})
        outcome = await books.decide(payout_id, "a1")
        assert outcome.status == PayoutStatus.AWAITING_APPROVAL

    async def test_is_refused_to_whoever_asked(self, books: Books) -> None:
        payout_id = await awaiting(books)
        await books.execute("UPDATE app_user SET roles = '{approver}' WHERE id = 'u1'")
        for kind in DecisionKind:
            with pytest.raises(OwnRequestError):
                await books.decide(payout_id, "u1", kind)

    async def test_is_refused_to_whoever_is_no_approver(self, books: Books) -> None:
        payout_id = await awaiting(books)
        await books.execute("UPDATE app_user SET disabled_at = now() WHERE id = 'a1'")
        for user_id in ("u2", "a1", "nobody"):
            with pytest.raises(RoleMissingError):
                await books.decide(payout_id, user_id)

    async def test_is_refused_to_approvers_whom_the_policy_does_not_name(
        self, books: Books
    ) -> None:
        rule = {"asset": "*", "approvals": 1, "approvers": ["a1"]}
        await books.set_policy({"rules": [rule]})
        payout_id = (await books.freeze()).payout_id
        with pytest.raises(RoleMissingError):
            await books.decide(payout_id, "a2")
        assert (await books.decide(payout_id, "a1")).status == PayoutStatus.READY

    async def test_counts_each_approver_once(self, books: Books) -> None:
        payout_id = await awaiting(books)
        first = await books.decide(payout_id, "a1")
        assert await books.decide(payout_id, "a1") == first
        with pytest.raises(AlreadyDecidedError):
            await books.decide(payout_id, "a1", DecisionKind.REJECT)

    async def test_has_one_last_approver_when_all_come_at_once(self, books: Books) -> None:
        payout_id = await awaiting(books)
        outcomes = await asyncio.gather(
            *(books.decide(payout_id, approver) for approver in ("a1", "a2", "a3")),
            return_exceptions=True,
        )
        late = [o for o in outcomes if isinstance(o, BaseException)]
        assert [type(o) for o in late] == [PayoutStateError]
        events = [event.status for event in await history(books, payout_id)]
        assert events == [PayoutStatus.AWAITING_APPROVAL, PayoutStatus.READY]
        await books.assert_sound()

    async def test_gives_the_money_back_when_it_is_no(self, books: Books) -> None:
        payout_id = await awaiting(books)
        await books.decide(payout_id, "a1")
        outcome = await books.decide(payout_id, "a2", DecisionKind.REJECT)
        assert outcome.status == PayoutStatus.REJECTED
        assert await books.money() == (1_000, 0)
        assert await books.decide(payout_id, "a2", DecisionKind.REJECT) == outcome
        with pytest.raises(PayoutStateError):
            await books.decide(payout_id, "a3")
        await books.assert_sound()

    async def test_is_too_late_once_the_time_is_up(self, books: Books) -> None:
        payout_id = await awaiting(books)
        books.wait(3_599)
        await books.decide(payout_id, "a1")
        books.wait(1)
        with pytest.raises(ApprovalExpiredError):
            await books.decide(payout_id, "a2")
        await books.desk.expire(payout_id)
        with pytest.raises(ApprovalExpiredError):
            await books.decide(payout_id, "a2")
        assert await books.money() == (1_000, 0)

    async def test_on_nothing_is_not_found(self, books: Books) -> None:
        with pytest.raises(PayoutNotFoundError):
            await books.decide("pay_none", "a1")

    async def test_never_deadlocks_with_freezes_of_the_same_user(self, books: Books) -> None:
        await books.deposit("u1", "ETH", 100_000)
        for _ in range(10):
            payouts = [await awaiting(books) for _ in range(3)]
            await asyncio.gather(
                *(books.decide(p, "a1", DecisionKind.REJECT) for p in payouts),
                *(books.freeze() for _ in range(5)),
            )
        await books.assert_sound()


class TestCancel:
    @pytest.mark.parametrize("approvals", [0, 2])
    async def test_gives_the_money_back_before_batching(self, books: Books, approvals: int) -> None:
        await books.set_policy({"rules": [{"asset": "*", "approvals": approvals}]})
        payout_id = (await books.freeze()).payout_id
        for _ in range(2):
            outcome = await books.desk.cancel(payout_id)
            assert outcome.status == PayoutStatus.CANCELLED
        assert await books.money() == (1_000, 0)
        await books.assert_sound()

    async def test_is_refused_once_a_batch_has_it(self, books: Books) -> None:
        payout_id = (await books.freeze()).payout_id
        await books.claim()
        with pytest.raises(PayoutStateError):
            await books.desk.cancel(payout_id)
        assert await books.money() == (890, 110)

    async def test_is_refused_after_another_end(self, books: Books) -> None:
        payout_id = await awaiting(books)
        await books.desk.expire(payout_id)
        with pytest.raises(PayoutStateError):
            await books.desk.cancel(payout_id)

    async def test_and_the_last_approval_and_the_end_of_time_never_all_win(
        self, books: Books
    ) -> None:
        await books.deposit("u1", "ETH", 100_000)
        for _ in range(8):
            payout_id = await awaiting(books)
            await books.decide(payout_id, "a1")
            await asyncio.gather(
                books.desk.cancel(payout_id),
                books.desk.expire(payout_id),
                books.decide(payout_id, "a2"),
                books.decide(payout_id, "a3", DecisionKind.REJECT),
                return_exceptions=True,
            )
        available, held = await books.money()
        ready = [p for p in await books.payouts() if p.status == PayoutStatus.READY]
        assert (available + held, held) == (101_000, 110 * len(ready))
        await books.assert_sound()


class TestExpire:
    async def test_gives_the_money_back(self, books: Books) -> None:
        payout_id = await awaiting(books)
        for _ in range(2):
            assert (await books.desk.expire(payout_id)).status == PayoutStatus.EXPIRED
        assert await books.money() == (1_000, 0)

    async def test_leaves_what_was_approved_in_time(self, books: Books) -> None:
        payout_id = await awaiting(books)
        for approver in ("a1", "a2"):
            await books.decide(payout_id, approver)
        assert (await books.desk.expire(payout_id)).status == PayoutStatus.READY
        assert await books.money() == (890, 110)


class TestOutcome:
    async def test_says_where_it_stands_with_the_chains_id(self, books: Books) -> None:
        await books.settled(100)
        (payout,) = await books.payouts()
        outcome = await books.desk.outcome(payout.id)
        assert (outcome.status, outcome.txid) == (PayoutStatus.SETTLED, books.chain.offered[0])


class TestIdempotencyKey:
    async def test_of_one_principal_names_one_payout(self, books: Books) -> None:
        request = books.request()
        await books.desk.freeze(request)
        with pytest.raises(Exception, match="payout_idempotency"):
            await books.desk.freeze(replace(request, payout_id="pay_other"))
        assert await books.money() == (890, 110)
