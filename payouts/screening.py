"""
Screening: addresses that must not be paid, by our own list and, if there is one, by a provider.

An entry of the list goes before what a provider says: ``deny`` forbids, and ``allow`` lets pass
what the provider would deny. Addresses are compared exactly, in canonical form.

What a provider says is kept, so that the database alone can tell later who is denied, and so that
nobody is asked again about what was answered a moment ago.
"""

import itertools
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import any_, bindparam, tuple_
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlmodel import String, col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.addresses import parse_address
from domain.clock import Clock, SystemClock
from domain.errors import (
    AddressDeniedError,
    ChainNotFoundError,
    ScreeningNotFoundError,
    ScreeningUnavailableError,
    StrongroomError,
)
from domain.ports import AddressScreener, Screened, ScreeningVerdict
from domain.screening import ANSWER_GOOD_FOR
from infra.database import Database
from models.payouts import Payout
from models.runs import AddressScreening, ScreeningAnswer
from models.wallets import Chain

ASKED_AT_ONCE: Final = 200
"""Most addresses that a provider is asked about in one call; its answers are kept after each."""

REASON_CHARACTERS_MAX: Final = 500


class PostgresScreener:
    """``domain.ports.AddressScreener`` on PostgreSQL, before a provider's."""

    def __init__(
        self,
        database: Database,
        provider: AddressScreener | None = None,
        *,
        clock: Clock | None = None,
        good_for: timedelta = ANSWER_GOOD_FOR,
    ) -> None:
        """Take the database as the worker's role, whom to ask, and how old an answer may be."""
        self._database = database
        self._provider = provider
        self._clock = clock or SystemClock()
        self._good_for = good_for

    async def screen(self, chain_id: str, addresses: Collection[str]) -> Mapping[str, Screened]:
        """
        Return a verdict on each of these addresses.

        Raises:
            TransientError: The provider's own leaf, or ScreeningUnavailableError for an answer
                with gaps: what nobody has screened is not paid.
        """
        asked = set(addresses)
        since = None if self._provider is None else self._clock.now() - self._good_for
        async with self._database.transaction() as session:
            known = await answered(session, chain_id, asked, since=since)
            known |= await listed(session, chain_id, asked)
        rest = sorted(asked - known.keys())
        if self._provider is None:
            return known | {address: Screened(ScreeningVerdict.ALLOW) for address in rest}
        # In order of address, so that two who ask about the same do not wait for one another.
        for piece in itertools.batched(rest, ASKED_AT_ONCE):
            known |= await self._ask(self._provider, chain_id, piece)
        return known

    async def _ask(
        self, provider: AddressScreener, chain_id: str, addresses: Sequence[str]
    ) -> Mapping[str, Screened]:
        """Ask outside any unit of work, and keep what is said."""
        try:
            said = await provider.screen(chain_id, addresses)
        except StrongroomError:
            raise
        except Exception as error:
            # Somebody else's code at the edge of ours: whatever breaks there is no answer.
            raise ScreeningUnavailableError from error
        answers = {address: said[address] for address in addresses if address in said}
        if answers:
            async with self._database.transaction() as session:
                await _keep(session, chain_id, answers, at=self._clock.now())
        if len(answers) < len(addresses):
            raise ScreeningUnavailableError
        return answers


async def _keep(
    session: AsyncSession, chain_id: str, answers: Mapping[str, Screened], *, at: datetime
) -> None:
    new = insert(ScreeningAnswer).values(
        [
            {
                "chain_id": chain_id,
                "address": address,
                "verdict": said.verdict,
                "reason": said.reason[:REASON_CHARACTERS_MAX],
                "answered_at": at,
            }
            for address, said in answers.items()
        ]
    )
    await session.execute(
        new.on_conflict_do_update(
            index_elements=["chain_id", "address"],
            set_={name: new.excluded[name] for name in ("verdict", "reason", "answered_at")},
            where=col(ScreeningAnswer.answered_at) <= new.excluded.answered_at,
        )
    )


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


async def answered(
    session: AsyncSession, chain_id: str, addresses: Collection[str], *, since: datetime | None
) -> dict[str, Screened]:
    """Return what a provider said of these addresses, at any time or since a moment."""
    wanted = bindparam(None, sorted(set(addresses)), ARRAY(String))
    query = select(ScreeningAnswer).where(
        ScreeningAnswer.chain_id == chain_id, col(ScreeningAnswer.address) == any_(wanted)
    )
    if since is not None:
        query = query.where(col(ScreeningAnswer.answered_at) >= since)
    return {
        row.address: Screened(ScreeningVerdict(row.verdict), row.reason)
        for row in await session.exec(query)
    }


async def denied_among(session: AsyncSession, payouts: Collection[Payout]) -> set[str]:
    """Return the ids of those payouts whose destinations our list or the last answer denies."""
    denied: set[str] = set()
    for chain_id in sorted({payout.chain_id for payout in payouts}):
        here = [payout for payout in payouts if payout.chain_id == chain_id]
        destinations = {payout.destination for payout in here}
        verdicts = await answered(session, chain_id, destinations, since=None)
        verdicts |= await listed(session, chain_id, destinations)
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
