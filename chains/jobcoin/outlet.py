"""
``domain.ports.AccountOutlet`` for Jobcoin networks.

Nothing is paid to send: fees are zero, and what waits in the pool can be outbid by nobody, so an
attempt is never replaced. A transaction does what was signed or is not mined; none can fail.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from chains.jobcoin.rpc import NodeError, open_rpc
from chains.json_rpc import CALL_TIMEOUT_S, LostReplyError
from domain.errors import (
    AccountNonceTakenError,
    AccountNonceTooHighError,
    AccountNonceUsedError,
    BroadcastUnknownError,
    ChainUnavailableError,
    InsufficientBalanceError,
    InsufficientGasFundsError,
    InvalidAddressError,
    InvalidTransactionError,
    NodeRejectedError,
    NonceTooLowError,
    StrongroomError,
    ValidationError,
)
from domain.jobcoin.addresses import account_of, prefix_of
from domain.jobcoin.transactions import read_transaction
from domain.ports import Block, BroadcastOutcome, FeeQuote, GasEstimate, Head, Receipt, Transfer
from domain.scanning import Incoming, PendingView, ScannedBlock

BLOCKS_PER_REQUEST = 128

UNIT_OF_WORK = GasEstimate(gas_limit=1)
"""Every transaction costs the same: nothing."""

_REFUSALS: Mapping[str, type[StrongroomError]] = {
    AccountNonceUsedError.code: NonceTooLowError,
    AccountNonceTooHighError.code: ChainUnavailableError,
    InsufficientBalanceError.code: InsufficientGasFundsError,
    InvalidAddressError.code: NodeRejectedError,
    InvalidTransactionError.code: NodeRejectedError,
}


class JobcoinOutlet:
    """One Jobcoin network through one or more nodes. Holds connections and nothing else."""

    def __init__(
        self, chain_id: str, rpc_urls: Sequence[str], *, timeout_s: float = CALL_TIMEOUT_S
    ) -> None:
        """Take the CAIP-2 id and the endpoints, best first; connects on the first call."""
        prefix_of(chain_id)
        self.chain_id = chain_id
        self._rpc = open_rpc(rpc_urls, chain_id, timeout_s=timeout_s)

    async def head(self) -> Head:
        """Return the tip; nothing is ever finalized, only deep."""
        status = await self._read("/v1/status")
        return Head(int(status["height"]), str(status["hash"]), 0, None)

    async def block(self, height: int) -> Block | None:
        """Return the canonical block at this height, or None above the tip."""
        found = await self.scan(height, height)
        return Block(height, found[0].hash, found[0].parent_hash, found[0].txids) if found else None

    async def scan(self, first: int, last: int) -> list[ScannedBlock]:
        """Return the canonical blocks of a range, linked and without a gap; see the port."""
        blocks: list[ScannedBlock] = []
        for start in range(first, last + 1, BLOCKS_PER_REQUEST):
            end = min(last, start + BLOCKS_PER_REQUEST - 1)
            answer = await self._read(f"/v1/blocks?first={start}&last={end}")
            read = [self._scanned(block) for block in answer["items"]]
            if blocks and read and read[0].parent_hash != blocks[-1].hash:
                # The chain changed between two answers.
                break
            blocks += read
            if len(read) < end - start + 1:
                break
        return blocks

    async def pending(self, known: frozenset[str]) -> PendingView:
        """Return the pool's txids, and the movements of those not in ``known``."""
        waiting = (await self._read("/v1/pool"))["items"]
        return PendingView(
            frozenset(str(each["txid"]) for each in waiting),
            tuple(
                movement
                for each in waiting
                if each["txid"] not in known
                for movement in self._incoming(each)
            ),
        )

    async def quote_fee(self) -> FeeQuote:
        """Return nothing: there are no fees."""
        return FeeQuote(0, 0, 0)

    def replacement_fee(self, *, previous: FeeQuote, quote: FeeQuote) -> FeeQuote:
        """Return nothing: no attempt is worth more to the network than another."""
        del previous
        return quote

    async def broadcast(self, raw: bytes) -> BroadcastOutcome:
        """Hand stored bytes to a node; may be repeated at will. Raises as the port says."""
        try:
            txid = read_transaction(raw)[0].txid
        except InvalidTransactionError as error:
            raise NodeRejectedError(error.detail) from None
        try:
            answer = await self._rpc.send("POST", "/v1/transactions", {"raw": raw.hex()})
        except LostReplyError:
            if await self._knows(txid):
                return BroadcastOutcome.ALREADY_KNOWN
            raise BroadcastUnknownError from None
        except NodeError as refusal:
            return _answer(refusal)
        return BroadcastOutcome.ACCEPTED if answer["is_new"] else BroadcastOutcome.ALREADY_KNOWN

    async def _knows(self, txid: str) -> bool:
        """Tell whether a node has the transaction in its pool or on its chain."""
        try:
            await self._rpc.call("GET", f"/v1/transactions/{quote(txid)}")
        except (ChainUnavailableError, NodeError):
            return False
        return True

    async def receipt(self, txid: str, transfer: Transfer) -> Receipt | None:
        """Return what the mined transaction did; None while it is not mined."""
        try:
            found = await self._rpc.call("GET", f"/v1/transactions/{quote(txid)}")
        except NodeError as error:
            _raise_unless_missing(error)
            return None
        if found["height"] is None or (block := await self.block(found["height"])) is None:
            return None
        if txid not in block.txids:
            return None
        return Receipt(
            txid=txid,
            block_height=block.height,
            block_hash=block.hash,
            succeeded=True,
            network_fee_minor=0,
            outflow_minor=transfer.amount_minor,
            received_minor=transfer.amount_minor,
        )

    async def estimate_gas(self, transfers: Sequence[Transfer]) -> list[GasEstimate]:
        """Return the same for each: a transaction that can be paid cannot fail."""
        return [UNIT_OF_WORK for _ in transfers]

    async def balance_minor(self, address: str, *, contract_address: str | None = None) -> int:
        """Return the address's balance at the tip, in minor units."""
        if contract_address is not None:
            msg = "There are no tokens on this chain."
            raise ValidationError(msg)
        return int((await self._read(f"/v1/addresses/{quote(address)}"))["balance"])

    async def account_nonce(self, address: str) -> int:
        """Return how many transactions of this address are mined."""
        return int((await self._read(f"/v1/addresses/{quote(address)}"))["next_nonce"])

    async def allowance_minor(self, owner: str, spender: str, *, contract_address: str) -> int:
        """Return nothing: there are no tokens, and nobody moves what is another's."""
        del owner, spender, contract_address
        return 0

    async def code(self, address: str) -> bytes:
        """Return nothing: there are no contracts."""
        del address
        return b""

    async def close(self) -> None:
        """Close every pooled connection."""
        await self._rpc.close()

    async def _read(self, path: str) -> Any:
        try:
            return await self._rpc.call("GET", path)
        except NodeError as error:
            msg = f"The node refuses {path.partition('?')[0]}: {error.detail}"
            raise ChainUnavailableError(msg) from None

    def _scanned(self, block: Mapping[str, Any]) -> ScannedBlock:
        transactions = block["transactions"]
        return ScannedBlock(
            height=int(block["height"]),
            hash=str(block["hash"]),
            parent_hash=str(block["parent_hash"]),
            txids=tuple(str(each["txid"]) for each in transactions),
            incoming=tuple(i for each in transactions for i in self._incoming(each)),
        )

    def _incoming(self, transaction: Mapping[str, Any]) -> list[Incoming]:
        return [
            Incoming(
                str(transaction["txid"]),
                f"out:{place}",
                account_of(output["address"], self.chain_id),
                int(output["amount"]),
            )
            for place, output in enumerate(transaction["to"])
            if int(output["amount"])
        ]


def _answer(refusal: NodeError) -> BroadcastOutcome:
    if refusal.code == AccountNonceTakenError.code:
        return BroadcastOutcome.REPLACED
    if error := _REFUSALS.get(refusal.code):
        msg = f"The node says: {refusal.detail}"
        raise error(msg) from None
    msg = f"The node's answer is not understood: {refusal.code}"
    raise BroadcastUnknownError(msg) from None


def _raise_unless_missing(error: NodeError) -> None:
    if error.code != "not_found":
        raise ChainUnavailableError(error.detail) from None
