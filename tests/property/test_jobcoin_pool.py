"""Any pool makes a block that moves coins and makes none, whatever order it came in."""

from hypothesis import given
from hypothesis import strategies as st

from domain.jobcoin.pool import Filled, Standing, Waiting, fill_block

PEOPLE = ("ada", "bob", "eve", "joe")

amounts = st.integers(min_value=0, max_value=60)
outputs = st.lists(st.tuples(st.sampled_from(PEOPLE), amounts), min_size=1, max_size=4)
transfers = st.tuples(st.sampled_from(PEOPLE), st.integers(0, 4), outputs)
pools = st.lists(transfers, max_size=14, unique_by=lambda each: each[:2]).map(
    lambda found: [
        Waiting(f"t{place}", sender, nonce, tuple(paid))
        for place, (sender, nonce, paid) in enumerate(found)
    ]
)
standings = st.dictionaries(
    st.sampled_from(PEOPLE), st.builds(Standing, st.integers(0, 100), st.integers(0, 2))
)


def replayed(before: dict[str, Standing], filled: Filled) -> dict[str, Standing]:
    """Apply a block in its order, minding nothing but arithmetic."""
    after = dict(before)
    for each in filled.chosen:
        if each.sender is not None:
            held = after.get(each.sender, Standing())
            assert each.account_nonce == held.next_nonce
            assert each.total_minor <= held.balance_minor
            left_minor = held.balance_minor - each.total_minor
            after[each.sender] = Standing(left_minor, held.next_nonce + 1)
        for address, amount_minor in each.outputs:
            held = after.get(address, Standing())
            after[address] = Standing(held.balance_minor + amount_minor, held.next_nonce)
    return after


def total(held: dict[str, Standing]) -> int:
    return sum(standing.balance_minor for standing in held.values())


class TestFillBlock:
    @given(pools, standings)
    def test_moves_coins_and_makes_none(
        self, pool: list[Waiting], before: dict[str, Standing]
    ) -> None:
        filled = fill_block(pool, before)
        after = {**before, **filled.standings}

        assert after == {**after, **replayed(before, filled)}
        assert total(after) == total(before)
        assert all(standing.balance_minor >= 0 for standing in after.values())
        assert filled.minted_minor == 0

    @given(pools, standings)
    def test_leaves_nothing_that_could_be_paid(
        self, pool: list[Waiting], before: dict[str, Standing]
    ) -> None:
        filled = fill_block(pool, before)
        left = [each for each in pool if each not in filled.chosen]

        assert fill_block(left, {**before, **filled.standings}).chosen == ()

    @given(pools, standings, amounts)
    def test_adds_what_is_minted_and_no_more(
        self, pool: list[Waiting], before: dict[str, Standing], amount_minor: int
    ) -> None:
        mint = Waiting("mint", None, 0, (("ada", amount_minor),))
        filled = fill_block([mint, *pool], before)

        assert filled.minted_minor == amount_minor
        assert total({**before, **filled.standings}) == total(before) + amount_minor

    @given(pools, standings, st.integers(0, 5))
    def test_takes_no_more_than_fit(
        self, pool: list[Waiting], before: dict[str, Standing], most: int
    ) -> None:
        assert len(fill_block(pool, before, transactions_max=most).chosen) <= most

    def test_waits_for_the_earlier_nonce_and_for_coins_that_come(self) -> None:
        pool = [
            Waiting("second", "ada", 1, (("bob", 5),)),
            Waiting("spends", "joe", 0, (("eve", 3),)),
            Waiting("first", "ada", 0, (("joe", 3),)),
        ]
        filled = fill_block(pool, {"ada": Standing(8)})

        assert [each.txid for each in filled.chosen] == ["first", "second", "spends"]
        assert filled.standings["eve"] == Standing(3)
        assert filled.standings["ada"] == Standing(0, 2)
