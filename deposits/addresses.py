"""Addresses that are handed out, derived from a chain's extended public key alone."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import func
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.clock import Clock
from domain.coins import KeyPosition
from domain.errors import (
    AccountNotReadyError,
    DepositAddressLimitError,
    DepositAddressNotFoundError,
    IdempotencyKeyReusedError,
    UnknownAssetError,
)
from domain.hd import EXTERNAL, derive_address
from domain.ids import ADDRESS, derived_id
from infra.paging import Page, paged
from models.deposits import AddressPurpose, ChainAddress, HdAccount
from models.wallets import Asset, Chain

ADDRESSES_MAX = 1_000
"""Of one customer on one chain, if the settings say nothing else."""


@dataclass(frozen=True, slots=True)
class AddressRequest:
    """What a customer asks for; the same principal and key get the same address again."""

    user_id: str
    asset: str
    label: str | None
    principal: str
    idempotency_key: str


@dataclass(frozen=True, slots=True)
class DepositAddress:
    """An address with the chain it is on and the asset it was asked for."""

    row: ChainAddress
    chain: Chain
    asset: Asset


async def issue(
    session: AsyncSession,
    request: AddressRequest,
    *,
    clock: Clock,
    addresses_max: int = ADDRESSES_MAX,
) -> DepositAddress:
    """
    Return a fresh address for deposits of an asset, or the one that the key got before.

    Raises:
        UnknownAssetError: There is no such asset, or it is disabled.
        InternalAssetError: The asset is on no chain.
        AccountNotReadyError: The signer has not made the chain's keys yet.
        IdempotencyKeyReusedError: The key was used for another asset or label.
        DepositAddressLimitError: The customer has as many on this chain as anybody gets.
    """
    address_id = derived_id(ADDRESS, request.principal, request.idempotency_key)
    # The account's lock is the chain's own: two requests with one key may name different chains.
    await session.exec(select(func.pg_advisory_xact_lock(func.hashtextextended(address_id, 0))))
    row = await session.get(ChainAddress, address_id)
    if row is not None:
        if (row.user_id, row.asset, row.label) != (request.user_id, request.asset, request.label):
            raise IdempotencyKeyReusedError
        return await find(session, address_id, user_id=request.user_id)
    asset = await session.get(Asset, request.asset)
    if asset is None or not asset.enabled:
        msg = f"There is no asset {request.asset!r}."
        raise UnknownAssetError(msg)
    # Locked, so that no two addresses get one index.
    account = await locked_account(session, asset.home_chain_id)
    await _check_limit(session, request.user_id, asset.home_chain_id, addresses_max)
    row = _derived(account, address_id, request, clock=clock)
    session.add(row)
    await session.flush()
    return DepositAddress(row, await session.get_one(Chain, asset.home_chain_id), asset)


async def find(session: AsyncSession, address_id: str, *, user_id: str | None) -> DepositAddress:
    """
    Return one handed-out address; ``user_id`` restricts it to what is theirs.

    Raises:
        DepositAddressNotFoundError: There is none, or it is somebody else's.
    """
    query = _handed_out().where(ChainAddress.id == address_id)
    if user_id is not None:
        query = query.where(ChainAddress.user_id == user_id)
    row = (await session.exec(query)).first()
    if row is None:
        raise DepositAddressNotFoundError
    return DepositAddress(*row)


async def list_addresses(
    session: AsyncSession, page: Page, *, user_id: str | None, asset: str | None
) -> list[DepositAddress]:
    """Return a page of handed-out addresses, newest first, and one row more."""
    query = _handed_out()
    if user_id is not None:
        query = query.where(ChainAddress.user_id == user_id)
    if asset is not None:
        query = query.where(ChainAddress.asset == asset)
    query = paged(query, page, created_at=ChainAddress.created_at, row_id=ChainAddress.id)
    return [DepositAddress(*row) for row in await session.exec(query)]


def _handed_out() -> Any:
    return (
        select(ChainAddress, Chain, Asset)
        .join(Chain, col(Chain.id) == col(ChainAddress.chain_id))
        .join(Asset, col(Asset.code) == col(ChainAddress.asset))
        .where(ChainAddress.branch == EXTERNAL, ChainAddress.purpose == AddressPurpose.DEPOSIT)
    )


def _derived(
    account: HdAccount, address_id: str, request: AddressRequest, *, clock: Clock
) -> ChainAddress:
    return next_address(
        account,
        ChainAddress(
            id=address_id,
            chain_id=account.chain_id,
            address="",
            lookup_key=b"",
            branch=EXTERNAL,
            index=0,
            user_id=request.user_id,
            asset=request.asset,
            label=request.label,
            created_at=clock.now(),
        ),
    )


def next_address(account: HdAccount, row: ChainAddress) -> ChainAddress:
    """Give a row the next address of a locked account; ``next_external_index`` is counted on."""
    position = KeyPosition(EXTERNAL, account.next_external_index)
    derived = derive_address(account.chain_id, account.xpub, position)
    row.address, row.lookup_key, row.index = derived.address, derived.lookup_key, position.index
    account.next_external_index += 1
    return row


async def _check_limit(
    session: AsyncSession, user_id: str, chain_id: str, addresses_max: int
) -> None:
    # Each one is searched for in every block, for ever.
    found = await session.exec(
        select(func.count())
        .select_from(ChainAddress)
        .where(
            ChainAddress.user_id == user_id,
            ChainAddress.chain_id == chain_id,
            ChainAddress.purpose == AddressPurpose.DEPOSIT,
        )
    )
    if found.one() >= addresses_max:
        msg = f"A customer has at most {addresses_max} addresses on one chain."
        raise DepositAddressLimitError(msg)


async def locked_account(session: AsyncSession, chain_id: str) -> HdAccount:
    """Return a chain's keys, locked; raise AccountNotReadyError while there are none."""
    found = await session.exec(
        select(HdAccount).where(HdAccount.chain_id == chain_id).with_for_update()
    )
    account = found.first()
    if account is None:
        raise AccountNotReadyError
    return account
