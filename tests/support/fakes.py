"""
The ports of ``domain.ports`` in memory, for tests of workflows.

``Books`` counts what must happen once: holds placed, nonces given out, payments sent.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from domain.deposits import DepositStanding, DepositStatus
from domain.errors import (
    AlreadyDecidedError,
    ChainUnavailableError,
    InsufficientAvailableBalanceError,
    NodeRejectedError,
    PayoutStateError,
    QuoteUsedError,
)
from domain.ids import CHAIN_BATCH, new_id
from domain.payouts import (
    Acceptance,
    Decision,
    DecisionKind,
    DecisionOutcome,
    OperatorAction,
    PayoutOutcome,
    PayoutRequest,
    PayoutStatus,
)
from domain.pockets import PocketStanding, PocketTransferRequest
from domain.ports import SettleOutcome, SignOutcome, WatchRound
from domain.runs import RunDecisionRequest, RunStatus
from tests.support.clocks import MovableClock
from tests.support.fake_kyc import KycBooks
from tests.support.fake_webhooks import FakeWebhooks


@dataclass
class FakePayout:
    """A payout's row."""

    request: PayoutRequest
    status: PayoutStatus
    required: int
    expires_at: datetime | None
    reason_code: str | None = None
    batch_id: str | None = None
    decisions: dict[str, Decision] = field(default_factory=dict)
    is_told: bool = False
    run_id: str | None = None
    """The bulk payout whose line it is."""

    @property
    def approvals(self) -> int:
        return sum(d.kind == DecisionKind.APPROVE for d in self.decisions.values())

    @property
    def outcome(self) -> PayoutOutcome:
        is_settled = self.status == PayoutStatus.SETTLED
        txid = f"0x{self.batch_id}" if is_settled else None
        return PayoutOutcome(
            self.request.payout_id, self.status, self.reason_code, txid, run_id=self.run_id
        )


@dataclass
class FakeRun:
    """A bulk payout's row; once it is started its lines are payouts, by line number."""

    id: str
    amounts_minor: dict[int, int]
    status: RunStatus = RunStatus.DRAFT
    idempotency_key: str | None = None
    required: int = 0
    expires_at: datetime | None = None
    lines: dict[int, FakePayout] = field(default_factory=dict)
    decisions: dict[str, RunDecisionRequest] = field(default_factory=dict)
    cancellations: set[str] = field(default_factory=set)


@dataclass
class FakeBatch:
    """A batch with one chain transaction, however many payouts it pays."""

    id: str
    chain_id: str
    account_nonce: int | None = None
    is_prepared: bool = False
    is_refused: bool = False
    is_filler: bool = False
    attempts: int = 0
    signed: int = 0
    sent: int = 0
    is_mined: bool = False


@dataclass
class FakeDeposit:
    """A deposit's row, and what the chain says of it."""

    id: str
    status: DepositStatus = DepositStatus.CONFIRMING
    is_deep: bool = False
    is_missing: bool = False
    is_booked: bool = False
    credits: int = 0
    reversals: int = 0
    looks: int = 0

    @property
    def is_waiting(self) -> bool:
        return self.status in {DepositStatus.SEEN, DepositStatus.CONFIRMING}


@dataclass
class Books:
    """What the fakes share, and what a test turns to make trouble."""

    available_minor: int = 1_000
    approvals_required: int = 0
    approval_lifetime: timedelta = timedelta(days=3)
    confirms_by_itself: bool = True
    bump_after_s: int = 3_600
    refuses_to_sign: bool = False
    ceiling_rounds: int = 0
    fee_rounds: int = 0
    broadcast_failures: int = 0
    node_rejections: int = 0
    batch_size: int | None = None
    """How many payouts one batch takes; None for all that are ready."""
    payouts: dict[str, FakePayout] = field(default_factory=dict)
    runs: dict[str, FakeRun] = field(default_factory=dict)
    run_steps: list[str] = field(default_factory=list)
    """The steps of bulk payouts that were taken, repeated ones too."""
    clock: MovableClock = field(default_factory=lambda: MovableClock(datetime.now(UTC)))
    """By which bulk payouts expire. Workflows have clocks of their own, which tests skip along."""
    batches: dict[str, FakeBatch] = field(default_factory=dict)
    claims: dict[str, str] = field(default_factory=dict)
    claim_calls: list[str] = field(default_factory=list)
    deposits: dict[str, FakeDeposit] = field(default_factory=dict)
    crumbs: int = 0
    """Deposits that only a forced sweep takes."""
    worthy: int = 0
    """Deposits that any sweep takes."""
    sweep_plans: list[bool] = field(default_factory=list)
    """Of each look for something to sweep: whether it was forced."""
    sweep_interval_s: int = 3_600
    gas_to_lend: int = 0
    """How often a pocket needs coin before it can pay."""
    pockets: set[str] = field(default_factory=set)
    """Users who have one."""
    quotes: dict[str, str] = field(default_factory=dict)
    """Which transfer took which quote, for ever."""
    is_held_back: bool = False
    """Nothing may leave a pocket for now."""
    pocket_looks: int = 0
    """How often a spender was asked."""
    holds_placed: int = 0
    nonces_given: int = 0
    webhooks: FakeWebhooks = field(default_factory=FakeWebhooks)
    kyc: KycBooks = field(init=False)

    def __post_init__(self) -> None:
        self.kyc = KycBooks(self.clock)

    def standing(self) -> dict[str, object]:
        """Return what must be the same however often a step was repeated."""
        return {
            "available": self.available_minor,
            "holds": self.holds_placed,
            "nonces": self.nonces_given,
            "payouts": [(p.status, p.approvals, p.is_told) for p in self.payouts.values()],
            "runs": [
                (r.status, r.idempotency_key, [d.approver_id for d in r.decisions.values()])
                for r in self.runs.values()
            ],
            "deposits": [(d.status, d.credits, d.reversals) for d in self.deposits.values()],
            "kyc": self.kyc.standing(),
            "unswept": (self.crumbs, self.worthy),
            "webhooks": self.webhooks.standing(),
            "pockets": (sorted(self.pockets), self.gas_to_lend, sorted(self.quotes)),
            "batches": sorted(
                (b.is_filler, b.is_mined, str(b.account_nonce)) for b in self.batches.values()
            ),
        }

    def release(self, payout: FakePayout, status: PayoutStatus) -> None:
        if payout.status != status:
            self.available_minor += payout.request.amount_minor
            payout.status = status

    def payouts_in(self, batch_id: str) -> list[FakePayout]:
        return [p for p in self.payouts.values() if p.batch_id == batch_id]


class FakePayoutDesk:
    """``domain.ports.PayoutDesk``."""

    def __init__(self, books: Books) -> None:
        self._books = books

    async def freeze(self, request: PayoutRequest) -> Acceptance:
        payout = self._books.payouts.get(request.payout_id)
        if payout is None:
            payout = self._books.payouts[request.payout_id] = self._new(request)
        return Acceptance(
            payout_id=request.payout_id,
            status=payout.status,
            request_hash=payout.request.request_hash,
            reason_code=payout.reason_code,
            approvals_required=payout.required,
            approval_expires_at=payout.expires_at,
        )

    def _new(self, request: PayoutRequest) -> FakePayout:
        books = self._books
        if request.amount_minor > books.available_minor:
            code = InsufficientAvailableBalanceError.code
            return FakePayout(request, PayoutStatus.REFUSED, 0, None, reason_code=code)
        books.available_minor -= request.amount_minor
        books.holds_placed += 1
        if not books.approvals_required:
            return FakePayout(request, PayoutStatus.READY, 0, None)
        expires_at = datetime.now(UTC) + books.approval_lifetime
        return FakePayout(
            request, PayoutStatus.AWAITING_APPROVAL, books.approvals_required, expires_at
        )

    async def decide(self, decision: Decision) -> DecisionOutcome:
        payout = self._books.payouts[decision.payout_id]
        if decision.decision_id not in payout.decisions:
            if any(d.approver_id == decision.approver_id for d in payout.decisions.values()):
                raise AlreadyDecidedError
            if payout.status != PayoutStatus.AWAITING_APPROVAL:
                raise PayoutStateError
            payout.decisions[decision.decision_id] = decision
            if decision.kind == DecisionKind.REJECT:
                self._books.release(payout, PayoutStatus.REJECTED)
            elif payout.approvals >= payout.required:
                payout.status = PayoutStatus.READY
        return DecisionOutcome(payout.status, payout.approvals, payout.required)

    async def cancel(self, payout_id: str) -> PayoutOutcome:
        payout = self._books.payouts[payout_id]
        if payout.status in {PayoutStatus.BATCHED, PayoutStatus.SETTLED}:
            raise PayoutStateError
        self._books.release(payout, PayoutStatus.CANCELLED)
        return payout.outcome

    async def expire(self, payout_id: str) -> PayoutOutcome:
        payout = self._books.payouts[payout_id]
        if payout.status == PayoutStatus.AWAITING_APPROVAL:
            self._books.release(payout, PayoutStatus.EXPIRED)
        return payout.outcome

    async def outcome(self, payout_id: str) -> PayoutOutcome:
        return self._books.payouts[payout_id].outcome


class FakePocketDesk:
    """``domain.pocket_ports.PocketDesk``: what leaves and what is frozen is one number here."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._desk = FakePayoutDesk(books)

    async def freeze(self, request: PocketTransferRequest) -> Acceptance:
        asked = PayoutRequest(
            payout_id=request.payout_id,
            user_id=request.user_id,
            principal=request.principal,
            idempotency_key=request.idempotency_key,
            request_hash=request.request_hash,
            asset=request.moved_asset,
            amount=request.amount,
            destination=request.destination or "",
        )
        if request.quote_id is not None:
            taker = self._books.quotes.setdefault(request.quote_id, request.payout_id)
            if taker != request.payout_id:
                code = QuoteUsedError.code
                refused = FakePayout(asked, PayoutStatus.REFUSED, 0, None, reason_code=code)
                self._books.payouts.setdefault(request.payout_id, refused)
        return await self._desk.freeze(asked)

    async def make_ready(self, transfer_id: str) -> PayoutOutcome:
        self._books.pockets.add(self._books.payouts[transfer_id].request.user_id)
        return self._books.payouts[transfer_id].outcome


class FakePocketSpender:
    """``domain.pocket_ports.PocketSpender``: gas first, where it must be lent."""

    def __init__(self, books: Books, chain_id: str) -> None:
        self._books = books
        self._chain_id = chain_id

    async def advance(self, transfer_id: str) -> PocketStanding:
        books = self._books
        books.pocket_looks += 1
        payout = books.payouts[transfer_id]
        if payout.status != PayoutStatus.READY:
            open_batch = payout.batch_id if payout.status == PayoutStatus.BATCHED else None
            return PocketStanding(payout.status, (open_batch,) if open_batch else ())
        if books.is_held_back:
            return PocketStanding(PayoutStatus.READY, look_again_s=300)
        if books.gas_to_lend:
            books.gas_to_lend -= 1
            gas = FakeBatch(new_id(CHAIN_BATCH), self._chain_id)
            books.batches[gas.id] = gas
        on_their_way = tuple(b.id for b in books.batches.values() if not b.is_mined)
        if on_their_way:
            return PocketStanding(PayoutStatus.READY, on_their_way, 15)
        batch = FakeBatch(new_id(CHAIN_BATCH), self._chain_id)
        books.batches[batch.id] = batch
        payout.status, payout.batch_id = PayoutStatus.BATCHED, batch.id
        return PocketStanding(PayoutStatus.BATCHED, (batch.id,))


class FakeOutgoingLog:
    """``domain.ports.OutgoingLog``."""

    def __init__(self, books: Books) -> None:
        self._books = books

    async def claim(self, *, chain_id: str, wallet_address: str, claim_key: str) -> str | None:
        del wallet_address
        books = self._books
        books.claim_calls.append(claim_key)
        if claim_key in books.claims:
            return books.claims[claim_key]
        ready = [p for p in books.payouts.values() if p.status == PayoutStatus.READY]
        ready = ready[: books.batch_size]
        if not ready:
            return None
        batch = FakeBatch(new_id(CHAIN_BATCH), chain_id)
        books.batches[batch.id] = batch
        books.claims[claim_key] = batch.id
        for payout in ready:
            payout.status, payout.batch_id = PayoutStatus.BATCHED, batch.id
        return batch.id

    async def allocate(self, batch_id: str) -> bool:
        batch = self._books.batches[batch_id]
        assert batch.is_prepared, "allocated before it was planned"
        if batch.account_nonce is None:
            batch.account_nonce = self._books.nonces_given
            self._books.nonces_given += 1
            batch.attempts = 1
        return True

    async def give_up_refused(self, batch_id: str) -> int:
        batch = self._books.batches[batch_id]
        if batch.is_refused and not batch.is_filler:
            batch.is_filler = True
            batch.attempts += 1
        return int(batch.is_filler)

    async def settle(self, batch_id: str) -> SettleOutcome:
        batch = self._books.batches[batch_id]
        if batch.is_mined and not batch.is_filler:
            for payout in self._books.payouts_in(batch_id):
                payout.status = PayoutStatus.SETTLED
        waiting = len(await self.unnotified(batch_id))
        return SettleOutcome(batch.is_mined, waiting, self._books.bump_after_s)

    async def refund(self, action: OperatorAction) -> PayoutOutcome:
        payout = self._books.payouts[action.payout_id]
        batch = self._books.batches.get(payout.batch_id or "")
        if payout.status != PayoutStatus.REFUNDED:
            if batch is None or (batch.signed and not batch.is_filler):
                raise PayoutStateError
            self._books.release(payout, PayoutStatus.REFUNDED)
        return payout.outcome

    async def retry(self, action: OperatorAction) -> PayoutOutcome:
        payout = self._books.payouts[action.payout_id]
        batch = self._books.batches.get(payout.batch_id or "")
        if batch is not None and not batch.is_filler:
            raise PayoutStateError
        payout.status, payout.batch_id = PayoutStatus.READY, None
        return payout.outcome

    async def unnotified(self, batch_id: str) -> list[PayoutOutcome]:
        found = self._books.payouts_in(batch_id)
        return [p.outcome for p in found if p.status.is_final and not p.is_told]

    async def mixes_over(self, mix_ids: Collection[str]) -> list[str]:
        return sorted(mix_ids)

    async def mark_notified(self, payout_ids: Sequence[str]) -> None:
        for payout_id in payout_ids:
            self._books.payouts[payout_id].is_told = True


class FakeChain:
    """``domain.ports.ChainRunner`` and ``ChainWatch`` over a chain that mines what it is sent."""

    def __init__(self, books: Books) -> None:
        self._books = books

    async def prepare(self, batch_id: str) -> None:
        if self._books.fee_rounds:
            self._books.fee_rounds -= 1
            raise ChainUnavailableError
        self._books.batches[batch_id].is_prepared = True

    async def broadcast(self, batch_id: str) -> None:
        batch = self._books.batches[batch_id]
        if self._books.broadcast_failures:
            self._books.broadcast_failures -= 1
            raise ChainUnavailableError
        if self._books.node_rejections:
            self._books.node_rejections -= 1
            raise NodeRejectedError
        batch.sent = batch.signed

    async def plan_bumps(self, batch_id: str) -> int:
        batch = self._books.batches[batch_id]
        if batch.attempts == batch.sent and not batch.is_mined:
            batch.attempts += 1
        return batch.attempts - batch.signed

    async def watch_once(self) -> WatchRound:
        moved = self.mine() if self._books.confirms_by_itself else []
        return WatchRound(moved, [], 0, 0)

    async def mark_notified(self, deposit_ids: Sequence[str]) -> None:
        assert not deposit_ids

    def mine(self) -> list[str]:
        """Confirm everything that was sent; return the batches that moved."""
        moved = [b for b in self._books.batches.values() if b.sent and not b.is_mined]
        for batch in moved:
            batch.is_mined = True
        return [batch.id for batch in moved]


class FakeDepositDesk:
    """``domain.ports.DepositDesk``."""

    def __init__(self, books: Books) -> None:
        self._books = books

    async def advance(self, deposit_id: str) -> DepositStanding:
        deposit = self._books.deposits[deposit_id]
        deposit.looks += 1
        if deposit.is_booked and deposit.is_missing:
            deposit.is_booked = False
            deposit.reversals += 1
            deposit.status = DepositStatus.REVERSED
        elif deposit.is_deep and not deposit.is_booked and not deposit.is_missing:
            deposit.is_booked = True
            deposit.credits += 1
            deposit.status = DepositStatus.CREDITED
        return DepositStanding(
            deposit_id=deposit_id,
            status=deposit.status,
            amount="100",
            asset="ETH",
            confirmations=3 if deposit.is_deep else 1,
            confirmations_required=3,
            is_waiting=deposit.is_waiting,
        )


class FakeBatchSigner:
    """``domain.ports.BatchSigner``."""

    def __init__(self, books: Books) -> None:
        self._books = books

    async def sign(self, batch_id: str) -> SignOutcome:
        batch = self._books.batches[batch_id]
        assert batch.account_nonce is not None, "signed before it was allocated"
        if self._books.refuses_to_sign and not batch.is_filler:
            batch.is_refused = True
            return SignOutcome(signed=0, refused=1, waiting=0)
        if self._books.ceiling_rounds:
            self._books.ceiling_rounds -= 1
            return SignOutcome(signed=0, refused=0, waiting=1)
        unsigned, batch.signed = batch.attempts - batch.signed, batch.attempts
        return SignOutcome(signed=unsigned, refused=0, waiting=0)
