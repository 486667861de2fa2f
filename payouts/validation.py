"""What a payout request must satisfy before anything is frozen."""

from dataclasses import dataclass

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.addresses import parse_address
from domain.errors import (
    AmountOutOfRangeError,
    ForbiddenDestinationError,
    UnknownAssetError,
)
from domain.money import format_units
from models.wallets import Asset, BlockchainWallet, Chain


@dataclass(frozen=True, slots=True)
class PayoutTarget:
    """A valid destination for an asset."""

    asset: Asset
    destination: str
    """Canonical form, such as EIP-55."""


async def validate_target(
    session: AsyncSession, *, asset_code: str, amount_minor: int, destination: str
) -> PayoutTarget:
    """
    Return the asset and the canonical destination.

    Raises:
        UnknownAssetError, AmountOutOfRangeError, InvalidAddressError: As named.
        ForbiddenDestinationError: One of our own wallets, or a token contract we know.
    """
    asset = await session.get(Asset, asset_code)
    if asset is None or not asset.enabled:
        msg = f"There is no asset {asset_code!r}."
        raise UnknownAssetError(msg)
    _check_range(asset, amount_minor)
    chain = await session.get_one(Chain, asset.chain_id)
    canonical = parse_address(destination, family=chain.family)
    await _check_not_ours(session, canonical)
    return PayoutTarget(asset, canonical)


def _check_range(asset: Asset, amount_minor: int) -> None:
    least, most = asset.payout_min_minor, asset.payout_max_minor
    if amount_minor < least:
        msg = f"The least payout is {format_units(least, decimals=asset.decimals)} {asset.code}."
        raise AmountOutOfRangeError(msg)
    if most is not None and amount_minor > most:
        msg = f"The largest payout is {format_units(most, decimals=asset.decimals)} {asset.code}."
        raise AmountOutOfRangeError(msg)


async def _check_not_ours(session: AsyncSession, destination: str) -> None:
    own = await session.exec(
        select(BlockchainWallet.address).where(BlockchainWallet.address == destination)
    )
    if own.first() is not None:
        msg = "The destination is one of our own wallets."
        raise ForbiddenDestinationError(msg)
    token = await session.exec(select(Asset.code).where(col(Asset.contract_address) == destination))
    if token.first() is not None:
        msg = "The destination is a token's own contract, which would keep what it receives."
        raise ForbiddenDestinationError(msg)
