"""What API, workflows and the database say to each other about KYC: values, nothing personal."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from hashlib import sha256
from typing import NamedTuple, Protocol


class KycStatus(StrEnum):
    """Where an application stands."""

    SUBMITTED = "submitted"
    """It is stored; its workflow opens the review at once."""
    IN_REVIEW = "in_review"
    """Reviewers are asked, and reminded."""
    INFORMATION_REQUESTED = "information_requested"
    """A reviewer wants more documents; the applicant is asked."""
    APPROVED = "approved"
    """The level was granted; its documents may still lapse."""
    REJECTED = "rejected"
    """A reviewer said no."""
    WITHDRAWN = "withdrawn"
    """The applicant took it back."""
    EXPIRED = "expired"
    """Nobody decided, or the applicant did not answer, in time."""
    LAPSED = "lapsed"
    """It was approved, and a document of it has expired since."""
    REVOKED = "revoked"
    """It was approved, and an owner took the level away."""


OPEN_STATUSES = (KycStatus.SUBMITTED, KycStatus.IN_REVIEW, KycStatus.INFORMATION_REQUESTED)
"""A user has at most one application in these."""
REVIEWED_STATUSES = (KycStatus.SUBMITTED, KycStatus.IN_REVIEW)
"""A reviewer may decide now."""


class DocumentKind(StrEnum):
    """What a document shows."""

    PASSPORT = "passport"
    ID_CARD = "id_card"
    DRIVING_LICENCE = "driving_licence"
    PROOF_OF_ADDRESS = "proof_of_address"
    SELFIE = "selfie"
    OTHER = "other"


class KycDecisionKind(StrEnum):
    """What an admin said."""

    APPROVE = "approve"
    REJECT = "reject"
    REQUEST_INFORMATION = "request_information"
    DOWNGRADE = "downgrade"


class LevelCause(StrEnum):
    """Why a level changed."""

    APPROVED = "approved"
    DOWNGRADED = "downgraded"
    """By an owner."""
    LAPSED = "lapsed"
    """A document that it rested on has expired."""


@dataclass(frozen=True, slots=True)
class KycTerms:
    """How long people may take."""

    remind_every: timedelta = timedelta(days=1)
    """Reviewers, while an application awaits them; and an applicant who is asked for more."""
    review_within: timedelta = timedelta(days=30)
    inform_within: timedelta = timedelta(days=14)
    notice_before: timedelta = timedelta(days=30)
    """The user is told that a document is going to expire."""


@dataclass(frozen=True)
class KycInput:
    """Which application a workflow is for."""

    application_id: str


@dataclass(frozen=True)
class KycStanding:
    """Where an application stands, and when something is due."""

    application_id: str
    status: KycStatus
    revision: int
    """How often documents were handed in."""
    level: int
    """The level that the user has now."""
    next_at: datetime | None = None
    """When to look again; None: nothing more is expected."""
    next_is: str = ""
    """What is due then, for people."""


@dataclass(frozen=True)
class KycDecisionRequest:
    """A reviewer's word on an application; ``decision_id`` makes a repeat harmless."""

    decision_id: str
    application_id: str
    reviewer_id: str
    kind: KycDecisionKind
    revision: int
    """What the reviewer has seen."""
    second_factor: str
    note: str | None = None
    """For the applicant."""


@dataclass(frozen=True)
class KycDowngradeRequest:
    """An owner takes a level away; ``decision_id`` makes a repeat harmless."""

    decision_id: str
    application_id: str
    """What the level rests on."""
    owner_id: str
    level: int
    """What remains: below the present level."""
    reason: str
    second_factor: str


@dataclass(frozen=True)
class KycSupply:
    """The applicant handed more documents in; they are stored under this revision."""

    application_id: str
    revision: int


class DocumentContent(NamedTuple):
    """What a reviewer approves of a document."""

    kind: str
    sha256: str
    issued_country: str
    expires_on: date | None


def reviewed_hash(
    *,
    application_id: str,
    user_id: str,
    level: int,
    details_sha256: str,
    documents: Sequence[DocumentContent],
) -> str:
    """Return the SHA-256 of what a reviewer decides on, hex; documents in their order."""
    digest = sha256()
    for part in (application_id, user_id, str(level), details_sha256):
        digest.update(part.encode() + b"\x1f")
    for document in documents:
        text = "\x1f".join("" if part is None else str(part) for part in document)
        digest.update(text.encode() + b"\x1e")
    return digest.hexdigest()


def expiry_of(documents: Sequence[DocumentContent]) -> datetime | None:
    """Return when the first of these documents has expired: at the end of its last day, UTC."""
    days = [document.expires_on for document in documents if document.expires_on is not None]
    if not days:
        return None
    return datetime.combine(min(days) + timedelta(days=1), time(), UTC)


class KycDesk(Protocol):
    """The steps of an application; each is one unit of work and may be repeated."""

    async def advance(self, application_id: str) -> KycStanding:
        """Do what is due: open the review, remind, expire, lapse; say where it stands."""
        ...

    async def decide(self, decision: KycDecisionRequest) -> KycStanding:
        """
        Record a reviewer's decision and act on it.

        Raises:
            OwnRequestError, RoleMissingError: The reviewer may not decide on it.
            KycApplicationStateError: Nothing is to be decided, or it has changed since.
        """
        ...

    async def supply(self, supply: KycSupply) -> KycStanding:
        """
        Take the documents of this revision into the application and have it reviewed again.

        Raises:
            KycApplicationStateError: Nothing more was asked for.
        """
        ...

    async def withdraw(self, application_id: str) -> KycStanding:
        """
        Take an open application back.

        Raises:
            KycApplicationStateError: It has been decided on.
        """
        ...

    async def downgrade(self, request: KycDowngradeRequest) -> KycStanding:
        """
        Lower the user's level.

        Raises:
            OwnRequestError, RoleMissingError: The owner may not.
            KycApplicationStateError: The level is not above the one that should remain.
        """
        ...
