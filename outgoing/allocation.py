"""
Account nonces: given once, in order, and never left unused.

A nonce that nobody uses blocks every later transaction of the wallet, so one that is given back
goes to a *filler*, which sends nothing to ourselves.
"""

from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.clock import Clock
from domain.errors import WouldRevertError
from domain.ids import ATTEMPT, CHAIN_TRANSACTION, derived_id
from ledger import rules
from ledger.posting import Posting
from models.chain_transactions import (
    ChainAttempt,
    ChainTransaction,
    ChainTransactionKind,
    ChainTransactionStatus,
)
from models.payouts import Payout
from models.wallets import BlockchainWallet, Chain
from outgoing.records import latest_attempts, locked_batch, payouts_of, transactions_of
from outgoing.refunds import post_and_refund

FILLER_GAS = 21_000
"""Gas of a plain transfer without data (Ethereum Yellow Paper, G_transaction)."""


async def allocate(session: AsyncSession, batch_id: str, *, clock: Clock) -> None:
    """
    Give each planned transaction of a batch the wallet's next account nonce.

    In the same unit of work the holds are captured into flight: from here on nothing can release
    them. What would revert gets no nonce; its payouts are refunded.
    """
    batch = await locked_batch(session, batch_id)
    wallet = await _locked_wallet(session, batch.wallet_address)
    planned = await transactions_of(session, batch_id, ChainTransactionStatus.PLANNED, lock=True)
    doomed = [p.row for p in planned if p.row.reason_code]
    rows = [p.row for p in planned if not p.row.reason_code]
    for row in rows:
        row.account_nonce = wallet.next_account_nonce
        wallet.next_account_nonce += 1
        row.status = ChainTransactionStatus.ALLOCATED
        row.updated_at = clock.now()
    for row in doomed:
        row.status = ChainTransactionStatus.ABANDONED
    payouts = await payouts_of(session, [row.id for row in rows], lock=True)
    refunded = await payouts_of(session, [row.id for row in doomed], lock=True)
    await post_and_refund(
        session,
        [_dispatch(payout, clock) for payout in payouts],
        refunded,
        reason_code=WouldRevertError.code,
        clock=clock,
    )


async def fill_refused(session: AsyncSession, batch_id: str, *, clock: Clock) -> int:
    """
    Turn the nonces of what the signer refused into fillers; return how many await signing.

    The refused payouts stay as they are: a refusal means that something is badly wrong, and an
    operator decides whether they are refunded or tried again.
    """
    await locked_batch(session, batch_id)
    allocated = await transactions_of(
        session, batch_id, ChainTransactionStatus.ALLOCATED, lock=True
    )
    for planned in allocated:
        if planned.row.reason_code and planned.row.kind == ChainTransactionKind.PAYOUT:
            await abandon_allocated(session, planned.row, clock=clock)
    left = await transactions_of(session, batch_id, ChainTransactionStatus.ALLOCATED)
    return len(left)


async def abandon_allocated(session: AsyncSession, row: ChainTransaction, *, clock: Clock) -> None:
    """Take an unsigned transaction's nonce away and give it to a filler of the same batch."""
    nonce, row.account_nonce = row.account_nonce, None
    row.status = ChainTransactionStatus.ABANDONED
    row.updated_at = clock.now()
    # The old owner must let go of the unique nonce before the filler takes it.
    await session.flush()
    chain = await session.get_one(Chain, row.chain_id)
    filler = ChainTransaction(
        id=derived_id(CHAIN_TRANSACTION, row.id, "filler"),
        batch_id=row.batch_id,
        chain_id=row.chain_id,
        wallet_address=row.wallet_address,
        kind=ChainTransactionKind.NONCE_FILLER,
        asset=chain.native_asset,
        destination=row.wallet_address,
        amount_minor=0,
        gas_limit=FILLER_GAS,
        account_nonce=nonce,
        status=ChainTransactionStatus.ALLOCATED,
    )
    session.add(filler)
    await session.flush()
    abandoned = (await latest_attempts(session, [row.id]))[row.id]
    session.add(
        ChainAttempt(
            id=derived_id(ATTEMPT, filler.id, "0"),
            chain_transaction_id=filler.id,
            sequence=0,
            # The ceiling may have been lowered since, and is why the signer refused.
            max_fee_minor=min(abandoned.max_fee_minor, chain.max_fee_ceiling_minor),
            priority_fee_minor=min(abandoned.priority_fee_minor, chain.max_fee_ceiling_minor),
        )
    )


async def _locked_wallet(session: AsyncSession, address: str) -> BlockchainWallet:
    # One lock per wallet: two batches of one wallet take their nonces one after the other.
    found = await session.exec(
        select(BlockchainWallet).where(BlockchainWallet.address == address).with_for_update()
    )
    return found.one()


def _dispatch(payout: Payout, clock: Clock) -> Posting:
    return rules.payout_dispatch(
        payout_id=payout.id,
        hold_id=str(payout.hold_id),
        user_id=payout.user_id,
        chain_id=payout.chain_id,
        asset=payout.asset,
        total_minor=payout.amount_minor + payout.fee_minor,
        at=clock.now(),
    )
