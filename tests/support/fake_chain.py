"""
A chain in memory for tests that need no node: ``AccountOutlet`` and ``ChainWorld`` in one.

It decodes the real signed bytes, keeps nonces and a pool, mines, forgets on a reorg, and can be
told to be away or to lose its answers. It passes the contract test of the EVM outlet.
"""

import copy
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from eth_account import Account
from eth_account.typed_transactions.typed_transaction import TypedTransaction
from eth_utils.address import to_canonical_address, to_checksum_address
from eth_utils.crypto import keccak
from hexbytes import HexBytes

from chains.evm import fees
from domain.errors import (
    BroadcastUnknownError,
    ChainUnavailableError,
    FeeTooLowError,
    InsufficientGasFundsError,
    NodeRejectedError,
    NonceTooLowError,
)
from domain.ports import Block, BroadcastOutcome, FeeQuote, GasEstimate, Head, Receipt, Transfer
from domain.scanning import Incoming, PendingView, ScannedBlock
from signing.evm import identity_of
from tests.support.chain_world import FUNDED_MINOR, MINTED_MINOR, TokenKind

CALL_GAS = 50_000
PLAIN_GAS = 21_000
FINALIZED_DEPTH = 2

_serial = itertools.count(1)


@dataclass(frozen=True, slots=True)
class _Sent:
    """A transaction as the chain reads it from its bytes."""

    txid: str
    sender: str
    to: str
    value_minor: int
    data: bytes
    nonce: int
    gas_limit: int
    max_fee_minor: int
    priority_fee_minor: int

    @classmethod
    def decode(cls, raw: bytes) -> "_Sent":
        fields: dict[str, Any] = TypedTransaction.from_bytes(HexBytes(raw)).as_dict()
        return cls(
            txid="0x" + keccak(raw).hex(),
            sender=str(Account.recover_transaction(raw)),
            to=to_checksum_address(fields["to"]),
            value_minor=fields["value"],
            data=bytes(fields["data"]),
            nonce=fields["nonce"],
            gas_limit=fields["gas"],
            max_fee_minor=fields["maxFeePerGas"],
            priority_fee_minor=fields["maxPriorityFeePerGas"],
        )

    @property
    def gas_used(self) -> int:
        return CALL_GAS if self.data else PLAIN_GAS


@dataclass(slots=True)
class _State:
    """Everything that a reorg takes back."""

    balances: dict[tuple[str | None, str], int] = field(default_factory=dict)
    nonces: dict[str, int] = field(default_factory=dict)
    receipts: dict[str, Receipt] = field(default_factory=dict)
    incoming: dict[str, Incoming] = field(default_factory=dict)
    """What each mined transaction moved, by txid."""

    def add(self, contract: str | None, address: str, amount_minor: int) -> None:
        key = (contract, address)
        self.balances[key] = self.balances.get(key, 0) + amount_minor


class FakeChain:
    """One chain with one funded wallet."""

    def __init__(self, chain_id: str = "eip155:31337") -> None:
        self.chain_id = chain_id
        self.private_key = keccak(text=f"fake wallet {next(_serial)}")
        self.wallet = identity_of(self.private_key).address
        self.base_fee_minor = 10**9
        self.is_down = False
        self.loses_replies = False
        """Takes what is broadcast and answers nothing."""
        self.broadcasts: list[bytes] = []
        self._tokens: dict[str, TokenKind] = {}
        self._pool: dict[tuple[str, int], _Sent] = {}
        self._state = _State()
        self._history: list[tuple[Block, _State]] = []
        self._state.add(None, self.wallet, FUNDED_MINOR)
        self._append([])

    @property
    def outlet(self) -> "FakeChain":
        return self

    def fund(self, address: str, amount_minor: int, *, contract_address: str | None = None) -> None:
        """Give an address an amount out of nothing."""
        self._state.add(contract_address, address, amount_minor)

    async def mine(self, count: int = 1) -> None:
        for _ in range(count):
            self._append(self._executable())

    async def reorg(self, depth: int) -> None:
        for _ in range(depth):
            _, self._state = self._history.pop()
        for _ in range(depth):
            self._append([])

    async def token(self, kind: TokenKind) -> str:
        contract = str(to_checksum_address(keccak(text=f"token {next(_serial)}")[-20:]))
        self._tokens[contract] = kind
        self.fund(self.wallet, MINTED_MINOR, contract_address=contract)
        return contract

    async def head(self) -> Head:
        self._answer()
        block = self._history[-1][0]
        finalized = max(0, block.height - FINALIZED_DEPTH)
        return Head(block.height, block.hash, self.base_fee_minor, finalized)

    async def block(self, height: int) -> Block | None:
        self._answer()
        return self._history[height][0] if height < len(self._history) else None

    async def scan(self, first: int, last: int) -> list[ScannedBlock]:
        self._answer()
        return [self._scanned(b) for b, _ in self._history[first : last + 1]]

    async def pending(self, known: frozenset[str]) -> PendingView:
        self._answer()
        del known
        return PendingView()

    async def quote_fee(self) -> FeeQuote:
        self._answer()
        return fees.quote({"baseFeePerGas": [hex(self.base_fee_minor)]})

    def replacement_fee(self, *, previous: FeeQuote, quote: FeeQuote) -> FeeQuote:
        return fees.bumped(quote, previous=previous)

    async def estimate_gas(self, transfers: Sequence[Transfer]) -> list[GasEstimate]:
        self._answer()
        return [self._estimate(transfer) for transfer in transfers]

    async def receipt(self, txid: str, transfer: Transfer) -> Receipt | None:
        self._answer()
        assert transfer.amount_minor >= 0
        return self._state.receipts.get(txid)

    async def balance_minor(self, address: str, *, contract_address: str | None = None) -> int:
        self._answer()
        return self._state.balances.get((contract_address, address), 0)

    async def allowance_minor(self, owner: str, spender: str, *, contract_address: str) -> int:
        """Return nothing: no token of this chain lets another move it."""
        del owner, spender, contract_address
        self._answer()
        return 0

    async def code(self, address: str) -> bytes:
        """Return nothing: there are no contracts but tokens, whose code nobody asks for."""
        del address
        self._answer()
        return b""

    async def account_nonce(self, address: str) -> int:
        self._answer()
        return self._state.nonces.get(address, 0)

    async def close(self) -> None:
        """Hold nothing."""

    async def broadcast(self, raw: bytes) -> BroadcastOutcome:
        self._answer()
        self.broadcasts.append(raw)
        outcome = self._take(_Sent.decode(raw))
        if self.loses_replies:
            raise BroadcastUnknownError
        return outcome

    def _answer(self) -> None:
        if self.is_down:
            raise ChainUnavailableError

    def _scanned(self, block: Block) -> ScannedBlock:
        known = self._state.incoming
        return ScannedBlock(
            height=block.height,
            hash=block.hash,
            parent_hash=block.parent_hash,
            txids=block.txids,
            incoming=tuple(known[txid] for txid in block.txids if txid in known),
        )

    def _take(self, sent: _Sent) -> BroadcastOutcome:
        place = (sent.sender, sent.nonce)
        held = self._pool.get(place)
        if sent.txid in self._state.receipts or (held and held.txid == sent.txid):
            return BroadcastOutcome.ALREADY_KNOWN
        if sent.nonce < self._state.nonces.get(sent.sender, 0):
            raise NonceTooLowError
        if sent.gas_limit < sent.gas_used:
            raise NodeRejectedError("intrinsic gas too low")
        if sent.max_fee_minor < self.base_fee_minor:
            raise FeeTooLowError
        cost_minor = sent.value_minor + sent.gas_limit * sent.max_fee_minor
        if cost_minor > self._state.balances.get((None, sent.sender), 0):
            raise InsufficientGasFundsError
        if held and not _outbids(sent, held):
            return BroadcastOutcome.REPLACED
        self._pool[place] = sent
        return BroadcastOutcome.ACCEPTED

    def _estimate(self, transfer: Transfer) -> GasEstimate:
        contract = transfer.contract_address
        if contract is None:
            return GasEstimate(PLAIN_GAS)
        if self._tokens[contract] is TokenKind.REVERTING:
            return GasEstimate(None, "execution reverted: token is paused")
        if self._state.balances.get((contract, transfer.wallet_address), 0) < transfer.amount_minor:
            return GasEstimate(None, "execution reverted: balance too low")
        return GasEstimate(CALL_GAS + 20_000)

    def _executable(self) -> list[_Sent]:
        nonces = dict(self._state.nonces)
        found = []
        for place in sorted(self._pool):
            sent = self._pool[place]
            is_next = sent.nonce == nonces.get(sent.sender, 0)
            if is_next and sent.max_fee_minor >= self.base_fee_minor:
                nonces[sent.sender] = sent.nonce + 1
                found.append(sent)
        return found

    def _append(self, mined: Sequence[_Sent]) -> None:
        before = copy.deepcopy(self._state)
        height = len(self._history)
        parent_hash = self._history[-1][0].hash if self._history else "0x" + "0" * 64
        block_hash = "0x" + keccak(text=f"{parent_hash} {next(_serial)}").hex()
        for sent in mined:
            del self._pool[sent.sender, sent.nonce]
            self._state.nonces[sent.sender] = sent.nonce + 1
            self._state.receipts[sent.txid] = self._execute(sent, height, block_hash)
        txids = tuple(sent.txid for sent in mined)
        self._history.append((Block(height, block_hash, parent_hash, txids), before))

    def _execute(self, sent: _Sent, height: int, block_hash: str) -> Receipt:
        tip_minor = min(sent.priority_fee_minor, sent.max_fee_minor - self.base_fee_minor)
        fee_minor = sent.gas_used * (self.base_fee_minor + tip_minor)
        self._state.add(None, sent.sender, -fee_minor)
        contract, destination, amount_minor = None, sent.to, sent.value_minor
        if sent.data:
            contract, destination = sent.to, str(to_checksum_address(sent.data[16:36]))
            amount_minor = int.from_bytes(sent.data[36:68])
        outflow_minor, received_minor = self._moved(contract, sent.sender, amount_minor)
        self._state.add(contract, sent.sender, -outflow_minor)
        self._state.add(contract, destination, received_minor)
        if received_minor:
            position = "log:0" if contract else "native"
            self._state.incoming[sent.txid] = Incoming(
                sent.txid, position, to_canonical_address(destination), received_minor, contract
            )
        return Receipt(
            txid=sent.txid,
            block_height=height,
            block_hash=block_hash,
            succeeded=received_minor > 0 or amount_minor == 0,
            network_fee_minor=fee_minor,
            outflow_minor=outflow_minor,
            received_minor=received_minor,
        )

    def _moved(self, contract: str | None, sender: str, amount_minor: int) -> tuple[int, int]:
        outflow_minor = received_minor = amount_minor
        match self._tokens.get(contract or ""):
            case TokenKind.REVERTING | TokenKind.FALSE:
                return 0, 0
            case TokenKind.FEE:
                received_minor -= amount_minor // 100
            case TokenKind.SURCHARGE:
                outflow_minor += amount_minor // 100
            case _:
                pass
        owned_minor = self._state.balances.get((contract, sender), 0)
        return (outflow_minor, received_minor) if owned_minor >= outflow_minor else (0, 0)


def _outbids(sent: _Sent, held: _Sent) -> bool:
    return (
        sent.max_fee_minor * 10 >= held.max_fee_minor * 11
        and sent.priority_fee_minor * 10 >= held.priority_fee_minor * 11
    )
