"""How much of a pocket's own coin is set aside for the network, before a node was asked."""

from collections.abc import Mapping

from sqlmodel.ext.asyncio.session import AsyncSession

from domain.clock import Clock
from domain.pockets import Route
from ledger import chart
from ledger.queries import account_balance
from models.chain_transactions import ChainHead
from models.wallets import Asset, AssetKind, Chain
from payouts.fee_ceilings import rate_now_minor

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
    session: AsyncSession, asset: Asset, chain: Chain, route: Route, *, clock: Clock
) -> int:
    """Return what to set aside for the network, in the native asset; what is left over returns."""
    head = await session.get(ChainHead, chain.id)
    rate_minor = rate_now_minor(head, now=clock.now()) or chain.max_fee_ceiling_minor
    rate_minor = min(rate_minor * RESERVE_FACTOR, chain.max_fee_ceiling_minor)
    return GAS[asset.kind, route] * rate_minor


async def lent_minor(session: AsyncSession, chain: Chain, user_id: str) -> int:
    """Return the coin of ours that lies on a pocket; below zero: what we owe to it."""
    return await account_balance(session, chart.pocket_gas(chain.id, user_id), chain.native_asset)
