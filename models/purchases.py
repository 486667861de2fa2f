"""Rates, quotes, purchases, and what a payment gateway said of them."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, Column, Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from domain.rate_table import Purpose
from models.columns import minor_units, timestamp


class RateTable(SQLModel, table=True):
    """A version of what is sold, for what and how; versions are added, never changed."""

    __tablename__ = "rate_table"

    version: int | None = Field(default=None, primary_key=True)
    document: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))
    created_by: str | None = None
    created_at: datetime = timestamp()


class RateObservation(SQLModel, table=True):
    """The last price that one source gave for one symbol, such as ``BTC-USD``."""

    __tablename__ = "rate_observation"

    source: str = Field(primary_key=True)
    symbol: str = Field(primary_key=True)
    price_numerator: int = minor_units()
    price_denominator: int = minor_units()
    observed_at: datetime = timestamp()
    """By the source's own clock."""


class Quote(SQLModel, table=True):
    """A price that is held for one user for a short while; never changed."""

    __tablename__ = "quote"

    id: str = Field(primary_key=True)
    user_id: str = Field(foreign_key="app_user.id")
    purpose: str = Field(
        default=Purpose.PURCHASE, sa_column_kwargs={"server_default": Purpose.PURCHASE}
    )
    """What it may be used for, once; see ``domain.rate_table.Purpose``."""
    pay_asset: str = Field(foreign_key="asset.code")
    pay_minor: int = minor_units()
    buy_asset: str = Field(foreign_key="asset.code")
    buy_minor: int = minor_units()
    rate_numerator: int = minor_units()
    """Minor units bought for ``rate_denominator`` minor units paid, the spread taken off."""
    rate_denominator: int = minor_units()
    spread_bps: int
    spread_minor: int = minor_units()
    """What the spread and rounding cost, in the asset that is bought."""
    rate_source: str
    """``table`` or ``market``."""
    rate_version: int = Field(foreign_key="rate_table.version")
    created_at: datetime = timestamp()
    expires_at: datetime = timestamp()

    __table_args__ = (
        CheckConstraint("pay_minor > 0 AND buy_minor > 0", name="quote_amounts"),
        CheckConstraint(
            "buy_minor * rate_denominator <= pay_minor * rate_numerator", name="quote_rounding"
        ),
        CheckConstraint("purpose IN ('purchase', 'conversion')", name="quote_purpose"),
        Index("quote_of_user", "user_id", "created_at", "id"),
    )


class Purchase(SQLModel, table=True):
    """One user's purchase of an internal asset; the quote's terms are copied into it."""

    __tablename__ = "purchase"

    id: str = Field(primary_key=True)
    user_id: str = Field(foreign_key="app_user.id")
    principal: str
    """Who asked: the user id, or the API key's id that acted for the user."""
    idempotency_key: str = Field(max_length=255)
    request_hash: str
    quote_id: str = Field(foreign_key="quote.id")
    method: str
    pay_asset: str = Field(foreign_key="asset.code")
    pay_minor: int = minor_units()
    asset: str = Field(foreign_key="asset.code")
    """What is bought."""
    amount_minor: int = minor_units()
    """How much of it was quoted."""
    fee_minor: int = minor_units()
    """What the spread and rounding cost, in the asset that is bought; it is in the rate."""
    status: str
    reason_code: str | None = None
    address_id: str | None = Field(default=None, foreign_key="chain_address.id", unique=True)
    """Where it is paid on a chain: an address of its own."""
    expires_at: datetime = timestamp()
    """What is seen after this is late."""
    settle_until: datetime = timestamp()
    """What is credited after this is late, whenever it was seen."""
    late_tolerance_bps: int
    cash_minor: int = minor_units(default=0)
    """In the books: what its payments brought in; see ``domain.purchases.Position``."""
    rest_minor: int = minor_units(default=0)
    converted_minor: int = minor_units(default=0)
    credited_minor: int = minor_units(default=0)
    refunded_minor: int = minor_units(default=0)
    """Given back by an operator, of what was converted on a chain."""
    postings: int = 0
    """How often its books moved."""
    created_at: datetime = timestamp()
    updated_at: datetime = timestamp()

    __table_args__ = (
        UniqueConstraint("principal", "idempotency_key", name="purchase_idempotency"),
        # A quote buys once; what was refused bought nothing.
        Index(
            "purchase_of_quote",
            "quote_id",
            unique=True,
            postgresql_where=text("status <> 'refused'"),
        ),
        Index(
            "purchase_open",
            "status",
            postgresql_where=text("status IN ('awaiting_payment', 'confirming', 'partially_paid')"),
        ),
        Index("purchase_list", "created_at", "id"),
        Index("purchase_of_user", "user_id", "created_at", "id"),
        CheckConstraint("credited_minor BETWEEN 0 AND amount_minor", name="purchase_credited"),
        CheckConstraint("converted_minor >= 0 AND rest_minor >= 0", name="purchase_position"),
    )


class PurchaseEvent(SQLModel, table=True):
    """A line of a purchase's history; never changed."""

    __tablename__ = "purchase_event"

    id: int | None = Field(default=None, primary_key=True)
    purchase_id: str = Field(foreign_key="purchase.id", index=True)
    status: str
    detail: str | None = None
    at: datetime = timestamp()


class PurchasePayment(SQLModel, table=True):
    """A deposit that was made for a purchase, and what of it was converted."""

    __tablename__ = "purchase_payment"

    deposit_id: str = Field(primary_key=True, foreign_key="chain_deposit.id")
    purchase_id: str = Field(foreign_key="purchase.id", index=True)
    amount_minor: int = minor_units()
    is_late: bool
    is_booked: bool
    """It counts now; a reorg may have taken it away."""
    converted_minor: int = minor_units()
    rate_numerator: int | None = minor_units(nullable=True)
    """Of a late payment; null: the locked rate holds."""
    rate_denominator: int | None = minor_units(nullable=True)
    created_at: datetime = timestamp()
    updated_at: datetime = timestamp()


class PurchaseRefund(SQLModel, table=True):
    """A payment, or a part of one, that is given back."""

    __tablename__ = "purchase_refund"

    id: str = Field(primary_key=True)
    purchase_id: str = Field(foreign_key="purchase.id", index=True)
    amount_minor: int = minor_units()
    """Of the asset that paid."""
    reason: str
    status: str
    gateway_id: str | None = Field(default=None, unique=True)
    requested_by: str | None = Field(default=None, foreign_key="app_user.id")
    note: str | None = Field(default=None, max_length=500)
    created_at: datetime = timestamp()
    updated_at: datetime = timestamp()


class CardPaymentRow(SQLModel, table=True):
    """
    A card payment, as the gateway last described it.

    What the customer's browser pays with is in a table of its own, ``card_secret``, which the API
    alone may read.
    """

    __tablename__ = "card_payment"

    purchase_id: str = Field(primary_key=True, foreign_key="purchase.id")
    intent_id: str | None = Field(default=None, unique=True)
    status: str
    received_minor: int = minor_units(default=0)
    refunded_minor: int = minor_units(default=0)
    disputed_minor: int = minor_units(default=0)
    paid_at: datetime | None = timestamp(nullable=True)
    is_late: bool | None = None
    """Decided when it was first seen to be paid."""
    is_converted: bool | None = None
    """Likewise; what is not is given back."""
    rate_numerator: int | None = minor_units(nullable=True)
    rate_denominator: int | None = minor_units(nullable=True)
    asked: int = 0
    """Counts how often the gateway was asked; an answer to an older question is dropped."""
    answered: int = 0
    created_at: datetime = timestamp()
    updated_at: datetime = timestamp()


class CardSecret(SQLModel, table=True):
    """What a customer's browser pays an intent with; forgotten when the purchase ends."""

    __tablename__ = "card_secret"

    purchase_id: str = Field(primary_key=True, foreign_key="purchase.id")
    client_secret: str


class GatewayEvent(SQLModel, table=True):
    """An event that the gateway sent, once however often it did."""

    __tablename__ = "gateway_event"

    id: str = Field(primary_key=True)
    kind: str
    object_id: str
    received_at: datetime = timestamp()
    handled_at: datetime | None = timestamp(nullable=True)
    purchase_id: str | None = Field(default=None, foreign_key="purchase.id")

    __table_args__ = (
        Index("gateway_event_open", "received_at", postgresql_where=text("handled_at IS NULL")),
    )


class GatewayCursor(SQLModel, table=True):
    """Up to where a gateway's own list of events was read."""

    __tablename__ = "gateway_cursor"

    gateway: str = Field(primary_key=True)
    seen_until: datetime = timestamp()
    """By the gateway's clock: when the newest event that we know of happened."""
