"""
Posting rules of pockets: users' own wallets on a chain, as ``ledger.rules`` for everything else.

What is on a pocket mirrors the chain. Amounts are minor units; keys are ``{resource}:{step}``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from domain.pockets import Route
from domain.policy import LimitReservation
from ledger import chart
from ledger.conversion_rules import Swap
from ledger.posting import Entry, HoldChange, HoldOperation, Posting
from ledger.rules import move


@dataclass(frozen=True, slots=True)
class Purse:
    """Where a transfer's money is held: the off-chain balance, or the user's pocket."""

    user_id: str
    chain_id: str
    is_pocket: bool

    @property
    def free(self) -> str:
        """The account that it is taken from."""
        if self.is_pocket:
            return chart.onchain(self.user_id, self.chain_id)
        return chart.available(self.user_id)

    @property
    def held(self) -> str:
        """The account where it is frozen."""
        if self.is_pocket:
            return chart.onchain_held(self.user_id, self.chain_id)
        return chart.held(self.user_id)

    def hold(
        self,
        operation: HoldOperation,
        hold_id: str,
        asset: str,
        amount_minor: int,
        *,
        expires_at: datetime | None = None,
        limits: tuple[LimitReservation, ...] = (),
    ) -> HoldChange:
        """Return what happens to a hold of this money."""
        pocket = self.chain_id if self.is_pocket else None
        return HoldChange(
            operation, hold_id, self.user_id, asset, amount_minor, expires_at, limits, pocket
        )


@dataclass(frozen=True, slots=True)
class Part:
    """A part of what a transfer holds: its amount and fee, or the coin for the network."""

    transfer_id: str
    purse: Purse
    hold_id: str
    asset: str
    total_minor: int
    step: str = ""
    """Ends the names of its postings' steps: empty, or ``_gas``."""
    swap: Swap | None = None
    """What is promised with it, where the transfer converts."""

    @property
    def promised(self) -> tuple[Entry, ...]:
        """What is set aside for it of our own."""
        return () if self.swap is None else self.swap.promised(1)

    @property
    def taken_back(self) -> tuple[Entry, ...]:
        """The same, when the transfer does not take place."""
        return () if self.swap is None else self.swap.promised(-1)


@dataclass(frozen=True, slots=True)
class Trip:
    """Between what a transfer moves an asset on a chain, and for whom."""

    transfer_id: str
    route: Route
    user_id: str
    chain_id: str
    asset: str

    @property
    def left_from(self) -> str:
        """The mirror of the wallet that pays."""
        mirror = chart.omnibus_pocket if self.route.spends_pocket else chart.omnibus_hot
        return mirror(self.chain_id)

    @property
    def owner_before(self) -> str:
        """Where the user had the money before it was frozen."""
        return Purse(self.user_id, self.chain_id, self.route.spends_pocket).free

    def arrived(self, amount_minor: int) -> tuple[Entry, ...]:
        """Return what arrived at a wallet of ours, and whose it is there."""
        match self.route:
            case Route.FUND:
                mirror = chart.omnibus_pocket(self.chain_id)
                owner = chart.onchain(self.user_id, self.chain_id)
            case Route.REDEEM:
                mirror, owner = chart.omnibus_hot(self.chain_id), chart.available(self.user_id)
            case _:
                return ()
        return move(mirror, owner, self.asset, amount_minor)


def pocket_freeze(
    part: Part,
    *,
    limits: tuple[LimitReservation, ...] = (),
    expires_at: datetime | None = None,
    at: datetime,
) -> Posting:
    """Freeze a part of what a transfer needs, with the limit counters raised."""
    hold = part.purse.hold(
        HoldOperation.PLACE,
        part.hold_id,
        part.asset,
        part.total_minor,
        expires_at=expires_at,
        limits=limits,
    )
    entries = move(part.purse.free, part.purse.held, part.asset, part.total_minor)
    entries += part.promised
    return Posting(_key(part, "freeze"), "pocket_freeze", part.transfer_id, entries, at, hold)


def pocket_release(part: Part, *, is_expiry: bool, at: datetime) -> Posting:
    """Give it back: the transfer does not take place."""
    operation = HoldOperation.EXPIRE if is_expiry else HoldOperation.RELEASE
    hold = part.purse.hold(operation, part.hold_id, part.asset, part.total_minor)
    entries = move(part.purse.held, part.purse.free, part.asset, part.total_minor)
    entries += part.taken_back
    return Posting(_key(part, "release"), "pocket_release", part.transfer_id, entries, at, hold)


def pocket_dispatch(part: Part, *, at: datetime) -> Posting:
    """Capture it into flight; from here no release can reach it."""
    hold = part.purse.hold(HoldOperation.CAPTURE, part.hold_id, part.asset, part.total_minor)
    inflight = chart.inflight(part.purse.chain_id)
    entries = move(part.purse.held, inflight, part.asset, part.total_minor)
    return Posting(_key(part, "dispatch"), "pocket_dispatch", part.transfer_id, entries, at, hold)


def pocket_return(part: Part, *, at: datetime) -> Posting:
    """Give it back from flight: the chain did not move it, and never will."""
    inflight = chart.inflight(part.purse.chain_id)
    entries = move(inflight, part.purse.free, part.asset, part.total_minor)
    entries += part.taken_back
    return Posting(_key(part, "return"), "pocket_return", part.transfer_id, entries, at)


def pocket_settle(
    trip: Trip, *, amount_minor: int, arrived_minor: int, fee_minor: int, at: datetime
) -> Posting:
    """
    The chain moved it: the frozen amount is no more, and the other side has what arrived.

    Both sides are one ledger transaction. A token may charge on the way; that is the user's loss.
    """
    inflight = chart.inflight(trip.chain_id)
    entries = move(inflight, trip.left_from, trip.asset, amount_minor)
    entries += trip.arrived(arrived_minor)
    entries += move(inflight, chart.SERVICE_FEES, trip.asset, fee_minor)
    return Posting(f"{trip.transfer_id}:settle", "pocket_settle", trip.transfer_id, entries, at)


def pocket_fix(
    trip: Trip,
    *,
    chain_transaction_id: str,
    settlement: int,
    left_minor: int,
    arrived_minor: int,
    at: datetime,
) -> Posting:
    """
    Follow a chain that says something else of a transfer than the books have of it.

    The amounts are the differences, negative where the chain took something back. Whoever had the
    money before the transfer has it again, even if the other side has spent it: by this rule the
    database lets a user's balance fall below zero.
    """
    entries = move(trip.owner_before, trip.left_from, trip.asset, left_minor)
    entries += trip.arrived(arrived_minor)
    key = f"{chain_transaction_id}:pocket_fix:{trip.transfer_id}:{settlement}"
    return Posting(key, "pocket_fix", trip.transfer_id, entries, at)


def pocket_gas_settle(
    *,
    transfer_id: str,
    user_id: str,
    chain_id: str,
    asset: str,
    captured_minor: int,
    fee_minor: int,
    at: datetime,
) -> Posting:
    """The chain took its fee out of the pocket; what was set aside beyond it is free again."""
    inflight = chart.inflight(chain_id)
    entries = move(inflight, chart.omnibus_pocket(chain_id), asset, fee_minor)
    onchain = chart.onchain(user_id, chain_id)
    entries += move(inflight, onchain, asset, captured_minor - fee_minor)
    return Posting(f"{transfer_id}:settle_gas", "pocket_gas_settle", transfer_id, entries, at)


def pocket_gas_fix(
    *,
    transfer_id: str,
    chain_transaction_id: str,
    settlement: int,
    user_id: str,
    chain_id: str,
    asset: str,
    fee_minor: int,
    at: datetime,
) -> Posting:
    """After a reorg the same transaction took another fee: ``fee_minor`` is the difference."""
    onchain = chart.onchain(user_id, chain_id)
    entries = move(onchain, chart.omnibus_pocket(chain_id), asset, fee_minor)
    key = f"{chain_transaction_id}:pocket_gas_fix:{settlement}"
    return Posting(key, "pocket_fix", transfer_id, entries, at)


def pocket_gas_lent(
    *,
    chain_transaction_id: str,
    settlement: int,
    chain_id: str,
    user_id: str,
    asset: str,
    left_minor: int,
    arrived_minor: int,
    lost: str,
    at: datetime,
) -> Posting:
    """
    The hot wallet lent a pocket the coin that moving its tokens costs; it stays ours.

    Amounts, ``lost`` and ``settlement`` as in ``ledger.rules.sweep_settle``.
    """
    hot, pocket = chart.omnibus_hot(chain_id), chart.omnibus_pocket(chain_id)
    entries = move(pocket, hot, asset, arrived_minor)
    entries += move(lost, hot, asset, left_minor - arrived_minor)
    entries += move(chart.CAPITAL, chart.pocket_gas(chain_id, user_id), asset, arrived_minor)
    key = f"{chain_transaction_id}:pocket_gas_lent:{settlement}"
    return Posting(key, "pocket_gas_lent", chain_transaction_id, entries, at)


def pocket_network_fee(
    *,
    chain_transaction_id: str,
    settlement: int,
    chain_id: str,
    user_id: str,
    asset: str,
    fee_minor: int,
    shared: Mapping[str, int],
    at: datetime,
) -> Posting:
    """
    What the chain took out of a pocket for a transaction that we pay for: of the coin we lent it.

    Arguments as of ``ledger.rules.network_fee``.
    """
    parts = {chart.customer_network_fees(chain_id, u): shared[u] for u in sorted(shared)}
    parts[chart.network_fees(chain_id)] = fee_minor - sum(shared.values())
    entries = (
        Entry(chart.omnibus_pocket(chain_id), asset, fee_minor),
        *(Entry(account, asset, -minor) for account, minor in parts.items() if minor),
        *move(chart.pocket_gas(chain_id, user_id), chart.CAPITAL, asset, fee_minor),
    )
    key = f"{chain_transaction_id}:network_fee:{settlement}"
    return Posting(key, "pocket_network_fee", chain_transaction_id, entries, at)


def _key(part: Part, step: str) -> str:
    return f"{part.transfer_id}:{step}{part.step}"
