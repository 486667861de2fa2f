"""
The steps of a batch that ask a node: plan fees, broadcast, replace what is stuck.

A node is asked outside any unit of work; what it said is written afterwards under the batch's
lock, and only to rows that are still where they were.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

from domain.clock import Clock
from domain.errors import (
    AddressDeniedError,
    BroadcastUnknownError,
    KeyUnavailableError,
    NonceTooLowError,
    ScreeningOutdatedError,
    SignerCeilingError,
    StrongroomError,
    TransientError,
    WalletFrozenError,
)
from domain.ports import AddressScreener, ChainOutlet
from infra.database import Database
from models.chain_transactions import ChainAttempt, ChainTransactionStatus
from outgoing.allocation import set_aside_held_back
from outgoing.records import (
    locked_batch,
    signed_attempts,
    transactions_of,
)
from outgoing.screening import BatchScreening

BROADCASTS_AT_ONCE = 8

SIGNERS_OWN = (
    SignerCeilingError.code,
    KeyUnavailableError.code,
    WalletFrozenError.code,
    AddressDeniedError.code,
    ScreeningOutdatedError.code,
)
"""Notes on a batch that the signer takes away again."""


class Planner(Protocol):
    """What differs between chain families: how a transaction finds its fee, and a higher one."""

    async def prepare(self, batch_id: str) -> None:
        """Plan the fees of what is planned; raise a TransientError leaf while it must wait."""

    async def plan_bumps(self, batch_id: str) -> int:
        """Plan replacements for what is stuck; return how many attempts await signing."""


class PostgresChainRunner:
    """``domain.ports.ChainRunner`` on PostgreSQL, for every chain family."""

    def __init__(
        self,
        database: Database,
        outlet: ChainOutlet,
        planner: Planner,
        clock: Clock,
        *,
        screener: AddressScreener | None = None,
    ) -> None:
        """
        Take the database as the worker's role, the outlet of one chain and its planner.

        ``screener`` is who screens beside our own list, if anybody does.
        """
        self._database = database
        self._screening = BatchScreening(database, screener, clock)
        self._outlet = outlet
        self._planner = planner
        self._clock = clock

    async def prepare(self, batch_id: str) -> None:
        """
        Screen whom the batch pays and plan its fees; nothing is signed yet.

        Raises:
            ScreeningUnavailableError, FeeAboveCeilingError, InsufficientGasFundsError: The batch
                waits; repeat later.
        """
        async with self._waiting(batch_id):
            await self._screening.refresh(batch_id)
            await self._planner.prepare(batch_id)

    async def broadcast(self, batch_id: str) -> None:
        """
        Hand every stored attempt that no block has taken to a node; may be repeated at will.

        Raises:
            BroadcastUnknownError, ChainUnavailableError, FeeTooLowError,
            InsufficientGasFundsError: Some were not taken, or nobody knows; repeat.
        """
        async with self._waiting(batch_id):
            async with self._database.transaction() as session:
                rows = await transactions_of(
                    session,
                    batch_id,
                    ChainTransactionStatus.SIGNED,
                    ChainTransactionStatus.BROADCAST,
                )
                attempts = await signed_attempts(session, [p.row.id for p in rows])
            gate = asyncio.Semaphore(BROADCASTS_AT_ONCE)
            answers = await asyncio.gather(
                *(self._send(attempt, gate) for attempt in attempts.values())
            )
            await self._store_answers(batch_id, list(attempts.values()), answers)
            if failure := next((answer for answer in answers if answer is not None), None):
                raise failure

    async def _send(self, attempt: ChainAttempt, gate: asyncio.Semaphore) -> StrongroomError | None:
        async with gate:
            try:
                await self._outlet.broadcast(attempt.raw or b"")
            except StrongroomError as error:
                return error
            return None

    async def _store_answers(
        self,
        batch_id: str,
        attempts: Sequence[ChainAttempt],
        answers: Sequence[StrongroomError | None],
    ) -> None:
        async with self._database.transaction() as session:
            await locked_batch(session, batch_id)
            rows = await transactions_of(
                session, batch_id, ChainTransactionStatus.SIGNED, lock=True
            )
            signed = {p.row.id: p.row for p in rows}
            for sent, answer in zip(attempts, answers, strict=True):
                attempt = await session.get_one(ChainAttempt, sent.id)
                attempt.last_error = answer.code if answer else None
                # A lost answer and a used nonce both mean that the chain may have it.
                if answer is not None and not isinstance(
                    answer, BroadcastUnknownError | NonceTooLowError
                ):
                    continue
                attempt.broadcast_at = self._clock.now()
                if row := signed.get(attempt.chain_transaction_id):
                    row.status = ChainTransactionStatus.BROADCAST
                    row.updated_at = self._clock.now()

    async def plan_bumps(self, batch_id: str) -> int:
        """
        Plan a replacement, in the same place at a higher fee, for each attempt that is stuck.

        What the signer holds back for a freeze or by screening is taken out of the batch, so that
        its place does not keep others waiting. Returns how many attempts await the signer.

        Raises:
            FeeAboveCeilingError: A replacement would cost more than the ceiling; repeat later.
            ScreeningUnavailableError: What is not signed was screened too long ago.
        """
        async with self._waiting(batch_id):
            silence = await self._screened(batch_id)
            async with self._database.transaction() as session:
                await set_aside_held_back(session, batch_id, clock=self._clock)
            planned = await self._planner.plan_bumps(batch_id)
            if silence is not None:
                raise silence
            return planned

    async def _screened(self, batch_id: str) -> TransientError | None:
        """Screen again what still waits for its signature; what is signed need not wait for it."""
        try:
            await self._screening.refresh(batch_id)
        except TransientError as silence:
            return silence
        return None

    @asynccontextmanager
    async def _waiting(self, batch_id: str) -> AsyncIterator[None]:
        """Note on the batch what holds it up, for ``explain``, and clear it when it goes on."""
        try:
            yield
        except StrongroomError as error:
            await self._note(batch_id, error.code)
            raise
        await self._note(batch_id, None)

    async def _note(self, batch_id: str, code: str | None) -> None:
        async with self._database.transaction() as session:
            batch = await locked_batch(session, batch_id)
            if code is None and batch.waiting_for in SIGNERS_OWN:
                # The signer's own note: what it has not signed waits, whatever the node says.
                return
            if batch.waiting_for != code:
                batch.waiting_for = code
                batch.waiting_since = self._clock.now() if code else None
