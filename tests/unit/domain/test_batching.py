from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from domain.batching import BatchRules, Waiting, leaving
from domain.payouts import Priority

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
RULES = BatchRules(
    capacity=8,
    outputs_max=4,
    wait=timedelta(seconds=1),
    economy_wait=timedelta(seconds=60),
    transactions_max=8,
    value_minor=1_000,
)
U, N, E = Priority.URGENT, Priority.NORMAL, Priority.ECONOMY


def some(
    *kinds: Priority,
    age_s: float = 0,
    asset: str = "ETH",
    amount_minor: int = 1,
    is_shareable: bool = True,
) -> list[Waiting]:
    since = NOW - timedelta(seconds=age_s)
    return [
        Waiting(f"{asset}-{kind}-{age_s}-{n}", asset, kind, amount_minor, since, is_shareable)
        for n, kind in enumerate(kinds)
    ]


def gone(waiting: list[Waiting], rules: BatchRules = RULES) -> list[Waiting]:
    return leaving(waiting, rules, now=NOW)


class TestLeaving:
    def test_nobody_leaves_before_it_is_time(self) -> None:
        assert gone(some(N, N, E, age_s=0.9)) == []

    def test_an_urgent_one_leaves_at_once(self) -> None:
        assert gone(some(U)) == some(U)
        late = some(U, age_s=-5)
        assert gone(late) == late

    def test_all_normal_ones_leave_with_the_oldest(self) -> None:
        waiting = some(N, age_s=1) + some(N, N, N, N, N)
        assert gone(waiting) == waiting

    def test_economical_ones_wait_longer(self) -> None:
        waiting = some(E, age_s=59, asset="USD") + some(N, age_s=1)
        assert gone(waiting) == some(N, age_s=1)
        waiting = some(E, age_s=60, asset="USD")
        assert gone(waiting) == waiting

    def test_others_of_the_asset_come_along_where_there_is_room(self) -> None:
        waiting = some(U) + some(N, N, E, E) + some(N, asset="USD")
        assert gone(waiting) == waiting[:4]

    def test_nobody_comes_along_where_each_has_a_transaction_of_its_own(self) -> None:
        rules = replace(RULES, outputs_max=1, value_minor=None)
        assert gone(some(U) + some(N, N), rules) == some(U)

    def test_who_must_be_alone_has_and_takes_no_room(self) -> None:
        alone = some(U, is_shareable=False)
        assert gone(alone + some(N)) == alone
        waiting = some(U) + some(E, is_shareable=False)
        assert gone(waiting) == some(U)

    def test_a_full_batch_leaves_in_order(self) -> None:
        waiting = some(*[E] * 12)
        assert gone(waiting) == waiting[:8]

    def test_what_is_worth_enough_together_leaves(self) -> None:
        waiting = some(N, E, amount_minor=500) + some(N, asset="USD", amount_minor=999)
        assert gone(waiting) == waiting[:2]


class TestShare:
    def test_of_a_batch_is_left_to_others_by_the_urgent(self) -> None:
        waiting = some(*[U] * 20) + some(N, N, N, age_s=1, asset="USD")
        assert gone(waiting) == waiting[:6] + waiting[20:22]

    def test_is_not_left_to_those_whose_time_has_not_come(self) -> None:
        waiting = some(*[U] * 20) + some(N, N, N, age_s=0.5)
        assert gone(waiting) == waiting[:8]

    def test_that_nobody_takes_is_not_lost(self) -> None:
        waiting = some(*[U] * 20) + some(N, age_s=1)
        assert gone(waiting) == waiting[:7] + waiting[20:]

    def test_is_one_of_two_transactions(self) -> None:
        rules = replace(RULES, transactions_max=2, outputs_max=2)
        waiting = some(*[U] * 20) + some(N, N, N, age_s=1, asset="USD")
        assert gone(waiting, rules) == waiting[:2] + waiting[20:22]

    def test_of_a_batch_of_one_goes_to_the_urgent(self) -> None:
        rules = replace(RULES, capacity=1, transactions_max=1)
        waiting = some(U) + some(N, age_s=1)
        assert gone(waiting, rules) == waiting[:1]


class TestTransactions:
    def test_are_no_more_than_a_batch_may_have(self) -> None:
        rules = replace(RULES, transactions_max=2)
        alone = some(*[N] * 5, age_s=1, is_shareable=False)
        assert gone(alone, rules) == alone[:2]
        together = some(*[N] * 3, age_s=2)
        assert gone(alone[:1] + together + alone[1:], rules) == alone[:1] + together


kinds = st.sampled_from(list(Priority))
waiting_lists = st.lists(
    st.builds(
        Waiting,
        payout_id=st.uuids().map(str),
        asset=st.sampled_from(["ETH", "USD"]),
        priority=kinds,
        amount_minor=st.integers(1, 600),
        since=st.integers(-5, 90).map(lambda s: NOW - timedelta(seconds=s)),
        is_shareable=st.booleans(),
    ),
    max_size=20,
)


def transactions_of(waiting: list[Waiting], rules: BatchRules) -> int:
    """Return how many chain transactions these need."""
    alone = sum(not each.is_shareable for each in waiting)
    for asset in ("ETH", "USD"):
        alone += -(-sum(w.is_shareable and w.asset == asset for w in waiting) // rules.outputs_max)
    return alone


class TestAnyList:
    @given(waiting_lists, st.integers(1, 4))
    def test_keeps_its_order_and_every_urgent_one_that_fits(
        self, waiting: list[Waiting], outputs_max: int
    ) -> None:
        rules = replace(RULES, outputs_max=outputs_max)
        left = gone(waiting, rules)
        positions = [waiting.index(each) for each in left]
        assert positions == sorted(set(positions))
        assert len(left) <= rules.capacity
        assert transactions_of(left, rules) <= rules.transactions_max
        if len(waiting) < rules.capacity:
            assert {w.payout_id for w in waiting if w.priority == U} <= {w.payout_id for w in left}

    @given(waiting_lists, st.integers(1, 4))
    def test_riders_need_no_transaction_more(
        self, waiting: list[Waiting], outputs_max: int
    ) -> None:
        rules = BatchRules(50, outputs_max, RULES.wait, RULES.economy_wait, 50, None)
        left = gone(waiting, rules)
        for asset in ("ETH", "USD"):
            shared = [w for w in left if w.asset == asset and w.is_shareable]
            due = [
                w
                for w in shared
                if w.priority == U
                or any(
                    o.priority == w.priority
                    and o.since <= NOW - (RULES.wait if o.priority == N else RULES.economy_wait)
                    for o in waiting
                )
            ]
            assert -(-len(shared) // outputs_max) == -(-len(due) // outputs_max)
