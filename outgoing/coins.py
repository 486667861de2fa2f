"""
Coins of UTXO chains: chosen and locked in the unit of work that captures the holds.

A locked coin belongs to its chain transaction: every attempt spends the same coins, so at most one
of them can ever be mined. Only confirmed coins are spent, so no transaction of ours depends on
another that may yet be replaced, and no chain of unconfirmed ones grows.
"""

import logging
from collections.abc import Sequence

from sqlalchemy import ColumnElement, exists, update
from sqlalchemy.orm import aliased
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.clock import Clock
from domain.coins import Coin, KeyPosition
from domain.errors import InsufficientGasFundsError
from domain.hd import INTERNAL, derive_address
from domain.ids import ADDRESS, derived_id
from domain.scanning import Outpoint
from domain.utxo.networks import Network, network_of
from domain.utxo.scripts import output_script
from domain.utxo.selection import ScriptOutput
from domain.utxo.selection import select as select_coins
from models.chain_transactions import (
    ChainAttempt,
    ChainHead,
    ChainTransaction,
    ChainTransactionKind,
    ChainTransactionStatus,
)
from models.deposits import ChainAddress, HdAccount, Utxo
from models.payouts import Payout
from models.wallets import Chain

COINS_KEPT = 50
"""
While there are no more coins than this none is spent just because fees are low: each transaction
locks its coins until it is confirmed, and a wallet of few coins would have none for the next.
"""

logger = logging.getLogger(__name__)


async def spendable(
    session: AsyncSession, chain_id: str, *, is_hot: bool, lock: bool = False
) -> list[Coin]:
    """Return confirmed, mature coins that nothing spends, in order of their keys."""
    head = await session.get(ChainHead, chain_id)
    if head is None:
        return []
    chain = await session.get_one(Chain, chain_id)
    maturity = network_of(chain_id).coinbase_maturity
    query = (
        select(Utxo, ChainAddress.branch, ChainAddress.index)
        .join(ChainAddress, col(ChainAddress.id) == col(Utxo.address_id))
        .where(
            Utxo.chain_id == chain_id,
            Utxo.is_hot == is_hot,
            col(Utxo.locked_by).is_(None),
            col(Utxo.spent_txid).is_(None),
            col(Utxo.block_height).is_not(None),
            ~_is_spent_by_child(),
            ~_has_rivals() | (col(Utxo.block_height) <= head.height - chain.confirmations_min + 1),
            ~col(Utxo.is_coinbase) | (col(Utxo.block_height) <= head.height - maturity + 1),
        )
        .order_by(col(Utxo.txid), col(Utxo.output_index))
    )
    if lock:
        query = query.with_for_update(of=Utxo)
    return [coin_of(utxo, branch, index) for utxo, branch, index in await session.exec(query)]


def _has_rivals() -> ColumnElement[bool]:
    """
    Tell whether the coin's own transaction has another signed attempt beside it.

    A reorg of one block could mine that one instead, and what spends this coin would be void.
    """
    mined, rival = aliased(ChainAttempt), aliased(ChainAttempt)
    return exists().where(
        col(mined.txid) == col(Utxo.txid),
        col(rival.chain_transaction_id) == col(mined.chain_transaction_id),
        col(rival.id) != col(mined.id),
        col(rival.raw).is_not(None) | col(rival.exported_at).is_not(None),
    )


def _is_spent_by_child() -> ColumnElement[bool]:
    """Tell whether a child that carries its parent along (CPFP) spends the coin already."""
    return exists().where(
        col(ChainAttempt.txid) == col(Utxo.txid),
        col(ChainTransaction.parent_id) == col(ChainAttempt.chain_transaction_id),
        col(ChainTransaction.kind) == ChainTransactionKind.FEE_CHILD,
        col(ChainTransaction.status) != ChainTransactionStatus.ABANDONED,
    )


async def locked_coins(session: AsyncSession, transaction_id: str) -> list[Coin]:
    """Return the coins that a chain transaction spends, in the order of its inputs."""
    found = await session.exec(
        select(Utxo, ChainAddress.branch, ChainAddress.index)
        .join(ChainAddress, col(ChainAddress.id) == col(Utxo.address_id))
        .where(Utxo.locked_by == transaction_id)
        .order_by(col(Utxo.txid), col(Utxo.output_index))
    )
    return [coin_of(utxo, branch, index) for utxo, branch, index in found]


def coin_of(utxo: Utxo, branch: int, index: int) -> Coin:
    """Return a row as what is selected and signed."""
    return Coin(
        Outpoint(utxo.txid, utxo.output_index), utxo.amount_minor, KeyPosition(branch, index)
    )


async def allocate(
    session: AsyncSession,
    row: ChainTransaction,
    attempt: ChainAttempt,
    payouts: Sequence[Payout],
    *,
    clock: Clock,
) -> bool:
    """
    Lock the coins that pay these payouts, and fix the change; False when there are too few.

    The caller holds the wallet's lock, so that no other transaction selects at the same time.
    """
    network = network_of(row.chain_id)
    account = await _account(session, row.chain_id)
    change = await _next_internal(session, account, clock=clock)
    free = await spendable(session, row.chain_id, is_hot=True, lock=True)
    rate = attempt.max_fee_minor
    long_term_rate = network.long_term_sat_per_kvb
    if len(free) <= COINS_KEPT:
        long_term_rate = min(rate, long_term_rate)
    try:
        selection = select_coins(
            free,
            script_outputs(payouts, network),
            change_script=change.lookup_key,
            fee_rate_per_kvb=rate,
            long_term_fee_rate_per_kvb=long_term_rate,
            network=network,
            seed=row.id.encode(),
        )
    except InsufficientGasFundsError:
        return False
    # Some of those that it was planned for may have been frozen since.
    row.amount_minor = sum(payout.amount_minor for payout in payouts)
    row.destination = payouts[0].destination if len(payouts) == 1 else None
    if selection.change_minor:
        row.change_address = change.address
        account.next_internal_index += 1
        session.add(change)
    attempt.change_minor, attempt.fee_minor = selection.change_minor, selection.fee_minor
    await lock(session, row, selection.coins)
    return True


async def lock(session: AsyncSession, row: ChainTransaction, coins: Sequence[Coin]) -> None:
    """Give these coins to a chain transaction."""
    for coin in coins:
        utxo = await session.get_one(Utxo, (row.chain_id, coin.outpoint.txid, coin.outpoint.index))
        utxo.locked_by = row.id
    row.status = ChainTransactionStatus.ALLOCATED


async def release(session: AsyncSession, row: ChainTransaction) -> None:
    """Give the coins of a transaction back that was never signed."""
    await session.execute(update(Utxo).where(col(Utxo.locked_by) == row.id).values(locked_by=None))


def script_outputs(payouts: Sequence[Payout], network: Network) -> list[ScriptOutput]:
    """Return what these payouts ask for, in the order in which they are paid."""
    return [
        ScriptOutput(output_script(payout.destination, network), payout.amount_minor)
        for payout in payouts
    ]


async def _next_internal(
    session: AsyncSession, account: HdAccount, *, clock: Clock
) -> ChainAddress:
    """
    Return the next address of our own, not yet added and not yet counted.

    One that stands in the table already is passed over: whoever may hand out addresses could have
    written it there, and nothing would ever be allocated again.
    """
    while True:
        position = KeyPosition(INTERNAL, account.next_internal_index)
        address = _internal_address(account, position, clock=clock)
        taken = await session.exec(
            select(ChainAddress.id).where(
                (col(ChainAddress.id) == address.id)
                | (
                    (col(ChainAddress.chain_id) == address.chain_id)
                    & (col(ChainAddress.lookup_key) == address.lookup_key)
                )
            )
        )
        if taken.first() is None:
            return address
        logger.critical("address %s was there before its time", address.address)
        account.next_internal_index += 1


def _internal_address(account: HdAccount, position: KeyPosition, *, clock: Clock) -> ChainAddress:
    derived = derive_address(account.chain_id, account.xpub, position)
    return ChainAddress(
        id=derived_id(ADDRESS, account.chain_id, str(position.branch), str(position.index)),
        chain_id=account.chain_id,
        address=derived.address,
        lookup_key=derived.lookup_key,
        branch=position.branch,
        index=position.index,
        created_at=clock.now(),
    )


async def take_internal(session: AsyncSession, chain_id: str, *, clock: Clock) -> ChainAddress:
    """Return a fresh address of our own."""
    account = await _account(session, chain_id)
    address = await _next_internal(session, account, clock=clock)
    account.next_internal_index += 1
    session.add(address)
    await session.flush()
    return address


async def _account(session: AsyncSession, chain_id: str) -> HdAccount:
    found = await session.exec(
        select(HdAccount).where(HdAccount.chain_id == chain_id).with_for_update()
    )
    return found.one()
