"""What bulk payouts promise, checked against the books and a chain that knows every payment."""

import json
from collections import Counter

from domain.payouts import OPEN_STATUSES, PayoutStatus
from ledger import chart
from models.chain_transactions import SETTLEABLE
from models.ledger import HoldStatus
from models.payouts import Payout
from tests.integration.runs.facts import ASSETS, IN_FLIGHT, OPENING_MINOR, Facts, total_of
from tests.integration.runs.mined import asked_for
from tests.integration.runs.paying_chain import PayingChain
from tests.support.books import CHAIN, USERS


def check_paid_once(facts: Facts, chain: PayingChain, *, is_settled_final: bool) -> None:
    """
    Pass if the chain pays each line at most once, and none that was given back.

    No two lines have the same amount, so an amount names its line.
    """
    paid = [payment for mined in chain.mined.values() for payment in mined.payments]
    lines = {payout.amount_minor: payout for payout in facts.payouts}
    for payment in paid:
        line = lines[payment.amount_minor]
        assert payment.destination == line.destination
        assert payment.token == ASSETS[line.asset]
    times = Counter(payment.amount_minor for payment in paid)
    for amount_minor, line in lines.items():
        allowed = {0, 1} if line.status == PayoutStatus.BATCHED else {0}
        if line.status == PayoutStatus.SETTLED:
            allowed = {1}
        if line.status in (PayoutStatus.SETTLED, PayoutStatus.REFUNDED) and not is_settled_final:
            allowed = {0, 1}
        assert times[amount_minor] in allowed, (line.status, times[amount_minor], line.id)


def check_candidates(facts: Facts) -> None:
    """Pass if everything signed that pays a line competes for the same account nonce."""
    nonces: dict[int, set[int]] = {}
    for attempt in facts.attempts:
        if attempt.raw is None:
            continue
        body = json.loads(attempt.raw)
        for payment in asked_for(body):
            nonces.setdefault(payment.amount_minor, set()).add(body["account_nonce"])
    assert all(len(places) == 1 for places in nonces.values()), nonces


def check_holds(facts: Facts) -> None:
    """Pass if each run's hold says what of it was captured, released and is left."""
    by_hold: dict[str, list[Payout]] = {}
    for payout in facts.payouts:
        if payout.run_id is not None:
            by_hold.setdefault(str(payout.hold_id), []).append(payout)
    for hold_id, lines in by_hold.items():
        hold = facts.holds[hold_id]
        captured = [line for line in lines if line.is_captured]
        left = [line for line in lines if not line.is_captured]
        held = [line for line in left if line.status in OPEN_STATUSES]
        released = [line for line in left if line.status not in OPEN_STATUSES]
        assert hold.amount_minor == total_of(lines)
        assert hold.captured_minor == total_of(captured)
        assert hold.released_minor == total_of(released)
        assert (hold.status == HoldStatus.PLACED) == bool(held)


def check_money(facts: Facts) -> None:
    """Pass if every customer has what was not paid and is not being paid, to the last unit."""
    for asset in ASSETS:
        of_asset = [payout for payout in facts.payouts if payout.asset == asset]
        flying = [p for p in of_asset if p.status in IN_FLIGHT and facts.is_captured(p)]
        settled = [p for p in of_asset if p.status == PayoutStatus.SETTLED]
        assert facts.balance(chart.inflight(CHAIN), asset) == total_of(flying)
        assert facts.balance(chart.SERVICE_FEES, asset) == sum(p.fee_minor for p in settled)
        for user in USERS:
            its = [p for p in of_asset if p.user_id == user]
            still_open = [p for p in its if p.status in OPEN_STATUSES]
            held = [p for p in still_open if not facts.is_captured(p)]
            gone = still_open + [p for p in its if p.status == PayoutStatus.SETTLED]
            assert facts.balance(chart.held(user), asset) == total_of(held)
            assert facts.balance(chart.available(user), asset) == OPENING_MINOR - total_of(gone)


def check_rest(facts: Facts, chain: PayingChain, *, is_settled_final: bool) -> None:
    """Pass if the books say what the chain says, now that nothing is on its way."""
    if is_settled_final:
        assert [facts.balance(chart.SUSPENSE, asset) for asset in ASSETS] == [0, 0]
    assert [p.id for p in facts.payouts if p.status in OPEN_STATUSES] == []
    users: Counter[str] = Counter()
    for row in facts.transactions:
        if row.status not in SETTLEABLE:
            continue
        fee_minor = chain.mined[str(row.txid)].receipt.network_fee_minor
        its = [p for p in facts.payouts if p.chain_transaction_id == row.id]
        assert row.network_fee_minor == fee_minor
        assert sum(p.network_fee_minor or 0 for p in its) == (fee_minor if its else 0)
        for p in its:
            users[p.user_id] += p.network_fee_minor or 0
    assert len(chain.mined) == len([r for r in facts.transactions if r.status in SETTLEABLE])
    fees_minor = sum(mined.receipt.network_fee_minor for mined in chain.mined.values())
    for user in USERS:
        booked = -facts.balance(chart.customer_network_fees(CHAIN, user), "ETH")
        assert booked == users[user]
    nobodys = -facts.balance(chart.network_fees(CHAIN), "ETH")
    assert nobodys + users.total() == fees_minor
    for asset, token in ASSETS.items():
        assert -facts.balance(chart.omnibus_hot(CHAIN), asset) == chain.left_minor(token)
        assert facts.balance(chart.inflight(CHAIN), asset) == 0
