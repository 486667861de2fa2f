"""What is drawn for a mix sums up, stays in its bounds, and follows no pattern but its policy's."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidMixerPolicyError
from domain.mixing.denominations import denominations, fewest, fewest_max, in_series
from domain.mixing.fees import least_deposit_minor, split_fee
from domain.mixing.parts import draw_parts
from domain.mixing.plan import draw_plan
from domain.mixing.policy import ADDRESSES_MAX, SECONDS_MAX, MixerPolicy, parse_mixer_policy
from domain.mixing.sharding import Ring
from domain.mixing.slots import draw_moments

rates = st.tuples(st.integers(0, 999), st.just(1_000)).map(lambda pair: Fraction(*pair))
deposits = st.integers(0, 10**24)
randoms = st.randoms(use_true_random=False)
seeds = st.integers(0, 2**32)
FUNDED_AT = datetime(2026, 11, 21, 17, 3, 7, tzinfo=UTC)


def dice(seed: int) -> Random:
    return Random(seed)  # noqa: S311 - dice, not secrets


@st.composite
def policies(draw: st.DrawFn) -> MixerPolicy:
    exponent = draw(st.integers(0, 18))
    series = denominations(10**exponent, 5 * 10 ** (exponent + 3))
    most = draw(st.sampled_from(series))
    fee = draw(st.sampled_from([Fraction(0), Fraction(1, 200), Fraction(1, 3), Fraction(99, 100)]))
    parts_min = draw(st.integers(1, 40))
    asked = max(parts_min, ADDRESSES_MAX)
    least = least_deposit_minor(asked * series[0], fee) + draw(st.integers(0, 10 ** (exponent + 1)))
    deposit_max = least + draw(st.integers(0, 50 * most))
    owed = split_fee(deposit_max, fee, grain_minor=series[0]).owed_minor
    slot_s = draw(st.integers(1, 3_600))
    return MixerPolicy(
        fee_numerator=fee.numerator,
        fee_denominator=fee.denominator,
        dole_min_minor=series[0],
        dole_max_minor=most,
        parts_min=parts_min,
        parts_max=max(asked + 1, fewest_max(owed, denominations(series[0], most)), 2),
        deposit_min_minor=least,
        deposit_max_minor=deposit_max,
        delay_min_s=draw(st.integers(0, 86_400)),
        window_s=slot_s * draw(st.integers(1, 1_000)),
        slot_s=slot_s,
    )


class TestFee:
    @given(deposits, rates, st.integers(1, 10**18))
    def test_and_what_is_owed_are_the_deposit(
        self, deposit: int, rate: Fraction, grain: int
    ) -> None:
        split = split_fee(deposit, rate, grain_minor=grain)
        assert split.fee_minor + split.owed_minor == deposit
        assert split.owed_minor % grain == 0
        # Never less than the rate, and less than one grain more.
        assert 0 <= split.fee_minor - deposit * rate < grain

    @given(st.integers(0, 10**24), rates)
    def test_of_the_least_deposit_leaves_what_was_wanted(self, owed: int, rate: Fraction) -> None:
        least = least_deposit_minor(owed, rate)
        assert least * (1 - rate) >= owed
        assert least == 0 or (least - 1) * (1 - rate) < owed

    def test_is_exact_where_a_float_would_not_be(self) -> None:
        rate = Fraction(3, 1_000)
        assert split_fee(10**24, rate, grain_minor=1).fee_minor == 3 * 10**21

    @pytest.mark.parametrize(
        ("deposit", "rate", "grain"), [(-1, 0, 1), (1, 1, 1), (1, -1, 1), (1, 0, 0)]
    )
    def test_needs_sense(self, deposit: int, rate: int, grain: int) -> None:
        with pytest.raises(ValueError, match="fraction"):
            split_fee(deposit, Fraction(rate), grain_minor=grain)


class TestDenominations:
    def test_are_the_series(self) -> None:
        assert denominations(10, 2_000) == (10, 20, 50, 100, 200, 500, 1_000, 2_000)

    @pytest.mark.parametrize(("least", "most"), [(2, 10), (0, 10), (10, 30), (100, 10), (11, 20)])
    def test_begin_with_a_power_of_ten_and_end_in_the_series(self, least: int, most: int) -> None:
        with pytest.raises(ValueError, match=r"power of ten|no range"):
            denominations(least, most)

    @given(st.integers(0, 2_000))
    def test_fewest_are_as_few_as_any(self, amount: int) -> None:
        series = denominations(1, 50)
        assert len(fewest(amount, series)) == FEWEST[amount]
        assert sum(fewest(amount, series)) == amount
        assert len(fewest(amount, series)) <= fewest_max(amount, series)


def _fewest_by_trying(amount_max: int, series: tuple[int, ...]) -> list[int]:
    counts = [0]
    for amount in range(1, amount_max + 1):
        counts.append(1 + min(counts[amount - part] for part in series if part <= amount))
    return counts


FEWEST = _fewest_by_trying(2_000, denominations(1, 50))


class TestParts:
    @given(policies(), st.data(), randoms)
    def test_sum_up_and_stay_in_their_bounds(
        self, policy: MixerPolicy, data: st.DataObject, random: Random
    ) -> None:
        deposit = data.draw(st.integers(policy.deposit_min_minor, policy.deposit_max_minor))
        asked = data.draw(st.integers(1, policy.parts_asked_max))
        owed = split_fee(deposit, policy.fee, grain_minor=policy.dole_min_minor).owed_minor
        parts = draw_parts(
            owed, policy.series, parts_min=asked, parts_max=policy.parts_max, random=random
        )
        assert sum(parts) == owed
        assert asked <= len(parts) <= policy.parts_max
        assert all(in_series(part) for part in parts)
        # No dust: nothing is below the smallest denomination, nothing above the largest.
        assert policy.dole_min_minor <= min(parts) <= max(parts) <= policy.dole_max_minor

    def test_are_not_always_the_same(self) -> None:
        drawn = {
            tuple(
                sorted(
                    draw_parts(
                        1_370, denominations(10, 500), parts_min=5, parts_max=30, random=dice(n)
                    )
                )
            )
            for n in range(50)
        }
        assert len(drawn) > 5

    @pytest.mark.parametrize(
        ("owed", "parts_min", "parts_max"), [(15, 1, 9), (20, 3, 9), (90, 1, 2), (90, 5, 5)]
    )
    def test_refuse_what_cannot_be(self, owed: int, parts_min: int, parts_max: int) -> None:
        with pytest.raises(ValueError, match=r"multiple|cannot be paid"):
            draw_parts(owed, (10, 20, 50), parts_min=parts_min, parts_max=parts_max, random=dice(1))


class TestMoments:
    @given(st.integers(0, 10**6), st.integers(1, 7_200), st.integers(1, 500), randoms)
    def test_are_ends_of_slots_within_the_window(
        self, delay_s: int, slot_s: int, slots: int, random: Random
    ) -> None:
        delay, slot = timedelta(seconds=delay_s), timedelta(seconds=slot_s)
        moments = draw_moments(
            20, from_at=FUNDED_AT, delay_min=delay, window=slots * slot, slot=slot, random=random
        )
        assert len(moments) == 20
        assert moments == sorted(moments)
        assert all(moment.timestamp() % slot_s == 0 for moment in moments)
        assert all(
            FUNDED_AT + delay < moment <= FUNDED_AT + delay + (slots + 1) * slot
            for moment in moments
        )

    def test_fall_into_every_slot_as_often(self) -> None:
        hour = timedelta(hours=1)
        moments = draw_moments(
            24_000,
            from_at=FUNDED_AT,
            delay_min=timedelta(0),
            window=24 * hour,
            slot=hour,
            random=dice(7),
        )
        counts = Counter(moments)
        assert len(counts) == 24
        # Five standard deviations of a binomial with 1,000 expected.
        assert all(abs(count - 1_000) < 160 for count in counts.values())

    @pytest.mark.parametrize(("window_s", "slot_s", "delay_s"), [(1, 2, 0), (1, 0, 0), (1, 1, -1)])
    def test_need_a_window_of_a_slot(self, window_s: int, slot_s: int, delay_s: int) -> None:
        with pytest.raises(ValueError, match="at least one slot"):
            draw_moments(
                1,
                from_at=FUNDED_AT,
                delay_min=timedelta(seconds=delay_s),
                window=timedelta(seconds=window_s),
                slot=timedelta(seconds=slot_s),
                random=dice(1),
            )


class TestPlan:
    @given(policies(), st.data(), st.integers(1, ADDRESSES_MAX), randoms)
    def test_is_the_deposit_to_the_unit_and_leaves_no_address_out(
        self, policy: MixerPolicy, data: st.DataObject, count: int, random: Random
    ) -> None:
        deposit = data.draw(st.integers(policy.deposit_min_minor, policy.deposit_max_minor))
        asked = data.draw(st.integers(1, policy.parts_asked_max))
        addresses = [f"address-{number}" for number in range(count)]
        plan = draw_plan(
            deposit,
            policy,
            addresses=addresses,
            parts_asked=asked,
            from_at=FUNDED_AT,
            random=random,
        )
        assert plan.fee_minor + sum(dole.amount_minor for dole in plan.doles) == deposit
        assert plan.fee_minor >= deposit * policy.fee
        assert len(plan.doles) >= max(asked, count, policy.parts_min)
        assert {dole.address for dole in plan.doles} == set(addresses)

    @given(policies(), seeds)
    def test_is_the_same_for_the_same_randomness(self, policy: MixerPolicy, seed: int) -> None:
        first, second = (
            draw_plan(
                policy.deposit_min_minor,
                policy,
                addresses=["a", "b"],
                parts_asked=1,
                from_at=FUNDED_AT,
                random=dice(seed),
            )
            for _ in range(2)
        )
        assert first == second

    @given(policies())
    def test_takes_no_deposit_out_of_bounds(self, policy: MixerPolicy) -> None:
        for deposit in (policy.deposit_min_minor - 1, policy.deposit_max_minor + 1):
            with pytest.raises(ValueError, match="takes no deposit"):
                draw_plan(
                    deposit,
                    policy,
                    addresses=["a"],
                    parts_asked=1,
                    from_at=FUNDED_AT,
                    random=dice(1),
                )


class TestPolicy:
    GOOD = {  # noqa: RUF012 - a constant
        "fee_numerator": 1,
        "fee_denominator": 100,
        "dole_min_minor": 100,
        "dole_max_minor": 5_000,
        "parts_min": 5,
        "parts_max": 60,
        "deposit_min_minor": 5_000,
        "deposit_max_minor": 100_000,
        "delay_min_s": 0,
        "window_s": 86_400,
        "slot_s": 600,
    }

    def test_is_read_from_json(self) -> None:
        assert parse_mixer_policy(self.GOOD).fee == Fraction(1, 100)

    @pytest.mark.parametrize(
        "changed",
        [
            {"fee_numerator": 100},
            {"dole_min_minor": 200},
            {"dole_max_minor": 3_000},
            {"deposit_min_minor": 1_999},
            {"deposit_max_minor": 4_999},
            {"parts_max": 20},
            {"parts_min": 60},
            {"deposit_max_minor": 10_000_000},
            {"window_s": 599},
            {"fee_numerator": 0.5},
            {"colour": "red"},
        ],
        ids=lambda changed: "-".join(f"{key}={value}" for key, value in changed.items()),
    )
    def test_refuses_what_contradicts_itself(self, changed: dict[str, object]) -> None:
        with pytest.raises(InvalidMixerPolicyError):
            parse_mixer_policy(self.GOOD | changed)

    @pytest.mark.parametrize("field", ["delay_min_s", "window_s", "expires_after_s"])
    def test_waits_for_no_moment_that_cannot_be_written(self, field: str) -> None:
        parse_mixer_policy(self.GOOD | {field: SECONDS_MAX})
        with pytest.raises(InvalidMixerPolicyError):
            parse_mixer_policy(self.GOOD | {field: 10**13})

    @given(policies())
    def test_bounds_what_rounding_takes(self, policy: MixerPolicy) -> None:
        for deposit in (policy.deposit_min_minor, policy.deposit_max_minor):
            split = split_fee(deposit, policy.fee, grain_minor=policy.dole_min_minor)
            assert split.fee_minor - deposit * policy.fee <= Fraction(deposit, 20)


ADDRESSES = [f"0x{number:040x}" for number in range(20_000)]


class TestRing:
    @pytest.mark.parametrize("count", [1, 3, 8])
    def test_moves_about_one_share_to_a_mixer_that_is_added(self, count: int) -> None:
        mixers = [f"mxr_{number}" for number in range(count)]
        before, after = Ring(mixers), Ring([*mixers, "mxr_new"])
        moved = [a for a in ADDRESSES if before.mixer_of(a) != after.mixer_of(a)]
        assert all(after.mixer_of(a) == "mxr_new" for a in moved)
        share = 1 / (count + 1)
        # The share of 256 points deviates by about 1/16 of itself; four times that is far off.
        assert 0.75 * share < len(moved) / len(ADDRESSES) < 1.25 * share

    def test_moves_only_what_a_removed_mixer_had(self) -> None:
        mixers = [f"mxr_{number}" for number in range(5)]
        before, after = Ring(mixers), Ring(mixers[1:])
        for address in ADDRESSES:
            was = before.mixer_of(address)
            assert after.mixer_of(address) == was or was == mixers[0]

    def test_shares_evenly(self) -> None:
        ring = Ring([f"mxr_{number}" for number in range(8)])
        counts = Counter(ring.mixer_of(address) for address in ADDRESSES)
        assert len(counts) == 8
        assert all(0.75 * 2_500 < count < 1.25 * 2_500 for count in counts.values())

    @given(st.permutations(["a", "b", "c", "d"]), st.text())
    def test_does_not_depend_on_the_order(self, mixers: list[str], address: str) -> None:
        assert Ring(mixers).mixer_of(address) == Ring("abcd").mixer_of(address)

    def test_has_nobody_where_there_is_none(self) -> None:
        with pytest.raises(LookupError):
            Ring([]).mixer_of("0x00")
