"""Planning on account chains (EVM, Jobcoin): gas by dry run, and replacements by account nonce."""

from collections.abc import Mapping, Sequence
from typing import cast

from sqlmodel.ext.asyncio.session import AsyncSession

from domain.bump_policy import is_within_budget, patience
from domain.clock import Clock
from domain.disperse import Dispersal, most_gas, runtime_code
from domain.errors import (
    FeeAboveCeilingError,
    InsufficientGasFundsError,
    WouldRevertError,
    WrongContractError,
)
from domain.families import family_of
from domain.ids import ATTEMPT, CHAIN_TRANSACTION, derived_id
from domain.ports import AccountOutlet, FeeQuote, GasEstimate
from infra.database import Database
from models.chain_transactions import (
    ChainAttempt,
    ChainBatch,
    ChainTransaction,
    ChainTransactionKind,
    ChainTransactionStatus,
)
from models.wallets import Chain
from outgoing.ceilings import ceiling_of, gas_budgets, least, within_budget, within_ceiling
from outgoing.records import (
    Planned,
    latest_attempts,
    locked_batch,
    transactions_of,
    unsettled_outflow,
)

APPROVAL_GAS = 100_000
"""Gas of a token's ``approve``: twice what widely held tokens take."""


class AccountPlanner:
    """``outgoing.runner.Planner`` for account chains."""

    def __init__(self, database: Database, outlet: AccountOutlet, clock: Clock) -> None:
        """Take the database as the worker's role and the outlet of one chain."""
        self._database = database
        self._outlet = outlet
        self._clock = clock
        self._trusted: set[str] = set()
        """Where our disperse contract was found; code at an address does not change."""

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
            ceiling_minor = await ceiling_of(session, chain, batch_id)
        if not planned:
            return
        quote = within_ceiling(await self._outlet.quote_fee(), chain, ceiling_minor=ceiling_minor)
        await self._check_funds(batch, planned)
        missing = await self._missing_allowances(planned)
        estimates = await self._estimates(planned, missing)
        by_id = {p.row.id: e for p, e in zip(planned, estimates, strict=True)}
        short = await self._short_of_gas(planned, by_id, quote)
        await self._store_plan(batch_id, by_id, quote, missing, short=short)

    async def _short_of_gas(
        self, planned: Sequence[Planned], by_id: Mapping[str, GasEstimate], quote: FeeQuote
    ) -> frozenset[str]:
        """
        Return sweeps whose address cannot pay for them any more: fees rose since it got its coin.

        Signed, such a sweep would keep its address waiting for as long as fees stay up, as nothing
        else leaves or reaches it. Given up before that, it is planned anew, with more coin.
        """
        short: set[str] = set()
        for p in planned:
            gas_limit = by_id[p.row.id].gas_limit
            if p.row.kind != ChainTransactionKind.SWEEP or gas_limit is None:
                continue
            needed_minor = gas_limit * quote.max_fee_minor
            if p.transfer.contract_address is None:
                needed_minor += p.row.amount_minor
            if await self._outlet.balance_minor(p.row.wallet_address) < needed_minor:
                short.add(p.row.id)
        return frozenset(short)

    async def _missing_allowances(self, planned: Sequence[Planned]) -> frozenset[str]:
        """
        Return the tokens that our disperse contract is not allowed to move for these dispersals.

        Raises:
            WrongContractError: At the contract's address is something else.
        """
        needed: dict[tuple[str, str, str | None], int] = {}
        for p in planned:
            if (d := p.transfer.dispersal) is not None:
                key = (p.row.asset, d.contract_address, d.token_address)
                needed[key] = needed.get(key, 0) + p.row.amount_minor
        for contract in {contract for _, contract, _ in needed}:
            await self._check_contract(contract)
        missing: set[str] = set()
        for (asset, contract, token), amount_minor in needed.items():
            if token is None:
                continue
            wallet = planned[0].row.wallet_address
            allowed_minor = await self._outlet.allowance_minor(
                wallet, contract, contract_address=token
            )
            if allowed_minor < amount_minor:
                missing.add(asset)
        return frozenset(missing)

    async def _check_contract(self, address: str) -> None:
        if address in self._trusted:
            return
        if await self._outlet.code(address) != runtime_code():
            # Value sent to an address without code, or with other code, is gone.
            raise WrongContractError
        self._trusted.add(address)

    async def _estimates(
        self, planned: Sequence[Planned], missing: frozenset[str]
    ) -> list[GasEstimate]:
        """Dry-run what can be; a dispersal of a token not allowed yet gets the most it can need."""
        can_run = [p for p in planned if not _awaits_allowance(p, missing)]
        found = await self._outlet.estimate_gas([p.transfer for p in can_run])
        by_id = {p.row.id: estimate for p, estimate in zip(can_run, found, strict=True)}
        return [
            by_id.get(p.row.id) or GasEstimate(most_gas(cast(Dispersal, p.transfer.dispersal)))
            for p in planned
        ]

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
        by_id: Mapping[str, GasEstimate],
        quote: FeeQuote,
        missing: frozenset[str],
        *,
        short: frozenset[str],
    ) -> None:
        async with self._database.transaction() as session:
            batch = await locked_batch(session, batch_id)
            rows = await transactions_of(
                session, batch_id, ChainTransactionStatus.PLANNED, lock=True
            )
            budgets = await gas_budgets(session, batch_id)
            for p in rows:
                estimate = by_id.get(p.row.id) or GasEstimate(p.row.gas_limit)
                p.row.gas_limit = estimate.gas_limit
                p.row.reason_code = WouldRevertError.code if estimate.gas_limit is None else None
                if p.row.id in short:
                    p.row.reason_code = InsufficientGasFundsError.code
            planned_rows = [p.row for p in rows]
            planned_rows += [
                await _approval(session, batch, rows, asset) for asset in sorted(missing)
            ]
            known = await latest_attempts(session, [row.id for row in planned_rows])
            for row in planned_rows:
                attempt = known.get(row.id) or ChainAttempt(
                    id=derived_id(ATTEMPT, row.id, "0"), chain_transaction_id=row.id, sequence=0
                )
                fee = within_budget(quote, row.gas_limit, budgets.get(row.id))
                attempt.max_fee_minor = fee.max_fee_minor
                attempt.priority_fee_minor = fee.priority_fee_minor
                session.add(attempt)

    async def plan_bumps(self, batch_id: str) -> int:
        """
        Plan a replacement, same nonce and higher fee, for each attempt that is stuck.

        Stuck is: older than the chain's ``bump_after_s``, doubled with each replacement, and either
        next in line for its wallet or below the present base fee. What could then cost more than
        the chain's budget is left as it is, and all of it where there are no fees. Returns how
        many attempts await the signer.

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
        async with self._database.transaction() as session:
            await locked_batch(session, batch_id)
            rows = await transactions_of(
                session, batch_id, ChainTransactionStatus.SIGNED, ChainTransactionStatus.BROADCAST
            )
            attempts = await latest_attempts(session, [p.row.id for p in rows])
            budgets = await gas_budgets(session, batch_id)
            has_fees, planned = family_of(chain.id).has_fees, 0
            for row in (p.row for p in rows):
                last = attempts[row.id]
                if last.raw is None:
                    planned += 1
                    continue
                is_blocking = (
                    row.account_nonce == next_nonce or last.max_fee_minor < quote.base_fee_minor
                )
                if not (has_fees and is_blocking and self._is_overdue(last, chain)):
                    continue
                attempt = self._replacement(last, quote, chain)
                cost_minor = (row.gas_limit or 0) * attempt.max_fee_minor
                budget_minor = least(chain.bump_fee_max_minor, budgets.get(row.id))
                if is_within_budget(cost_minor, budget_minor):
                    session.add(attempt)
                    planned += 1
            return planned

    def _is_overdue(self, last: ChainAttempt, chain: Chain) -> bool:
        wait = patience(chain.bump_after_s, last.sequence)
        return last.signed_at is not None and last.signed_at <= self._clock.now() - wait

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


def _awaits_allowance(planned: Planned, missing: frozenset[str]) -> bool:
    return planned.transfer.dispersal is not None and planned.row.asset in missing


async def _approval(
    session: AsyncSession, batch: ChainBatch, planned: Sequence[Planned], asset: str
) -> ChainTransaction:
    """Plan the allowance that this batch's dispersals of a token need; it goes before them."""
    approval_id = derived_id(CHAIN_TRANSACTION, batch.id, asset, "approval")
    if known := await session.get(ChainTransaction, approval_id):
        return known
    first = next(p.row for p in planned if p.row.asset == asset and p.row.disperse_address)
    row = ChainTransaction(
        id=approval_id,
        batch_id=batch.id,
        chain_id=batch.chain_id,
        wallet_address=batch.wallet_address,
        kind=ChainTransactionKind.TOKEN_APPROVAL,
        asset=asset,
        destination=first.disperse_address,
        amount_minor=0,
        gas_limit=APPROVAL_GAS,
        status=ChainTransactionStatus.PLANNED,
    )
    session.add(row)
    await session.flush()
    return row
