"""
Reading whole blocks: every movement of value, to whomever.

Tokens are believed for their ``Transfer`` logs alone, never for calldata: an ``approve`` looks
like a ``transfer`` there. What contracts send is only in the call trace, where the node has one.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from eth_utils.address import to_canonical_address, to_checksum_address

from chains.evm.errors import NodeError
from chains.evm.receipts import TRANSFER_TOPIC
from chains.json_rpc import Call, Rpc
from domain.errors import ChainUnavailableError
from domain.scanning import Incoming, ScannedBlock

WITH_BODIES = True
"""Second parameter of ``eth_getBlockByNumber``."""

METHOD_UNKNOWN = -32601

_STATE_GONE = ("missing trie node", "historical state", "state not available", "pruned")
"""Parts of what nodes say of a block that they hold without the state to run it again."""

_TRANSFER_TOPICS = 3
_WORD_HEX_DIGITS = 64
_MOVING_CALLS = frozenset({"CALL", "SELFDESTRUCT"})
"""Call types that move their value; the others carry the caller's value along."""

logger = logging.getLogger(__name__)


class BlockReader:
    """Reads blocks of one chain with their receipts and, where the node has them, call traces."""

    def __init__(self, rpc: Rpc) -> None:
        """Take the connection; whether there are traces is found out when they are needed."""
        self._rpc = rpc
        self.has_traces: bool | None = None
        """Of the last block with contract calls; None until one was read."""
        self.has_missed = False
        """Some transaction was read without its call trace: what it sent on is not known."""
        self._has_block_receipts = True

    async def read(self, first: int, last: int) -> list[ScannedBlock]:
        """Return the canonical blocks of a range, as ``ChainOutlet.scan``."""
        heights = range(first, last + 1)
        bodies = await self._rpc.batch(
            [("eth_getBlockByNumber", [hex(height), WITH_BODIES]) for height in heights]
        )
        linked = list(_linked(bodies))
        receipts = await self._receipts(linked)
        traces = await self._traces(linked, receipts)
        blocks: list[ScannedBlock] = []
        for body, its_receipts, calls in zip(linked, receipts, traces, strict=True):
            if its_receipts is None or calls is None:
                # The chain changed between two answers.
                break
            blocks.append(_scanned(body, its_receipts, calls))
        return blocks

    async def _receipts(self, bodies: Sequence[Any]) -> list[list[Any] | None]:
        """Return each block's receipts in order; None where the node no longer has the block."""
        found: list[list[Any] | None] = [[] for _ in bodies]
        wanted = [i for i, body in enumerate(bodies) if body["transactions"]]
        answers = await self._block_receipts([bodies[i] for i in wanted])
        for i, answer in zip(wanted, answers, strict=True):
            found[i] = answer if _belong(answer, bodies[i]) else None
        return found

    async def _block_receipts(self, bodies: Sequence[Any]) -> list[Any]:
        if self._has_block_receipts:
            answers = await self._rpc.batch(
                [("eth_getBlockReceipts", [body["number"]]) for body in bodies]
            )
            if not any(_is_unknown_method(answer) for answer in answers):
                return [_answered(answer) for answer in answers]
            self._has_block_receipts = False
        calls: list[Call] = [
            ("eth_getTransactionReceipt", [transaction["hash"]])
            for body in bodies
            for transaction in body["transactions"]
        ]
        singles = iter([_answered(answer) for answer in await self._rpc.batch(calls)])
        return [[next(singles) for _ in body["transactions"]] for body in bodies]

    async def _traces(
        self, bodies: Sequence[Any], receipts: Sequence[list[Any] | None]
    ) -> list[list[Any] | None]:
        """Return each block's call trees by transaction; None where the chain has changed."""
        found: list[list[Any] | None] = [[] for _ in bodies]
        wanted = [
            i
            for i, body in enumerate(bodies)
            if receipts[i] is not None and any(_calls_code(t) for t in body["transactions"])
        ]
        if not wanted:
            return found
        for i, answer in zip(wanted, await self._traced([bodies[i] for i in wanted]), strict=False):
            found[i] = _trees(answer, bodies[i])
        untraced = [bodies[i] for i in wanted if None in (found[i] or ())]
        if untraced:
            # The node no longer has their state, or needs longer than it allows itself. Waiting
            # would stop the whole chain; what contracts sent there, balances tell.
            first, last = (int(untraced[n]["number"], 16) for n in (0, -1))
            logger.error("blocks from %d to %d have transactions without a trace", first, last)
            self.has_missed = True
        return found

    async def _traced(self, bodies: Sequence[Any]) -> list[Any]:
        """Return each block's traces, or nothing where the node that answers has none."""
        calls: list[Call] = [
            ("debug_traceBlockByNumber", [body["number"], {"tracer": "callTracer"}])
            for body in bodies
        ]
        # Asked anew each time, though of one block only: the next answer may come from a node that
        # has traces, and what is missed meanwhile stays missed.
        first = len(calls) if self.has_traces else 1
        answers = await self._rpc.batch(calls[:first])
        had_traces, self.has_traces = self.has_traces, not any(map(_is_unknown_method, answers))
        if not self.has_traces:
            if had_traces is not False:
                logger.warning("the node has no call traces: coin sent by contracts is not seen")
            self.has_missed = True
            return []
        return answers + (await self._rpc.batch(calls[first:]) if calls[first:] else [])


def _linked(bodies: Sequence[Any]) -> Iterator[Mapping[str, Any]]:
    """Yield blocks up to the first that is missing or does not follow from the one before."""
    parent: str | None = None
    for answer in bodies:
        body = _answered(answer)
        if body is None or parent not in (None, body["parentHash"]):
            return
        yield body
        parent = body["hash"]


def _answered(answer: Any) -> Any:
    if isinstance(answer, NodeError):
        msg = f"The node does not tell its blocks: {answer.text}"
        raise ChainUnavailableError(msg)
    return answer


def _is_unknown_method(answer: Any) -> bool:
    if not isinstance(answer, NodeError):
        return False
    text = answer.text.lower()
    # Of a block whose state is gone nodes say "not available" too: that is no word on the method.
    return answer.code == METHOD_UNKNOWN or ("method" in text and "not " in text)


def _belong(receipts: Any, body: Mapping[str, Any]) -> bool:
    """Tell whether these are the receipts of this very block."""
    return (
        isinstance(receipts, list)
        and len(receipts) == len(body["transactions"])
        and all(r is not None and r["blockHash"] == body["hash"] for r in receipts)
    )


def _trees(answer: Any, body: Mapping[str, Any]) -> list[Any] | None:
    """Return the root call of each transaction, None for those that the node cannot run again."""
    if isinstance(answer, NodeError) and _is_state_gone(answer.text):
        return [None] * len(body["transactions"])
    answer = _answered(answer)
    if not isinstance(answer, list) or len(answer) != len(body["transactions"]):
        return None
    for traced, transaction in zip(answer, body["transactions"], strict=True):
        if traced.get("txHash", transaction["hash"]) != transaction["hash"]:
            return None
    return [traced.get("result") for traced in answer]


def _is_state_gone(text: str) -> bool:
    return any(part in text.lower() for part in _STATE_GONE)


def _calls_code(transaction: Mapping[str, Any]) -> bool:
    # Plain transfers to contracts run code too, with no calldata: only a gas limit above the plain
    # one tells.
    return transaction["input"] != "0x" or int(transaction["gas"], 16) > 21_000  # noqa: PLR2004


def _scanned(
    body: Mapping[str, Any], receipts: Sequence[Any], calls: Sequence[Any]
) -> ScannedBlock:
    incoming: list[Incoming] = []
    for place, (transaction, receipt) in enumerate(
        zip(body["transactions"], receipts, strict=True)
    ):
        if int(receipt["status"], 16) != 1:
            continue
        incoming += _plain_value(transaction)
        incoming += _token_logs(receipt)
        if calls and calls[place] is not None:
            incoming += _inner_value(transaction["hash"], calls[place], "")
    return ScannedBlock(
        height=int(body["number"], 16),
        hash=body["hash"],
        parent_hash=body["parentHash"],
        txids=tuple(transaction["hash"] for transaction in body["transactions"]),
        incoming=tuple(incoming),
    )


def _plain_value(transaction: Mapping[str, Any]) -> Iterator[Incoming]:
    amount_minor = int(transaction["value"], 16)
    receiver = transaction["to"]
    if amount_minor and receiver and receiver != transaction["from"]:
        yield Incoming(transaction["hash"], "native", to_canonical_address(receiver), amount_minor)


def _token_logs(receipt: Mapping[str, Any]) -> Iterator[Incoming]:
    for place, log in enumerate(receipt["logs"]):
        topics, data = log["topics"], log["data"].removeprefix("0x")
        # An ERC-721 token logs the same topic with its id as a fourth one and no data.
        if len(topics) != _TRANSFER_TOPICS or topics[0] != TRANSFER_TOPIC:
            continue
        if len(data) != _WORD_HEX_DIGITS or topics[1] == topics[2] or int(data, 16) == 0:
            continue
        yield Incoming(
            receipt["transactionHash"],
            # By its place in the transaction: the place in the block changes with a reorg.
            f"log:{place}",
            bytes.fromhex(topics[2][-40:]),
            int(data, 16),
            _checksummed(log["address"]),
        )


def _inner_value(txid: str, call: Mapping[str, Any], path: str) -> Iterator[Incoming]:
    """Yield what contracts sent on; the root call is the transaction's own value."""
    if call.get("error"):
        # A call that fails takes everything below it back.
        return
    amount_minor = int(call.get("value") or "0x0", 16)
    is_move = call["type"] in _MOVING_CALLS and call.get("to") not in (None, call["from"])
    if path and amount_minor and is_move:
        yield Incoming(txid, f"call:{path}", to_canonical_address(call["to"]), amount_minor)
    for place, inner in enumerate(call.get("calls") or ()):
        yield from _inner_value(txid, inner, f"{path}.{place}" if path else str(place))


@lru_cache(maxsize=4096)
def _checksummed(address: str) -> str:
    return str(to_checksum_address(address))
