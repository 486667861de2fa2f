from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from domain.errors import InvalidPolicyError
from domain.policy import (
    ApprovalMode,
    PolicyDocument,
    is_satisfied,
    limit_reservations,
    parse_policy,
    requirement,
)

BY_AMOUNT = {
    "rules": [
        {"asset": "ETH", "up_to_minor": "100", "approvals": 0},
        {"asset": "ETH", "up_to_minor": "1000", "approvals": 1},
        {"asset": "ETH", "up_to_minor": None, "approvals": 3, "approvers": ["a", "b", "c", "d"]},
        {"asset": "*", "up_to_minor": "50", "approvals": 1},
    ],
    "fallback_approvals": 2,
    "approval_expires_s": 600,
}


def needed(amount_minor: int, asset: str = "ETH") -> tuple[int, ApprovalMode]:
    found = requirement(parse_policy(BY_AMOUNT), asset=asset, amount_minor=amount_minor)
    return found.approvals, found.mode


class TestRequirement:
    @pytest.mark.parametrize(
        ("amount_minor", "approvals", "mode"),
        [
            (1, 0, ApprovalMode.AUTOMATIC),
            (100, 0, ApprovalMode.AUTOMATIC),
            (101, 1, ApprovalMode.SEMI_AUTOMATIC),
            (1_000, 1, ApprovalMode.SEMI_AUTOMATIC),
            (1_001, 3, ApprovalMode.MANUAL),
            (2**256 - 1, 3, ApprovalMode.MANUAL),
        ],
    )
    def test_follows_the_amount(
        self, amount_minor: int, approvals: int, mode: ApprovalMode
    ) -> None:
        assert needed(amount_minor) == (approvals, mode)

    def test_of_another_asset_follows_the_rule_for_all(self) -> None:
        assert needed(50, "USD") == (1, ApprovalMode.SEMI_AUTOMATIC)

    def test_that_no_rule_covers_falls_back(self) -> None:
        assert needed(51, "USD") == (2, ApprovalMode.MANUAL)

    def test_names_its_approvers_and_its_patience(self) -> None:
        found = requirement(parse_policy(BY_AMOUNT), asset="ETH", amount_minor=5_000)
        assert found.approvers == ("a", "b", "c", "d")
        assert found.expires_after == timedelta(minutes=10)


class TestSatisfaction:
    def test_counts_people_not_approvals(self) -> None:
        found = requirement(parse_policy(BY_AMOUNT), asset="USD", amount_minor=99)
        assert not is_satisfied(found, requester="u", approvers=["x", "x"])
        assert is_satisfied(found, requester="u", approvers=["x", "y"])

    def test_never_counts_the_requester(self) -> None:
        found = requirement(parse_policy(BY_AMOUNT), asset="USD", amount_minor=99)
        assert not is_satisfied(found, requester="x", approvers=["x", "y"])

    def test_counts_only_named_approvers(self) -> None:
        found = requirement(parse_policy(BY_AMOUNT), asset="ETH", amount_minor=5_000)
        assert not is_satisfied(found, requester="u", approvers=["a", "b", "x"])
        assert is_satisfied(found, requester="u", approvers=["a", "b", "d"])


def rule(asset: str = "ETH", up_to_minor: str | None = None, approvals: int = 1) -> dict[str, Any]:
    return {"asset": asset, "up_to_minor": up_to_minor, "approvals": approvals}


class TestDocument:
    @pytest.mark.parametrize(
        "rules",
        [
            [rule(), rule(up_to_minor="5")],
            [rule(up_to_minor="5"), rule(up_to_minor="5")],
            [rule(up_to_minor="5"), rule(up_to_minor="4")],
            [rule("*"), rule("ETH")],
            [rule("*", "10"), rule("ETH", "10")],
            [rule(up_to_minor="0")],
            [rule(), rule()],
        ],
    )
    def test_refuses_a_rule_that_is_never_reached(self, rules: list[dict[str, Any]]) -> None:
        with pytest.raises(InvalidPolicyError, match="never reached"):
            parse_policy({"rules": rules})

    @pytest.mark.parametrize(
        "rules",
        [
            [rule("ETH"), rule("*")],
            [rule("ETH", "5"), rule("ETH")],
            [rule("*", "5"), rule("ETH", "6"), rule("*")],
            [],
        ],
    )
    def test_takes_rules_that_are_reached(self, rules: list[dict[str, Any]]) -> None:
        assert len(parse_policy({"rules": rules}).rules) == len(rules)

    @pytest.mark.parametrize(
        "document",
        [
            {"rules": [], "fallback_approvals": 0},
            {"rules": [{**rule(approvals=2), "approvers": ["a", "a"]}]},
            {"rules": [rule(approvals=21)]},
            {"rules": [rule(approvals=-1)]},
            {"rules": [rule(up_to_minor="-1")]},
            {"rules": [rule(up_to_minor="1.5")]},
            {"rules": [], "approval_expires_s": 1},
            {"rules": [], "surprise": 1},
            {"rules": [], "limits": [{"asset": "ETH", "window_s": 59}]},
            {},
            [],
            None,
        ],
    )
    def test_refuses_what_makes_no_sense(self, document: object) -> None:
        with pytest.raises(InvalidPolicyError):
            parse_policy(document)

    def test_refuses_a_limit_that_would_count_for_no_asset(self) -> None:
        with pytest.raises(InvalidPolicyError, match="one asset"):
            parse_policy({"rules": [], "limits": [{"asset": "*", "window_s": 60, "count": 1}]})

    def test_refuses_two_limits_that_share_a_counter(self) -> None:
        """Each payout would be counted twice."""
        limits = [
            {"asset": "ETH", "window_s": 60, "count": 1},
            {"asset": "ETH", "window_s": 60, "amount_minor": "5"},
        ]
        with pytest.raises(InvalidPolicyError, match="same window"):
            parse_policy({"rules": [], "limits": limits})

    def test_refuses_a_limit_that_limits_nothing(self) -> None:
        with pytest.raises(InvalidPolicyError, match="amount_minor or count"):
            parse_policy({"rules": [], "limits": [{"asset": "ETH", "window_s": 60}]})

    def test_survives_its_own_json(self) -> None:
        document = parse_policy(BY_AMOUNT)
        assert parse_policy(document.model_dump(mode="json")) == document


class TestLimits:
    DOCUMENT: PolicyDocument = parse_policy(
        {
            "rules": [],
            "limits": [
                {"asset": "ETH", "window_s": 3_600, "amount_minor": "1000"},
                {"asset": "ETH", "window_s": 86_400, "count": 5},
                {"asset": "USD", "window_s": 86_400, "count": 1},
            ],
        }
    )

    def test_are_reserved_in_the_window_that_holds_the_moment(self) -> None:
        at = datetime(2026, 3, 4, 15, 59, 59, 999_999, tzinfo=UTC)
        hour, day = limit_reservations(self.DOCUMENT, asset="ETH", amount_minor=7, at=at)
        assert hour.window_start == datetime(2026, 3, 4, 15, tzinfo=UTC)
        assert day.window_start == datetime(2026, 3, 4, tzinfo=UTC)
        assert (hour.amount_minor, hour.amount_cap_minor, hour.count_cap) == (7, 1_000, None)
        assert (day.amount_cap_minor, day.count_cap) == (None, 5)
        assert hour.name != day.name

    def test_of_another_asset_are_not_touched(self) -> None:
        at = datetime(2026, 3, 4, tzinfo=UTC)
        assert limit_reservations(self.DOCUMENT, asset="BTC", amount_minor=7, at=at) == ()
