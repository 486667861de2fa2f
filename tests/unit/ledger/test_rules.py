from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest

from domain.errors import UnbalancedTransactionError
from ledger import chart, rules
from ledger.posting import Entry, Posting, assert_balanced

AT = datetime(2026, 1, 1, tzinfo=UTC)
HOLD: dict[str, Any] = {
    "payout_id": "p",
    "hold_id": "h",
    "user_id": "u",
    "asset": "ETH",
    "total_minor": 110,
}
OWN: dict[str, Any] = {"chain_transaction_id": "x", "settlement": 0, "lost": "l"}


def every_rule() -> list[Posting]:
    own: dict[str, Any] = {"asset": "ETH", "at": AT}
    chain = {"chain_id": "c", **own}
    token = chain
    return [
        rules.transfer(key="k", source="a", target="b", asset="ETH", amount_minor=1, at=AT),
        rules.deposit(txid="t", user_id="u", amount_minor=1, **chain),
        rules.capital_in(txid="t", amount_minor=1, **chain),
        rules.payout_freeze(**HOLD, limits=(), expires_at=None, at=AT),
        rules.payout_release(**HOLD, is_expiry=False, at=AT),
        rules.payout_dispatch(**HOLD, chain_id="c", at=AT),
        rules.payout_settle(payout_id="p", amount_minor=100, fee_minor=10, **chain),
        rules.payout_return(payout_id="p", user_id="u", total_minor=110, **chain),
        rules.network_fee(
            chain_transaction_id="x",
            settlement=0,
            payer="o",
            fee_minor=9,
            shared={"u": 4, "v": 2},
            **chain,
        ),
        rules.token_surcharge(chain_transaction_id="x", payer="o", surcharge_minor=2, **token),
        rules.unexplained_outflow(
            chain_transaction_id="x", settlement=1, payer="o", outflow_minor=-3, **own
        ),
        rules.deposit_credit(deposit_id="d", credit=1, target="u", amount_minor=4, **chain),
        rules.deposit_reversal(deposit_id="d", credit=1, target="u", amount_minor=4, **chain),
        rules.sweep_settle(**OWN, left_minor=4, arrived_minor=3, **chain),
        rules.gas_topup_settle(**OWN, left_minor=4, arrived_minor=4, **chain),
    ]


class TestRules:
    def test_have_a_key_and_a_name_each(self) -> None:
        postings = every_rule()
        assert len({p.rule for p in postings}) == len({p.key for p in postings}) == len(postings)

    def test_move_a_payout_from_available_to_the_chain_and_nothing_is_left(self) -> None:
        freeze, dispatch, settle = (every_rule()[n] for n in (3, 5, 6))
        totals: Counter[str] = Counter()
        for posting in (freeze, dispatch, settle):
            for entry in posting.entries:
                totals[entry.account] += entry.amount_minor
        assert {code: total for code, total in totals.items() if total} == {
            chart.available("u"): -110,
            chart.omnibus_hot("c"): 100,
            chart.SERVICE_FEES: 10,
        }

    def test_say_which_customer_caused_which_network_fee(self) -> None:
        entries = {e.account: e.amount_minor for e in every_rule()[8].entries}
        assert entries == {
            "o": 9,
            chart.customer_network_fees("c", "u"): -4,
            chart.customer_network_fees("c", "v"): -2,
            chart.network_fees("c"): -3,
        }

    def test_leave_out_a_fee_of_nothing(self) -> None:
        posting = rules.payout_settle(
            payout_id="p", chain_id="c", asset="ETH", amount_minor=100, fee_minor=0, at=AT
        )
        assert len(posting.entries) == 2

    @pytest.mark.parametrize(
        "entries",
        [
            (),
            (Entry("a", "ETH", 0),),
            (Entry("a", "ETH", 1),),
            (Entry("a", "ETH", 1), Entry("b", "ETH", -2)),
            (Entry("a", "ETH", 1), Entry("b", "USD", -1)),
            (Entry("a", "ETH", 1), Entry("b", "ETH", -1), Entry("c", "ETH", 0)),
        ],
    )
    def test_never_pass_unbalanced_entries(self, entries: tuple[Entry, ...]) -> None:
        with pytest.raises(UnbalancedTransactionError):
            assert_balanced(entries)
