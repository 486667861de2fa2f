"""Reading and locking rows of the write-ahead log."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import func, text, update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.disperse import Dispersal, Payment, batch_id_of
from domain.ports import Transfer
from models.chain_transactions import (
    ChainAttempt,
    ChainBatch,
    ChainTransaction,
    ChainTransactionKind,
    ChainTransactionStatus,
)
from models.deposits import ChainDeposit
from models.payouts import Payout
from models.wallets import Asset

OPEN = (
    ChainTransactionStatus.PLANNED,
    ChainTransactionStatus.ALLOCATED,
    ChainTransactionStatus.SIGNED,
    ChainTransactionStatus.BROADCAST,
    ChainTransactionStatus.MINED,
)


@dataclass(frozen=True, slots=True)
class Planned:
    """A chain transaction with what it moves and in which asset."""

    row: ChainTransaction
    transfer: Transfer


async def transactions_of(
    session: AsyncSession,
    batch_id: str,
    *statuses: ChainTransactionStatus,
    lock: bool = False,
) -> list[Planned]:
    """Return a batch's chain transactions in these states, in order of account nonce and id."""
    query = (
        select(ChainTransaction, Asset.contract_address)
        .join(Asset, col(Asset.code) == col(ChainTransaction.asset))
        .where(ChainTransaction.batch_id == batch_id, col(ChainTransaction.status).in_(statuses))
        # Everybody locks chain transactions in order of id, the watcher across batches too.
        .order_by(col(ChainTransaction.id))
    )
    if lock:
        query = query.with_for_update(of=ChainTransaction)
    rows = (await session.exec(query)).all()
    transfers = await transfers_of(session, rows)
    found = [Planned(row, transfers[row.id]) for row, _ in rows]
    return sorted(found, key=lambda planned: (planned.row.account_nonce or 0, planned.row.id))


async def transfers_of(
    session: AsyncSession, rows: Iterable[tuple[ChainTransaction, str | None]]
) -> dict[str, Transfer]:
    """Return what each transaction moves, given with the contract of its asset, by its id."""
    known = list(rows)
    shared = [row.id for row, _ in known if row.disperse_address is not None]
    paid = by_transaction(await payouts_of(session, shared) if shared else [])
    return {row.id: transfer_of(row, contract, paid.get(row.id, ())) for row, contract in known}


def transfer_of(
    row: ChainTransaction, contract_address: str | None, payouts: Sequence[Payout] = ()
) -> Transfer:
    """
    Return what a chain transaction moves; a filler moves nothing of the native coin.

    A UTXO transaction that pays several payouts has no destination of its own, and no node is
    asked what it does. On EVM chains it calls our contract, with the payouts in order of id.
    """
    is_filler = row.kind == ChainTransactionKind.NONCE_FILLER
    contract = None if is_filler else contract_address
    return Transfer(
        wallet_address=row.wallet_address,
        destination=row.destination or "",
        amount_minor=row.amount_minor,
        contract_address=contract,
        dispersal=dispersal_of(row, contract, payouts) if row.disperse_address else None,
        is_approval=row.kind == ChainTransactionKind.TOKEN_APPROVAL,
    )


def dispersal_of(
    row: ChainTransaction, contract_address: str | None, payouts: Sequence[Payout]
) -> Dispersal:
    """Return what the disperse contract is asked for."""
    return Dispersal(
        batch_id=batch_id_of(row.id),
        contract_address=str(row.disperse_address),
        sender=row.wallet_address,
        payments=tuple(Payment(p.destination, p.amount_minor) for p in payouts),
        token_address=contract_address,
    )


async def payouts_of(
    session: AsyncSession, transaction_ids: Sequence[str], *, lock: bool = False
) -> list[Payout]:
    """Return the payouts that these chain transactions pay, in order of id."""
    query = (
        select(Payout)
        .where(col(Payout.chain_transaction_id).in_(transaction_ids))
        .order_by(col(Payout.id))
    )
    return list(await session.exec(query.with_for_update() if lock else query))


def by_transaction(payouts: Iterable[Payout]) -> dict[str, list[Payout]]:
    """Return payouts by the chain transaction that pays them, in their order."""
    found: dict[str, list[Payout]] = {}
    for payout in payouts:
        found.setdefault(str(payout.chain_transaction_id), []).append(payout)
    return found


async def latest_attempts(
    session: AsyncSession, transaction_ids: Sequence[str]
) -> dict[str, ChainAttempt]:
    """Return the newest attempt of each chain transaction, by the transaction's id."""
    found = await session.exec(
        select(ChainAttempt)
        .where(col(ChainAttempt.chain_transaction_id).in_(transaction_ids))
        .order_by(col(ChainAttempt.sequence))
    )
    return {attempt.chain_transaction_id: attempt for attempt in found}


async def signed_attempts(
    session: AsyncSession, transaction_ids: Sequence[str]
) -> dict[str, ChainAttempt]:
    """Return the newest attempt of each chain transaction that has bytes to broadcast."""
    found = await session.exec(
        select(ChainAttempt)
        .where(
            col(ChainAttempt.chain_transaction_id).in_(transaction_ids),
            col(ChainAttempt.raw).is_not(None),
        )
        .order_by(col(ChainAttempt.sequence))
    )
    return {attempt.chain_transaction_id: attempt for attempt in found}


async def sealed_among(session: AsyncSession, transaction_ids: Sequence[str]) -> set[str]:
    """
    Return which of these chain transactions are signed, or may be elsewhere.

    The database's function ``is_sealed`` says the same to its triggers.
    """
    found = await session.exec(
        select(ChainAttempt.chain_transaction_id).where(
            col(ChainAttempt.chain_transaction_id).in_(transaction_ids),
            col(ChainAttempt.raw).is_not(None) | col(ChainAttempt.exported_at).is_not(None),
        )
    )
    return set(found)


async def unsettled_outflow(
    session: AsyncSession, *, wallet_address: str, asset: str, besides_batch: str
) -> int:
    """Return what other batches have signed away and no block has taken yet, in minor units."""
    found = await session.exec(
        select(func.sum(ChainTransaction.amount_minor)).where(
            ChainTransaction.wallet_address == wallet_address,
            ChainTransaction.asset == asset,
            ChainTransaction.batch_id != besides_batch,
            col(ChainTransaction.status).in_(
                [
                    ChainTransactionStatus.ALLOCATED,
                    ChainTransactionStatus.SIGNED,
                    ChainTransactionStatus.BROADCAST,
                ]
            ),
        )
    )
    return int(found.one() or 0)


async def locked_batch(session: AsyncSession, batch_id: str) -> ChainBatch:
    """Return the batch with its row locked; every step of a batch takes this lock first."""
    return await session.get_one(ChainBatch, batch_id, with_for_update=True)


async def locked_wallet(session: AsyncSession, address: str) -> None:
    """Hold a wallet's lock until the unit of work ends: nonces and coins are taken in turn."""
    await session.execute(
        text("SELECT pg_advisory_xact_lock(7312, hashtext(:address))"), {"address": address}
    )


async def leave_unswept(session: AsyncSession, transaction_ids: Sequence[str]) -> None:
    """Let the deposits that these sweeps did not move be swept by another."""
    if transaction_ids:
        await session.execute(
            update(ChainDeposit)
            .where(col(ChainDeposit.swept_by).in_(transaction_ids))
            .values(swept_by=None)
        )
