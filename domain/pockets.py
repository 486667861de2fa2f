"""
What is said about pockets between API, workflows and the database. Plain values.

A *pocket* is a user's own wallet on one chain. A transfer to or from it is a payout in every
respect but where the money comes from and goes to: its *route*.
"""

from dataclasses import dataclass
from enum import StrEnum

from domain.payouts import PayoutStatus, Priority

ALL = "all"
"""Instead of an amount: everything that the pocket holds of the asset, less the network fee."""


class Route(StrEnum):
    """Between what a payout moves money."""

    PAYOUT = "payout"
    """From the hot wallet to an external address, for an off-chain balance."""
    FUND = "fund"
    """From the hot wallet to the user's own pocket, for an off-chain balance."""
    REDEEM = "redeem"
    """From the pocket to the hot wallet; what arrives is the off-chain balance's."""
    SEND = "send"
    """From the pocket to an external address."""

    @property
    def spends_pocket(self) -> bool:
        """Tell whether the pocket pays."""
        return self in SPENDING

    @property
    def may_convert(self) -> bool:
        """Tell whether what leaves and what arrives may be different assets."""
        return self in (Route.FUND, Route.REDEEM)


SPENDING = frozenset({Route.REDEEM, Route.SEND})
OF_POCKETS = frozenset({Route.FUND, *SPENDING})


@dataclass(frozen=True)
class PocketTransferRequest:
    """A transfer as it was asked for. Amounts are decimal strings of minor units, or ``all``."""

    payout_id: str
    user_id: str
    principal: str
    idempotency_key: str
    request_hash: str
    route: Route
    asset: str
    chain_id: str
    amount: str
    second_factor: str
    """How the user proved that they want this very transfer: ``totp`` or ``step_up``."""
    destination: str | None = None
    """Where a ``send`` goes to; the others know."""
    note: str | None = None
    priority: Priority = Priority.NORMAL
    to_asset: str | None = None
    """What arrives; None: what leaves."""
    quote_id: str | None = None
    """The rate at which one becomes the other."""

    @property
    def moved_asset(self) -> str:
        """The asset that the chain moves."""
        return self.to_asset or self.asset if self.route == Route.FUND else self.asset


@dataclass(frozen=True)
class PocketStanding:
    """Where a transfer of a pocket stands, and what drives it."""

    status: PayoutStatus
    batches: tuple[str, ...] = ()
    """Batches that must be on their way: the transfer's own, or the gas that it waits for."""
    look_again_s: int = 300


def shown_destination(route: str, pocket_id: str | None, destination: str) -> str | None:
    """Return the address that a transfer's user may know of; None where there is none yet."""
    if route == Route.REDEEM or (route == Route.FUND and pocket_id is None):
        return None
    return destination


def approved_destination(
    route: str, user_id: str, chain_id: str, destination: str, *, quote_id: str | None = None
) -> str:
    """
    Return what people approve as the destination of a payout, and at which quote it is converted.

    A pocket is made when the first transfer to it is approved, so nobody can have seen its address;
    and which of our own addresses takes a transfer back is nobody's concern.
    """
    quoted = "" if quote_id is None else f":{quote_id}"
    match route:
        case Route.FUND:
            return f"pocket:{user_id}:{chain_id}{quoted}"
        case Route.REDEEM:
            return f"available:{user_id}{quoted}"
        case _:
            return destination
