"""Whoever kills processes of a stack, one after the other, until it is over."""

import asyncio
import random
from collections.abc import Callable, Sequence

from devnet.stack import Stack

CALM_S = (1.0, 5.0)
"""Between one kill and the next, unless told otherwise."""

DOWN_S = (0.0, 0.7)
"""Before whoever was killed is started again."""


class Killer:
    """Kills one process after the other, each once before any a second time; starts it again."""

    def __init__(
        self,
        stack: Stack,
        victims: Sequence[str],
        *,
        seed: int,
        say: Callable[[str], None],
        calm_s: tuple[float, float] = CALM_S,
    ) -> None:
        self._stack = stack
        self._victims = tuple(victims)
        self._dice = random.Random(seed)  # noqa: S311 - dice, not secrets
        self._say = say
        self._calm_s = calm_s
        self.kills = 0
        self.over = asyncio.Event()

    async def run(self) -> None:
        """Kill until it is over, and everybody once at least."""
        while True:
            turn = list(self._victims)
            self._dice.shuffle(turn)
            for name in turn:
                if self.over.is_set() and self.kills >= len(self._victims):
                    return
                await self._kill(name)
                if self.kills % len(self._victims) == 0:
                    self._say(f"  {self.kills} kills")

    async def _kill(self, name: str) -> None:
        await asyncio.sleep(self._dice.uniform(*self._calm_s))
        self._stack.process(name).kill()
        self.kills += 1
        await asyncio.sleep(self._dice.uniform(*DOWN_S))
        await self._stack.process(name).restart_until_ready()
