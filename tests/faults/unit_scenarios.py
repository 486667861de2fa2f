"""A crash after each activity of purchases, pockets and webhooks, as in ``scenarios``."""

from collections.abc import Callable, Coroutine
from functools import update_wrapper

from devnet.bootstrap import BTC, ETHER, ETHER_UNIT
from domain.pockets import Route
from tests.faults.bank import Bank
from tests.faults.units import Units

CENTS = 2_000
FUNDED_MINOR = ETHER_UNIT * 9 // 100
REDEEMED_MINOR = ETHER_UNIT // 50

Scenario = Callable[[Bank], Coroutine[None, None, None]]
Play = Callable[[Units], Coroutine[None, None, None]]


async def card_paid(units: Units) -> None:
    """A card pays, and every webhook comes twice."""
    await units.shoppers.by_card(units.shoppers.people[0], CENTS, "kept", webhooks=("double", "9"))


async def card_disputed(units: Units) -> None:
    """A card pays, its holder takes it back, and no webhook tells of it."""
    await units.shoppers.by_card(
        units.shoppers.people[1], CENTS, "disputed", webhooks=("lose", "9"), pause_s=1.0
    )


async def card_refunded(units: Units) -> None:
    """An operator gives a part back."""
    paid = await units.shoppers.by_card(units.shoppers.people[2], CENTS, "kept")
    await units.shoppers.refund(paid, CENTS // 4)


async def coins_paid(units: Units) -> None:
    """Coins pay in two parts."""
    await units.shoppers.by_chain(units.shoppers.people[3], BTC, 100_000, "in parts")


async def pocket_funded(units: Units) -> None:
    """A holder funds a pocket that is not there yet, or funds it again."""
    holders = units.holders
    user = holders.people[len(holders.asked) % len(holders.people)]
    await holders.move(user, ETHER, Route.FUND, FUNDED_MINOR)


async def pocket_redeemed(units: Units) -> None:
    """A holder takes a part back, of what an earlier scenario or this one put there."""
    if not units.holders.asked:
        await pocket_funded(units)
    await units.holders.move(units.holders.people[0], ETHER, Route.REDEEM, REDEEMED_MINOR)


PLAYS: tuple[tuple[str, Play], ...] = (
    ("purchase.open", card_paid),
    ("card.create_intent", card_paid),
    ("card.handle_event", card_paid),
    ("card.sync", card_paid),
    ("purchase.advance", card_disputed),
    ("purchase.request_refund", card_refunded),
    ("card.refund", card_refunded),
    ("purchase.tell", coins_paid),
    ("pocket.freeze", pocket_funded),
    ("pocket.make_ready", pocket_funded),
    ("chain.advance_pocket", pocket_redeemed),
    ("signing.sign_batch", pocket_redeemed),
    ("outgoing.settle", pocket_redeemed),
    ("webhook.attempt", card_paid),
)
"""An activity, and what makes it run."""


def unit_scenarios(units: Units) -> list[tuple[str, str, Scenario]]:
    """Return activity, the process that runs it, and its play, as scenarios of a bank."""
    found = []
    for activity, play in PLAYS:
        victim = "signer" if activity.startswith("signing.") else "worker"
        found.append((activity, victim, _scenario(units, play)))
    return found


def _scenario(units: Units, play: Play) -> Scenario:
    async def played(bank: Bank) -> None:
        del bank
        await play(units)

    update_wrapper(played, play)
    return played
