"""Asking for a range of blocks to be read again; the watcher works the requests off."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import func
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from deposits.queries import chain_head
from domain.clock import Clock
from domain.errors import RescanNotFoundError, ValidationError
from domain.ids import RESCAN, new_id
from infra.paging import Page, paged
from models.deposits import Rescan

BLOCKS_MAX = 1_000_000
"""Most blocks of one rescan: it shares the watcher's rounds with the tip."""


@dataclass(frozen=True, slots=True)
class RescanRange:
    """Which blocks of which chain, both ends included."""

    chain_id: str
    from_height: int
    to_height: int


async def check_range(session: AsyncSession, wanted: RescanRange) -> None:
    """
    Pass for a range that the watcher has read before.

    Raises:
        ChainNotFoundError: The catalog has no such chain.
        ValidationError: The range is empty, too long, or reaches above what was read.
    """
    _, head = await chain_head(session, wanted.chain_id)
    if wanted.from_height < 0:
        raise _refusal("from_height", "The first block is 0.")
    if wanted.to_height < wanted.from_height:
        raise _refusal("to_height", "The range ends before it begins.")
    if wanted.to_height - wanted.from_height >= BLOCKS_MAX:
        raise _refusal("to_height", f"A rescan reads at most {BLOCKS_MAX} blocks.")
    if head is None:
        raise _refusal("to_height", "No block of this chain was read yet.")
    if wanted.to_height > head.height:
        raise _refusal("to_height", f"The chain was read to block {head.height} so far.")


async def request_rescan(
    session: AsyncSession, wanted: RescanRange, *, by: str, clock: Clock
) -> Rescan:
    """
    Return an open rescan of exactly this range, a new one if there is none.

    Raises:
        ChainNotFoundError, ValidationError: As ``check_range``.
    """
    await check_range(session, wanted)
    found = await session.exec(
        select(Rescan)
        .where(
            Rescan.chain_id == wanted.chain_id,
            Rescan.from_height == wanted.from_height,
            Rescan.to_height == wanted.to_height,
            col(Rescan.finished_at).is_(None),
        )
        .order_by(col(Rescan.created_at))
    )
    rescan = found.first()
    if rescan is None:
        rescan = Rescan(
            id=new_id(RESCAN),
            chain_id=wanted.chain_id,
            from_height=wanted.from_height,
            to_height=wanted.to_height,
            next_height=wanted.from_height,
            requested_by=by,
            created_at=clock.now(),
        )
        session.add(rescan)
        await session.flush()
    return rescan


async def find_rescan(session: AsyncSession, chain_id: str, rescan_id: str) -> Rescan:
    """
    Return one rescan of a chain.

    Raises:
        RescanNotFoundError: The chain has no such rescan.
    """
    rescan = await session.get(Rescan, rescan_id)
    if rescan is None or rescan.chain_id != chain_id:
        raise RescanNotFoundError
    return rescan


async def list_rescans(session: AsyncSession, chain_id: str, page: Page) -> list[Rescan]:
    """
    Return a page of a chain's rescans, newest first, and one row more.

    Raises:
        ChainNotFoundError: The catalog has no such chain.
    """
    await chain_head(session, chain_id)
    query = select(Rescan).where(Rescan.chain_id == chain_id)
    query = paged(query, page, created_at=Rescan.created_at, row_id=Rescan.id)
    return list(await session.exec(query))


async def count_open(session: AsyncSession) -> Mapping[str, int]:
    """Return how many rescans each chain has open; a chain without any is left out."""
    found = await session.exec(
        select(Rescan.chain_id, func.count())
        .where(col(Rescan.finished_at).is_(None))
        .group_by(Rescan.chain_id)
    )
    return dict(found.all())


def _refusal(field: str, message: str) -> ValidationError:
    return ValidationError(message, errors=[{"field": field, "message": message}])
