"""``domain.ports.ChainOutlet`` for Bitcoin-like chains."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from chains.json_rpc import CALL_TIMEOUT_S, LostReplyError
from chains.utxo import scan
from chains.utxo.blocks import read_transaction
from chains.utxo.errors import NodeError, Verdict
from chains.utxo.rpc import open_rpc
from domain.errors import (
    BroadcastUnknownError,
    ChainUnavailableError,
    FeeTooLowError,
    NodeRejectedError,
    NodeSyncingError,
    NonceTooLowError,
    StrongroomError,
    ValidationError,
)
from domain.ports import Block, BroadcastOutcome, FeeQuote, Head
from domain.scanning import PendingView, ScannedBlock
from domain.utxo.networks import network_of

COIN = 10**8
"""Satoshi per coin; nodes write amounts as decimal numbers of coins."""

CONFIRM_TARGET_BLOCKS = 6
ESTIMATE_MODE = "economical"
"""It follows falling fees soon; what it misjudges is replaced or helped by a child."""

FALLBACK_FACTOR = 5
"""Where the node cannot estimate, we offer this times its minimum."""

NO_FEE_CAP = 0
"""``maxfeerate`` of ``sendrawtransaction``: our own ceiling was applied before signing."""

VERBOSE = True

_REFUSALS: Mapping[Verdict, type[StrongroomError]] = {
    Verdict.FEE_TOO_LOW: FeeTooLowError,
    Verdict.NODE_BUSY: ChainUnavailableError,
    Verdict.SYNCING: NodeSyncingError,
    Verdict.REJECTED: NodeRejectedError,
}


class CoinOutlet:
    """One Bitcoin-like chain through one or more nodes. Holds connections and nothing else."""

    def __init__(
        self,
        chain_id: str,
        rpc_urls: Sequence[str],
        *,
        timeout_s: float = CALL_TIMEOUT_S,
        confirm_target_blocks: int = CONFIRM_TARGET_BLOCKS,
    ) -> None:
        """Take the CAIP-2 id and the endpoints, best first; connects on the first call."""
        self.chain_id = chain_id
        self._confirm_target_blocks = confirm_target_blocks
        self._last_read: Block | None = None
        """Who watches a chain asks again and again whether this one still stands."""
        self._rpc = open_rpc(rpc_urls, network_of(chain_id), timeout_s=timeout_s)

    async def head(self) -> Head:
        """Return the tip; nothing is ever finalized, only deep."""
        info, pool = await self._rpc.batch([("getblockchaininfo", []), ("getmempoolinfo", [])])
        chain = _answered(info, "getblockchaininfo")
        return Head(
            height=int(chain["blocks"]),
            hash=str(chain["bestblockhash"]),
            base_fee_minor=_pool_minimum(pool),
            finalized_height=None,
        )

    async def block(self, height: int) -> Block | None:
        """Return the canonical block at this height, or None above the tip."""
        last = self._last_read
        if last is not None and await scan.hash_at(self._rpc, height) == last.hash:
            return last
        found = await self.scan(height, height)
        return _header(found[0]) if found else None

    async def scan(self, first: int, last: int) -> list[ScannedBlock]:
        """Return the canonical blocks of a range, linked and without a gap; see the port."""
        blocks = await scan.read_blocks(self._rpc, first, last)
        if blocks:
            self._last_read = _header(blocks[-1])
        return blocks

    async def pending(self, known: frozenset[str]) -> PendingView:
        """Return the pool's txids, and what those not in ``known`` pay."""
        return await scan.read_pool(self._rpc, known)

    async def quote_fee(self) -> FeeQuote:
        """
        Return a rate that should be mined within ``confirm_target_blocks``, per 1,000 vB.

        Never below what the pool takes now; a multiple of that where the node has no data, as on
        regtest, or does not estimate at all.
        """
        pool, estimate = await self._rpc.batch(
            [
                ("getmempoolinfo", []),
                ("estimatesmartfee", [self._confirm_target_blocks, ESTIMATE_MODE]),
            ]
        )
        minimum = _pool_minimum(pool)
        rate = None if isinstance(estimate, NodeError) else estimate.get("feerate")
        offered = FALLBACK_FACTOR * minimum if rate is None else _satoshi(rate)
        return FeeQuote(minimum, max(offered, minimum), 0)

    def replacement_fee(self, *, previous: FeeQuote, quote: FeeQuote) -> FeeQuote:
        """Return a rate above the former by what relaying costs, and at least the quote."""
        least = previous.max_fee_minor + max(quote.base_fee_minor, previous.max_fee_minor // 4)
        return FeeQuote(quote.base_fee_minor, max(least, quote.max_fee_minor), 0)

    async def broadcast(self, raw: bytes) -> BroadcastOutcome:
        """Hand stored bytes to a node; may be repeated at will. Raises as the port says."""
        try:
            txid, _ = read_transaction(raw)
        except ValueError as error:
            raise NodeRejectedError(str(error)) from None
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

        False is no proof: without ``-txindex`` a node does not find what is mined. With it, it
        also finds what a reorg dropped, with 0 confirmations.
        """
        try:
            pool, found = await self._rpc.batch(
                [("getmempoolentry", [txid]), ("getrawtransaction", [txid, VERBOSE])]
            )
        except (ChainUnavailableError, NodeSyncingError):
            return False
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
        answer = await scan.read(self._rpc, "scantxoutset", "start", [f"addr({address})"])
        return _satoshi(answer["total_amount"])

    async def close(self) -> None:
        """Close every pooled connection."""
        await self._rpc.close()


def _header(block: ScannedBlock) -> Block:
    return Block(block.height, block.hash, block.parent_hash, block.txids)


def _answered(answer: Any, method: str) -> Any:
    if isinstance(answer, NodeError):
        scan.refuse(answer, method)
    return answer


def _pool_minimum(answer: Any) -> int:
    """Return the least rate that the pool takes now (``getmempoolinfo``), per 1,000 vB."""
    info = _answered(answer, "getmempoolinfo")
    return max(_satoshi(info["mempoolminfee"]), _satoshi(info["minrelaytxfee"]))


def _satoshi(coins: Decimal | float) -> int:
    """Return an amount in satoshi from the number of coins that a node wrote."""
    return int((Decimal(coins) * COIN).to_integral_value())
