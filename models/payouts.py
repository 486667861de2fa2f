"""Payouts, the decisions on them, and the policy those decisions follow."""

from datetime import datetime
from typing import Any

from sqlalchemy import Column, Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from domain.pockets import Route
from models.columns import minor_units, timestamp


class Payout(SQLModel, table=True):
    """One user's request to pay an external address."""

    __tablename__ = "payout"

    id: str = Field(primary_key=True)
    user_id: str = Field(foreign_key="app_user.id", index=True)
    principal: str
    """Who asked: the user id, or the API key's id that acted for the user."""
    idempotency_key: str = Field(max_length=255)
    request_hash: str
    """SHA-256 of the canonical body; the same key with another hash is refused."""
    asset: str = Field(foreign_key="asset.code")
    chain_id: str = Field(foreign_key="chain.id")
    amount_minor: int = minor_units()
    fee_minor: int = minor_units()
    """Service fee, held with the amount."""
    destination: str
    note: str | None = Field(default=None, max_length=200)
    status: str
    reason_code: str | None = None
    """Why it was refused, rejected or refunded: an error code."""
    policy_version: int | None = Field(default=None, foreign_key="policy.version")
    approvals_required: int = 0
    approval_expires_at: datetime | None = timestamp(nullable=True)
    is_alone: bool = False
    """It was in a chain transaction of several that the signer refused; the next is its own."""
    priority: str = "normal"
    is_denied: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})
    """Screening denied its destination when it was about to leave, and has said nothing since."""
    run_id: str | None = Field(default=None, foreign_key="payout_run.id")
    """The bulk upload that it is a line of; such a payout has no workflow of its own."""
    line_number: int | None = None
    retry_of: str | None = Field(default=None, foreign_key="payout.id")
    """The line of a run that failed and that it pays again."""
    hold_id: str | None = None
    """Its own, or that of its run."""
    is_captured: bool = False
    """Its part of the run's hold is in flight, or was; true only ever after."""
    mix_id: str | None = Field(default=None, foreign_key="mix.id")
    """The mix that it is a dole-out of; such a payout has no workflow of its own."""
    route: str = Route.PAYOUT
    """Between what it moves; all but the first are transfers to and from a user's pocket."""
    pocket_id: str | None = Field(default=None, foreign_key="chain_address.id")
    """The pocket that it pays, or that pays for it."""
    gas_hold_id: str | None = None
    """What its user set aside of the pocket's own coin for the network; null: we lend it."""
    gas_max_minor: int | None = minor_units(nullable=True)
    """Most that the chain may take for what leaves a pocket, in the native asset."""
    quote_id: str | None = Field(default=None, foreign_key="quote.id")
    """The rate at which a transfer of a pocket converts; null: it does not."""
    left_booked_minor: int = minor_units(default=0)
    """What the books have of what left where a transfer of a pocket comes from."""
    arrived_booked_minor: int = minor_units(default=0)
    """And of what got to where it goes to."""
    network_fee_estimate_minor: int | None = minor_units(nullable=True)
    """Its share of what its chain transaction was expected to cost, in the native asset."""
    network_fee_minor: int | None = minor_units(nullable=True)
    """Its share of what the chain took, in the native asset."""
    chain_transaction_id: str | None = Field(default=None, foreign_key="chain_transaction.id")
    notified_at: datetime | None = timestamp(nullable=True)
    """When the workflow was told of the final status by the chain side."""
    created_at: datetime = timestamp()
    updated_at: datetime = timestamp()

    __table_args__ = (
        # Lines of runs are named by their upload; their keys are nobody's request.
        Index(
            "payout_idempotency",
            "principal",
            "idempotency_key",
            unique=True,
            postgresql_where=text("run_id IS NULL"),
        ),
        Index("payout_list", "created_at", "id"),
        Index("payout_of_user", "user_id", "created_at", "id"),
        Index("payout_by_status", "status", "created_at"),
        Index("payout_of_chain_transaction", "chain_transaction_id"),
        Index(
            "payout_of_run",
            "run_id",
            "line_number",
            unique=True,
            postgresql_where=text("run_id IS NOT NULL"),
        ),
        Index("payout_to", "destination"),
        Index("payout_of_mix", "mix_id", postgresql_where=text("mix_id IS NOT NULL")),
        Index(
            "payout_retried_once",
            "retry_of",
            unique=True,
            postgresql_where=text("status IN ('awaiting_approval', 'ready', 'batched', 'settled')"),
        ),
        Index(
            "payout_waiting",
            "chain_id",
            "asset",
            "priority",
            "user_id",
            "created_at",
            "id",
            postgresql_where=text("status = 'ready' AND NOT is_denied"),
        ),
        Index("payout_denied", "chain_id", "destination", postgresql_where=text("is_denied")),
    )


class PocketConversion(SQLModel, table=True):
    """
    What a transfer of a pocket converts on its way, besides what its quote says.

    The payout's asset and amount are what the chain moves. A transfer that was refused has none.
    """

    __tablename__ = "pocket_conversion"

    payout_id: str = Field(primary_key=True, foreign_key="payout.id")
    quote_id: str = Field(foreign_key="quote.id", unique=True)
    fee_minor: int = minor_units()
    """Service fee, held with the amount, of the asset that pays."""
    settle_until: datetime = timestamp()
    """What comes back from a pocket after this is late."""
    late_tolerance_bps: int
    is_converted: bool | None = None
    """Of what comes back from a pocket, decided when it first settles; otherwise null."""
    rate_numerator: int | None = minor_units(nullable=True)
    """Of what came late; null: the locked rate holds."""
    rate_denominator: int | None = minor_units(nullable=True)
    created_at: datetime = timestamp()


class PayoutEvent(SQLModel, table=True):
    """A line of a payout's history; never changed."""

    __tablename__ = "payout_event"

    id: int | None = Field(default=None, primary_key=True)
    payout_id: str = Field(foreign_key="payout.id", index=True)
    status: str
    detail: str | None = None
    at: datetime = timestamp()


class ApprovalDecision(SQLModel, table=True):
    """One approver's decision on one payout, never changed; part of the hash chain."""

    __tablename__ = "approval_decision"

    id: str = Field(primary_key=True)
    payout_id: str = Field(foreign_key="payout.id", index=True)
    approver_id: str = Field(foreign_key="app_user.id")
    decision: str
    policy_version: int = Field(foreign_key="policy.version")
    payout_hash: str
    """SHA-256 of what was approved: payout id, asset, amount and destination."""
    second_factor: str
    """How the approver proved it: ``totp`` or ``step_up``."""
    note: str | None = Field(default=None, max_length=500)
    decided_at: datetime = timestamp()

    __table_args__ = (UniqueConstraint("payout_id", "approver_id", name="decision_once"),)


class Policy(SQLModel, table=True):
    """A version of the approval policy; versions are added, never changed."""

    __tablename__ = "policy"

    version: int | None = Field(default=None, primary_key=True)
    document: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))
    created_by: str | None = None
    created_at: datetime = timestamp()
