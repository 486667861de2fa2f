"""
A scripted account chain that keeps account of every payment, and forgets no signed transaction.

Whatever was ever handed in may be mined as long as its nonce is the next one: another node may have
kept it. What a transaction does is decided when it is mined, and may differ in another block.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, override

from domain.errors import BroadcastUnknownError, ChainUnavailableError, NonceTooLowError
from domain.ports import Block, BroadcastOutcome, GasEstimate, Receipt, Transfer
from tests.integration.runs.mined import Body, Mined, executed
from tests.support.scripted_chain import GAS_USED, ScriptedChain, txid_of


@dataclass
class PayingChain(ScriptedChain):
    """Nonces are used in order; each by whichever candidate the test likes."""

    owned_minor: dict[str | None, int] = field(default_factory=dict)
    """What the hot wallet owned at first, by token contract."""
    failing: set[str] = field(default_factory=set)
    """Recipients whose own code refuses, for now."""
    is_down: bool = False
    loses_answers: bool = False
    on_taken: Callable[[], None] = lambda: None
    """Called when a node has taken something, before it answers."""

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        self.seen: dict[str, Body] = {}
        self.mined: dict[str, Mined] = {}

    @override
    def mine(
        self,
        blocks: int = 1,
        *,
        only: object = None,
        most: int = 99,
        pick: int = 0,
        fails: bool = False,
    ) -> None:
        """Add blocks; the first has up to ``most`` transactions, ``pick`` chooses candidates."""
        assert only is None
        for n in range(blocks):
            height = len(self.blocks)
            chosen = self._candidates(0 if n else most, pick)
            block = Block(height, f"{height}-{self._fork}", self.blocks[-1].hash, tuple(chosen))
            self.blocks.append(block)
            for txid in chosen:
                self.mined[txid] = self._executed(txid, block, is_broken=fails)

    def _candidates(self, most: int, pick: int) -> list[str]:
        chosen: list[str] = []
        nonce = len(self.mined)
        while len(chosen) < most:
            rivals = [t for t, b in self.seen.items() if b["account_nonce"] == nonce]
            if not rivals:
                break
            chosen.append(sorted(rivals, key=self._bid)[-1 - pick % len(rivals)])
            nonce += 1
        return chosen

    def _bid(self, txid: str) -> int:
        return int(self.seen[txid]["max_fee_minor"])

    @override
    def rollback(self, blocks: int, *, forget: bool = False) -> None:
        """Take the newest blocks away; forgetful nodes lose what is in no block."""
        self._fork += 1
        for _ in range(blocks):
            for txid in self.blocks.pop().txids:
                del self.mined[txid]
        if forget:
            self.seen = {t: b for t, b in self.seen.items() if t in self.mined}

    def _executed(self, txid: str, block: Block, *, is_broken: bool) -> Mined:
        body = self.seen[txid]
        token, is_shared = body["transfer"]["contract_address"], body["transfer"]["dispersal"]
        lacks_allowance = bool(token and is_shared) and not self._is_allowed(token)
        return executed(
            txid,
            body,
            block,
            base_fee_minor=self.quote.base_fee_minor,
            failing=self.failing,
            is_broken=is_broken or lacks_allowance,
        )

    def _is_allowed(self, token: str) -> bool:
        return any(each.is_approval and each.token == token for each in self.mined.values())

    def left_minor(self, token: str | None) -> int:
        """Return what the hot wallet owns now."""
        spent = sum(m.receipt.outflow_minor for m in self.mined.values() if m.token == token)
        fees = sum(m.receipt.network_fee_minor for m in self.mined.values())
        return self.owned_minor[token] - spent - (fees if token is None else 0)

    @override
    async def broadcast(self, raw: bytes) -> BroadcastOutcome:
        if self.is_down:
            raise ChainUnavailableError
        txid, body = txid_of(raw), json.loads(raw)
        is_known = txid in self.seen
        self.seen[txid] = body
        self.on_taken()
        if self.loses_answers:
            raise BroadcastUnknownError
        if txid not in self.mined and body["account_nonce"] < len(self.mined):
            raise NonceTooLowError
        return BroadcastOutcome.ALREADY_KNOWN if is_known else BroadcastOutcome.ACCEPTED

    @override
    async def estimate_gas(self, transfers: Any) -> list[GasEstimate]:
        return [
            GasEstimate(None, "reverted")
            if t.destination in self.failing
            else GasEstimate(GAS_USED)
            for t in transfers
        ]

    @override
    async def receipt(self, txid: str, transfer: Transfer) -> Receipt | None:
        return self.mined[txid].receipt if txid in self.mined else None

    @override
    async def allowance_minor(self, owner: str, spender: str, *, contract_address: str) -> int:
        return 2**256 - 1 if self._is_allowed(contract_address) else 0

    @override
    async def balance_minor(self, address: str, *, contract_address: str | None = None) -> int:
        return self.left_minor(contract_address)

    @override
    async def account_nonce(self, address: str) -> int:
        return len(self.mined)
