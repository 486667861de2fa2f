"""
Planning on UTXO chains: a fee rate, and what to do about a transaction that no block takes.

It is replaced (BIP125) where the network relays replacements and its change can pay for one; else a
child that spends its change pays for both (CPFP). Either way the payments are the same ones.
"""

from collections.abc import Sequence

from sqlmodel.ext.asyncio.session import AsyncSession

from domain.bump_policy import is_within_budget, patience
from domain.clock import Clock
from domain.errors import FeeAboveCeilingError, InsufficientGasFundsError
from domain.ids import ATTEMPT, CHAIN_TRANSACTION, derived_id
from domain.ports import ChainOutlet, FeeQuote
from domain.utxo import bumps
from domain.utxo.networks import network_of
from domain.utxo.scripts import output_script
from domain.utxo.sizes import transaction_vbytes
from infra.database import Database
from models.chain_transactions import (
    ChainAttempt,
    ChainBatch,
    ChainTransaction,
    ChainTransactionKind,
    ChainTransactionStatus,
)
from models.wallets import Chain
from outgoing import coins, pocket_coins
from outgoing.ceilings import ceiling_of, gas_budgets, least, within_ceiling
from outgoing.records import latest_attempts, locked_batch, payouts_of, transactions_of


class CoinPlanner:
    """``outgoing.runner.Planner`` for UTXO chains."""

    def __init__(self, database: Database, outlet: ChainOutlet, clock: Clock) -> None:
        """Take the database as the worker's role and the outlet of one chain."""
        self._database = database
        self._outlet = outlet
        self._clock = clock
        self._network = network_of(outlet.chain_id)

    async def prepare(self, batch_id: str) -> None:
        """
        Plan the fee rate of each transaction of the batch; coins are chosen when it is allocated.

        Raises:
            FeeAboveCeilingError, InsufficientGasFundsError: The batch waits; repeat later.
        """
        async with self._database.transaction() as session:
            planned = await transactions_of(session, batch_id, ChainTransactionStatus.PLANNED)
            batch = await session.get_one(ChainBatch, batch_id)
            chain = await session.get_one(Chain, batch.chain_id)
            ceiling_minor = await ceiling_of(session, chain, batch_id)
        if not planned:
            return
        quote = within_ceiling(await self._outlet.quote_fee(), chain, ceiling_minor=ceiling_minor)
        async with self._database.transaction() as session:
            await locked_batch(session, batch_id)
            rows = await transactions_of(
                session, batch_id, ChainTransactionStatus.PLANNED, lock=True
            )
            await self._check_funds(session, [p.row for p in rows], rate=quote.max_fee_minor)
            known = await latest_attempts(session, [p.row.id for p in rows])
            for row in (p.row for p in rows):
                attempt = known.get(row.id) or ChainAttempt(
                    id=derived_id(ATTEMPT, row.id, "0"), chain_transaction_id=row.id, sequence=0
                )
                attempt.max_fee_minor = quote.max_fee_minor
                attempt.priority_fee_minor = 0
                session.add(attempt)

    async def _check_funds(
        self, session: AsyncSession, rows: Sequence[ChainTransaction], *, rate: int
    ) -> None:
        """Compare the coins that are free with what is asked for, not counting the fee."""
        for row in (row for row in rows if row.kind == ChainTransactionKind.POCKET_SPEND):
            payouts = await payouts_of(session, [row.id])
            await pocket_coins.select_for(session, row, payouts, rate=rate)
        rows = [row for row in rows if row.kind != ChainTransactionKind.POCKET_SPEND]
        if not rows:
            return
        needed_minor = sum(row.amount_minor for row in rows)
        free = await coins.spendable(session, self._outlet.chain_id, is_hot=True)
        if sum(coin.amount_minor for coin in free) <= needed_minor:
            msg = "The hot wallet lacks confirmed coins for this batch."
            raise InsufficientGasFundsError(msg)

    async def plan_bumps(self, batch_id: str) -> int:
        """
        Plan what gets a stuck transaction into a block; return how many attempts await signing.

        Raises:
            FeeAboveCeilingError: It would cost more than the ceiling; repeat later.
        """
        quote = await self._outlet.quote_fee()
        async with self._database.transaction() as session:
            batch = await locked_batch(session, batch_id)
            chain = await session.get_one(Chain, batch.chain_id)
            rows = await transactions_of(
                session,
                batch_id,
                ChainTransactionStatus.ALLOCATED,
                ChainTransactionStatus.SIGNED,
                ChainTransactionStatus.BROADCAST,
            )
            attempts = await latest_attempts(session, [p.row.id for p in rows])
            budgets = await gas_budgets(session, batch_id)
            planned = 0
            for row in (p.row for p in rows):
                if attempts[row.id].raw is None:
                    planned += 1
                elif self._is_stuck(attempts[row.id], chain):
                    planned += await self._hurry(
                        session,
                        row,
                        attempts[row.id],
                        rate=self._rate(attempts[row.id], chain, quote),
                        budget_minor=least(chain.bump_fee_max_minor, budgets.get(row.id)),
                    )
            return planned

    def _is_stuck(self, last: ChainAttempt, chain: Chain) -> bool:
        wait = patience(chain.bump_after_s, last.sequence)
        return last.signed_at is not None and last.signed_at <= self._clock.now() - wait

    def _rate(self, last: ChainAttempt, chain: Chain, quote: FeeQuote) -> int:
        previous = FeeQuote(quote.base_fee_minor, last.max_fee_minor, 0)
        fee = self._outlet.replacement_fee(previous=previous, quote=quote)
        if fee.max_fee_minor > chain.max_fee_ceiling_minor:
            raise FeeAboveCeilingError
        return fee.max_fee_minor

    async def _hurry(
        self,
        session: AsyncSession,
        row: ChainTransaction,
        last: ChainAttempt,
        *,
        rate: int,
        budget_minor: int | None,
    ) -> bool:
        if row.kind == ChainTransactionKind.FEE_CHILD:
            return False
        if row.kind == ChainTransactionKind.POCKET_SPEND and not self._network.has_replacement:
            # Its change is its user's, so no child of ours can carry it along.
            return False
        if self._network.has_replacement:
            return await self._replace(session, row, last, rate=rate, budget_minor=budget_minor)
        return await self._add_child(session, row, last, rate=rate, budget_minor=budget_minor)

    async def _replace(
        self,
        session: AsyncSession,
        row: ChainTransaction,
        last: ChainAttempt,
        *,
        rate: int,
        budget_minor: int | None,
    ) -> bool:
        """Plan an attempt that spends the same coins and takes its higher fee from the change."""
        resized = bumps.resized(
            input_count=len(await coins.locked_coins(session, row.id)),
            scripts=await self._scripts(session, row),
            change_minor=last.change_minor or 0,
            fee_minor=last.fee_minor or 0,
            rate=rate,
            network=self._network,
        )
        if resized is None or not is_within_budget(resized.fee_minor, budget_minor):
            # No change to take it from, or too dear; what was sent may still be mined.
            return False
        sequence = last.sequence + 1
        session.add(
            ChainAttempt(
                id=derived_id(ATTEMPT, row.id, str(sequence)),
                chain_transaction_id=row.id,
                sequence=sequence,
                max_fee_minor=rate,
                priority_fee_minor=0,
                change_minor=resized.change_minor,
                fee_minor=resized.fee_minor,
            )
        )
        return True

    async def _add_child(
        self,
        session: AsyncSession,
        row: ChainTransaction,
        last: ChainAttempt,
        *,
        rate: int,
        budget_minor: int | None,
    ) -> bool:
        """Plan a child that spends the change and pays for its parent as well, once."""
        child_id = derived_id(CHAIN_TRANSACTION, row.id, "child")
        if await session.get(ChainTransaction, child_id) is not None:
            return False
        scripts = await self._scripts(session, row)
        child = bumps.child(
            parent_vbytes=transaction_vbytes(
                len(await coins.locked_coins(session, row.id)),
                [*scripts, bumps.CHANGE_SCRIPT] if last.change_minor else scripts,
            ),
            parent_fee_minor=last.fee_minor or 0,
            change_minor=last.change_minor or 0,
            rate=rate,
            network=self._network,
        )
        if child is None or not is_within_budget(
            (last.fee_minor or 0) + child.fee_minor, budget_minor
        ):
            return False
        address = await coins.take_internal(session, row.chain_id, clock=self._clock)
        session.add(
            ChainTransaction(
                id=child_id,
                batch_id=row.batch_id,
                chain_id=row.chain_id,
                wallet_address=row.wallet_address,
                kind=ChainTransactionKind.FEE_CHILD,
                asset=row.asset,
                amount_minor=0,
                change_address=address.address,
                parent_id=row.id,
                status=ChainTransactionStatus.ALLOCATED,
            )
        )
        await session.flush()
        session.add(
            ChainAttempt(
                id=derived_id(ATTEMPT, child_id, "0"),
                chain_transaction_id=child_id,
                sequence=0,
                max_fee_minor=rate,
                priority_fee_minor=0,
                change_minor=child.change_minor,
                fee_minor=child.fee_minor,
            )
        )
        return True

    async def _scripts(self, session: AsyncSession, row: ChainTransaction) -> list[bytes]:
        """Return the output scripts of what a transaction pays, apart from its change."""
        if row.kind == ChainTransactionKind.SWEEP:
            return [output_script(str(row.destination), self._network)]
        payouts = await payouts_of(session, [row.id])
        return [output.script for output in coins.script_outputs(payouts, self._network)]
