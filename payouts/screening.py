"""
Screening: addresses that must not be paid, by our own list and, if there is one, by a provider.

An entry of the list goes before what a provider says: ``deny`` forbids, and ``allow`` lets pass
what the provider would deny. Addresses are compared exactly, in canonical form.
"""

from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import any_, bindparam, tuple_
from sqlalchemy.dialects.postgresql import ARRAY
from sqlmodel import String, col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.addresses import parse_address
from domain.clock import Clock
from domain.errors import (
    AddressDeniedError,
    ChainNotFoundError,
    ScreeningNotFoundError,
    ScreeningUnavailableError,
)
from domain.ports import AddressScreener, Screened, ScreeningVerdict
from infra.database import Database
from models.payouts import Payout
from models.runs import AddressScreening
from models.wallets import Chain


class PostgresScreener:
    """``domain.ports.AddressScreener`` on PostgreSQL, before a provider's."""

    def __init__(self, database: Database, provider: AddressScreener | None = None) -> None:
        """Take the database, and whom to ask about addresses that the list does not have."""
        self._database = database
        self._provider = provider

    async def screen(self, chain_id: str, addresses: Collection[str]) -> Mapping[str, Screened]:
        """
        Return a verdict on each of these addresses.

        Raises:
            TransientError: The provider's own leaf, or ScreeningUnavailableError for an answer
                with gaps: what nobody has screened is not paid.
        """
        asked = set(addresses)
        async with self._database.transaction() as session:
            known = await listed(session, chain_id, asked)
        rest = asked - known.keys()
        if self._provider is None or not rest:
            return known | {address: Screened(ScreeningVerdict.ALLOW) for address in rest}
        said = await self._provider.screen(chain_id, rest)
        if not rest <= said.keys():
            raise ScreeningUnavailableError
        return known | {address: said[address] for address in rest}


async def check_allowed(screener: AddressScreener, chain_id: str, address: str) -> None:
    """
    Pass for an address that may be paid.

    Raises:
        AddressDeniedError: With the reason of whoever denies it.
        TransientError: Nobody knows now.
    """
    screened = (await screener.screen(chain_id, [address])).get(address)
    if screened is None:
        raise ScreeningUnavailableError
    if screened.verdict == ScreeningVerdict.DENY:
        raise AddressDeniedError(screened.reason or None)


async def listed(
    session: AsyncSession, chain_id: str, addresses: Collection[str]
) -> dict[str, Screened]:
    """Return what our own list says of these addresses; those that it lacks are left out."""
    wanted = bindparam(None, sorted(set(addresses)), ARRAY(String))
    found = await session.exec(
        select(AddressScreening).where(
            AddressScreening.chain_id == chain_id, col(AddressScreening.address) == any_(wanted)
        )
    )
    return {
        entry.address: Screened(ScreeningVerdict(entry.verdict), entry.reason) for entry in found
    }


async def denied_among(session: AsyncSession, payouts: Collection[Payout]) -> set[str]:
    """Return the ids of those payouts whose destinations our own list denies."""
    denied: set[str] = set()
    for chain_id in sorted({payout.chain_id for payout in payouts}):
        here = [payout for payout in payouts if payout.chain_id == chain_id]
        verdicts = await listed(session, chain_id, {payout.destination for payout in here})
        refused = {a for a, said in verdicts.items() if said.verdict == ScreeningVerdict.DENY}
        denied |= {payout.id for payout in here if payout.destination in refused}
    return denied


async def put_entry(
    session: AsyncSession, entry: AddressScreening, *, clock: Clock
) -> AddressScreening:
    """
    Say of an address that it must not be paid, or may be; what was said before is replaced.

    Raises:
        ChainNotFoundError, InvalidAddressError: As named.
    """
    entry.address = await canonical(session, entry.chain_id, entry.address)
    entry.created_at = clock.now()
    return await session.merge(entry)


async def entry_of(session: AsyncSession, chain_id: str, address: str) -> AddressScreening:
    """
    Return what our list says of an address.

    Raises:
        ChainNotFoundError, InvalidAddressError, ScreeningNotFoundError: As named.
    """
    place = (chain_id, await canonical(session, chain_id, address))
    entry = await session.get(AddressScreening, place)
    if entry is None:
        raise ScreeningNotFoundError
    return entry


async def remove_entry(session: AsyncSession, chain_id: str, address: str) -> None:
    """Forget what was said of an address; raises as ``entry_of``."""
    await session.delete(await entry_of(session, chain_id, address))


async def list_entries(
    session: AsyncSession, *, after: tuple[str, str] | None, limit: int
) -> Sequence[AddressScreening]:
    """Return entries by chain and address after a place, and one more than asked for."""
    chain_id, address = col(AddressScreening.chain_id), col(AddressScreening.address)
    query = select(AddressScreening).order_by(chain_id, address).limit(limit + 1)
    if after is not None:
        query = query.where(tuple_(chain_id, address) > after)
    return (await session.exec(query)).all()


async def canonical(session: AsyncSession, chain_id: str, address: str) -> str:
    """
    Return an address as payouts store it.

    Raises:
        ChainNotFoundError, InvalidAddressError: As named.
    """
    chain = await session.get(Chain, chain_id)
    if chain is None:
        raise ChainNotFoundError
    return parse_address(address, family=chain.family, chain_id=chain_id)
