"""Bulk payouts: an uploaded run, its lines, the decisions on it; and who may be paid."""

from datetime import datetime

from sqlalchemy import ARRAY, Column, Index, Integer, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from models.columns import minor_units, timestamp


class PayoutRun(SQLModel, table=True):
    """One upload of many payouts of one asset; nothing is held before it is started."""

    __tablename__ = "payout_run"

    id: str = Field(primary_key=True)
    user_id: str = Field(foreign_key="app_user.id")
    """Whose available balance pays for every line."""
    principal: str
    """Who uploaded: the user id, or the API key's id that acted for the user."""
    name: str = Field(max_length=200)
    asset: str = Field(foreign_key="asset.code")
    chain_id: str = Field(foreign_key="chain.id")
    priority: str
    content_sha256: str
    """Of the uploaded bytes, hex."""
    line_count: int
    total_minor: int = minor_units()
    fee_total_minor: int = minor_units()
    """Service fees of all lines, held with the amounts."""
    problem_count: int
    """Lines that the dry run found fault with; with any, the run cannot start."""
    status: str
    idempotency_key: str | None = Field(default=None, max_length=255)
    """Of the request that started it."""
    policy_version: int | None = Field(default=None, foreign_key="policy.version")
    approvals_required: int = 0
    approval_expires_at: datetime | None = timestamp(nullable=True)
    hold_id: str | None = None
    """The one hold over amounts and fees of all lines."""
    content_hash: str | None = None
    """SHA-256 over what every line pays: what an approver of the whole run approves."""
    waiting_for: str | None = None
    """Error code of what holds up its start, for ``explain``."""
    waiting_since: datetime | None = timestamp(nullable=True)
    created_at: datetime = timestamp()
    started_at: datetime | None = timestamp(nullable=True)
    finished_at: datetime | None = timestamp(nullable=True)
    updated_at: datetime = timestamp()

    __table_args__ = (
        UniqueConstraint("principal", "idempotency_key", name="payout_run_idempotency"),
        Index("payout_run_list", "created_at", "id"),
        Index("payout_run_of_user", "user_id", "created_at", "id"),
    )


class PayoutRunLine(SQLModel, table=True):
    """A line as it was uploaded, and what the dry run said of it. Starting makes it a payout."""

    __tablename__ = "payout_run_line"

    run_id: str = Field(primary_key=True, foreign_key="payout_run.id")
    number: int = Field(primary_key=True)
    """Where it stands in the file; the header, where there is one, is line 1."""
    payout_id: str = Field(unique=True)
    destination: str
    """Canonical form, such as EIP-55; as it was written where it has a problem."""
    amount_minor: int = minor_units()
    reference: str | None = Field(default=None, max_length=100)
    """The uploader's own name for the payment."""
    note: str | None = Field(default=None, max_length=200)
    problem_code: str | None = None
    problem_detail: str | None = None

    __table_args__ = (
        Index(
            "payout_run_line_problem",
            "run_id",
            "number",
            postgresql_where=text("problem_code IS NOT NULL"),
        ),
    )


class RunDecision(SQLModel, table=True):
    """One approver's decision on a run or on chosen lines; never changed; in the hash chain."""

    __tablename__ = "run_decision"

    id: str = Field(primary_key=True)
    run_id: str = Field(foreign_key="payout_run.id", index=True)
    approver_id: str = Field(foreign_key="app_user.id")
    decision: str
    line_numbers: list[int] | None = Field(
        default=None, sa_column=Column(ARRAY(Integer), nullable=True)
    )
    """
    Null covers every line of the run. Whoever rejected what was left by others is written down
    with the lines that were.
    """
    content_hash: str
    """SHA-256 over what the covered lines pay."""
    policy_version: int = Field(foreign_key="policy.version")
    second_factor: str
    note: str | None = Field(default=None, max_length=500)
    decided_at: datetime = timestamp()


class RunCancellationRecord(SQLModel, table=True):
    """A cancellation that took lines back; the same one, repeated, takes back no others."""

    __tablename__ = "run_cancellation"

    id: str = Field(primary_key=True)
    run_id: str = Field(foreign_key="payout_run.id", index=True)
    lines: str | None = None
    """As they were named; null was the whole run."""
    cancelled_at: datetime = timestamp()


class AddressScreening(SQLModel, table=True):
    """An address that must not be paid, or that may be whatever a provider says of it."""

    __tablename__ = "address_screening"

    chain_id: str = Field(primary_key=True, foreign_key="chain.id")
    address: str = Field(primary_key=True)
    """Canonical form."""
    verdict: str
    """``deny`` or ``allow``."""
    reason: str = Field(max_length=500)
    created_by: str = Field(foreign_key="app_user.id")
    created_at: datetime = timestamp()


class ScreeningAnswer(SQLModel, table=True):
    """What a provider said last of an address that our own list does not have."""

    __tablename__ = "screening_answer"

    chain_id: str = Field(primary_key=True, foreign_key="chain.id")
    address: str = Field(primary_key=True)
    """Canonical form."""
    verdict: str
    """``deny`` or ``allow``."""
    reason: str = Field(max_length=500)
    answered_at: datetime = timestamp()


class AddressBookEntry(SQLModel, table=True):
    """A destination that a user named; it may be paid once its cool-down is over."""

    __tablename__ = "address_book_entry"

    id: str = Field(primary_key=True)
    user_id: str = Field(foreign_key="app_user.id")
    chain_id: str = Field(foreign_key="chain.id")
    address: str
    """Canonical form."""
    name: str = Field(max_length=100)
    usable_from: datetime = timestamp()
    """The end of the cool-down."""
    created_at: datetime = timestamp()
    removed_at: datetime | None = timestamp(nullable=True)

    __table_args__ = (
        Index(
            "address_book_once",
            "user_id",
            "chain_id",
            "address",
            unique=True,
            postgresql_where=text("removed_at IS NULL"),
        ),
        Index("address_book_of_user", "user_id", "created_at", "id"),
    )


class PayoutPreference(SQLModel, table=True):
    """What a user asked for, about all of their payouts."""

    __tablename__ = "payout_preference"

    user_id: str = Field(primary_key=True, foreign_key="app_user.id")
    is_book_only: bool = False
    """Payouts go only to usable entries of the address book."""
    book_only_until: datetime | None = timestamp(nullable=True)
    """Switched off, it still holds until then: the end of a cool-down."""
    updated_at: datetime = timestamp()
