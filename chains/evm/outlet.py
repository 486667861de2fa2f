"""``domain.ports.ChainOutlet`` for EVM chains."""

from collections.abc import Mapping, Sequence
from typing import Any

from eth_hash.auto import keccak

from chains.evm import fees, gas
from chains.evm.errors import NodeError, Verdict
from chains.evm.receipts import read_receipt
from chains.evm.rpc import open_rpc
from chains.evm.scan import BlockReader
from chains.json_rpc import CALL_TIMEOUT_S, LostReplyError
from domain.disperse import allowance_data
from domain.errors import (
    BroadcastUnknownError,
    ChainUnavailableError,
    FeeTooLowError,
    InsufficientGasFundsError,
    NodeRejectedError,
    NonceTooLowError,
    StrongroomError,
    WouldRevertError,
)
from domain.evm_calls import balance_of_data, evm_chain_number
from domain.ports import (
    Block,
    BroadcastOutcome,
    FeeQuote,
    GasEstimate,
    Head,
    Receipt,
    Transfer,
)
from domain.scanning import PendingView, ScannedBlock

TXIDS_ONLY = False
"""Second parameter of ``eth_getBlockByNumber``: no transaction bodies."""

_REFUSALS: Mapping[Verdict, type[StrongroomError]] = {
    Verdict.FEE_TOO_LOW: FeeTooLowError,
    Verdict.SHORT_OF_FUNDS: InsufficientGasFundsError,
    Verdict.NODE_BUSY: ChainUnavailableError,
    Verdict.REJECTED: NodeRejectedError,
}


class EvmOutlet:
    """One EVM chain through one or more nodes. Holds connections and nothing else."""

    def __init__(
        self, chain_id: str, rpc_urls: Sequence[str], *, timeout_s: float = CALL_TIMEOUT_S
    ) -> None:
        """Take the CAIP-2 id and the endpoints, best first; connects on the first call."""
        self.chain_id = chain_id
        number = evm_chain_number(chain_id)
        self._rpc = open_rpc(rpc_urls, chain_number=number, timeout_s=timeout_s)
        self._blocks = BlockReader(self._rpc)

    async def head(self) -> Head:
        """Return the tip; ``finalized_height`` is None where the node has no such tag."""
        latest, finalized = await self._rpc.batch(
            [
                ("eth_getBlockByNumber", ["latest", TXIDS_ONLY]),
                ("eth_getBlockByNumber", ["finalized", TXIDS_ONLY]),
            ]
        )
        if not isinstance(latest, dict):
            msg = "The node does not tell its latest block."
            raise ChainUnavailableError(msg)
        return Head(
            height=int(latest["number"], 16),
            hash=str(latest["hash"]),
            base_fee_minor=int(latest.get("baseFeePerGas") or "0x0", 16),
            finalized_height=int(finalized["number"], 16) if isinstance(finalized, dict) else None,
        )

    async def block(self, height: int) -> Block | None:
        """Return the canonical block at this height, or None above the tip."""
        answer = await self._read("eth_getBlockByNumber", hex(height), TXIDS_ONLY)
        if answer is None:
            return None
        return Block(
            height=int(answer["number"], 16),
            hash=str(answer["hash"]),
            parent_hash=str(answer["parentHash"]),
            txids=tuple(answer["transactions"]),
        )

    async def scan(self, first: int, last: int) -> list[ScannedBlock]:
        """Return the canonical blocks of a range, linked and without a gap; see the port."""
        return await self._blocks.read(first, last)

    async def pending(self, known: frozenset[str]) -> PendingView:
        """Return nothing: an EVM pool is no evidence, and few nodes show theirs."""
        del known
        return PendingView()

    async def quote_fee(self) -> FeeQuote:
        """Return a fee that a transaction of the next blocks should offer."""
        history = await self._read(
            "eth_feeHistory", hex(fees.HISTORY_BLOCKS), "latest", [fees.REWARD_PERCENTILE]
        )
        return fees.quote(history)

    def replacement_fee(self, *, previous: FeeQuote, quote: FeeQuote) -> FeeQuote:
        """Return a fee that nodes accept in place of ``previous``, at least ``quote``."""
        return fees.bumped(quote, previous=previous)

    async def estimate_gas(self, transfers: Sequence[Transfer]) -> list[GasEstimate]:
        """
        Return a gas limit for each transfer, in order; a revert is an answer, not an error.

        Raises:
            InsufficientGasFundsError: The wallet cannot pay one of the native amounts.
        """
        return await gas.estimates(self._rpc, transfers)

    async def broadcast(self, raw: bytes) -> BroadcastOutcome:
        """Hand stored bytes to a node; may be repeated at will. Raises as the port says."""
        txid = "0x" + keccak(raw).hex()
        try:
            await self._rpc.send("eth_sendRawTransaction", "0x" + raw.hex())
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
        # The nonce is taken, or the words are new to us. These very bytes may be what took it.
        if await self._knows(txid):
            return BroadcastOutcome.ALREADY_KNOWN
        if verdict is Verdict.REPLACEMENT_UNDERPRICED:
            return BroadcastOutcome.REPLACED
        if verdict is Verdict.NONCE_USED:
            raise NonceTooLowError from None
        msg = f"The node's answer is not understood: {refusal.text}"
        raise BroadcastUnknownError(msg) from None

    async def _knows(self, txid: str) -> bool:
        """Tell whether a node has the transaction in its pool or on its chain."""
        try:
            return await self._rpc.call("eth_getTransactionByHash", txid) is not None
        except (ChainUnavailableError, NodeError):
            return False

    async def receipt(self, txid: str, transfer: Transfer) -> Receipt | None:
        """Return what the mined transaction did of this transfer; None while it is not mined."""
        answer = await self._read("eth_getTransactionReceipt", txid)
        return None if answer is None else read_receipt(answer, transfer)

    async def balance_minor(self, address: str, *, contract_address: str | None = None) -> int:
        """
        Return the address's balance at the tip, in minor units.

        Raises:
            WouldRevertError: There is no token at the contract's address.
        """
        if contract_address is None:
            return int(await self._read("eth_getBalance", address, "latest"), 16)
        call = {"to": contract_address, "data": "0x" + balance_of_data(address).hex()}
        answer = await self._read("eth_call", call, "latest")
        if len(answer) != len("0x") + 64:
            msg = f"The contract {contract_address} does not tell balances."
            raise WouldRevertError(msg)
        return int(answer, 16)

    async def allowance_minor(self, owner: str, spender: str, *, contract_address: str) -> int:
        """Return how much of the owner's tokens the spender may move, in minor units."""
        call = {"to": contract_address, "data": "0x" + allowance_data(owner, spender).hex()}
        answer = await self._read("eth_call", call, "latest")
        return int(answer, 16) if len(answer) == len("0x") + 64 else 0

    async def code(self, address: str) -> bytes:
        """Return the code at an address (``eth_getCode``); empty where there is no contract."""
        answer = await self._read("eth_getCode", address, "latest")
        return bytes.fromhex(str(answer).removeprefix("0x"))

    @property
    def has_traces(self) -> bool | None:
        """Whether all that contracts sent was shown; None until there was a need to know."""
        return False if self._blocks.has_missed else self._blocks.has_traces

    async def balances_minor(self, addresses: Sequence[str], height: int) -> list[int]:
        """Return the native balances of these addresses after the block at this height, in wei."""
        answers = await self._rpc.batch(
            [("eth_getBalance", [address, hex(height)]) for address in addresses]
        )
        refusal = next((a for a in answers if isinstance(a, NodeError)), None)
        if refusal is not None:
            msg = f"The node does not tell balances of block {height}: {refusal.text}"
            raise ChainUnavailableError(msg)
        return [int(answer, 16) for answer in answers]

    async def account_nonce(self, address: str) -> int:
        """Return how many transactions of this address are mined (``latest``)."""
        return int(await self._read("eth_getTransactionCount", address, "latest"), 16)

    async def close(self) -> None:
        """Close every pooled connection."""
        await self._rpc.close()

    async def _read(self, method: str, *params: Any) -> Any:
        try:
            return await self._rpc.call(method, *params)
        except NodeError as error:
            if error.verdict is Verdict.REVERTED:
                raise WouldRevertError(error.revert_reason) from None
            msg = f"The node refuses {method}: {error.text}"
            raise ChainUnavailableError(msg) from None
