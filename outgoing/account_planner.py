"""Planning on account chains (EVM): gas by dry run, and replacements by account nonce."""

from collections.abc import Sequence
from datetime import timedelta

from domain.clock import Clock
from domain.errors import FeeAboveCeilingError, InsufficientGasFundsError, WouldRevertError
from domain.ids import ATTEMPT, derived_id
from domain.ports import AccountOutlet, FeeQuote, GasEstimate
from infra.database import Database
from models.chain_transactions import ChainAttempt, ChainBatch, ChainTransactionStatus
from models.wallets import Chain
from outgoing.ceilings import within_ceiling
from outgoing.records import (
    Planned,
    latest_attempts,
    locked_batch,
    transactions_of,
    unsettled_outflow,
)


class AccountPlanner:
    """``outgoing.runner.Planner`` for account chains."""

    def __init__(self, database: Database, outlet: AccountOutlet, clock: Clock) -> None:
        """Take the database as the worker's role and the outlet of one chain."""
        self._database = database
        self._outlet = outlet
        self._clock = clock

    async def prepare(self, batch_id: str) -> None:
        """
        Plan gas and fee of each transaction of the batch; nothing is signed yet.

        Raises:
            FeeAboveCeilingError, InsufficientGasFundsError: The batch waits; repeat later.
        """
        async with self._database.transaction() as session:
            planned = await transactions_of(session, batch_id, ChainTransactionStatus.PLANNED)
            batch = await session.get_one(ChainBatch, batch_id)
            chain = await session.get_one(Chain, batch.chain_id)
        if not planned:
            return
        quote = within_ceiling(await self._outlet.quote_fee(), chain)
        await self._check_funds(batch, planned)
        estimates = await self._outlet.estimate_gas([p.transfer for p in planned])
        await self._store_plan(batch_id, planned, estimates, quote)

    async def _check_funds(self, batch: ChainBatch, planned: Sequence[Planned]) -> None:
        """Compare the wallet with this batch and with what other batches have signed away."""
        needed: dict[tuple[str, str | None], int] = {}
        for p in planned:
            key = (p.row.asset, p.transfer.contract_address)
            needed[key] = needed.get(key, 0) + p.row.amount_minor
        for (asset, contract_address), amount_minor in needed.items():
            async with self._database.transaction() as session:
                promised_minor = await unsettled_outflow(
                    session,
                    wallet_address=batch.wallet_address,
                    asset=asset,
                    besides_batch=batch.id,
                )
            owned_minor = await self._outlet.balance_minor(
                batch.wallet_address, contract_address=contract_address
            )
            if owned_minor - promised_minor < amount_minor:
                msg = f"The hot wallet lacks {asset} for this batch."
                raise InsufficientGasFundsError(msg)

    async def _store_plan(
        self,
        batch_id: str,
        planned: Sequence[Planned],
        estimates: Sequence[GasEstimate],
        quote: FeeQuote,
    ) -> None:
        by_id = {p.row.id: estimate for p, estimate in zip(planned, estimates, strict=True)}
        async with self._database.transaction() as session:
            await locked_batch(session, batch_id)
            rows = await transactions_of(
                session, batch_id, ChainTransactionStatus.PLANNED, lock=True
            )
            known = await latest_attempts(session, list(by_id))
            for row in (p.row for p in rows):
                estimate = by_id[row.id]
                row.gas_limit = estimate.gas_limit
                row.reason_code = WouldRevertError.code if estimate.gas_limit is None else None
                attempt = known.get(row.id) or ChainAttempt(
                    id=derived_id(ATTEMPT, row.id, "0"), chain_transaction_id=row.id, sequence=0
                )
                attempt.max_fee_minor = quote.max_fee_minor
                attempt.priority_fee_minor = quote.priority_fee_minor
                session.add(attempt)

    async def plan_bumps(self, batch_id: str) -> int:
        """
        Plan a replacement, same nonce and higher fee, for each attempt that is stuck.

        Stuck is: older than the chain's ``bump_after_s``, and either next in line for its wallet
        or below the present base fee. Returns how many attempts await the signer.

        Raises:
            FeeAboveCeilingError: A replacement would cost more than the ceiling; repeat later.
        """
        async with self._database.transaction() as session:
            batch = await session.get_one(ChainBatch, batch_id)
            chain = await session.get_one(Chain, batch.chain_id)
        quote = await self._outlet.quote_fee()
        next_nonce = await self._outlet.account_nonce(batch.wallet_address)
        return await self._store_bumps(batch_id, chain, quote=quote, next_nonce=next_nonce)

    async def _store_bumps(
        self, batch_id: str, chain: Chain, *, quote: FeeQuote, next_nonce: int
    ) -> int:
        overdue = self._clock.now() - timedelta(seconds=chain.bump_after_s)
        async with self._database.transaction() as session:
            await locked_batch(session, batch_id)
            rows = await transactions_of(
                session, batch_id, ChainTransactionStatus.SIGNED, ChainTransactionStatus.BROADCAST
            )
            attempts = await latest_attempts(session, [p.row.id for p in rows])
            planned = 0
            for row in (p.row for p in rows):
                last = attempts[row.id]
                if last.raw is None:
                    planned += 1
                    continue
                is_blocking = (
                    row.account_nonce == next_nonce or last.max_fee_minor < quote.base_fee_minor
                )
                if last.signed_at is None or last.signed_at > overdue or not is_blocking:
                    continue
                session.add(self._replacement(last, quote, chain))
                planned += 1
            return planned

    def _replacement(self, last: ChainAttempt, quote: FeeQuote, chain: Chain) -> ChainAttempt:
        previous = FeeQuote(0, last.max_fee_minor, last.priority_fee_minor)
        fee = self._outlet.replacement_fee(previous=previous, quote=quote)
        if fee.max_fee_minor > chain.max_fee_ceiling_minor:
            raise FeeAboveCeilingError
        sequence = last.sequence + 1
        return ChainAttempt(
            id=derived_id(ATTEMPT, last.chain_transaction_id, str(sequence)),
            chain_transaction_id=last.chain_transaction_id,
            sequence=sequence,
            max_fee_minor=fee.max_fee_minor,
            priority_fee_minor=fee.priority_fee_minor,
        )
