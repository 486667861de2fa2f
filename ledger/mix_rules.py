"""
Posting rules of mixing. What comes to a mix's address is owed to the mix as soon as it is credited.

The keys count how often a deposit was credited: after a reorg it may come, or come back, again.
"""

from datetime import datetime

from ledger import chart
from ledger.posting import Posting
from ledger.rules import move


def mix_fee(
    *,
    deposit_id: str,
    credit: int,
    mix_id: str,
    mixer_id: str,
    asset: str,
    fee_minor: int,
    at: datetime,
) -> Posting:
    """Earn the fee of a deposit that is mixed."""
    entries = move(chart.mix_owed(mix_id), chart.mixer_fees(mixer_id), asset, fee_minor)
    return Posting(f"{deposit_id}:mix_fee:{credit}", "mix_fee", mix_id, entries, at)


def mix_fee_return(
    *,
    deposit_id: str,
    credit: int,
    mix_id: str,
    mixer_id: str,
    asset: str,
    fee_minor: int,
    at: datetime,
) -> Posting:
    """Give the fee of a deposit back that is not mixed after all."""
    entries = move(chart.mixer_fees(mixer_id), chart.mix_owed(mix_id), asset, fee_minor)
    return Posting(f"{deposit_id}:mix_fee_return:{credit}", "mix_fee_return", mix_id, entries, at)


def mix_refund(
    *,
    deposit_id: str,
    credit: int,
    mix_id: str,
    user_id: str,
    asset: str,
    amount_minor: int,
    at: datetime,
) -> Posting:
    """Make a deposit that is not mixed its user's balance."""
    entries = move(chart.mix_owed(mix_id), chart.available(user_id), asset, amount_minor)
    return Posting(f"{deposit_id}:mix_refund:{credit}", "mix_refund", mix_id, entries, at)


def mix_clawback(
    *,
    deposit_id: str,
    credit: int,
    mix_id: str,
    user_id: str,
    asset: str,
    amount_minor: int,
    at: datetime,
) -> Posting:
    """
    Let a user owe what left already of a deposit that its chain took back.

    By this rule the database lets what a customer has fall below zero.
    """
    entries = move(chart.available(user_id), chart.mix_owed(mix_id), asset, amount_minor)
    return Posting(f"{deposit_id}:mix_clawback:{credit}", "mix_clawback", mix_id, entries, at)


def mix_dole(
    *, dole_id: str, mix_id: str, user_id: str, asset: str, amount_minor: int, at: datetime
) -> Posting:
    """Release a part of a mix; in the same breath it is frozen for its payout."""
    entries = move(chart.mix_owed(mix_id), chart.available(user_id), asset, amount_minor)
    return Posting(f"{dole_id}:mix_dole", "mix_dole", mix_id, entries, at)
