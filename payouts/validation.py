"""What a payout request must satisfy before anything is frozen."""

from dataclasses import dataclass

from sqlalchemy import exists
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.addresses import parse_address
from domain.errors import (
    AmountOutOfRangeError,
    ForbiddenDestinationError,
    UnknownAssetError,
)
from domain.money import format_units
from models.deposits import ChainAddress
from models.wallets import Asset, BlockchainWallet, Chain


@dataclass(frozen=True, slots=True)
class PayoutTarget:
    """A valid destination for an asset."""

    asset: Asset
    chain_id: str
    destination: str
    """Canonical form, such as EIP-55."""


async def validate_target(
    session: AsyncSession, *, asset_code: str, amount_minor: int, destination: str
) -> PayoutTarget:
    """
    Return the asset and the canonical destination.

    Raises:
        UnknownAssetError, InternalAssetError, AmountOutOfRangeError, InvalidAddressError: As named.
        ForbiddenDestinationError: One of our own wallets, or a token contract we know.
    """
    asset = await session.get(Asset, asset_code)
    if asset is None or not asset.enabled:
        msg = f"There is no asset {asset_code!r}."
        raise UnknownAssetError(msg)
    chain = await session.get_one(Chain, asset.home_chain_id)
    check_range(asset, amount_minor)
    canonical = parse_address(destination, family=chain.family, chain_id=chain.id)
    await check_not_ours(session, canonical)
    return PayoutTarget(asset, chain.id, canonical)


def check_range(asset: Asset, amount_minor: int) -> None:
    """Pass for an amount that may be paid out; raise AmountOutOfRangeError else."""
    least, most = asset.payout_min_minor, asset.payout_max_minor
    if amount_minor < least:
        msg = f"The least payout is {format_units(least, decimals=asset.decimals)} {asset.code}."
        raise AmountOutOfRangeError(msg)
    if most is not None and amount_minor > most:
        msg = f"The largest payout is {format_units(most, decimals=asset.decimals)} {asset.code}."
        raise AmountOutOfRangeError(msg)


async def check_not_ours(session: AsyncSession, destination: str) -> None:
    """Pass for what is none of our own addresses; raise ForbiddenDestinationError else."""
    found = await session.exec(
        select(
            # By name: the wallet's key is a column that no process but the signer may read.
            exists(select(BlockchainWallet.address).where(BlockchainWallet.address == destination)),
            exists(select(Asset.code).where(Asset.contract_address == destination)),
            exists(select(ChainAddress.id).where(ChainAddress.address == destination)),
            exists(select(Chain.id).where(Chain.disperse_address == destination)),
        )
    )
    is_wallet, is_token, is_handed_out, is_contract = found.one()
    if is_wallet or is_handed_out or is_contract:
        msg = "The destination is one of our own addresses."
        raise ForbiddenDestinationError(msg)
    if is_token:
        msg = "The destination is a token's own contract, which would keep what it receives."
        raise ForbiddenDestinationError(msg)
