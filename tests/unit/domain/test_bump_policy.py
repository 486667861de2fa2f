from datetime import timedelta

from domain.bump_policy import is_spent, is_within_budget, patience


class TestPatience:
    def test_doubles_with_each_replacement_up_to_a_bound(self) -> None:
        waits = [patience(60, n) // timedelta(seconds=60) for n in range(9)]
        assert waits == [1, 2, 4, 8, 16, 32, 64, 64, 64]


class TestBudget:
    def test_is_kept_to_the_last_unit(self) -> None:
        assert is_within_budget(100, 100)
        assert not is_within_budget(101, 100)
        assert is_within_budget(10**30, None)

    def test_is_spent_when_the_least_replacement_does_not_fit(self) -> None:
        assert not is_spent(88, 99)
        assert is_spent(89, 99)
        assert not is_spent(10**30, None)
