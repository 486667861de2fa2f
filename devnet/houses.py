"""The books of mixers, read again and again while mixes are pending: house = fees + owed."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from devnet.asking import get
from devnet.people import ScriptedUser

POLL_S = 0.4


@dataclass(frozen=True, slots=True)
class Books:
    """One mixer's books at one moment, in minor units."""

    house_minor: int
    fees_minor: int
    owed_minor: int
    imbalance_minor: int
    open_mixes: int

    @property
    def is_balanced(self) -> bool:
        """Tell whether the house is what was earned and what is owed, and each mix has its own."""
        return self.house_minor == self.fees_minor + self.owed_minor and not self.imbalance_minor

    @property
    def is_at_rest(self) -> bool:
        """Tell whether nothing is pending, and the house is the fees."""
        return self.is_balanced and not self.open_mixes and self.house_minor == self.fees_minor


async def books_of(reader: ScriptedUser, mixer_id: str) -> Books:
    """Return a mixer's books as an operator or auditor reads them."""
    answer = await get(reader, f"/v1/mixers/{mixer_id}/books")
    return Books(
        house_minor=int(answer["house"]),
        fees_minor=int(answer["fees"]),
        owed_minor=int(answer["owed"]),
        imbalance_minor=int(answer["imbalance"]),
        open_mixes=int(answer["open_mixes"]),
    )


@dataclass
class HouseWatch:
    """Whoever reads the books of some mixers as long as it is wanted."""

    reader: ScriptedUser
    mixer_ids: Sequence[str]
    readings: dict[str, list[Books]] = field(default_factory=dict)
    """Of each mixer, in the order in which they were made."""

    async def watch(self, stop: asyncio.Event) -> None:
        """Read the books of all until told to stop, and once after that."""
        is_last = False
        while not is_last:
            is_last = stop.is_set()
            for mixer_id in self.mixer_ids:
                found = await books_of(self.reader, mixer_id)
                self.readings.setdefault(mixer_id, []).append(found)
            await asyncio.sleep(0 if is_last else POLL_S)

    @property
    def faults(self) -> list[str]:
        """Where the books did not balance, or do not show at last that all is over."""
        off = [
            f"{mixer_id} had {reading}"
            for mixer_id, readings in self.readings.items()
            for reading in readings
            if not reading.is_balanced
        ]
        return off + [
            f"{mixer_id} ends with {readings[-1]}"
            for mixer_id, readings in self.readings.items()
            if not readings[-1].is_at_rest
        ]
