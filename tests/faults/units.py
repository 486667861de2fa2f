"""The wallet's units beside payouts and deposits: opened, awaited and judged together."""

import random
from dataclasses import dataclass

from devnet.people import ScriptedUser
from tests.faults.bank import Bank
from tests.faults.findings import Findings
from tests.faults.holders import Holders
from tests.faults.listeners import Listeners
from tests.faults.shoppers import Shoppers

BUYERS = 6


@dataclass(frozen=True)
class Load:
    """How much is asked for."""

    payouts: int
    purchases: int = 0
    transfers: int = 0
    """To, from and out of pockets; three for each holder."""


class Units:
    """People who buy, people with pockets, and receivers who are told of it."""

    def __init__(self, bank: Bank) -> None:
        self.bank = bank
        self.shoppers, self.holders = Shoppers(bank), Holders(bank)
        self.listeners = Listeners(bank.stack.site)

    async def open(self, *, late: int, holders: int, listening: list[ScriptedUser]) -> None:
        """Enlist everybody, and listen for all of them and for a few more."""
        await self.shoppers.open(people=BUYERS, late=late)
        await self.holders.open(people=holders)
        await self.listeners.open([*listening, *self.shoppers.people, *self.holders.people])

    async def settle(self, *, patience_s: float) -> None:
        """Wait until everything of the bank and of the units has ended, or time is over."""
        units = (self.shoppers, self.holders, self.listeners)
        await self.bank.settle(*(unit.are_done for unit in units), patience_s=patience_s)

    async def findings(self) -> Findings:
        """Compare everything with what was asked for."""
        found = await self.bank.findings()
        for unit in (self.shoppers, self.holders, self.listeners):
            found.add_all(await unit.findings())
        return found

    @property
    def counts(self) -> dict[str, int]:
        """How much was asked for, and how much came to receivers."""
        return {
            "payouts": len(self.bank.asked) - self.holders.sends,
            "lines": len(self.bank.lines),
            "deposits": len(self.bank.depositors.sent),
            "purchases": len(self.shoppers.bought),
            "transfers": len(self.holders.asked),
            "webhooks": self.listeners.received,
        }

    async def close(self) -> None:
        """Stop listening."""
        await self.listeners.close()
        await self.shoppers.stripe.close()


def dice_of(seed: int, number: int) -> random.Random:
    """Return dice of one's own: who throws when depends on the machine's speed."""
    return random.Random(f"{seed}-{number}")  # noqa: S311 - dice, not secrets
