"""
The write-ahead log: claim ready payouts, allocate account nonces, settle, and an operator's hand.

Each method is one unit of work and may be repeated: it changes only what is not done yet.
"""

import itertools
from collections.abc import Collection, Iterator, Sequence

from sqlalchemy import exists, update
from sqlmodel import col, select

from domain.clock import Clock
from domain.disperse import AMOUNT_MAX_MINOR
from domain.ids import CHAIN_BATCH, CHAIN_TRANSACTION, derived_id
from domain.mixing.messages import DoleStatus
from domain.payouts import OPEN_STATUSES, OperatorAction, PayoutOutcome, PayoutStatus
from domain.ports import SettleOutcome
from infra.database import Database
from models.chain_transactions import (
    ChainBatch,
    ChainTransaction,
    ChainTransactionKind,
    ChainTransactionStatus,
)
from models.mixing import Mix, MixDole
from models.payouts import Payout
from models.wallets import Chain
from outgoing import allocation, operator, settlement
from outgoing.claiming import lock_leaving
from payouts.history import move_all, outcome_of


class PostgresOutgoingLog:
    """``domain.ports.OutgoingLog`` on PostgreSQL."""

    def __init__(self, database: Database, clock: Clock) -> None:
        """Take the database as the worker's role."""
        self._database = database
        self._clock = clock

    async def claim(self, *, chain_id: str, wallet_address: str, claim_key: str) -> str | None:
        """Take ready payouts into a new batch and return its id; None when there are none."""
        async with self._database.transaction() as session:
            known = await session.exec(
                select(ChainBatch.id).where(ChainBatch.claim_key == claim_key)
            )
            if batch_id := known.first():
                return batch_id
            chain = await session.get_one(Chain, chain_id)
            ready = await lock_leaving(session, chain, wallet_address, clock=self._clock)
            if not ready:
                return None
            batch = ChainBatch(
                id=derived_id(CHAIN_BATCH, claim_key),
                claim_key=claim_key,
                chain_id=chain_id,
                wallet_address=wallet_address,
                created_at=self._clock.now(),
            )
            session.add(batch)
            await session.flush()
            shares = list(_shares(ready, outputs_max=chain.outputs_max))
            rows = [_planned(batch, chain, shared) for shared in shares]
            session.add_all(rows)
            await session.flush()
            for row, shared in zip(rows, shares, strict=True):
                for payout in shared:
                    payout.chain_transaction_id = row.id
            await move_all(session, ready, PayoutStatus.BATCHED, clock=self._clock, detail=batch.id)
            return batch.id

    async def allocate(self, batch_id: str) -> bool:
        """Give each planned transaction its place and capture holds; False when coins are short."""
        async with self._database.transaction() as session:
            return await allocation.allocate(session, batch_id, clock=self._clock)

    async def give_up_refused(self, batch_id: str) -> int:
        """Replace what the signer refused by nonce fillers; return how many there are now."""
        async with self._database.transaction() as session:
            return await allocation.fill_refused(session, batch_id, clock=self._clock)

    async def settle(self, batch_id: str) -> SettleOutcome:
        """Post what the chain has confirmed and finish the payouts it paid."""
        async with self._database.transaction() as session:
            return await settlement.settle(session, batch_id, clock=self._clock)

    async def refund(self, action: OperatorAction) -> PayoutOutcome:
        """Refund a payout that nobody can broadcast; raise PayoutStateError else."""
        async with self._database.transaction() as session:
            return await operator.refund(session, action, clock=self._clock)

    async def retry(self, action: OperatorAction) -> PayoutOutcome:
        """Make a payout whose chain transaction was given up ready again."""
        async with self._database.transaction() as session:
            return await operator.retry(session, action, clock=self._clock)

    async def unnotified(self, batch_id: str) -> list[PayoutOutcome]:
        """Return the final payouts of a batch whose workflows were not told."""
        async with self._database.transaction() as session:
            found = await session.exec(
                select(Payout, ChainTransaction.txid)
                .join(
                    ChainTransaction,
                    col(ChainTransaction.id) == col(Payout.chain_transaction_id),
                )
                .where(
                    ChainTransaction.batch_id == batch_id,
                    col(Payout.notified_at).is_(None),
                    col(Payout.status).not_in(OPEN_STATUSES),
                )
            )
            return [outcome_of(payout, txid=txid) for payout, txid in found]

    async def mixes_over(self, mix_ids: Collection[str]) -> list[str]:
        """
        Return those of these mixes of which nothing is planned or on its way any more.

        Of two batches that settle the last parts at once, one sees what both did: each has
        committed before it asks.
        """
        if not mix_ids:
            return []
        planned = exists().where(
            col(MixDole.mix_id) == col(Mix.id), col(MixDole.status) == DoleStatus.PLANNED
        )
        leaving = exists().where(
            col(Payout.mix_id) == col(Mix.id), col(Payout.status).in_(OPEN_STATUSES)
        )
        async with self._database.transaction() as session:
            found = await session.exec(
                select(Mix.id).where(col(Mix.id).in_(mix_ids), ~planned, ~leaving)
            )
            return sorted(found)

    async def mark_notified(self, payout_ids: Sequence[str]) -> None:
        """Remember that their workflows were told."""
        async with self._database.transaction() as session:
            await session.execute(
                update(Payout)
                .where(col(Payout.id).in_(payout_ids))
                .values(notified_at=self._clock.now())
            )


def _planned(batch: ChainBatch, chain: Chain, payouts: Sequence[Payout]) -> ChainTransaction:
    """Return a planned chain transaction that pays these payouts, all of one asset."""
    return ChainTransaction(
        id=derived_id(CHAIN_TRANSACTION, batch.id, payouts[0].id),
        batch_id=batch.id,
        chain_id=batch.chain_id,
        wallet_address=batch.wallet_address,
        kind=ChainTransactionKind.PAYOUT,
        asset=payouts[0].asset,
        destination=payouts[0].destination if len(payouts) == 1 else None,
        amount_minor=sum(payout.amount_minor for payout in payouts),
        status=ChainTransactionStatus.PLANNED,
        disperse_address=chain.disperse_address if len(payouts) > 1 else None,
    )


def _shares(ready: Sequence[Payout], *, outputs_max: int) -> Iterator[Sequence[Payout]]:
    """Yield the payouts that share a chain transaction: of one asset, and no more than fit."""
    together: dict[str, list[Payout]] = {}
    for payout in ready:
        if payout.is_alone or outputs_max == 1 or payout.amount_minor > AMOUNT_MAX_MINOR:
            yield [payout]
        else:
            together.setdefault(payout.asset, []).append(payout)
    for same_asset in together.values():
        yield from itertools.batched(same_asset, outputs_max)
