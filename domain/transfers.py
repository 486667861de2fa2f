"""Sending between users: handles, transfers and money requests. Plain values and their rules."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import override

from domain.errors import InvalidHandleError

HANDLE_PATTERN = r"^[A-Za-z0-9_]{3,30}$"
"""ASCII only: letters of other alphabets that look alike would be other people's handles."""

HANDLE_COOLDOWN = timedelta(days=30)
"""A handle is kept at least this long before its user may choose another."""

HANDLE_KEPT = timedelta(days=365)
"""A handle that was given up goes to nobody else for this long, so that no money goes astray."""

REQUEST_LIFETIME, REQUEST_LIFETIME_MAX = timedelta(days=7), timedelta(days=90)
"""How long a money request can be paid: unless it says otherwise, and at most."""

NOTE_LENGTH_MAX = 200
"""Of a transfer's or money request's note, in characters."""

RESERVED_HANDLES = frozenset(
    {
        "abuse", "account", "admin", "administrator", "all", "anonymous", "api", "audit", "auditor",
        "bank", "billing", "bot", "compliance", "contact", "customer", "deposit", "everybody",
        "everyone", "fees", "help", "helpdesk", "here", "info", "kyc", "legal", "mail", "moderator",
        "nobody", "noreply", "null", "official", "operator", "owner", "payment", "payments",
        "payout", "payouts", "postmaster", "refund", "refunds", "root", "security", "service",
        "staff", "strongroom", "support", "system", "team", "test", "treasury", "undefined",
        "unknown", "user", "users", "verified", "verify", "wallet", "webmaster",
    }
)  # fmt: skip
"""Words that would make a stranger look like the house."""

_HANDLE = re.compile(HANDLE_PATTERN, re.ASCII)
_ID_LIKE = re.compile(r"[a-z]{3}_[0-9a-z]{26}", re.ASCII)


class TransferStatus(StrEnum):
    """Where a transfer stands: it exists only once it is done."""

    COMPLETED = "completed"


class MoneyRequestStatus(StrEnum):
    """Where a money request stands."""

    OPEN = "open"
    PAID = "paid"
    """One transfer fulfilled it. Final, as are all that follow."""
    DECLINED = "declined"
    """Whoever was asked said no."""
    CANCELLED = "cancelled"
    """Whoever asked took it back."""
    EXPIRED = "expired"
    """Its time is over; never stored, it follows from the clock."""


@dataclass(frozen=True, slots=True)
class Recipient:
    """Whom to pay: a user by id, or by handle in its one spelling; exactly one is given."""

    user_id: str | None = None
    handle: str | None = None

    @override
    def __str__(self) -> str:
        """Return the form that people and links use."""
        return f"@{self.handle}" if self.handle is not None else str(self.user_id)


@dataclass(frozen=True, slots=True)
class TransferRequest:
    """
    A transfer as it was asked for.

    What a money request says may be left out: ``recipient``, ``asset`` and a fixed amount.
    """

    transfer_id: str
    user_id: str
    principal: str
    idempotency_key: str
    request_hash: str
    recipient: Recipient | None
    asset: str | None
    amount_minor: int | None
    note: str | None = None
    money_request_id: str | None = None


@dataclass(frozen=True, slots=True)
class MoneyRequestTerms:
    """What somebody asks for; without a payer whoever has the link may pay, once."""

    user_id: str
    principal: str
    idempotency_key: str
    request_hash: str
    payer: Recipient | None
    asset: str
    amount_minor: int | None
    note: str | None
    lifetime: timedelta


def canonical_handle(text: str) -> str:
    """
    Return the handle in the one spelling that is compared: lower case.

    Raises:
        InvalidHandleError: Not 3 to 30 ASCII letters, digits or underscores.
    """
    if not _HANDLE.fullmatch(text):
        raise InvalidHandleError
    return text.lower()


def claimable_handle(text: str) -> str:
    """
    Return the canonical handle that a user may choose.

    Raises:
        InvalidHandleError: Malformed, reserved (underscores do not hide that), or like an id.
    """
    handle = canonical_handle(text)
    bare = handle.replace("_", "")
    if bare in RESERVED_HANDLES or not bare or _ID_LIKE.fullmatch(handle):
        msg = "This handle is reserved."
        raise InvalidHandleError(msg)
    return handle


def masked_name(email: str) -> str:
    """Return as much of a user's email as helps a sender who knows them, and no more."""
    return f"{email[:1]}***"


def present_status(status: str, *, expires_at: datetime, now: datetime) -> MoneyRequestStatus:
    """Return where a money request stands now: an open one may have run out."""
    stored = MoneyRequestStatus(status)
    is_over = stored is MoneyRequestStatus.OPEN and expires_at <= now
    return MoneyRequestStatus.EXPIRED if is_over else stored
