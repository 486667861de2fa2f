"""
Posting rules: each movement of money has one, by name, and no other code builds entries.

Amounts are minor units. The key of a posting is ``{resource}:{step}``; resources are unique, so a
step of a payout or of a chain transaction is posted once.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from domain.policy import LimitReservation
from ledger import chart
from ledger.posting import Entry, HoldChange, HoldOperation, Posting


@dataclass(frozen=True, slots=True)
class PurchaseAccounts:
    """Between which accounts the money of one purchase moves."""

    user_id: str
    pay_asset: str
    asset: str
    """What is bought."""
    cash: str
    """Where payments come from: clearing of their chain, or our money at the gateway."""
    rest: str
    """Whose the part is that buys nothing: the customer's, or owed back through the gateway."""


@dataclass(frozen=True, slots=True)
class PurchaseMove:
    """By how much a purchase's books move; negative where something is taken back."""

    cash_minor: int
    rest_minor: int
    credited_minor: int


def move(source: str, target: str, asset: str, amount_minor: int) -> tuple[Entry, ...]:
    """Debit one account and credit another; moving nothing is no entry at all."""
    if amount_minor == 0:
        return ()
    return (Entry(source, asset, -amount_minor), Entry(target, asset, amount_minor))


def _between(
    source: str, target: str, *, lost: str, asset: str, left_minor: int, arrived_minor: int
) -> tuple[Entry, ...]:
    """Move what the chain moved between two accounts of ours; what did not arrive is lost."""
    arrived = move(target, source, asset, arrived_minor)
    return arrived + move(lost, source, asset, left_minor - arrived_minor)


def transfer(
    *, key: str, source: str, target: str, asset: str, amount_minor: int, at: datetime
) -> Posting:
    """Move money between two accounts."""
    return Posting(key, "transfer", None, move(source, target, asset, amount_minor), at)


def user_transfer(
    *,
    transfer_id: str,
    sender_id: str,
    recipient_id: str,
    asset: str,
    amount_minor: int,
    at: datetime,
) -> Posting:
    """Send money from one customer to another; the database takes it from the API in this form."""
    source, target = chart.available(sender_id), chart.available(recipient_id)
    entries = move(source, target, asset, amount_minor)
    return Posting(f"{transfer_id}:transfer", "user_transfer", transfer_id, entries, at)


def deposit(
    *, txid: str, user_id: str, chain_id: str, asset: str, amount_minor: int, at: datetime
) -> Posting:
    """Credit a customer with what arrived on our hot wallet."""
    entries = move(chart.omnibus_hot(chain_id), chart.available(user_id), asset, amount_minor)
    return Posting(f"{txid}:deposit:{user_id}", "deposit", txid, entries, at)


def deposit_credit(
    *,
    deposit_id: str,
    credit: int,
    target: str,
    chain_id: str,
    asset: str,
    amount_minor: int,
    at: datetime,
    is_pocket: bool = False,
) -> Posting:
    """
    Book what arrived at an address that we handed out, on a customer's balance or as unclaimed.

    What arrived at a customer's own pocket is on what they have there.
    ``credit`` counts from 1 how often the deposit was booked: after a reorg it may come back.
    """
    mirror = chart.omnibus_pocket(chain_id) if is_pocket else chart.omnibus_deposit(chain_id)
    entries = move(mirror, target, asset, amount_minor)
    return Posting(f"{deposit_id}:credit:{credit}", "deposit_credit", deposit_id, entries, at)


def deposit_reversal(
    *,
    deposit_id: str,
    credit: int,
    target: str,
    chain_id: str,
    asset: str,
    amount_minor: int,
    at: datetime,
    is_pocket: bool = False,
) -> Posting:
    """
    Take back a deposit that the chain took back.

    By this rule the database lets what a customer has fall below zero.
    """
    mirror = chart.omnibus_pocket(chain_id) if is_pocket else chart.omnibus_deposit(chain_id)
    entries = move(target, mirror, asset, amount_minor)
    return Posting(f"{deposit_id}:reversal:{credit}", "deposit_reversal", deposit_id, entries, at)


def sweep_settle(
    *,
    chain_transaction_id: str,
    settlement: int,
    chain_id: str,
    asset: str,
    left_minor: int,
    arrived_minor: int,
    lost: str,
    at: datetime,
) -> Posting:
    """
    Deposits arrived on the hot wallet; what the token charged on the way is on ``lost``.

    After a reorg the same transaction may move more or less, or nothing: the amounts are then the
    differences, and ``settlement`` counts how often that happened.
    """
    source, target = chart.omnibus_deposit(chain_id), chart.omnibus_hot(chain_id)
    entries = _between(
        source, target, lost=lost, asset=asset, left_minor=left_minor, arrived_minor=arrived_minor
    )
    key = f"{chain_transaction_id}:sweep:{settlement}"
    return Posting(key, "sweep_settle", chain_transaction_id, entries, at)


def gas_topup_settle(
    *,
    chain_transaction_id: str,
    settlement: int,
    chain_id: str,
    asset: str,
    left_minor: int,
    arrived_minor: int,
    lost: str,
    at: datetime,
) -> Posting:
    """
    Give a deposit address what sweeping its tokens costs, from the hot wallet.

    Amounts, ``lost`` and ``settlement`` as in ``sweep_settle``.
    """
    source, target = chart.omnibus_hot(chain_id), chart.omnibus_deposit(chain_id)
    entries = _between(
        source, target, lost=lost, asset=asset, left_minor=left_minor, arrived_minor=arrived_minor
    )
    key = f"{chain_transaction_id}:gas_topup:{settlement}"
    return Posting(key, "gas_topup_settle", chain_transaction_id, entries, at)


def capital_in(*, txid: str, chain_id: str, asset: str, amount_minor: int, at: datetime) -> Posting:
    """Book the operator's own money that arrived on our hot wallet, such as gas."""
    entries = move(chart.omnibus_hot(chain_id), chart.CAPITAL, asset, amount_minor)
    return Posting(f"{txid}:capital", "capital_in", txid, entries, at)


def conversion_stock(
    *, key: str, source: str, asset: str, amount_minor: int, at: datetime
) -> Posting:
    """Set money of ours aside to convert into, or with a negative amount take it back."""
    entries = move(source, chart.CONVERSION_STOCK, asset, amount_minor)
    return Posting(f"{key}:conversion_stock", "conversion_stock", None, entries, at)


def payout_freeze(
    *,
    payout_id: str,
    hold_id: str,
    user_id: str,
    asset: str,
    total_minor: int,
    limits: tuple[LimitReservation, ...],
    expires_at: datetime | None,
    at: datetime,
) -> Posting:
    """Freeze amount plus fee: from available to held, with the limit counters raised."""
    hold = HoldChange(HoldOperation.PLACE, hold_id, user_id, asset, total_minor, expires_at, limits)
    entries = move(chart.available(user_id), chart.held(user_id), asset, total_minor)
    return Posting(f"{payout_id}:freeze", "payout_freeze", payout_id, entries, at, hold)


def payout_release(
    *,
    payout_id: str,
    hold_id: str,
    user_id: str,
    asset: str,
    total_minor: int,
    is_expiry: bool,
    at: datetime,
) -> Posting:
    """Give a frozen payout back: from held to available, with the limit counters lowered."""
    operation = HoldOperation.EXPIRE if is_expiry else HoldOperation.RELEASE
    hold = HoldChange(operation, hold_id, user_id, asset, total_minor)
    entries = move(chart.held(user_id), chart.available(user_id), asset, total_minor)
    return Posting(f"{payout_id}:release", "payout_release", payout_id, entries, at, hold)


def payout_dispatch(
    *,
    payout_id: str,
    hold_id: str,
    user_id: str,
    chain_id: str,
    asset: str,
    total_minor: int,
    at: datetime,
) -> Posting:
    """Capture the hold into flight; from here no release can reach the money."""
    hold = HoldChange(HoldOperation.CAPTURE, hold_id, user_id, asset, total_minor)
    entries = move(chart.held(user_id), chart.inflight(chain_id), asset, total_minor)
    return Posting(f"{payout_id}:dispatch", "payout_dispatch", payout_id, entries, at, hold)


def payout_settle(
    *, payout_id: str, chain_id: str, asset: str, amount_minor: int, fee_minor: int, at: datetime
) -> Posting:
    """The chain moved the amount: out of flight and off the omnibus; the fee is earned."""
    entries = move(
        chart.inflight(chain_id), chart.omnibus_hot(chain_id), asset, amount_minor
    ) + move(chart.inflight(chain_id), chart.SERVICE_FEES, asset, fee_minor)
    return Posting(f"{payout_id}:settle", "payout_settle", payout_id, entries, at)


def run_freeze(
    *,
    run_id: str,
    hold_id: str,
    user_id: str,
    asset: str,
    total_minor: int,
    limits: tuple[LimitReservation, ...],
    expires_at: datetime | None,
    at: datetime,
) -> Posting:
    """Freeze amounts and fees of all lines of a bulk payout under one hold."""
    hold = HoldChange(HoldOperation.PLACE, hold_id, user_id, asset, total_minor, expires_at, limits)
    entries = move(chart.available(user_id), chart.held(user_id), asset, total_minor)
    return Posting(f"{run_id}:freeze", "run_freeze", run_id, entries, at, hold)


def run_release(
    *,
    run_id: str,
    part: str,
    hold_id: str,
    user_id: str,
    asset: str,
    total_minor: int,
    limits: tuple[LimitReservation, ...],
    at: datetime,
) -> Posting:
    """Give lines of a bulk payout back: from held to available, with the counters lowered."""
    hold = HoldChange(
        HoldOperation.RELEASE_PART, hold_id, user_id, asset, total_minor, limits=limits
    )
    entries = move(chart.held(user_id), chart.available(user_id), asset, total_minor)
    return Posting(f"{run_id}:release:{part}", "run_release", run_id, entries, at, hold)


def run_dispatch(
    *,
    chain_transaction_id: str,
    run_id: str,
    hold_id: str,
    user_id: str,
    chain_id: str,
    asset: str,
    total_minor: int,
    at: datetime,
) -> Posting:
    """Capture what a chain transaction pays of a bulk payout, and its fees, into flight."""
    hold = HoldChange(HoldOperation.CAPTURE_PART, hold_id, user_id, asset, total_minor)
    entries = move(chart.held(user_id), chart.inflight(chain_id), asset, total_minor)
    key = f"{chain_transaction_id}:dispatch:{run_id}"
    return Posting(key, "run_dispatch", chain_transaction_id, entries, at, hold)


def run_settle(
    *,
    chain_transaction_id: str,
    run_id: str,
    chain_id: str,
    asset: str,
    amount_minor: int,
    fee_minor: int,
    at: datetime,
) -> Posting:
    """The chain moved these lines of a bulk payout: out of flight; the fees are earned."""
    entries = move(
        chart.inflight(chain_id), chart.omnibus_hot(chain_id), asset, amount_minor
    ) + move(chart.inflight(chain_id), chart.SERVICE_FEES, asset, fee_minor)
    key = f"{chain_transaction_id}:settle:{run_id}"
    return Posting(key, "run_settle", chain_transaction_id, entries, at)


def payout_return(
    *, payout_id: str, user_id: str, chain_id: str, asset: str, total_minor: int, at: datetime
) -> Posting:
    """The chain did not move it: back to the customer as a new entry, never an undo."""
    entries = move(chart.inflight(chain_id), chart.available(user_id), asset, total_minor)
    return Posting(f"{payout_id}:return", "payout_return", payout_id, entries, at)


def network_fee(
    *,
    chain_transaction_id: str,
    settlement: int,
    chain_id: str,
    payer: str,
    asset: str,
    fee_minor: int,
    shared: Mapping[str, int],
    at: datetime,
) -> Posting:
    """
    What the chain took for mining a transaction of ours, from the omnibus account that paid it.

    ``shared`` says which part of it which customer's payouts caused; the rest is nobody's. After a
    reorg the same transaction may cost more or less: ``fee_minor`` and the parts are then the
    differences, and ``settlement`` counts how often that happened.
    """
    parts = {chart.customer_network_fees(chain_id, u): shared[u] for u in sorted(shared)}
    parts[chart.network_fees(chain_id)] = fee_minor - sum(shared.values())
    entries = (
        Entry(payer, asset, fee_minor),
        *(Entry(account, asset, -minor) for account, minor in parts.items() if minor),
    )
    key = f"{chain_transaction_id}:network_fee:{settlement}"
    return Posting(key, "network_fee", chain_transaction_id, entries, at)


def token_surcharge(
    *,
    chain_transaction_id: str,
    chain_id: str,
    payer: str,
    asset: str,
    surcharge_minor: int,
    at: datetime,
) -> Posting:
    """Book what a token's contract took from our wallet on top of the amount."""
    entries = move(chart.network_fees(chain_id), payer, asset, surcharge_minor)
    key = f"{chain_transaction_id}:surcharge"
    return Posting(key, "token_surcharge", chain_transaction_id, entries, at)


def unexplained_outflow(
    *,
    chain_transaction_id: str,
    settlement: int,
    payer: str,
    asset: str,
    outflow_minor: int,
    at: datetime,
    part: str | None = None,
) -> Posting:
    """
    Keep the books equal to a chain that moved what nobody asked for.

    It happens when a token takes money and delivers none, and when a reorg changes what was
    settled.

    ``outflow_minor`` is what left our wallet beyond what was booked, negative if less did. It goes
    to ``suspense``, where an operator finds it. ``part`` names one of several that are posted apart
    because they would cancel each other out.
    """
    entries = move(chart.SUSPENSE, payer, asset, outflow_minor)
    key = f"{chain_transaction_id}:unexplained:{settlement}"
    if part is not None:
        key += f":{part}"
    return Posting(key, "unexplained_outflow", chain_transaction_id, entries, at)


def purchase_credit(
    *,
    purchase_id: str,
    posting: int,
    accounts: PurchaseAccounts,
    paid: PurchaseMove,
    at: datetime,
) -> Posting:
    """A payment came in: what it bought is issued, and the payment is ours but for the rest."""
    key = f"{purchase_id}:credit:{posting}"
    return Posting(key, "purchase_credit", purchase_id, _purchased(accounts, paid), at)


def purchase_clawback(
    *,
    purchase_id: str,
    posting: int,
    accounts: PurchaseAccounts,
    paid: PurchaseMove,
    at: datetime,
) -> Posting:
    """
    Take back what a payment bought that a chain or a card network took back.

    Besides ``deposit_reversal`` the only rule by which a customer's balance may fall below zero.
    """
    key = f"{purchase_id}:clawback:{posting}"
    return Posting(key, "purchase_clawback", purchase_id, _purchased(accounts, paid), at)


def purchase_refund(
    *,
    purchase_id: str,
    posting: int,
    accounts: PurchaseAccounts,
    paid: PurchaseMove,
    at: datetime,
) -> Posting:
    """Take back what a payment bought, as far as it is there, and set the payment aside."""
    key = f"{purchase_id}:refund:{posting}"
    return Posting(key, "purchase_refund", purchase_id, _purchased(accounts, paid), at)


def _purchased(accounts: PurchaseAccounts, paid: PurchaseMove) -> tuple[Entry, ...]:
    proceeds_minor = paid.cash_minor - paid.rest_minor
    lines = (
        (accounts.cash, accounts.pay_asset, -paid.cash_minor),
        (accounts.rest, accounts.pay_asset, paid.rest_minor),
        (chart.PURCHASE_PROCEEDS, accounts.pay_asset, proceeds_minor),
        (chart.mint(accounts.asset), accounts.asset, -paid.credited_minor),
        (chart.available(accounts.user_id), accounts.asset, paid.credited_minor),
    )
    return tuple(Entry(*line) for line in lines if line[2])
