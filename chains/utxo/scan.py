"""
Reading runs of blocks and the pool from a node, and what a read's refusal means.

Blocks come raw, a few per request with the next request under way: a run of full blocks in one
answer would be a hundred megabytes.
"""

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import batched, islice
from typing import Any, NoReturn

from chains.json_rpc import Rpc
from chains.utxo.blocks import read_block, read_transaction
from chains.utxo.errors import NodeError, Verdict
from domain.errors import ChainUnavailableError
from domain.scanning import Incoming, PendingView, ScannedBlock

BLOCKS_PER_REQUEST = 4
REQUESTS_AT_ONCE = 2
HEX_DIGITS_AT_ONCE = 250_000
"""What is parsed on the event loop: some milliseconds' worth of blocks."""

RAW = 0
"""Verbosity of ``getblock``: serialized, in hex."""


async def read_blocks(rpc: Rpc, first: int, last: int) -> list[ScannedBlock]:
    """Return the canonical blocks of a range, as ``ChainOutlet.scan``."""
    found = await rpc.batch([("getblockhash", [height]) for height in range(first, last + 1)])
    hashes = _until_missing(found, "getblockhash")
    groups = batched(hashes, BLOCKS_PER_REQUEST)
    under_way = deque(_ask(rpc, group) for group in islice(groups, REQUESTS_AT_ONCE))
    blocks: list[ScannedBlock] = []
    try:
        while under_way:
            bodies = _until_missing(await under_way.popleft(), "getblock")
            under_way.extend(_ask(rpc, group) for group in islice(groups, 1))
            height = first + len(blocks)
            read = await _parsed_aside(bodies, hashes[len(blocks) :], height)
            linked = list(_linked(read, blocks[-1].hash if blocks else None))
            blocks += linked
            if len(linked) < BLOCKS_PER_REQUEST:
                break
    finally:
        for request in under_way:
            request.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
    return blocks


async def hash_at(rpc: Rpc, height: int) -> str | None:
    """Return the hash of the canonical block at this height, or None above the tip."""
    found = _until_missing(await rpc.batch([("getblockhash", [height])]), "getblockhash")
    return found[0] if found else None


async def read_pool(rpc: Rpc, known: frozenset[str]) -> PendingView:
    """Return the pool's txids, and what those not in ``known`` pay."""
    txids = frozenset(str(txid) for txid in await read(rpc, "getrawmempool"))
    answers = await rpc.batch([("getrawtransaction", [txid]) for txid in sorted(txids - known)])
    incoming: list[Incoming] = []
    for answer in answers:
        if isinstance(answer, NodeError):
            # One that left the pool in between is in a block, or gone.
            raise_unless_missing(answer, "getrawtransaction")
            continue
        try:
            incoming += read_transaction(bytes.fromhex(answer))[1]
        except ValueError:
            # Of a form that nobody told us. Should it pay us, we see it when it is mined.
            continue
    return PendingView(txids, tuple(incoming))


async def read(rpc: Rpc, method: str, *params: Any) -> Any:
    """
    Return the result of one reading call.

    Raises:
        ChainUnavailableError, NodeSyncingError, NodePrunedError: There is none.
    """
    try:
        return await rpc.call(method, *params)
    except NodeError as error:
        refuse(error, method)


def raise_unless_missing(error: NodeError, method: str) -> None:
    """Pass over what only means that the chain is shorter, or changed."""
    if error.verdict is not Verdict.NOT_FOUND:
        refuse(error, method)


def refuse(error: NodeError, method: str) -> NoReturn:
    """Raise for a read that was refused and should not have been."""
    msg = f"The node refuses {method}: {error.text}"
    raise ChainUnavailableError(msg) from None


def _ask(rpc: Rpc, hashes: Sequence[str]) -> asyncio.Task[list[Any]]:
    return asyncio.create_task(rpc.batch([("getblock", [each, RAW]) for each in hashes]))


def _until_missing(answers: Sequence[Any], method: str) -> list[str]:
    found: list[str] = []
    for answer in answers:
        if isinstance(answer, NodeError):
            raise_unless_missing(answer, method)
            break
        found.append(str(answer))
    return found


async def _parsed_aside(
    bodies: Sequence[str], hashes: Sequence[str], height: int
) -> list[ScannedBlock]:
    """
    Return the blocks that these bytes are; raises as ``_parsed``.

    Full blocks take tens of milliseconds each, and this process has other chains to watch. For
    small ones a thread costs more than it helps: the loop would wait for it to let go.
    """
    if sum(map(len, bodies)) <= HEX_DIGITS_AT_ONCE:
        return _parsed(bodies, hashes, height)
    return await asyncio.to_thread(_parsed, bodies, hashes, height)


def _parsed(bodies: Sequence[str], hashes: Sequence[str], height: int) -> list[ScannedBlock]:
    """
    Return the blocks that these bytes are.

    Raises:
        ChainUnavailableError: They are not those that were asked for.
    """
    try:
        blocks = [
            read_block(bytes.fromhex(body), height=height + n) for n, body in enumerate(bodies)
        ]
    except ValueError as error:
        msg = f"The node's block {height} or one soon after cannot be read."
        raise ChainUnavailableError(msg) from error
    if [block.hash for block in blocks] != list(hashes[: len(blocks)]):
        msg = f"The node answers with other blocks than were asked for, at {height}."
        raise ChainUnavailableError(msg)
    return blocks


def _linked(blocks: Sequence[ScannedBlock], parent_hash: str | None) -> Iterator[ScannedBlock]:
    """Yield blocks up to the first that does not follow: the chain changed between two answers."""
    for block in blocks:
        if parent_hash not in (None, block.parent_hash):
            return
        yield block
        parent_hash = block.hash
