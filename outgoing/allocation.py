"""
Places on a chain: account nonces, given once, in order and never left unused; or coins.

A nonce that nobody uses blocks every later transaction of the wallet, so one that is given back
goes to a *filler*, which sends nothing to ourselves.
"""

from collections.abc import Sequence

from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.clock import Clock
from domain.errors import WouldRevertError
from domain.evm_calls import TRANSFER_GAS_MAX
from domain.ids import ATTEMPT, CHAIN_TRANSACTION, derived_id
from domain.payouts import PayoutStatus
from domain.utxo.networks import NAMESPACE as UTXO_NAMESPACE
from models.chain_transactions import (
    ChainAttempt,
    ChainBatch,
    ChainTransaction,
    ChainTransactionKind,
    ChainTransactionStatus,
)
from models.deposits import ChainAddress
from models.payouts import Payout
from models.wallets import BlockchainWallet, Chain
from outgoing import coins, pocket_coins
from outgoing.fee_split import note_estimates
from outgoing.held_back import held_back
from outgoing.records import (
    by_transaction,
    latest_attempts,
    leave_unswept,
    locked_batch,
    locked_wallet,
    payouts_of,
    sealed_among,
    transactions_of,
)
from outgoing.refunds import post_and_refund
from payouts.history import move_all
from payouts.money import dispatch_postings

FOR_PAYOUTS = (ChainTransactionKind.PAYOUT, ChainTransactionKind.POCKET_SPEND)

FILLER_GAS = 21_000
"""Gas of a plain transfer without data (Ethereum Yellow Paper, G_transaction)."""

GIVEN_UP = "its transaction was given up"
"""What the history says of a payout that shared a transaction with one that cannot go on."""


async def allocate(session: AsyncSession, batch_id: str, *, clock: Clock) -> bool:
    """
    Give each planned transaction of a batch its place on the chain: an account nonce, or coins.

    In the same unit of work the holds are captured into flight: from here on nothing can release
    them. What would revert gets no place; its payouts are refunded. Payouts of customers who were
    frozen meanwhile, or to addresses that screening denies by now, go back to where they wait.
    Returns False when coins are short: plan again.
    """
    batch = await locked_batch(session, batch_id)
    await locked_wallet(session, batch.wallet_address)
    planned = await transactions_of(session, batch_id, ChainTransactionStatus.PLANNED, lock=True)
    doomed = [p.row for p in planned if p.row.reason_code]
    rows = [p.row for p in planned if not p.row.reason_code]
    payouts = await payouts_of(session, [row.id for row in rows], lock=True)
    payouts = await _without_held_back(session, rows, payouts, clock=clock)
    place = _lock_coins if batch.chain_id.startswith(UTXO_NAMESPACE) else _give_nonces
    placed = await place(session, batch, rows, payouts, clock=clock)
    for row in doomed:
        row.status = ChainTransactionStatus.ABANDONED
        await _separate(session, row, clock=clock)
    refunded = await payouts_of(session, [row.id for row in doomed], lock=True)
    await leave_unswept(session, [row.id for row in doomed])
    placed_ids = {row.id for row in placed}
    if placed:
        payouts = await _put_off(session, rows, payouts, clock=clock)
    await note_estimates(session, placed, payouts)
    leaving = [p for p in payouts if p.chain_transaction_id in placed_ids]
    await post_and_refund(
        session,
        await dispatch_postings(session, leaving, clock=clock),
        {WouldRevertError.code: refunded},
        clock=clock,
    )
    return all(row.status != ChainTransactionStatus.PLANNED for row in rows)


async def _put_off(
    session: AsyncSession,
    rows: Sequence[ChainTransaction],
    payouts: Sequence[Payout],
    *,
    clock: Clock,
) -> list[Payout]:
    """
    Send back what got no coins where others of the batch did.

    The batch goes on with the others: the coins that these wait for may be the others' change.
    """
    short = {row.id for row in rows if row.status == ChainTransactionStatus.PLANNED}
    back = [payout for payout in payouts if payout.chain_transaction_id in short]
    left = [payout for payout in payouts if payout.chain_transaction_id not in short]
    for row in rows:
        if row.id in short:
            row.status = ChainTransactionStatus.ABANDONED
    for payout in back:
        payout.chain_transaction_id = None
    await move_all(
        session, back, PayoutStatus.READY, clock=clock, detail="no coins were left for it"
    )
    return left


async def _give_nonces(
    session: AsyncSession,
    batch: ChainBatch,
    rows: Sequence[ChainTransaction],
    payouts: Sequence[Payout],
    *,
    clock: Clock,
) -> Sequence[ChainTransaction]:
    wallet = await _wallet(session, batch)
    planned = [row for row in rows if row.status == ChainTransactionStatus.PLANNED]
    # What a token's dispersals are allowed by comes before them.
    placed = sorted(planned, key=lambda row: row.kind != ChainTransactionKind.TOKEN_APPROVAL)
    its = by_transaction(payouts)
    for row in placed:
        _fit(row, its.get(row.id, []))
        row.account_nonce = wallet.next_account_nonce
        wallet.next_account_nonce += 1
        row.status = ChainTransactionStatus.ALLOCATED
        row.updated_at = clock.now()
    return placed


def _fit(row: ChainTransaction, payouts: Sequence[Payout]) -> None:
    """Let what pays several pay those that are left; for a single one it needs no contract."""
    if row.destination is not None:
        return
    row.amount_minor = sum(payout.amount_minor for payout in payouts)
    if len(payouts) == 1:
        row.destination, row.disperse_address = payouts[0].destination, None
        # What was planned for many is more than one needs, and than the signer lets one have.
        row.gas_limit = min(row.gas_limit or TRANSFER_GAS_MAX, TRANSFER_GAS_MAX)


async def _lock_coins(
    session: AsyncSession,
    batch: ChainBatch,
    rows: Sequence[ChainTransaction],
    payouts: Sequence[Payout],
    *,
    clock: Clock,
) -> Sequence[ChainTransaction]:
    del batch
    attempts = await latest_attempts(session, [row.id for row in rows])
    placed: list[ChainTransaction] = []
    its = by_transaction(payouts)
    for row in rows:
        if row.status != ChainTransactionStatus.PLANNED or row.id not in attempts:
            continue
        paid = its.get(row.id, [])
        if row.kind == ChainTransactionKind.POCKET_SPEND:
            has_coins = await pocket_coins.allocate(session, row, attempts[row.id], paid)
        else:
            has_coins = await coins.allocate(session, row, attempts[row.id], paid, clock=clock)
        if has_coins:
            row.updated_at = clock.now()
            placed.append(row)
    return placed


async def _without_held_back(
    session: AsyncSession,
    rows: Sequence[ChainTransaction],
    payouts: Sequence[Payout],
    *,
    clock: Clock,
) -> list[Payout]:
    """Send back what must not leave now; a transaction that pays nobody else is given up."""
    why = await held_back(session, payouts)
    if not why:
        return list(payouts)
    left = [payout for payout in payouts if payout.id not in why]
    for detail in sorted(set(why.values())):
        back = [payout for payout in payouts if why.get(payout.id) == detail]
        for payout in back:
            payout.chain_transaction_id = None
        await move_all(session, back, PayoutStatus.READY, clock=clock, detail=detail)
    paid_by = {payout.chain_transaction_id for payout in left}
    for row in rows:
        if row.kind in FOR_PAYOUTS and row.id not in paid_by:
            row.status = ChainTransactionStatus.ABANDONED
    return left


async def fill_refused(session: AsyncSession, batch_id: str, *, clock: Clock) -> int:
    """
    Free the places of what the signer refused; return how many transactions await signing.

    A nonce goes to a filler, coins are free again. The refused payouts stay as they are: a refusal
    means that something is badly wrong, and an operator decides whether they are refunded or tried
    again. Where several shared a transaction, those that the signer did not object to are ready
    again; if it objected to none in particular, each is tried again alone, to find the one.
    """
    await locked_batch(session, batch_id)
    allocated = await transactions_of(
        session, batch_id, ChainTransactionStatus.ALLOCATED, lock=True
    )
    for planned in allocated:
        if planned.row.reason_code and planned.row.kind != ChainTransactionKind.NONCE_FILLER:
            await abandon_allocated(session, planned.row, clock=clock)
            await _separate(session, planned.row, clock=clock)
    left = await transactions_of(session, batch_id, ChainTransactionStatus.ALLOCATED)
    return len(left)


async def set_aside_held_back(session: AsyncSession, batch_id: str, *, clock: Clock) -> None:
    """
    Take out of the batch, unless it is signed, what pays somebody who must not be paid any more.

    That is a customer who was frozen meanwhile, or an address that screening denies by now. Its
    payouts are ready again: those that are held back wait there until that is lifted, the others
    for the next batch. Their money stays in flight; capturing it again posts nothing.
    """
    await locked_batch(session, batch_id)
    allocated = await transactions_of(
        session, batch_id, ChainTransactionStatus.ALLOCATED, lock=True
    )
    sealed = await sealed_among(session, [planned.row.id for planned in allocated])
    for row in (p.row for p in allocated if p.row.kind in FOR_PAYOUTS):
        payouts = await payouts_of(session, [row.id], lock=True)
        why = await held_back(session, payouts)
        if row.id in sealed or row.reason_code or not why:
            continue
        await abandon_allocated(session, row, clock=clock)
        said = {payout.id: why.get(payout.id, "it shared a transaction") for payout in payouts}
        for reason in sorted(set(said.values())):
            back = [payout for payout in payouts if said[payout.id] == reason]
            for payout in back:
                payout.chain_transaction_id = None
            detail = f"set aside: {reason}"
            await move_all(session, back, PayoutStatus.READY, clock=clock, detail=detail)


async def _separate(session: AsyncSession, row: ChainTransaction, *, clock: Clock) -> None:
    payouts = await payouts_of(session, [row.id], lock=True)
    if refused := set(row.refused_payouts or ()):
        others = [payout for payout in payouts if payout.id not in refused]
        for payout in others:
            payout.chain_transaction_id = None
        await session.flush()
        await move_all(session, others, PayoutStatus.READY, clock=clock, detail=GIVEN_UP)
        return
    why = await held_back(session, payouts)
    if len(payouts) > 1 or why:
        for payout in payouts:
            # What has to wait in any case was refused for that, and is not the one to find.
            payout.is_alone = payout.is_alone or not why
            payout.chain_transaction_id = None
        detail = next(iter(why.values()), "tried again alone")
        await session.flush()
        await move_all(session, payouts, PayoutStatus.READY, clock=clock, detail=detail)


async def abandon_allocated(session: AsyncSession, row: ChainTransaction, *, clock: Clock) -> None:
    """Take an unsigned transaction's place away: coins are free again, a nonce gets a filler."""
    row.status = ChainTransactionStatus.ABANDONED
    row.updated_at = clock.now()
    await leave_unswept(session, [row.id])
    if row.account_nonce is None:
        await coins.release(session, row)
    else:
        await _fill(session, row)


async def _fill(session: AsyncSession, row: ChainTransaction) -> None:
    """Give the nonce of an abandoned transaction to a filler of the same batch."""
    nonce, row.account_nonce = row.account_nonce, None
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


async def _wallet(session: AsyncSession, batch: ChainBatch) -> BlockchainWallet | ChainAddress:
    """Return whoever counts the nonces of what pays: a hot wallet, or a deposit address."""
    hot = await session.exec(
        select(BlockchainWallet)
        .where(BlockchainWallet.address == batch.wallet_address)
        .with_for_update()
    )
    if wallet := hot.first():
        return wallet
    handed_out = await session.exec(
        select(ChainAddress)
        .where(
            ChainAddress.chain_id == batch.chain_id,
            ChainAddress.address == batch.wallet_address,
        )
        .with_for_update()
    )
    return handed_out.one()
