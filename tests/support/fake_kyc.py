"""KYC applications in memory, for tests of workflows."""

from dataclasses import dataclass, field
from datetime import datetime

from domain.errors import (
    KycApplicationNotFoundError,
    KycApplicationStateError,
    OwnRequestError,
    RoleMissingError,
)
from domain.ids import KYC_APPLICATION, new_id
from domain.kyc import (
    OPEN_STATUSES,
    REVIEWED_STATUSES,
    KycDecisionKind,
    KycDecisionRequest,
    KycDowngradeRequest,
    KycStanding,
    KycStatus,
    KycSupply,
    KycTerms,
)
from tests.support.clocks import MovableClock

APPLICANT = "usr_applicant"
REVIEWER = "usr_reviewer"
OWNER = "usr_owner"
STRANGER = "usr_stranger"
TERMS = KycTerms()


@dataclass
class FakeApplication:
    """An application's row, and what its documents say."""

    id: str
    level: int
    documents_expire_at: datetime | None = None
    status: KycStatus = KycStatus.SUBMITTED
    revision: int = 1
    stored_revision: int = 1
    granted_level: int | None = None
    expires_at: datetime | None = None
    remind_at: datetime | None = None
    reminders: int = 0
    decisions: list[str] = field(default_factory=list)


@dataclass
class KycBooks:
    """What one applicant has."""

    clock: MovableClock
    applications: dict[str, FakeApplication] = field(default_factory=dict)
    level: int = 0
    rests_on: str | None = None
    changes: list[int] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)
    """That were taken, repeated ones too."""

    def apply(
        self, level: int = 1, *, documents_expire_at: datetime | None = None
    ) -> FakeApplication:
        """Store an application as the API does."""
        application = FakeApplication(new_id(KYC_APPLICATION), level, documents_expire_at)
        self.applications[application.id] = application
        return application

    def set_level(self, level: int, rests_on: str | None) -> None:
        if level != self.level:
            self.changes.append(level)
        self.level, self.rests_on = level, rests_on if level else None

    def standing(self) -> list[object]:
        """Return what must be the same however often a step was repeated."""
        applications = [
            (a.status, a.revision, a.granted_level, a.reminders, len(a.decisions))
            for a in self.applications.values()
        ]
        return [self.level, self.changes, *applications]


class FakeKycDesk:
    """``domain.kyc.KycDesk``."""

    def __init__(self, books: KycBooks) -> None:
        self._books = books

    async def advance(self, application_id: str) -> KycStanding:
        application = self._known(application_id, "advance")
        match application.status:
            case KycStatus.SUBMITTED:
                self._open(application)
            case KycStatus.IN_REVIEW | KycStatus.INFORMATION_REQUESTED | KycStatus.APPROVED:
                self._settle(application)
            case _:
                pass
        return self._standing(application)

    def _open(self, application: FakeApplication) -> None:
        now = self._books.clock.now()
        application.status = KycStatus.IN_REVIEW
        application.expires_at = now + TERMS.review_within
        application.remind_at = now + TERMS.remind_every

    def _settle(self, application: FakeApplication) -> None:
        now, is_approved = self._books.clock.now(), application.status == KycStatus.APPROVED
        end = application.documents_expire_at if is_approved else application.expires_at
        if end is not None and now >= end:
            self._end(application, KycStatus.LAPSED if is_approved else KycStatus.EXPIRED)
            if is_approved and self._books.rests_on == application.id:
                self._fall_back()
        elif application.remind_at is not None and now >= application.remind_at:
            application.remind_at = None if is_approved else now + TERMS.remind_every
            application.reminders += 1

    def _fall_back(self) -> None:
        granting = [a for a in self._books.applications.values() if a.status == KycStatus.APPROVED]
        best = max(granting, key=lambda a: a.granted_level or 0, default=None)
        if best is None:
            self._books.set_level(0, None)
        else:
            self._books.set_level(best.granted_level or 0, best.id)

    async def decide(self, decision: KycDecisionRequest) -> KycStanding:
        application = self._known(decision.application_id, "decide")
        if decision.decision_id in application.decisions:
            return self._standing(application)
        if decision.reviewer_id == APPLICANT:
            raise OwnRequestError
        if decision.reviewer_id != REVIEWER:
            raise RoleMissingError
        if application.status == KycStatus.SUBMITTED:
            self._open(application)
        is_overdue = application.expires_at and self._books.clock.now() >= application.expires_at
        is_changed = application.revision != decision.revision
        if application.status not in REVIEWED_STATUSES or is_overdue or is_changed:
            raise KycApplicationStateError
        application.decisions.append(decision.decision_id)
        self._act(application, decision.kind)
        return self._standing(application)

    def _act(self, application: FakeApplication, kind: KycDecisionKind) -> None:
        now = self._books.clock.now()
        if kind == KycDecisionKind.REJECT:
            self._end(application, KycStatus.REJECTED)
        elif kind == KycDecisionKind.REQUEST_INFORMATION:
            application.status = KycStatus.INFORMATION_REQUESTED
            application.expires_at = now + TERMS.inform_within
            application.remind_at = now + TERMS.remind_every
        else:
            expiry = application.documents_expire_at
            if expiry is not None and expiry <= now:
                raise KycApplicationStateError
            self._end(application, KycStatus.APPROVED)
            application.granted_level = application.level
            notice_at = expiry and expiry - TERMS.notice_before
            application.remind_at = notice_at if notice_at and notice_at > now else None
            self._books.set_level(application.level, application.id)

    async def supply(self, supply: KycSupply) -> KycStanding:
        application = self._known(supply.application_id, "supply")
        if application.revision < supply.revision:
            is_asked = application.status == KycStatus.INFORMATION_REQUESTED
            if not is_asked or application.stored_revision != supply.revision:
                raise KycApplicationStateError
            application.revision = supply.revision
            self._open(application)
        return self._standing(application)

    async def withdraw(self, application_id: str) -> KycStanding:
        application = self._known(application_id, "withdraw")
        if application.status != KycStatus.WITHDRAWN:
            if application.status not in OPEN_STATUSES:
                raise KycApplicationStateError
            self._end(application, KycStatus.WITHDRAWN)
        return self._standing(application)

    async def downgrade(self, request: KycDowngradeRequest) -> KycStanding:
        application = self._known(request.application_id, "downgrade")
        if request.decision_id in application.decisions:
            return self._standing(application)
        if request.owner_id == APPLICANT:
            raise OwnRequestError
        if request.owner_id != OWNER:
            raise RoleMissingError
        books = self._books
        if books.rests_on != application.id or books.level <= request.level:
            raise KycApplicationStateError
        application.decisions.append(request.decision_id)
        for granting in books.applications.values():
            if (granting.granted_level or 0) > request.level:
                granting.granted_level = request.level
                if request.level == 0 and granting.status == KycStatus.APPROVED:
                    self._end(granting, KycStatus.REVOKED)
        books.set_level(request.level, application.id)
        return self._standing(application)

    def _end(self, application: FakeApplication, status: KycStatus) -> None:
        application.status = status
        application.expires_at = application.remind_at = None

    def _known(self, application_id: str, step: str) -> FakeApplication:
        self._books.steps.append(step)
        if application_id not in self._books.applications:
            raise KycApplicationNotFoundError
        return self._books.applications[application_id]

    def _standing(self, application: FakeApplication) -> KycStanding:
        end = application.expires_at
        if application.status == KycStatus.APPROVED:
            end = application.documents_expire_at
        is_over = application.status not in (*OPEN_STATUSES, KycStatus.APPROVED)
        due = [at for at in (application.remind_at, end) if at is not None and not is_over]
        return KycStanding(
            application_id=application.id,
            status=application.status,
            revision=application.revision,
            level=self._books.level,
            next_at=min(due, default=None),
            next_is="something" if due else "",
        )
