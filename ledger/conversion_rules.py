"""
Posting rules of transfers that convert one asset into another between balance and pocket.

What the user pays becomes the house's, and what they get comes from what the house set aside for
it; an internal asset is issued and taken back instead. Each asset sums to zero by itself. Steps and
keys are those of ``ledger.pocket_rules``.
"""

from dataclasses import dataclass
from datetime import datetime

from domain.conversions import Redeemed
from ledger import chart
from ledger.posting import Entry, Posting
from ledger.rules import move


@dataclass(frozen=True, slots=True)
class Swap:
    """What a transfer converts: so much of one asset into so much of another."""

    pay_asset: str
    pay_minor: int
    fee_minor: int
    """Service fee, of the asset that pays."""
    buy_asset: str
    buy_minor: int
    is_pay_issued: bool
    """It is an internal asset, which only the books have."""
    is_buy_issued: bool

    @property
    def taken_by(self) -> str:
        """Whose account gets what the user pays."""
        return chart.mint(self.pay_asset) if self.is_pay_issued else chart.CONVERSION_STOCK

    @property
    def given_by(self) -> str:
        """Whose account what the user gets is from, when nothing is promised for it any more."""
        return chart.mint(self.buy_asset) if self.is_buy_issued else chart.CONVERSION_STOCK

    def promised(self, sign: int) -> tuple[Entry, ...]:
        """Return what sets aside what is to be given; with -1, what takes that back."""
        if self.is_buy_issued:
            return ()
        stock, reserved = chart.CONVERSION_STOCK, chart.CONVERSION_RESERVED
        return move(stock, reserved, self.buy_asset, sign * self.buy_minor)


@dataclass(frozen=True, slots=True)
class Journey:
    """Whose transfer it is, and on which chain."""

    transfer_id: str
    user_id: str
    chain_id: str

    @property
    def available(self) -> str:
        """The user's off-chain balance."""
        return chart.available(self.user_id)

    @property
    def onchain(self) -> str:
        """The user's pocket."""
        return chart.onchain(self.user_id, self.chain_id)


def fund_settle(
    journey: Journey, swap: Swap, *, left_minor: int, arrived_minor: int, at: datetime
) -> Posting:
    """The hot wallet paid a pocket what its user paid us in another asset."""
    inflight = chart.inflight(journey.chain_id)
    entries = move(inflight, swap.taken_by, swap.pay_asset, swap.pay_minor)
    entries += move(inflight, chart.SERVICE_FEES, swap.pay_asset, swap.fee_minor)
    given = move(
        chart.CONVERSION_RESERVED,
        chart.omnibus_hot(journey.chain_id),
        swap.buy_asset,
        left_minor,
    )
    entries += given + _on_pocket(journey, swap, arrived_minor)
    key = f"{journey.transfer_id}:settle"
    return Posting(key, "pocket_settle", journey.transfer_id, entries, at)


def fund_fix(
    journey: Journey,
    swap: Swap,
    *,
    chain_transaction_id: str,
    settlement: int,
    left_minor: int,
    arrived_minor: int,
    at: datetime,
) -> Posting:
    """
    Follow a chain that says something else than the books have; see ``pocket_rules.pocket_fix``.

    What the chain took back as a whole is paid back as a whole, and the other way round.
    """
    sign = (left_minor > 0) - (left_minor < 0)
    entries = move(journey.available, swap.taken_by, swap.pay_asset, sign * swap.pay_minor)
    hot = chart.omnibus_hot(journey.chain_id)
    entries += move(swap.given_by, hot, swap.buy_asset, left_minor)
    entries += _on_pocket(journey, swap, arrived_minor)
    key = _fix_key(journey, chain_transaction_id, settlement)
    return Posting(key, "pocket_fix", journey.transfer_id, entries, at)


def redeem_settle(
    journey: Journey, swap: Swap, *, left_minor: int, got: Redeemed, at: datetime
) -> Posting:
    """A pocket paid the hot wallet, and its user has what that buys of another asset."""
    chain_id = journey.chain_id
    entries = move(
        chart.inflight(chain_id), chart.omnibus_pocket(chain_id), swap.pay_asset, left_minor
    )
    entries += _redeemed(journey, swap, got)
    # All that was promised is released, and what is given is taken again: the rest is free.
    entries += swap.promised(-1)
    key = f"{journey.transfer_id}:settle"
    return Posting(key, "pocket_settle", journey.transfer_id, entries, at)


def redeem_fix(
    journey: Journey,
    swap: Swap,
    *,
    chain_transaction_id: str,
    settlement: int,
    left_minor: int,
    got: Redeemed,
    at: datetime,
) -> Posting:
    """Follow a chain that says something else; ``got`` is the difference. See ``fund_fix``."""
    omnibus = chart.omnibus_pocket(journey.chain_id)
    entries = move(journey.onchain, omnibus, swap.pay_asset, left_minor)
    entries += _redeemed(journey, swap, got)
    key = _fix_key(journey, chain_transaction_id, settlement)
    return Posting(key, "pocket_fix", journey.transfer_id, entries, at)


def _on_pocket(journey: Journey, swap: Swap, arrived_minor: int) -> tuple[Entry, ...]:
    omnibus = chart.omnibus_pocket(journey.chain_id)
    return move(omnibus, journey.onchain, swap.buy_asset, arrived_minor)


def _redeemed(journey: Journey, swap: Swap, got: Redeemed) -> tuple[Entry, ...]:
    hot = chart.omnibus_hot(journey.chain_id)
    entries = move(hot, swap.taken_by, swap.pay_asset, got.converted_minor)
    entries += move(hot, journey.available, swap.pay_asset, got.rest_minor)
    return entries + move(swap.given_by, journey.available, swap.buy_asset, got.given_minor)


def _fix_key(journey: Journey, chain_transaction_id: str, settlement: int) -> str:
    return f"{chain_transaction_id}:pocket_fix:{journey.transfer_id}:{settlement}"
