"""The write-ahead log of what leaves to a chain, and what the watcher saw there."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import ARRAY, Column, Index, Integer, String, UniqueConstraint
from sqlmodel import Field, SQLModel

from models.columns import minor_units, timestamp


class ChainTransactionKind(StrEnum):
    """Why we send it."""

    PAYOUT = "payout"
    NONCE_FILLER = "nonce_filler"
    """Sends nothing to ourselves, to use up an account nonce that its owner gave back."""
    SWEEP = "sweep"
    """Moves deposits to the hot wallet."""
    GAS_TOPUP = "gas_topup"
    """Gives a deposit address the coin that sweeping its tokens costs."""
    FEE_CHILD = "fee_child"
    """Spends our own change so that miners take its parent with it (CPFP)."""
    POCKET_SPEND = "pocket_spend"
    """Pays from a user's own pocket what that user asked for."""
    TOKEN_APPROVAL = "token_approval"  # noqa: S105 - a kind of transaction
    """Lets our disperse contract move a token of the hot wallet, when the hot wallet asks it to."""


class ChainTransactionStatus(StrEnum):
    """Steps of the one way out. The last four never change again, but for a reorg."""

    PLANNED = "planned"
    """Claimed from ready payouts; no account nonce yet."""
    ALLOCATED = "allocated"
    """Has its account nonce for good."""
    SIGNED = "signed"
    """Raw bytes and txid are stored."""
    BROADCAST = "broadcast"
    """A node took it, or may have."""
    MINED = "mined"
    """In a canonical block, not yet deep enough."""
    CONFIRMED = "confirmed"
    """Deep enough, and it did what we meant."""
    REVERTED = "reverted"
    """Deep enough, and it moved nothing: only the network fee is gone. Or void, once settled."""
    ABANDONED = "abandoned"
    """Given up before it was signed, or void: it can never be mined."""


UNCLEAR_RECEIPT = "unclear_receipt"
"""Why a mined transaction is neither confirmed nor reverted: nobody can tell what it did."""

SETTLEABLE = (ChainTransactionStatus.CONFIRMED, ChainTransactionStatus.REVERTED)


class ChainBatch(SQLModel, table=True):
    """Chain transactions that were claimed together and that one workflow drives."""

    __tablename__ = "chain_batch"

    id: str = Field(primary_key=True)
    claim_key: str = Field(unique=True)
    """Asked twice with the same key, a claim answers the same batch."""
    chain_id: str = Field(foreign_key="chain.id")
    wallet_address: str
    """What pays: a hot wallet, or the deposit address that is swept."""
    waiting_for: str | None = None
    """Error code of what holds the batch up now, for ``explain``."""
    waiting_since: datetime | None = timestamp(nullable=True)
    created_at: datetime = timestamp()


class ChainTransaction(SQLModel, table=True):
    """What we mean to happen on the chain, once; its attempts are candidates for the same place."""

    __tablename__ = "chain_transaction"

    id: str = Field(primary_key=True)
    batch_id: str = Field(foreign_key="chain_batch.id", index=True)
    chain_id: str = Field(foreign_key="chain.id")
    wallet_address: str
    kind: str
    asset: str = Field(foreign_key="asset.code")
    destination: str | None = None
    """Null when it pays several payouts, which then say where to."""
    amount_minor: int = minor_units()
    """What it pays, without fee and change."""
    change_address: str | None = None
    """Where a UTXO transaction returns what is left; one of ours."""
    disperse_address: str | None = None
    """The contract through which it pays several payouts (EVM)."""
    failed_places: list[int] | None = Field(
        default=None, sa_column=Column(ARRAY(Integer), nullable=True)
    )
    """Which of its payouts, in order of id from 0, the chain could not pay while it paid others."""
    failed_booked: list[int] | None = Field(
        default=None, sa_column=Column(ARRAY(Integer), nullable=True)
    )
    """``failed_places`` as the books have them; a reorg can change who fails."""
    parent_id: str | None = Field(default=None, foreign_key="chain_transaction.id")
    """What it waits for: a gas top-up before a sweep, the parent of a fee child."""
    gas_limit: int | None = None
    account_nonce: int | None = None
    status: str
    reason_code: str | None = None
    refused_payouts: list[str] | None = Field(
        default=None, sa_column=Column(ARRAY(String), nullable=True)
    )
    """Which of its payouts the signer refuses; null where it refuses the transaction as a whole."""
    txid: str | None = None
    """The attempt that was mined."""
    block_height: int | None = None
    block_hash: str | None = None
    network_fee_minor: int | None = minor_units(nullable=True)
    """What the chain took for it, in the native asset."""
    fee_booked_minor: int = minor_units(default=0)
    """The part of ``network_fee_minor`` that the ledger has; a reorg can change the fee."""
    outflow_booked_minor: int = minor_units(default=0)
    """The part of ``outflow_minor`` that the ledger has."""
    outflow_minor: int | None = minor_units(nullable=True)
    """What left our wallet in the asset; a token may take more than the amount."""
    received_minor: int | None = minor_units(nullable=True)
    """What the destination got; a token may charge on the way."""
    received_booked_minor: int = minor_units(default=0)
    """The part of ``received_minor`` that the ledger has, where the destination is ours."""
    screened_at: datetime | None = timestamp(nullable=True)
    """When a provider's word on those it pays was last asked for; null where there is none."""
    settled_at: datetime | None = timestamp(nullable=True)
    settlements: int = 0
    """How often it was settled: once, and once more for each reorg that changed something."""
    created_at: datetime = timestamp()
    updated_at: datetime = timestamp()

    __table_args__ = (
        UniqueConstraint(
            "chain_id", "wallet_address", "account_nonce", name="account_nonce_unique"
        ),
        Index("chain_transaction_by_status", "chain_id", "status"),
    )


class ChainAttempt(SQLModel, table=True):
    """Signed bytes. They are stored before any node sees them, and never signed anew."""

    __tablename__ = "chain_attempt"

    id: str = Field(primary_key=True)
    chain_transaction_id: str = Field(foreign_key="chain_transaction.id")
    sequence: int
    """0 for the first, then one more for each replacement."""
    txid: str | None = Field(default=None, unique=True)
    """Known once it is signed; where signatures are apart from it (BIP141), once it is exported."""
    raw: bytes | None = None
    """Null while the attempt is only planned, or signed elsewhere."""
    max_fee_minor: int = minor_units()
    """``maxFeePerGas`` in wei (EIP-1559), or satoshi per 1,000 virtual bytes."""
    priority_fee_minor: int = minor_units()
    """``maxPriorityFeePerGas`` in wei."""
    change_minor: int | None = minor_units(nullable=True)
    """What a UTXO attempt returns to ``change_address``; 0 for no change output."""
    fee_minor: int | None = minor_units(nullable=True)
    """The whole network fee of a UTXO attempt, known before it is signed."""
    signed_at: datetime | None = timestamp(nullable=True)
    exported_at: datetime | None = timestamp(nullable=True)
    """When it was handed out to be signed elsewhere: who has it can broadcast it at any time."""
    broadcast_at: datetime | None = timestamp(nullable=True)
    """When a node last took it, or may have."""
    last_error: str | None = None
    created_at: datetime = timestamp()

    __table_args__ = (
        UniqueConstraint("chain_transaction_id", "sequence", name="attempt_sequence"),
    )


class ChainBlock(SQLModel, table=True):
    """A block that the watcher read; the highest one is its cursor."""

    __tablename__ = "chain_block"

    chain_id: str = Field(primary_key=True, foreign_key="chain.id")
    height: int = Field(primary_key=True)
    hash: str
    parent_hash: str
    seen_at: datetime = timestamp()


class ChainHead(SQLModel, table=True):
    """What the watcher last saw of a chain, for ``explain`` and for metrics."""

    __tablename__ = "chain_head"

    chain_id: str = Field(primary_key=True, foreign_key="chain.id")
    height: int
    finalized_height: int | None = None
    base_fee_minor: int | None = minor_units(nullable=True)
    """Base fee per gas of the head, in wei; the pool's minimum rate on UTXO chains."""
    fee_rate_minor: int | None = minor_units(nullable=True)
    """What a transaction would offer now; units as ``Chain.max_fee_ceiling_minor``."""
    tip_height: int | None = None
    """The node's own tip; ``height`` is how far we have read."""
    reorg_at: datetime | None = timestamp(nullable=True)
    """When blocks that we had read last left the chain."""
    reorg_depth: int | None = None
    """How many did."""
    seen_at: datetime = timestamp()


class ProcessHeartbeat(SQLModel, table=True):
    """When a process last said that it is alive."""

    __tablename__ = "process_heartbeat"

    role: str = Field(primary_key=True)
    instance: str = Field(primary_key=True)
    started_at: datetime = timestamp()
    seen_at: datetime = timestamp()
