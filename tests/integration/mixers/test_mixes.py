"""A mix from its deposit to its last part, and every way that leads out of it."""

from datetime import datetime, timedelta

import pytest

from domain.errors import MixStateError
from domain.mixing.messages import DoleStatus, LotStatus, MixStatus
from domain.payouts import PayoutStatus
from mixers.desk import PostgresMixDesk
from models.limits import LimitsVersion
from tests.support.clocks import MovableClock
from tests.support.mixing import KEEP_FOR, KEYS, WINDOW, MixHouse

HOUR = timedelta(hours=1)


class TestTaking:
    async def test_plans_the_deposit_less_the_fee_to_the_unit(self, house: MixHouse) -> None:
        mix = await house.funded(20_070)

        (lot,) = await house.lots(mix)
        doles = await house.doles(mix)
        # 1% is 200.7; what is left, 19,869.3, is rounded down to a multiple of 100.
        assert (lot.status, lot.fee_minor) == (LotStatus.TAKEN, 270)
        assert sum(dole.amount_minor for dole in doles) == 19_800 == await house.owed(mix)
        assert await house.fees() == 270
        assert mix.status == MixStatus.MIXING
        assert len({dole.address for dole in doles}) == 4
        assert await house.available() == 0

    async def test_draws_once_however_often_it_looks(self, house: MixHouse) -> None:
        mix = await house.funded()
        before = [(d.id, d.amount_minor, d.due_at, d.address) for d in await house.doles(mix)]
        for desk in (house.desk, house.a_desk()):
            await desk.advance(mix.id)
        after = [(d.id, d.amount_minor, d.due_at, d.address) for d in await house.doles(mix)]
        assert before == after

    async def test_takes_each_of_several_deposits(self, house: MixHouse) -> None:
        mix = await house.funded(20_000)
        await house.fund(mix, 30_000)
        mix = await house.mix(mix.id)
        assert (mix.received_minor, mix.fee_minor) == (50_000, 500)
        assert await house.owed(mix) == 49_500

    @pytest.mark.parametrize(
        ("amount", "reason"), [(4_999, "below_minimum"), (100_001, "above_maximum")]
    )
    async def test_gives_what_is_out_of_bounds_to_the_balance(
        self, house: MixHouse, amount: int, reason: str
    ) -> None:
        mix = await house.funded(amount)
        (lot,) = await house.lots(mix)
        assert (lot.status, lot.reason_code) == (LotStatus.REFUNDED, reason)
        assert (await house.available(), await house.owed(mix)) == (amount, 0)
        standing = await house.after(mix, 2 * HOUR)
        assert (standing.status, standing.wake_at) == (MixStatus.REFUNDED, None)

    async def test_counts_against_the_limits(self, house: MixHouse) -> None:
        async with house.books.owner.transaction() as session:
            row = {
                "level": 2,
                "operation": "mix",
                "asset": "ETH",
                "window": "24h",
                "amount_minor": "30000",
            }
            session.add(LimitsVersion(document={"limits": [row]}, created_by="owner"))
        first = await house.funded(20_000)
        second = await house.funded(20_000)
        assert [lot.reason_code for lot in await house.lots(second)] == ["limit_exceeded"]
        # Given up, the first one counts no more.
        await house.desk.cancel(first.id)
        third = await house.funded(20_000)
        assert [lot.status for lot in await house.lots(third)] == [LotStatus.TAKEN]


class TestExpiry:
    async def test_ends_where_nothing_came(self, house: MixHouse) -> None:
        mix = await house.opened()
        standing = await house.advance(mix)
        assert (standing.status, standing.wake_at) == (MixStatus.AWAITING_FUNDS, mix.expires_at)
        standing = await house.after(mix, HOUR)
        assert (standing.status, standing.wake_at) == (MixStatus.EXPIRED, None)

    async def test_waits_for_what_was_seen_in_time(self, house: MixHouse) -> None:
        mix = await house.opened()
        deposit_id = await house.seen(mix, 20_000)
        standing = await house.after(mix, 2 * HOUR)
        assert standing.status == MixStatus.CONFIRMING
        await house.confirm(deposit_id)
        assert (await house.advance(mix)).status == MixStatus.MIXING

    async def test_gives_what_comes_late_to_the_balance(self, house: MixHouse) -> None:
        mix = await house.opened()
        await house.after(mix, 2 * HOUR)
        await house.fund(mix, 20_000)
        assert await house.available() == 20_000
        assert (await house.mix(mix.id)).status == MixStatus.REFUNDED

    async def test_mixes_what_comes_late_where_the_policy_takes_it(self, house: MixHouse) -> None:
        house.mixer = await house.add_mixer(takes_late=True)
        mix = await house.opened()
        await house.after(mix, 2 * HOUR)
        await house.fund(mix, 20_000)
        assert (await house.mix(mix.id)).status == MixStatus.MIXING


class TestDoling:
    async def test_releases_each_part_when_it_is_due_and_not_before(self, house: MixHouse) -> None:
        mix = await house.funded()
        doles = await house.doles(mix)
        standing = await house.advance(mix)
        released = 0
        for dole in doles:
            assert standing.wake_at is not None
            if dole.due_at > house.clock.now():
                house.clock.advance(dole.due_at - house.clock.now() - timedelta(seconds=1))
                await house.advance(mix)
                assert len(await house.payouts(mix)) == released
                house.clock.advance(timedelta(seconds=1))
            standing = await house.advance(mix)
            released = sum(other.due_at <= house.clock.now() for other in doles)
            assert len(await house.payouts(mix)) == released
            assert await house.faults() == []
        assert released == len(doles)
        assert await house.owed(mix) == 0

    async def test_pays_every_part_once_to_where_it_goes(self, house: MixHouse) -> None:
        mix = await house.funded()
        await house.after(mix)
        for _ in range(3):
            await house.advance(mix)
        doles = {d.payout_id: (d.amount_minor, d.address) for d in await house.doles(mix)}
        payouts = await house.payouts(mix)
        assert {p.id: (p.amount_minor, p.destination) for p in payouts} == doles
        assert {p.status for p in payouts} == {PayoutStatus.READY}
        assert await house.books.money() == (0, 19_800)
        assert await house.books.log.mixes_over({mix.id}) == []

    async def test_ends_when_the_chain_has_paid_the_last(self, house: MixHouse) -> None:
        mix = await house.funded()
        await house.after(mix)
        house.clock.advance(timedelta(minutes=2))
        batch_id = await house.books.claim()
        await house.books.runner.prepare(batch_id)
        await house.books.log.allocate(batch_id)
        await house.books.signer.sign(batch_id)
        await house.books.runner.broadcast(batch_id)
        house.books.chain.mine(3)
        await house.books.watch.watch_once()
        await house.books.log.settle(batch_id)

        outcomes = await house.books.log.unnotified(batch_id)
        assert {outcome.mix_id for outcome in outcomes} == {mix.id}
        assert await house.books.log.mixes_over({mix.id}) == [mix.id]
        standing = await house.advance(mix)
        assert (standing.status, standing.wake_at) == (MixStatus.DONE, None)
        assert await house.fees() == 200
        # With nothing pending the house holds the fees alone.
        assert await house.owed(mix) == 0

    async def test_is_over_when_nothing_is_planned_or_on_its_way(self, house: MixHouse) -> None:
        mix = await house.funded()
        log = house.books.log
        assert await log.mixes_over({mix.id}) == []
        await house.after(mix)
        await house.advance(mix)
        assert await log.mixes_over({mix.id}) == []
        await house.books.execute("UPDATE payout SET status = 'settled'")
        assert await log.mixes_over({mix.id, "mix_none"}) == [mix.id]
        assert await log.mixes_over(()) == []

    async def test_forgets_no_part_that_becomes_due_while_a_step_runs(
        self, house: MixHouse
    ) -> None:
        """Taken for one that waits for a freeze to be lifted, it would leave an hour late."""
        mix = await house.funded()
        first_at = (await house.doles(mix))[0].due_at
        house.clock.advance(first_at - house.clock.now() - timedelta(seconds=2.5))
        slow = PostgresMixDesk(
            house.books.worker, SlowClock(house.clock), KEYS, keep_audit_for=KEEP_FOR
        )
        looked = 0
        while (standing := await slow.advance(mix.id)).wake_at == first_at:
            looked += 1
        assert looked <= 1
        assert len(await house.payouts(mix)) >= 1
        assert standing.wake_at is not None
        assert standing.wake_at > first_at

    async def test_shares_a_batch_with_the_parts_of_others(self, house: MixHouse) -> None:
        first, second = await house.funded(), await house.funded(user_id="u2")
        house.clock.advance(WINDOW)
        await house.advance(first)
        await house.advance(second)
        house.clock.advance(timedelta(minutes=2))
        batch_id = await house.books.claim()
        paid = [p for p in await house.books.payouts() if p.status == PayoutStatus.BATCHED]
        assert {p.mix_id for p in paid} == {first.id, second.id}
        assert batch_id


class TestCancelling:
    async def test_gives_everything_back_and_the_fee_too(self, house: MixHouse) -> None:
        mix = await house.funded(20_070)
        standing = await house.desk.cancel(mix.id)
        assert (standing.status, standing.wake_at) == (MixStatus.CANCELLED, None)
        assert await house.available() == 20_070
        assert (await house.owed(mix), await house.fees()) == (0, 0)
        assert {d.status for d in await house.doles(mix)} == {DoleStatus.CANCELLED}
        assert await house.desk.cancel(mix.id) == standing
        await house.after(mix)
        assert await house.payouts(mix) == []

    async def test_is_too_late_after_the_first_part(self, house: MixHouse) -> None:
        mix = await house.funded()
        first, *_ = await house.doles(mix)
        await house.after(mix, first.due_at - house.clock.now())
        with pytest.raises(MixStateError):
            await house.desk.cancel(mix.id)

    async def test_makes_what_still_comes_the_balance(self, house: MixHouse) -> None:
        mix = await house.opened()
        deposit_id = await house.seen(mix, 20_000)
        await house.desk.cancel(mix.id)
        await house.confirm(deposit_id)
        await house.advance(mix)
        assert await house.available() == 20_000


class TestPausing:
    async def test_lets_nothing_leave_and_draws_anew(self, house: MixHouse) -> None:
        mix = await house.funded()
        await house.desk.pause(mix.id)
        await house.after(mix)
        assert await house.payouts(mix) == []
        resumed_at = house.clock.now()
        standing = await house.desk.resume(mix.id)
        doles = await house.doles(mix)
        assert all(resumed_at < dole.due_at <= resumed_at + WINDOW for dole in doles)
        assert len({dole.due_at for dole in doles}) > 1
        assert standing.wake_at == doles[0].due_at
        await house.after(mix)
        assert len(await house.payouts(mix)) == len(doles)

    async def test_is_nothing_for_a_mix_that_is_over(self, house: MixHouse) -> None:
        mix = await house.opened()
        await house.desk.cancel(mix.id)
        for step in (house.desk.pause, house.desk.resume):
            with pytest.raises(MixStateError):
                await step(mix.id)


class TestReorgs:
    async def test_before_a_part_left_nothing_leaves(self, house: MixHouse) -> None:
        mix = await house.opened()
        deposit_id = await house.fund(mix, 20_000)
        await house.drop(deposit_id)
        assert await house.faults() == []
        await house.advance(mix)
        assert (await house.owed(mix), await house.fees(), await house.available()) == (0, 0, 0)
        assert {d.status for d in await house.doles(mix)} == {DoleStatus.CANCELLED}

    async def test_after_parts_left_they_are_their_users_debt(self, house: MixHouse) -> None:
        mix = await house.opened()
        deposit_id = await house.fund(mix, 20_000)
        doles = await house.doles(mix)
        await house.after(mix, doles[2].due_at - house.clock.now())
        left = sum(p.amount_minor for p in await house.payouts(mix))
        assert left > 0
        await house.drop(deposit_id)
        assert await house.faults() == []
        await house.advance(mix)
        assert (await house.owed(mix), await house.fees()) == (0, 0)
        assert await house.available() == -left

    async def test_what_comes_back_pays_the_debt_first(self, house: MixHouse) -> None:
        mix = await house.opened()
        deposit_id = await house.fund(mix, 20_000)
        doles = await house.doles(mix)
        await house.after(mix, doles[0].due_at - house.clock.now())
        left = sum(p.amount_minor for p in await house.payouts(mix))
        await house.drop(deposit_id)
        await house.advance(mix)
        await house.confirm(deposit_id)
        assert await house.faults() == []
        await house.advance(mix)
        assert await house.available() == 20_000 - left
        assert (await house.owed(mix), await house.fees()) == (0, 0)

    async def test_of_what_was_refunded_take_it_back(self, house: MixHouse) -> None:
        mix = await house.opened()
        deposit_id = await house.fund(mix, 100)
        assert await house.available() == 100
        await house.drop(deposit_id)
        assert await house.faults() == []
        await house.advance(mix)
        assert (await house.available(), await house.owed(mix)) == (0, 0)


class SlowClock:
    """So slow a machine that a second passes between any two looks at the clock."""

    def __init__(self, clock: MovableClock) -> None:
        self._clock = clock

    def now(self) -> datetime:
        self._clock.advance(timedelta(seconds=1))
        return self._clock.now()
