"""How much of a pocket's own coin is set aside for the network, before a node was asked."""

from collections.abc import Mapping

from sqlalchemy import func
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.clock import Clock
from domain.pockets import Route
from domain.utxo.bumps import CHANGE_SCRIPT
from domain.utxo.sizes import fee_minor, transaction_vbytes
from ledger import chart
from ledger.queries import account_balance
from models.chain_transactions import ChainHead
from models.deposits import Utxo
from models.wallets import Asset, AssetKind, Chain
from payouts.fee_ceilings import rate_now_minor

UTXO = "utxo"
SPEND_LATER_VBYTES = 100
"""Making and spending a change output; see ``signing.coins``."""

RESERVE_FACTOR = 2
"""The reserve is at this times the present offer, so that a replacement can be paid as well."""

GAS: Mapping[tuple[str, Route], int] = {
    (AssetKind.NATIVE, Route.REDEEM): 21_000,
    (AssetKind.NATIVE, Route.SEND): 60_000,
    (AssetKind.ERC20, Route.REDEEM): 120_000,
    (AssetKind.ERC20, Route.SEND): 120_000,
}
"""A plain transfer (Yellow Paper); one to a contract; a token's, with room for its own rules."""


async def reserve_minor(
    session: AsyncSession,
    asset: Asset,
    chain: Chain,
    route: Route,
    *,
    pocket_id: str,
    clock: Clock,
) -> int:
    """Return what to set aside for the network, in the native asset; what is left over returns."""
    if chain.family == UTXO:
        return await _coins_reserve_minor(session, chain, pocket_id, clock=clock)
    return GAS[asset.kind, route] * await _rate_minor(session, chain, clock=clock)


async def _coins_reserve_minor(
    session: AsyncSession, chain: Chain, pocket_id: str, *, clock: Clock
) -> int:
    """Return what a transaction of all the pocket's coins would cost at most."""
    found = await session.exec(
        select(func.count())
        .select_from(Utxo)
        .where(
            Utxo.address_id == pocket_id,
            col(Utxo.spent_txid).is_(None),
            col(Utxo.locked_by).is_(None),
        )
    )
    vbytes = transaction_vbytes(max(1, found.one()), [CHANGE_SCRIPT, CHANGE_SCRIPT])
    # Change that is not worth making goes to the fee.
    vbytes += SPEND_LATER_VBYTES
    return fee_minor(vbytes, await _rate_minor(session, chain, clock=clock))


async def _rate_minor(session: AsyncSession, chain: Chain, *, clock: Clock) -> int:
    head = await session.get(ChainHead, chain.id)
    rate_minor = rate_now_minor(head, now=clock.now()) or chain.max_fee_ceiling_minor
    return min(rate_minor * RESERVE_FACTOR, chain.max_fee_ceiling_minor)


async def lent_minor(session: AsyncSession, chain: Chain, user_id: str) -> int:
    """Return the coin of ours that lies on a pocket; below zero: what we owe to it."""
    return await account_balance(session, chart.pocket_gas(chain.id, user_id), chain.native_asset)
