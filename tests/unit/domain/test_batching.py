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
        rules = BatchRules(8, 1, RULES.wait, RULES.economy_wait, None)
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


class TestAnyList:
    @given(waiting_lists, st.integers(1, 4))
    def test_keeps_its_order_and_every_urgent_one_that_fits(
        self, waiting: list[Waiting], outputs_max: int
    ) -> None:
        rules = BatchRules(8, outputs_max, RULES.wait, RULES.economy_wait, 1_000)
        left = gone(waiting, rules)
        positions = [waiting.index(each) for each in left]
        assert positions == sorted(set(positions))
        assert len(left) <= rules.capacity
        if len(waiting) < rules.capacity:
            assert {w.payout_id for w in waiting if w.priority == U} <= {w.payout_id for w in left}

    @given(waiting_lists, st.integers(1, 4))
    def test_riders_need_no_transaction_more(
        self, waiting: list[Waiting], outputs_max: int
    ) -> None:
        rules = BatchRules(50, outputs_max, RULES.wait, RULES.economy_wait, None)
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
