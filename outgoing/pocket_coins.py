"""
Coins of pockets on UTXO chains: a pocket pays with its own coins alone, and keeps what is left.

A coin counts when it is as deep as anything that is settled, and the books have the deposit that it
came with: otherwise a reorg could take away what others were already paid with.
"""

from collections.abc import Sequence

from sqlalchemy import exists, func
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.coins import Coin
from domain.errors import FeeAboveCeilingError, InsufficientGasFundsError
from domain.utxo.networks import network_of
from domain.utxo.selection import Selection
from domain.utxo.selection import select as select_coins
from models.chain_transactions import ChainAttempt, ChainHead, ChainTransaction
from models.deposits import ChainAddress, ChainDeposit, Utxo
from models.payouts import Payout
from models.wallets import Chain
from outgoing import coins


async def pocket_coins(session: AsyncSession, pocket_id: str, *, lock: bool = False) -> list[Coin]:
    """Return the coins that a pocket can pay with, in order of their keys."""
    pocket = await session.get_one(ChainAddress, pocket_id)
    head = await session.get(ChainHead, pocket.chain_id)
    if head is None:
        return []
    chain = await session.get_one(Chain, pocket.chain_id)
    maturity = network_of(chain.id).coinbase_maturity
    not_booked = exists().where(
        col(ChainDeposit.chain_id) == col(Utxo.chain_id),
        col(ChainDeposit.txid) == col(Utxo.txid),
        col(ChainDeposit.address_id) == col(Utxo.address_id),
        col(ChainDeposit.position) == func.concat("vout:", col(Utxo.output_index)),
        ~col(ChainDeposit.is_booked),
    )
    query = (
        select(Utxo)
        .where(
            Utxo.address_id == pocket_id,
            col(Utxo.locked_by).is_(None),
            col(Utxo.spent_txid).is_(None),
            col(Utxo.block_height) <= head.height - chain.confirmations_min + 1,
            ~col(Utxo.is_coinbase) | (col(Utxo.block_height) <= head.height - maturity + 1),
            ~not_booked,
        )
        .order_by(col(Utxo.txid), col(Utxo.output_index))
    )
    if lock:
        query = query.with_for_update(of=Utxo)
    found = await session.exec(query)
    return [coins.coin_of(utxo, pocket.branch, pocket.index) for utxo in found]


async def select_for(
    session: AsyncSession, row: ChainTransaction, payouts: Sequence[Payout], *, rate: int
) -> Selection:
    """
    Return the coins of its pocket that pay a transfer, its change and its fee; locks them all.

    Raises:
        InsufficientGasFundsError: They are not there yet.
        FeeAboveCeilingError: The fee would be more than what was set aside for it.
    """
    (payout,) = payouts
    network = network_of(row.chain_id)
    pocket = await session.get_one(ChainAddress, payout.pocket_id)
    selection = select_coins(
        await pocket_coins(session, pocket.id, lock=True),
        coins.script_outputs(payouts, network),
        change_script=pocket.lookup_key,
        fee_rate_per_kvb=rate,
        long_term_fee_rate_per_kvb=min(rate, network.long_term_sat_per_kvb),
        network=network,
        seed=row.id.encode(),
    )
    if selection.fee_minor > (payout.gas_max_minor or 0):
        msg = f"The fee would be {selection.fee_minor}; {payout.gas_max_minor} are set aside."
        raise FeeAboveCeilingError(msg)
    return selection


async def allocate(
    session: AsyncSession,
    row: ChainTransaction,
    attempt: ChainAttempt,
    payouts: Sequence[Payout],
) -> bool:
    """Lock coins of the pocket that pays; the change returns to it. False when they are short."""
    try:
        selection = await select_for(session, row, payouts, rate=attempt.max_fee_minor)
    except (InsufficientGasFundsError, FeeAboveCeilingError):
        return False
    if selection.change_minor:
        row.change_address = row.wallet_address
    attempt.change_minor, attempt.fee_minor = selection.change_minor, selection.fee_minor
    await coins.lock(session, row, selection.coins)
    return True
