"""A chain in memory that does what a test says: mine, reorganize, forget, refuse."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from domain.coins import UnsignedCoinAttempt
from domain.disperse import Dispersal
from domain.errors import StrongroomError
from domain.ports import (
    Block,
    BroadcastOutcome,
    FeeQuote,
    GasEstimate,
    Head,
    Receipt,
    SignedAttempt,
    Transfer,
    UnsignedAttempt,
)
from domain.scanning import Incoming, PendingView, ScannedBlock

GAS_USED = 21_000


class ScriptedSigner:
    """Implements ``domain.ports.TransactionSigner``: readable bytes, and a count of signatures."""

    def __init__(self) -> None:
        self.signed: list[UnsignedAttempt] = []

    async def sign(self, attempt: UnsignedAttempt) -> SignedAttempt:
        self.signed.append(attempt)
        raw = json.dumps(asdict(attempt), sort_keys=True, default=bytes.hex).encode()
        return SignedAttempt(raw, txid_of(raw))

    async def sign_coins(self, attempt: UnsignedCoinAttempt) -> SignedAttempt:
        raise AssertionError(f"no coins on this chain: {attempt}")


def txid_of(raw: bytes) -> str:
    return "0x" + hashlib.sha256(raw).hexdigest()


@dataclass
class ScriptedChain:
    """Implements ``domain.ports.AccountOutlet``; each account nonce is mined once."""

    chain_id: str = "eip155:31337"
    quote: FeeQuote = field(default_factory=lambda: FeeQuote(7, 20, 2))
    balances: dict[str | None, int] = field(default_factory=dict)
    """By token contract; what is not named is plenty."""
    would_revert: set[str] = field(default_factory=set)
    """Destinations whose gas cannot be estimated."""
    reverts: set[str] = field(default_factory=set)
    """Destinations whose transfers are mined as failed."""
    swallows: set[str] = field(default_factory=set)
    allowances: dict[str, int] = field(default_factory=dict)
    """What our contract may move, by token."""
    codes: dict[str, bytes] = field(default_factory=dict)
    """Destinations that get nothing although our wallet pays."""
    surcharge_minor: int = 0
    """What a transfer takes from our wallet on top of its amount."""
    gas_price_minor: int = 9
    answers: list[StrongroomError | BroadcastOutcome] = field(default_factory=list)
    """What the next broadcasts answer, before the chain takes anything by itself."""
    finalized_height: int | None = None
    pool: dict[str, dict[str, object]] = field(default_factory=dict)
    offered: list[str] = field(default_factory=list)
    """Every txid that was handed in, in order."""

    def __post_init__(self) -> None:
        self.blocks = [Block(0, "0-0", "-")]
        self.arrivals: dict[int, list[Incoming]] = {}
        """What arrives at anybody's address in the block of each height."""
        self._bodies: dict[str, dict[str, object]] = {}
        self._receipts: dict[str, tuple[Block, bool, int]] = {}
        self._fork = 0

    def mine(self, blocks: int = 1, *, only: Sequence[str] | None = None) -> None:
        """Add blocks; the first takes what waits (or only these), the best fee of each nonce."""
        for n in range(blocks):
            height = len(self.blocks)
            txids = () if n else self._best(self.pool if only is None else only)
            block = Block(height, f"{height}-{self._fork}", self.blocks[-1].hash, txids)
            self.blocks.append(block)
            for txid in txids:
                nonce = self._bodies[txid]["account_nonce"]
                failed = self._transfer(txid)["destination"] in self.reverts
                self._receipts[txid] = (block, not failed, GAS_USED * self.gas_price_minor)
                for other in [t for t, b in self.pool.items() if b["account_nonce"] == nonce]:
                    del self.pool[other]

    def rollback(self, blocks: int, *, forget: bool = False) -> None:
        """Take the newest blocks away; their transactions wait again, or are forgotten."""
        self._fork += 1
        for _ in range(blocks):
            for txid in self.blocks.pop().txids:
                del self._receipts[txid]
                if not forget:
                    self.pool[txid] = self._bodies[txid]

    def become(self, blocks: Sequence[Block]) -> None:
        """Put blocks of another fork in the place of the newest ones, with what they hold."""
        self.rollback(len(blocks))
        self.blocks += blocks
        for block in blocks:
            for txid in block.txids:
                fee_minor = GAS_USED * self.gas_price_minor
                self._receipts[txid] = (block, True, fee_minor)
                self.pool.pop(txid, None)

    async def head(self) -> Head:
        tip = self.blocks[-1]
        return Head(tip.height, tip.hash, self.quote.base_fee_minor, self.finalized_height)

    async def block(self, height: int) -> Block | None:
        return self.blocks[height] if height < len(self.blocks) else None

    async def scan(self, first: int, last: int) -> list[ScannedBlock]:
        found: list[ScannedBlock] = []
        for height in range(first, last + 1):
            block = await self.block(height)
            if block is None or (found and found[-1].hash != block.parent_hash):
                break
            arrived = self.arrivals.get(height, [])
            txids = dict.fromkeys((*block.txids, *(a.txid for a in arrived)))
            found.append(
                ScannedBlock(height, block.hash, block.parent_hash, tuple(txids), tuple(arrived))
            )
        return found

    async def pending(self, known: frozenset[str]) -> PendingView:
        return PendingView(frozenset(self.pool) - known)

    async def quote_fee(self) -> FeeQuote:
        return self.quote

    def replacement_fee(self, *, previous: FeeQuote, quote: FeeQuote) -> FeeQuote:
        return FeeQuote(
            quote.base_fee_minor,
            max(previous.max_fee_minor * 2, quote.max_fee_minor),
            max(previous.priority_fee_minor * 2, quote.priority_fee_minor),
        )

    async def estimate_gas(self, transfers: Sequence[Transfer]) -> list[GasEstimate]:
        return [
            GasEstimate(None, "reverted")
            if t.destination in self.would_revert
            else GasEstimate(GAS_USED)
            for t in transfers
        ]

    async def broadcast(self, raw: bytes) -> BroadcastOutcome:
        txid = txid_of(raw)
        self.offered.append(txid)
        if self.answers:
            answer = self.answers.pop(0)
            if isinstance(answer, StrongroomError):
                raise answer
        self._bodies[txid] = json.loads(raw)
        if txid in self._receipts or txid in self.pool:
            return BroadcastOutcome.ALREADY_KNOWN
        if self._bodies[txid]["account_nonce"] in self._mined_nonces():
            return BroadcastOutcome.REPLACED
        self.pool[txid] = self._bodies[txid]
        return BroadcastOutcome.ACCEPTED

    async def receipt(self, txid: str, transfer: Transfer) -> Receipt | None:
        if txid not in self._receipts:
            return None
        block, succeeded, fee_minor = self._receipts[txid]
        outflow_minor = transfer.amount_minor + self.surcharge_minor if succeeded else 0
        if succeeded and transfer.dispersal is not None:
            return self._dispersed(txid, transfer.dispersal)
        succeeded = succeeded and transfer.destination not in self.swallows
        return Receipt(
            txid,
            block.height,
            block.hash,
            succeeded,
            fee_minor,
            outflow_minor,
            transfer.amount_minor if succeeded else 0,
        )

    def _dispersed(self, txid: str, dispersal: Dispersal) -> Receipt:
        block, _, fee_minor = self._receipts[txid]
        failed = tuple(
            place
            for place, payment in enumerate(dispersal.payments)
            if payment.recipient in self.swallows
        )
        paid_minor = sum(
            payment.amount_minor
            for place, payment in enumerate(dispersal.payments)
            if place not in failed
        )
        return Receipt(
            txid,
            block.height,
            block.hash,
            succeeded=True,
            network_fee_minor=fee_minor,
            outflow_minor=paid_minor,
            received_minor=paid_minor,
            failed_places=failed,
        )

    async def allowance_minor(self, owner: str, spender: str, *, contract_address: str) -> int:
        del owner, spender
        return self.allowances.get(contract_address, 0)

    async def code(self, address: str) -> bytes:
        return self.codes.get(address, b"")

    async def balance_minor(self, address: str, *, contract_address: str | None = None) -> int:
        del address
        return self.balances.get(contract_address, 10**40)

    async def close(self) -> None:
        pass

    async def account_nonce(self, address: str) -> int:
        del address
        return len(self._mined_nonces())

    def _mined_nonces(self) -> set[object]:
        return {self._bodies[txid]["account_nonce"] for txid in self._receipts}

    def _best(self, txids: Sequence[str] | dict[str, dict[str, object]]) -> tuple[str, ...]:
        best: dict[object, str] = {}
        for txid in sorted(txids, key=self._offer):
            best[self._bodies[txid]["account_nonce"]] = txid
        return tuple(best.values())

    def _offer(self, txid: str) -> int:
        return int(str(self._bodies[txid]["max_fee_minor"]))

    def _transfer(self, txid: str) -> dict[str, object]:
        transfer = self._bodies[txid]["transfer"]
        assert isinstance(transfer, dict)
        return transfer
