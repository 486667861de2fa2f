"""
Processes that die: before a commit, after it, after a broadcast. And a signer that refuses.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import override

from sqlmodel.ext.asyncio.session import AsyncSession

from domain.errors import SigningRefusedError
from domain.ports import SignedAttempt, UnsignedAttempt
from infra.database import Database
from tests.support.scripted_chain import ScriptedSigner


class DiedError(Exception):
    """The process is gone; whoever started the step knows nothing of what became of it."""


class Fuse:
    """Counts the instants of a step, and ends the process at one of them."""

    def __init__(self) -> None:
        self._left: int | None = None

    def light(self, instants: int | None) -> None:
        """Let whoever runs now die at this instant, counted from 1; never, if None."""
        self._left = instants

    def burn(self) -> None:
        """Pass an instant; the dead pass none."""
        if self._left is not None:
            self._left = max(self._left - 1, 0)
            if not self._left:
                raise DiedError


class MortalDatabase(Database):
    """As its process: before each commit and after it, it may be gone."""

    def __init__(self, url: str, fuse: Fuse) -> None:
        super().__init__(url)
        self._fuse = fuse

    @override
    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        async with super().transaction() as session:
            yield session
            self._fuse.burn()
        self._fuse.burn()


class MoodySigner(ScriptedSigner):
    """Refuses to pay anybody while it is told to; fillers and approvals it signs."""

    def __init__(self) -> None:
        super().__init__()
        self.refuses = False

    @override
    async def sign(self, attempt: UnsignedAttempt) -> SignedAttempt:
        if self.refuses and attempt.transfer.amount_minor:
            raise SigningRefusedError
        return await super().sign(attempt)
