"""What a Jobcoin node tells of its chain, as JSON: amounts are decimal strings of minor units."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from chains.jobcoin.node.book import leaving, tip
from domain.errors import NotFoundError
from models.jobcoin import (
    JobcoinAccount,
    JobcoinBlock,
    JobcoinOutput,
    JobcoinSupply,
    JobcoinTransaction,
)

BLOCKS_MAX = 512
"""Most blocks of one answer."""

type Json = dict[str, Any]

_ALL = text("""
    SELECT arrival FROM jobcoin_transaction WHERE arrival < :before
    ORDER BY arrival DESC LIMIT :most
""")

_OF_ADDRESS = text("""
    SELECT arrival FROM (
        SELECT t.arrival FROM jobcoin_transaction t WHERE t.sender = :address
        UNION
        SELECT t.arrival FROM jobcoin_output o JOIN jobcoin_transaction t USING (txid)
        WHERE o.address = :address
    ) a
    WHERE arrival < :before ORDER BY arrival DESC LIMIT :most
""")

_NEWEST = 2**62


async def status(session: AsyncSession, chain_id: str) -> Json:
    """Return the network, its tip, and how many coins there are and may be."""
    head = await tip(session)
    supply = await session.get_one(JobcoinSupply, chain_id)
    return {
        "chain_id": chain_id,
        "height": head.height,
        "hash": head.hash,
        "timestamp": head.mined_at.isoformat(),
        "minted": str(supply.minted_minor),
        "cap": str(supply.cap_minor),
    }


async def blocks(session: AsyncSession, first: int, last: int) -> list[Json]:
    """Return the blocks of a range, as far as there are any, with all that they hold."""
    found = await session.exec(
        select(JobcoinBlock)
        .where(
            col(JobcoinBlock.height) >= first,
            col(JobcoinBlock.height) <= min(last, first + BLOCKS_MAX - 1),
        )
        .order_by(col(JobcoinBlock.height))
    )
    headers = list(found)
    held: dict[int, list[Json]] = {header.height: [] for header in headers}
    mined = await session.exec(
        select(JobcoinTransaction)
        .where(col(JobcoinTransaction.block_height).in_(held))
        .order_by(col(JobcoinTransaction.block_height), col(JobcoinTransaction.place))
    )
    for view in await _views(session, mined.all()):
        held[view["height"]].append(view)
    return [
        {
            "height": header.height,
            "hash": header.hash,
            "parent_hash": header.parent_hash,
            "timestamp": header.mined_at.isoformat(),
            "transactions": held[header.height],
        }
        for header in headers
    ]


async def pool(session: AsyncSession) -> list[Json]:
    """Return what waits for a block, in the order in which it came."""
    found = await session.exec(
        select(JobcoinTransaction)
        .where(col(JobcoinTransaction.block_height).is_(None))
        .order_by(col(JobcoinTransaction.arrival))
    )
    return await _views(session, found.all())


async def transaction(session: AsyncSession, txid: str) -> Json:
    """Return one transaction; raise NotFoundError if there is none."""
    row = await session.get(JobcoinTransaction, txid)
    if row is None:
        msg = f"There is no transaction {txid}."
        raise NotFoundError(msg)
    return (await _views(session, [row]))[0]


async def transactions(
    session: AsyncSession, *, address: str | None, before: int | None, limit: int
) -> tuple[list[Json], int | None]:
    """
    Return transactions, of one address or all, the newest first; and where the next page begins.

    The order is that in which the node took them.
    """
    wanted: Json = {"before": before or _NEWEST, "most": limit + 1}
    if address is None:
        page = await session.execute(_ALL, wanted)
    else:
        page = await session.execute(_OF_ADDRESS, wanted | {"address": address})
    arrivals = list(page.scalars())
    found = await session.exec(
        select(JobcoinTransaction)
        .where(col(JobcoinTransaction.arrival).in_(arrivals[:limit]))
        .order_by(col(JobcoinTransaction.arrival).desc())
    )
    following = arrivals[limit - 1] if len(arrivals) > limit else None
    return await _views(session, found.all()), following


async def account(session: AsyncSession, address: str) -> Json:
    """Return what an address has, what of it waits to leave, and its next account nonces."""
    row = await session.get(JobcoinAccount, address)
    balance_minor, next_nonce = (row.balance_minor, row.next_nonce) if row else (0, 0)
    waiting = await session.exec(
        select(
            func.coalesce(func.sum(JobcoinTransaction.amount_minor), 0),
            func.max(JobcoinTransaction.account_nonce),
        ).where(*leaving(address, next_nonce))
    )
    leaving_minor, last_nonce = waiting.one()
    return {
        "address": address,
        "balance": str(balance_minor),
        "available": str(balance_minor - int(leaving_minor)),
        "next_nonce": next_nonce,
        "next_free_nonce": next_nonce if last_nonce is None else last_nonce + 1,
    }


async def _views(session: AsyncSession, rows: Sequence[JobcoinTransaction]) -> list[Json]:
    outputs = await session.exec(
        select(JobcoinOutput)
        .where(col(JobcoinOutput.txid).in_([row.txid for row in rows]))
        .order_by(col(JobcoinOutput.txid), col(JobcoinOutput.place))
    )
    paid: dict[str, list[Mapping[str, str]]] = {row.txid: [] for row in rows}
    for output in outputs:
        paid[output.txid].append({"address": output.address, "amount": str(output.amount_minor)})
    mined_at = await _times(session, rows)
    return [
        {
            "txid": row.txid,
            "kind": row.kind,
            "from": row.sender,
            "to": paid[row.txid],
            "amount": str(row.amount_minor),
            "account_nonce": row.account_nonce,
            "height": row.block_height,
            "timestamp": mined_at.get(row.block_height, row.received_at).isoformat(),
        }
        for row in rows
    ]


async def _times(
    session: AsyncSession, rows: Sequence[JobcoinTransaction]
) -> dict[int | None, datetime]:
    heights = {row.block_height for row in rows if row.block_height is not None}
    found = await session.exec(select(JobcoinBlock).where(col(JobcoinBlock.height).in_(heights)))
    return {block.height: block.mined_at for block in found}
