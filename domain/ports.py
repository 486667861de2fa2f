"""
What the core asks of the outside, as Protocols. Adapters and their fakes pass one contract test.

A chain outlet decides nothing and holds no state: what must survive a crash is in the database.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from domain.coins import UnsignedCoinAttempt
from domain.deposits import DepositStanding
from domain.payouts import (
    Acceptance,
    Decision,
    DecisionOutcome,
    OperatorAction,
    PayoutOutcome,
    PayoutRequest,
)
from domain.runs import (
    RunAcceptance,
    RunCancellation,
    RunDecisionRequest,
    RunStanding,
    RunStart,
)
from domain.scanning import PendingView, ScannedBlock

if TYPE_CHECKING:
    from domain.disperse import Dispersal, Payment


@dataclass(frozen=True, slots=True)
class Transfer:
    """What one chain transaction must move, and nothing about how."""

    wallet_address: str
    """Our wallet that pays."""
    destination: str
    amount_minor: int
    contract_address: str | None
    """The token's contract; None moves the native coin."""
    dispersal: "Dispersal | None" = None
    """Set when it pays several through our contract (EVM); ``destination`` is empty then."""
    payments: "tuple[Payment, ...]" = ()
    """Set when it pays several by itself (Jobcoin); ``destination`` is empty then."""
    is_approval: bool = False
    """It moves nothing: it lets ``destination``, our contract, move the wallet's tokens."""


@dataclass(frozen=True, slots=True)
class FeeQuote:
    """
    What the chain wants now.

    EVM: wei per unit of gas (EIP-1559). UTXO: satoshi per 1,000 virtual bytes (BIP141), with the
    node's own minimum as base fee and no priority fee.
    """

    base_fee_minor: int
    max_fee_minor: int
    priority_fee_minor: int


@dataclass(frozen=True, slots=True)
class GasEstimate:
    """The gas limit for a transfer, or why it cannot work."""

    gas_limit: int | None
    revert_reason: str | None = None


@dataclass(frozen=True, slots=True)
class UnsignedAttempt:
    """Everything that is signed; the same values always give the same bytes (RFC 6979)."""

    transfer: Transfer
    chain_id: str
    account_nonce: int
    gas_limit: int
    max_fee_minor: int
    priority_fee_minor: int


@dataclass(frozen=True, slots=True)
class SignedAttempt:
    """Raw bytes ready to broadcast, and the txid they will have."""

    raw: bytes
    txid: str


class BroadcastOutcome(StrEnum):
    """What a node said of stored bytes; none of these is a reason to refund."""

    ACCEPTED = "accepted"
    ALREADY_KNOWN = "already_known"
    """In the pool or on the chain: as good as accepted."""
    REPLACED = "replaced"
    """Another attempt with the same account nonce holds the place, or was mined."""


@dataclass(frozen=True, slots=True)
class Block:
    """A block header and the txids it holds."""

    height: int
    hash: str
    parent_hash: str
    txids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Head:
    """The tip of the chain as one node sees it."""

    height: int
    hash: str
    base_fee_minor: int
    """Base fee per gas of the tip, in wei; the pool's minimum per 1,000 vB on UTXO chains."""
    finalized_height: int | None


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a mined transaction did."""

    txid: str
    block_height: int
    block_hash: str
    succeeded: bool
    """The transfer we meant took place: status 1 and, for a token, its ``Transfer`` log."""
    network_fee_minor: int
    """Gas used times effective gas price, in wei."""
    outflow_minor: int
    """What left our wallet in the asset, even if the destination got nothing of it."""
    received_minor: int
    """What the destination got; a token may charge on the way."""
    failed_places: tuple[int, ...] = ()
    """Which payments of a dispersal moved nothing, from 0."""


class ChainOutlet(Protocol):
    """One chain, through one or more nodes. Errors are leaves of ``domain.errors``."""

    chain_id: str

    async def head(self) -> Head:
        """Return the tip."""
        ...

    async def block(self, height: int) -> Block | None:
        """Return the canonical block at this height, or None above the tip."""
        ...

    async def scan(self, first: int, last: int) -> list[ScannedBlock]:
        """
        Return the canonical blocks from ``first`` to ``last``, in order and linked by their hashes.

        Shorter, even empty, where the tip is lower or the chain changed while it was read; never
        with a gap. Every movement of value in a block is reported, to whomever it went.

        Raises:
            NodePrunedError: The node no longer has one of the blocks.
        """
        ...

    async def pending(self, known: frozenset[str]) -> PendingView:
        """Return the pool's txids, and the movements of those not in ``known``."""
        ...

    async def quote_fee(self) -> FeeQuote:
        """Return a fee that a transaction of the next blocks should offer."""
        ...

    def replacement_fee(self, *, previous: FeeQuote, quote: FeeQuote) -> FeeQuote:
        """Return a fee that nodes accept in place of ``previous``, at least ``quote``."""
        ...

    async def broadcast(self, raw: bytes) -> BroadcastOutcome:
        """
        Hand stored bytes to a node; may be repeated at will.

        Raises:
            BroadcastUnknownError: No answer; the node may have it.
            FeeTooLowError: Its pool wants a higher fee.
            NonceTooLowError: The nonce, or an input, is used and the node does not know this txid.
            InsufficientGasFundsError: The wallet cannot pay it now.
            NodeRejectedError: It can never be mined.
        """
        ...

    async def balance_minor(self, address: str, *, contract_address: str | None = None) -> int:
        """Return the address's balance at the tip, in minor units."""
        ...

    async def close(self) -> None:
        """Close the connections; the outlet is not used afterwards."""
        ...


class AccountOutlet(ChainOutlet, Protocol):
    """A chain whose addresses have balances and account nonces (EVM, Jobcoin)."""

    async def estimate_gas(self, transfers: Sequence[Transfer]) -> list[GasEstimate]:
        """Return a gas limit for each transfer, in order; a revert is an answer, not an error."""
        ...

    async def receipt(self, txid: str, transfer: Transfer) -> Receipt | None:
        """Return what the mined transaction did of this transfer; None while it is not mined."""
        ...

    async def allowance_minor(self, owner: str, spender: str, *, contract_address: str) -> int:
        """Return how much of the owner's tokens the spender may move, in minor units."""
        ...

    async def code(self, address: str) -> bytes:
        """Return the code at an address (``eth_getCode``); empty where there is no contract."""
        ...

    async def account_nonce(self, address: str) -> int:
        """Return how many transactions of this address are mined (``latest``)."""
        ...


class TransactionSigner(Protocol):
    """Signs with a key it alone can open."""

    async def sign(self, attempt: UnsignedAttempt) -> SignedAttempt:
        """Return the bytes; deterministic, so that a repeat after a crash gives the same txid."""
        ...


class CoinSigner(Protocol):
    """Signs coins of UTXO chains with keys that it alone can derive."""

    async def sign_coins(self, attempt: UnsignedCoinAttempt) -> SignedAttempt:
        """Return the bytes; deterministic, as ``TransactionSigner.sign``."""
        ...


@dataclass(frozen=True)
class SettleOutcome:
    """What a settlement round left of a batch."""

    is_done: bool
    """Every chain transaction of the batch is settled."""
    to_notify: int
    """Payouts that are final and whose workflows do not know it yet."""
    bump_after_s: int
    """How long an unmined transaction waits before it is replaced."""


@dataclass(frozen=True)
class SignOutcome:
    """What the signer did with a batch."""

    signed: int
    refused: int
    """Not what was asked for and approved: never signed."""
    waiting: int
    """Above the ceiling of the rolling hour: to be asked again later."""


class PayoutDesk(Protocol):
    """The steps of one payout, each one unit of work that may be repeated."""

    async def freeze(self, request: PayoutRequest) -> Acceptance:
        """Write the payout and hold amount plus fee, or refuse it; a repeat answers the same."""
        ...

    async def decide(self, decision: Decision) -> DecisionOutcome:
        """
        Record an approver's decision and move the payout on when it is the last one needed.

        Raises:
            PayoutStateError, OwnRequestError, AlreadyDecidedError, ApprovalExpiredError,
            RoleMissingError: It does not count, and nothing changed.
        """
        ...

    async def cancel(self, payout_id: str) -> PayoutOutcome:
        """Release the hold of a payout that no batch has taken; raise PayoutStateError else."""
        ...

    async def expire(self, payout_id: str) -> PayoutOutcome:
        """Release the hold if approvals are still missing; otherwise say where it stands."""
        ...

    async def outcome(self, payout_id: str) -> PayoutOutcome:
        """Return where the payout stands."""
        ...


class ScreeningVerdict(StrEnum):
    """What screening says of an address."""

    ALLOW = "allow"
    DENY = "deny"


@dataclass(frozen=True, slots=True)
class Screened:
    """What screening says of one address, and why."""

    verdict: ScreeningVerdict
    reason: str = ""


class AddressScreener(Protocol):
    """Says who must not be paid: our own list, or a provider elsewhere."""

    async def screen(self, chain_id: str, addresses: Collection[str]) -> Mapping[str, Screened]:
        """
        Return a verdict on each of these addresses (canonical form, exactly).

        Raises:
            TransientError: A leaf of it; nobody knows now, so nothing is paid.
        """
        ...


class RunDesk(Protocol):
    """The steps of a bulk payout, each one unit of work that may be repeated."""

    async def start(self, request: RunStart) -> RunAcceptance:
        """Check every line again, hold the total and make the lines payouts; or refuse it."""
        ...

    async def decide(self, decision: RunDecisionRequest) -> RunStanding:
        """
        Record an approver's decision, and move on the lines that are decided on by it.

        Raises:
            PayoutRunStateError, OwnRequestError, AlreadyDecidedError, ApprovalExpiredError,
            RoleMissingError, InvalidLinesError: It does not count, and nothing changed.
        """
        ...

    async def cancel(self, cancellation: RunCancellation) -> RunStanding:
        """Give back what no batch has taken; raise PayoutRunStateError for chosen lines else."""
        ...

    async def expire(self, run_id: str) -> RunStanding:
        """Give back the lines whose approvals are overdue, and say where the run stands."""
        ...

    async def advance(self, run_id: str) -> RunStanding:
        """Finish the run if every line has ended, and say where it stands."""
        ...


class OutgoingLog(Protocol):
    """The write-ahead log of chain transactions; every method is one unit of work."""

    async def claim(self, *, chain_id: str, wallet_address: str, claim_key: str) -> str | None:
        """Take ready payouts into a new batch and return its id; None when there are none."""
        ...

    async def allocate(self, batch_id: str) -> bool:
        """Give each planned transaction its place and capture holds; False when coins are short."""
        ...

    async def give_up_refused(self, batch_id: str) -> int:
        """Replace what the signer refused by nonce fillers; return how many there are now."""
        ...

    async def settle(self, batch_id: str) -> SettleOutcome:
        """Post what the chain has confirmed and finish the payouts it paid."""
        ...

    async def refund(self, action: OperatorAction) -> PayoutOutcome:
        """Refund a payout that was never signed; raise PayoutStateError else."""
        ...

    async def retry(self, action: OperatorAction) -> PayoutOutcome:
        """Make a payout whose chain transaction was given up ready again."""
        ...

    async def unnotified(self, batch_id: str) -> list[PayoutOutcome]:
        """Return the final payouts of a batch whose workflows were not told."""
        ...

    async def mixes_over(self, mix_ids: Collection[str]) -> list[str]:
        """Return those of these mixes of which nothing is planned or on its way any more."""
        ...

    async def mark_notified(self, payout_ids: Sequence[str]) -> None:
        """Remember that their workflows were told."""
        ...


class DepositDesk(Protocol):
    """The steps of one deposit."""

    async def advance(self, deposit_id: str) -> DepositStanding:
        """Book the deposit or take it back, if the chain asks for it; may be repeated."""
        ...


class ChainRunner(Protocol):
    """The steps of a batch that ask a node."""

    async def prepare(self, batch_id: str) -> None:
        """Plan fees and gas; raise a TransientError leaf while the batch must wait."""
        ...

    async def broadcast(self, batch_id: str) -> None:
        """Hand every stored attempt that is not mined to a node."""
        ...

    async def plan_bumps(self, batch_id: str) -> int:
        """Plan replacements for what is stuck; return how many attempts await signing."""
        ...


@dataclass(frozen=True)
class WatchRound:
    """What one look at a chain found."""

    batches: list[str]
    """Batches of which something moved."""
    deposits: list[str]
    """Deposits with something to do: new, deep enough, or gone."""
    height: int
    """How far we have read."""
    tip_height: int

    @property
    def is_behind(self) -> bool:
        """There is more to read at once."""
        return self.height < self.tip_height


class ChainWatch(Protocol):
    """Follows a chain into the database."""

    async def watch_once(self) -> WatchRound:
        """Read the chain towards its tip, a bounded number of blocks; say what moved."""
        ...

    async def mark_notified(self, deposit_ids: Sequence[str]) -> None:
        """Remember that the workflows of these deposits were told."""
        ...


@dataclass(frozen=True)
class SweepPlan:
    """The sweeps that are on their way, and when to look again."""

    batches: list[str]
    interval_s: int


class Sweeper(Protocol):
    """Finds deposits worth collecting on one chain, and plans how."""

    async def plan(self, *, is_forced: bool) -> SweepPlan:
        """
        Plan sweeps of what is worth it, and return every sweep's batch that is on its way.

        ``is_forced`` leaves the least amounts out of account, never the ceiling on fees.
        """
        ...


class BatchSigner(Protocol):
    """Re-checks and signs."""

    async def sign(self, batch_id: str) -> SignOutcome:
        """Sign and store every planned attempt that is allowed now."""
        ...
