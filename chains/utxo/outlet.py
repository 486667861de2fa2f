"""``domain.ports.ChainOutlet`` for Bitcoin-like chains."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, NoReturn

from chains.json_rpc import CALL_TIMEOUT_S, LostReplyError
from chains.utxo.blocks import read_block, read_transaction
from chains.utxo.errors import NodeError, Verdict
from chains.utxo.rpc import open_rpc
from domain.errors import (
    BroadcastUnknownError,
    ChainUnavailableError,
    FeeTooLowError,
    NodePrunedError,
    NodeRejectedError,
    NodeSyncingError,
    NonceTooLowError,
    StrongroomError,
    ValidationError,
)
from domain.ports import Block, BroadcastOutcome, FeeQuote, Head
from domain.scanning import Incoming, PendingView, ScannedBlock
from domain.utxo.networks import network_of

COIN = 10**8
"""Satoshi per coin; nodes write amounts as decimal numbers of coins."""

CONFIRM_TARGET_BLOCKS = 6
FALLBACK_FACTOR = 5
"""Where the node cannot estimate, we offer this times its minimum."""

NO_FEE_CAP = 0
"""``maxfeerate`` of ``sendrawtransaction``: our own ceiling was applied before signing."""

RAW = 0
_REFUSALS: Mapping[Verdict, type[StrongroomError]] = {
    Verdict.FEE_TOO_LOW: FeeTooLowError,
    Verdict.NODE_BUSY: ChainUnavailableError,
    Verdict.SYNCING: NodeSyncingError,
    Verdict.REJECTED: NodeRejectedError,
}


class CoinOutlet:
    """One Bitcoin-like chain through one or more nodes. Holds connections and nothing else."""

    def __init__(
        self, chain_id: str, rpc_urls: Sequence[str], *, timeout_s: float = CALL_TIMEOUT_S
    ) -> None:
        """Take the CAIP-2 id and the endpoints, best first; connects on the first call."""
        self.chain_id = chain_id
        self._network = network_of(chain_id)
        self._rpc = open_rpc(rpc_urls, self._network, timeout_s=timeout_s)

    async def head(self) -> Head:
        """Return the tip; nothing is ever finalized, only deep."""
        info = await self._read("getblockchaininfo")
        return Head(
            height=int(info["blocks"]),
            hash=str(info["bestblockhash"]),
            base_fee_minor=await self._pool_minimum(),
            finalized_height=None,
        )

    async def block(self, height: int) -> Block | None:
        """Return the canonical block at this height, or None above the tip."""
        found = await self.scan(height, height)
        if not found:
            return None
        block = found[0]
        return Block(block.height, block.hash, block.parent_hash, block.txids)

    async def scan(self, first: int, last: int) -> list[ScannedBlock]:
        """Return the canonical blocks of a range, linked and without a gap; see the port."""
        hashes = await self._rpc.batch(
            [("getblockhash", [height]) for height in range(first, last + 1)]
        )
        known = _until_missing(hashes)
        bodies = await self._rpc.batch([("getblock", [h, RAW]) for h in known])
        blocks: list[ScannedBlock] = []
        for place, body in enumerate(bodies):
            if isinstance(body, NodeError):
                _raise_unless_missing(body)
                break
            block = read_block(bytes.fromhex(body), height=first + place)
            if blocks and block.parent_hash != blocks[-1].hash:
                break
            blocks.append(block)
        return blocks

    async def pending(self, known: frozenset[str]) -> PendingView:
        """Return the pool's txids, and what those not in ``known`` pay."""
        txids = frozenset(await self._read("getrawmempool"))
        new = sorted(txids - known)
        answers = await self._rpc.batch([("getrawtransaction", [txid]) for txid in new])
        incoming: list[Incoming] = []
        for answer in answers:
            # One that left the pool in between is in a block, or gone.
            if not isinstance(answer, NodeError):
                incoming += read_transaction(bytes.fromhex(answer))[1]
        return PendingView(txids, tuple(incoming))

    async def quote_fee(self) -> FeeQuote:
        """Return a rate that should be mined within an hour, per 1,000 virtual bytes."""
        minimum = await self._pool_minimum()
        answer = await self._read("estimatesmartfee", CONFIRM_TARGET_BLOCKS)
        rate = answer.get("feerate")
        offered = FALLBACK_FACTOR * minimum if rate is None else _satoshi(rate)
        return FeeQuote(minimum, max(offered, minimum), 0)

    def replacement_fee(self, *, previous: FeeQuote, quote: FeeQuote) -> FeeQuote:
        """Return a rate above the former by what relaying costs, and at least the quote."""
        least = previous.max_fee_minor + max(quote.base_fee_minor, previous.max_fee_minor // 4)
        return FeeQuote(quote.base_fee_minor, max(least, quote.max_fee_minor), 0)

    async def broadcast(self, raw: bytes) -> BroadcastOutcome:
        """Hand stored bytes to a node; may be repeated at will. Raises as the port says."""
        txid, _ = read_transaction(raw)
        try:
            await self._rpc.send("sendrawtransaction", raw.hex(), NO_FEE_CAP)
        except LostReplyError:
            if await self._knows(txid):
                return BroadcastOutcome.ALREADY_KNOWN
            raise BroadcastUnknownError from None
        except NodeError as refusal:
            return await self._answer(refusal, txid)
        return BroadcastOutcome.ACCEPTED

    async def _answer(self, refusal: NodeError, txid: str) -> BroadcastOutcome:
        verdict = refusal.verdict
        if verdict is Verdict.KNOWN:
            return BroadcastOutcome.ALREADY_KNOWN
        if error := _REFUSALS.get(verdict):
            raise error(f"The node says: {refusal.text}") from None
        # An input is used, or the words are new to us. These very bytes may be what used it.
        if await self._knows(txid):
            return BroadcastOutcome.ALREADY_KNOWN
        if verdict is Verdict.CONFLICT:
            return BroadcastOutcome.REPLACED
        if verdict is Verdict.INPUTS_USED:
            raise NonceTooLowError from None
        msg = f"The node's answer is not understood: {refusal.text}"
        raise BroadcastUnknownError(msg) from None

    async def _knows(self, txid: str) -> bool:
        """
        Tell whether a node has the transaction in its pool or on its chain.

        With ``-txindex`` it may also find one that a reorg dropped, with 0 confirmations.
        """
        pool, found = await self._rpc.batch(
            [("getmempoolentry", [txid]), ("getrawtransaction", [txid, True])]
        )
        is_mined = not isinstance(found, NodeError) and int(found.get("confirmations") or 0) > 0
        return is_mined or not isinstance(pool, NodeError)

    async def balance_minor(self, address: str, *, contract_address: str | None = None) -> int:
        """
        Return the sum of an address's unspent outputs (``scantxoutset``), in satoshi.

        Slow on a long chain: for comparing books with the chain, not for deciding anything.
        """
        if contract_address is not None:
            msg = "There are no tokens on this chain."
            raise ValidationError(msg)
        answer = await self._read("scantxoutset", "start", [f"addr({address})"])
        return _satoshi(answer["total_amount"])

    async def close(self) -> None:
        """Close every pooled connection."""
        await self._rpc.close()

    async def _pool_minimum(self) -> int:
        info = await self._read("getmempoolinfo")
        return max(_satoshi(info["mempoolminfee"]), _satoshi(info["minrelaytxfee"]))

    async def _read(self, method: str, *params: Any) -> Any:
        try:
            return await self._rpc.call(method, *params)
        except NodeError as error:
            _raise(error, method)


def _satoshi(coins: Any) -> int:
    """Return an amount in satoshi from the number that a node wrote, without a float's error."""
    return int((Decimal(str(coins)) * COIN).to_integral_value())


def _until_missing(hashes: Sequence[Any]) -> list[str]:
    found: list[str] = []
    for answer in hashes:
        if isinstance(answer, NodeError):
            _raise_unless_missing(answer)
            break
        found.append(str(answer))
    return found


def _raise_unless_missing(error: NodeError) -> None:
    """Pass over what only means that the chain is shorter, or changed."""
    if error.verdict is not Verdict.NOT_FOUND:
        _raise(error, "getblock")


def _raise(error: NodeError, method: str) -> NoReturn:
    if error.verdict is Verdict.PRUNED:
        raise NodePrunedError from None
    if error.verdict is Verdict.SYNCING:
        raise NodeSyncingError from None
    msg = f"The node refuses {method}: {error.text}"
    raise ChainUnavailableError(msg) from None
