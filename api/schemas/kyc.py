"""KYC as the API speaks of it."""

from datetime import date, datetime
from typing import Annotated

from pydantic import Field

from api.schemas.base import Answer, StrictModel, UserIdText, id_pattern
from api.schemas.limits import LimitStandingView
from domain.ids import KYC_APPLICATION
from domain.kyc import DocumentKind, KycDecisionKind, KycStanding, KycStatus, LevelCause
from domain.limits import LEVEL_MAX
from kyc.applications import DOCUMENTS_MAX, HandedIn, PersonalDetails
from models.kyc import (
    KycApplication,
    KycApplicationEvent,
    KycDecision,
    KycLevelChange,
)

ApplicationIdText = Annotated[
    str,
    Field(pattern=id_pattern(KYC_APPLICATION), examples=["kya_01JD3ZQ6V9K3E8M5T2R7W4X1YB"]),
]
CountryText = Annotated[
    str, Field(pattern=r"^[A-Z]{2}$", description="ISO 3166-1 alpha-2.", examples=["CH"])
]
LAST_DAY = date(2999, 12, 31)
"""Python's dates end with the year 9999, and so do sums of them."""
NoteText = Annotated[str, Field(min_length=1, max_length=500)]


class DocumentBody(StrictModel):
    """What is known of a document; the file itself stays with whoever took it."""

    kind: DocumentKind
    file_name: str = Field(min_length=1, max_length=255, examples=["passport.pdf"])
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="Of the file, hex.")
    size_bytes: int = Field(ge=1, le=2**40, strict=True)
    issued_country: CountryText
    expires_on: date | None = Field(
        default=None, le=LAST_DAY, description="Its last day, UTC; null: it does not expire."
    )

    def handed_in(self) -> HandedIn:
        """Return it as the services know it."""
        return HandedIn(**self.model_dump())


class ApplicationBody(StrictModel):
    """A request for a level."""

    level: int = Field(ge=1, le=LEVEL_MAX, strict=True)
    full_name: str = Field(min_length=1, max_length=200)
    born_on: date
    residence_country: CountryText
    documents: list[DocumentBody] = Field(min_length=1, max_length=DOCUMENTS_MAX)

    def details(self) -> PersonalDetails:
        """Return who the applicant says they are."""
        return PersonalDetails(self.full_name, self.born_on, self.residence_country)


class DocumentsBody(StrictModel):
    """What a reviewer asked for."""

    documents: list[DocumentBody] = Field(min_length=1, max_length=DOCUMENTS_MAX)


class KycApprovalBody(StrictModel):
    """What a reviewer adds to their approval."""

    revision: int = Field(
        ge=1, strict=True, description="Of the application as the reviewer has seen it."
    )
    note: NoteText | None = Field(default=None, description="For the applicant.")


class KycAnswerBody(StrictModel):
    """What a reviewer says to the applicant."""

    revision: int = Field(
        ge=1, strict=True, description="Of the application as the reviewer has seen it."
    )
    note: NoteText = Field(examples=["Please hand in a proof of address of this year."])


class DowngradeBody(StrictModel):
    """How far a level is lowered, and why."""

    level: int = Field(ge=0, lt=LEVEL_MAX, strict=True, description="What remains.")
    reason: NoteText


class KycView(Answer):
    """The caller's level, and what they may still do."""

    level: int
    since: datetime | None = Field(description="Null for whoever never had one.")
    open_application: ApplicationIdText | None
    limits: list[LimitStandingView]


class ApplicationView(Answer):
    """An application, without what is personal in it."""

    id: ApplicationIdText
    user_id: UserIdText
    level: int = Field(description="What is asked for.")
    status: KycStatus
    revision: int = Field(description="How often documents were handed in.")
    granted_level: int | None = Field(description="What it grants since it was approved.")
    note: str | None = Field(description="What a reviewer said to the applicant.")
    expires_at: datetime | None = Field(
        description="When it expires if nobody decides, or the applicant does not answer."
    )
    documents_expire_at: datetime | None = Field(
        description="Of an approved one: when the first of its documents has expired."
    )
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, row: KycApplication) -> "ApplicationView":
        """Return an application as lists show it."""
        return cls(**{name: getattr(row, name) for name in ApplicationView.model_fields})


class DocumentView(Answer):
    """A document's metadata."""

    kind: DocumentKind
    file_name: str
    sha256: str
    size_bytes: int
    issued_country: str
    expires_on: date | None
    revision: int

    @classmethod
    def of(cls, document: HandedIn, revision: int) -> "DocumentView":
        """Return a document as the API shows it."""
        return cls(
            kind=document.kind,
            file_name=document.file_name,
            sha256=document.sha256,
            size_bytes=document.size_bytes,
            issued_country=document.issued_country,
            expires_on=document.expires_on,
            revision=revision,
        )


class ApplicationEventView(Answer):
    """A line of an application's history."""

    status: KycStatus
    detail: str | None
    at: datetime

    @classmethod
    def of(cls, row: KycApplicationEvent) -> "ApplicationEventView":
        """Return a line as the API shows it."""
        return cls(status=KycStatus(row.status), detail=row.detail, at=row.at)


class KycDecisionView(Answer):
    """What an admin decided."""

    id: str
    admin_id: UserIdText
    decision: KycDecisionKind
    revision: int
    level: int
    note: str | None
    decided_at: datetime

    @classmethod
    def of(cls, row: KycDecision) -> "KycDecisionView":
        """Return a decision as reviewers see it."""
        return cls(**{name: getattr(row, name) for name in KycDecisionView.model_fields})


class ApplicationDetailView(ApplicationView):
    """An application with all that its applicant and its reviewers may see."""

    full_name: str
    born_on: date
    residence_country: str
    documents: list[DocumentView]
    history: list[ApplicationEventView]
    decisions: list[KycDecisionView] | None = Field(description="Shown to reviewers alone.")


class StandingView(Answer):
    """Where an application stands after what was done to it."""

    application_id: ApplicationIdText
    status: KycStatus
    revision: int
    level: int = Field(description="The user's level now.")

    @classmethod
    def of(cls, standing: KycStanding) -> "StandingView":
        """Return a standing as the API shows it."""
        return cls(
            application_id=standing.application_id,
            status=standing.status,
            revision=standing.revision,
            level=standing.level,
        )


class LevelChangeView(Answer):
    """A line of a level's history."""

    level_before: int
    level_after: int
    cause: LevelCause
    application_id: ApplicationIdText
    at: datetime

    @classmethod
    def of(cls, row: KycLevelChange) -> "LevelChangeView":
        """Return a line as the API shows it."""
        return cls(**{name: getattr(row, name) for name in LevelChangeView.model_fields})


class UserLevelView(Answer):
    """A user's level with its history, as reviewers see it."""

    user_id: UserIdText
    level: int
    since: datetime | None
    application_id: ApplicationIdText | None = Field(description="What the level rests on.")
    history: list[LevelChangeView]
    limits: list[LimitStandingView]
