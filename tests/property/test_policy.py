from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidPolicyError
from domain.policy import is_satisfied, parse_policy, requirement

people = st.sampled_from(["ada", "bob", "cyd", "dee", "eve"])
amounts = st.integers(min_value=1, max_value=200)


@st.composite
def rules(draw: st.DrawFn) -> dict[str, Any]:
    approvers = draw(st.lists(people, unique=True))
    most = len(approvers) if approvers else 5
    return {
        "asset": draw(st.sampled_from(["ETH", "USD", "*"])),
        "up_to_minor": draw(st.none() | st.integers(1, 200).map(str)),
        "approvals": draw(st.integers(0, most)),
        "approvers": approvers,
    }


documents = st.fixed_dictionaries(
    {"rules": st.lists(rules(), max_size=5), "fallback_approvals": st.integers(1, 5)}
)


class TestPolicy:
    @given(documents, amounts, people, st.lists(people))
    def test_keeps_four_eyes(
        self, document: dict[str, Any], amount_minor: int, requester: str, approvers: list[str]
    ) -> None:
        """Whatever the policy: enough means that many different people, none of them the asker."""
        try:
            needed = requirement(parse_policy(document), asset="ETH", amount_minor=amount_minor)
        except InvalidPolicyError:
            return
        others = set(approvers) - {requester}
        if needed.approvers:
            others &= set(needed.approvers)
        enough = is_satisfied(needed, requester=requester, approvers=approvers)
        assert enough == (len(others) >= needed.approvals)
        if needed.approvals:
            assert not is_satisfied(needed, requester=requester, approvers=[requester] * 9)

    @given(documents, st.sampled_from(["ETH", "USD", "BTC"]), amounts)
    def test_asks_every_rule_that_it_accepts_at_some_amount(
        self, document: dict[str, Any], asset: str, amount_minor: int
    ) -> None:
        """The first rule that covers the payout decides, and none stands in vain."""
        try:
            policy = parse_policy(document)
        except InvalidPolicyError:
            return
        covering = [r for r in policy.rules if r.covers(asset=asset, amount_minor=amount_minor)]
        needed = requirement(policy, asset=asset, amount_minor=amount_minor)
        expected = covering[0].approvals if covering else policy.fallback_approvals
        assert needed.approvals == expected
        for rule in policy.rules:
            probe = int(rule.up_to_minor) if rule.up_to_minor else 10**70
            name = "some other" if rule.asset == "*" else rule.asset
            first = next(r for r in policy.rules if r.covers(asset=name, amount_minor=probe))
            assert first is rule
