"""
What our coins were made of, and what took that away from them after a reorg.

A coin whose block left the chain usually comes back in another. It never does once something else
spends an output that its own transaction needs; ``outgoing.voids`` acts upon that.
"""

from collections.abc import Sequence

from sqlalchemy import or_, update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.scanning import Outpoint, ScannedBlock
from domain.utxo.networks import NAMESPACE as UTXO_NAMESPACE
from models.deposits import Utxo


async def note_origins(
    session: AsyncSession, chain_id: str, blocks: Sequence[ScannedBlock]
) -> None:
    """
    Note what these blocks, whose coins are recorded, say of where our coins come from.

    Costs one query where nothing of ours is in them, and looks at nothing that they spend.
    """
    if not chain_id.startswith(UTXO_NAMESPACE):
        return
    found = await session.exec(
        select(Utxo).where(
            Utxo.chain_id == chain_id,
            or_(
                col(Utxo.block_hash).in_([block.hash for block in blocks]),
                col(Utxo.block_hash).is_(None),
            ),
        )
    )
    coins = list(found)
    _note_parents([coin for coin in coins if coin.block_hash is not None], blocks)
    _note_rivals([coin for coin in coins if coin.block_hash is None], blocks)


async def forget_rivals(session: AsyncSession, chain_id: str, block_hash: str) -> None:
    """Take back what a block that left the chain took from our coins."""
    await session.execute(
        update(Utxo)
        .where(col(Utxo.chain_id) == chain_id, col(Utxo.rival_block_hash) == block_hash)
        .values(rival_txid=None, rival_block_hash=None)
    )


def _note_parents(coins: Sequence[Utxo], blocks: Sequence[ScannedBlock]) -> None:
    spends: dict[str, list[str]] = {coin.txid: [] for coin in coins}
    holders = {coin.block_hash for coin in coins}
    for block in (each for each in blocks if each.hash in holders):
        for outpoint, txid in block.spent:
            if txid in spends:
                spends[txid].append(_text(outpoint))
    for coin in coins:
        coin.parent_spends = spends[coin.txid]


def _note_rivals(coins: Sequence[Utxo], blocks: Sequence[ScannedBlock]) -> None:
    claims = [(coin, outpoint) for coin in coins for outpoint in coin.parent_spends or ()]
    if not claims:
        return
    spenders = {_text(o): (txid, block.hash) for block in blocks for o, txid in block.spent}
    for coin, outpoint in claims:
        if outpoint in spenders:
            coin.rival_txid, coin.rival_block_hash = spenders[outpoint]


def _text(outpoint: Outpoint) -> str:
    return f"{outpoint.txid}:{outpoint.index}"
