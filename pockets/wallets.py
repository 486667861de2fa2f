"""Making and finding pockets: one address of a user's own on each chain, its key the signer's."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from deposits.addresses import locked_account, next_address
from domain.clock import Clock
from domain.errors import ChainNotFoundError, PocketNotFoundError
from domain.hd import EXTERNAL
from domain.ids import POCKET, derived_id
from events.outbox import Event, Json, publish
from ledger import chart
from models.deposits import AddressPurpose, ChainAddress
from models.ledger import LedgerAccount
from models.wallets import Asset, Chain


@dataclass(frozen=True, slots=True)
class PocketBalance:
    """What a pocket holds of one asset, in minor units, by the books."""

    asset: str
    available_minor: int
    held_minor: int


@dataclass(frozen=True, slots=True)
class Pocket:
    """A pocket with its chain and what is on it."""

    row: ChainAddress
    chain: Chain
    balances: tuple[PocketBalance, ...]


def pocket_id_of(user_id: str, chain_id: str) -> str:
    """Return the id of a user's pocket on a chain, whether or not it was made yet."""
    return derived_id(POCKET, user_id, chain_id)


async def ensure_pocket(
    session: AsyncSession, user_id: str, chain_id: str, *, clock: Clock
) -> ChainAddress:
    """
    Return a user's pocket on a chain, made when it is first asked for.

    Raises:
        ChainNotFoundError: The catalog has no such chain.
        AccountNotReadyError: The signer has not made the chain's keys yet.
    """
    pocket_id = pocket_id_of(user_id, chain_id)
    if known := await session.get(ChainAddress, pocket_id):
        return known
    chain = await session.get(Chain, chain_id)
    if chain is None:
        raise ChainNotFoundError
    # Locked, so that two requests at once make one pocket.
    account = await locked_account(session, chain_id)
    if known := await session.get(ChainAddress, pocket_id):
        return known
    row = ChainAddress(
        id=pocket_id,
        chain_id=chain_id,
        address="",
        lookup_key=b"",
        branch=EXTERNAL,
        index=0,
        user_id=user_id,
        asset=chain.native_asset,
        purpose=AddressPurpose.POCKET,
        created_at=clock.now(),
    )
    session.add(next_address(account, row))
    told: dict[str, Json] = {"chain_id": chain_id, "address": row.address}
    await publish(session, Event(user_id, "pocket.created", pocket_id, told))
    return row


async def find_pocket(session: AsyncSession, user_id: str, chain_id: str) -> ChainAddress | None:
    """Return a user's pocket on a chain, if they have one."""
    return await session.get(ChainAddress, pocket_id_of(user_id, chain_id))


async def pocket_by_id(session: AsyncSession, pocket_id: str, *, user_id: str | None) -> Pocket:
    """
    Return one pocket; ``user_id`` restricts it to what is theirs.

    Raises:
        PocketNotFoundError: There is none, or it is somebody else's.
    """
    row = await session.get(ChainAddress, pocket_id)
    is_pocket = row is not None and row.purpose == AddressPurpose.POCKET
    if row is None or not is_pocket or user_id not in (None, row.user_id):
        raise PocketNotFoundError
    chain = await session.get_one(Chain, row.chain_id)
    return Pocket(row, chain, await balances_of(session, row))


async def list_pockets(session: AsyncSession, user_id: str) -> list[Pocket]:
    """Return a user's pockets, at most one on each chain, in the order of the chains."""
    found = await session.exec(
        select(ChainAddress, Chain)
        .join(Chain, col(Chain.id) == col(ChainAddress.chain_id))
        .where(ChainAddress.user_id == user_id, ChainAddress.purpose == AddressPurpose.POCKET)
        .order_by(col(ChainAddress.chain_id))
    )
    return [Pocket(row, chain, await balances_of(session, row)) for row, chain in found.all()]


async def balances_of(session: AsyncSession, row: ChainAddress) -> tuple[PocketBalance, ...]:
    """Return what the books have on a pocket: of every listed asset that it ever held."""
    codes = _codes(row)
    found = await session.exec(
        select(LedgerAccount.asset, LedgerAccount.code, LedgerAccount.balance_minor)
        .join(Asset, col(Asset.code) == col(LedgerAccount.asset))
        .where(col(LedgerAccount.code).in_(codes))
        .order_by(col(LedgerAccount.asset))
    )
    totals: dict[str, dict[str, int]] = {}
    for asset, code, minor in found:
        totals.setdefault(asset, {})[code] = minor
    return tuple(
        PocketBalance(asset, by_code.get(codes[0], 0), by_code.get(codes[1], 0))
        for asset, by_code in totals.items()
    )


def _codes(row: ChainAddress) -> Sequence[str]:
    user_id = str(row.user_id)
    return (chart.onchain(user_id, row.chain_id), chart.onchain_held(user_id, row.chain_id))
