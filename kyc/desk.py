"""
``domain.kyc.KycDesk``: each step of an application is one unit of work on the database.

A step locks the user's level first and the application after it, so that no two steps of one user
deadlock. A workflow may repeat any of them.
"""

from datetime import datetime

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.clock import Clock
from domain.errors import KycApplicationNotFoundError, KycApplicationStateError
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
    LevelCause,
    expiry_of,
)
from infra.database import Database
from kyc.decisions import check_admin, documents_of, record
from kyc.history import move, tell, tell_reviewers
from kyc.levels import granting, locked_level, set_level
from models.identity import Role
from models.kyc import KycApplication, KycDecision, KycDocument, KycLevel

_DEFAULT_TERMS = KycTerms()


class PostgresKycDesk:
    """Takes applications through their review, and levels away when they lose their ground."""

    def __init__(
        self, database: Database, clock: Clock, *, terms: KycTerms = _DEFAULT_TERMS
    ) -> None:
        """Take the database as the worker's role, and how long people may take."""
        self._database = database
        self._clock = clock
        self._terms = terms

    async def advance(self, application_id: str) -> KycStanding:
        """Do what is due: open the review, remind, expire, lapse; say where it stands."""
        async with self._database.transaction() as session:
            application, level = await self._locked(session, application_id)
            match application.status:
                case KycStatus.SUBMITTED:
                    await self._open_review(session, application)
                case KycStatus.IN_REVIEW | KycStatus.INFORMATION_REQUESTED:
                    await self._settle_open(session, application)
                case KycStatus.APPROVED:
                    await self._settle_approved(session, application, level)
                case _:
                    pass
            return _standing(application, level)

    async def _open_review(self, session: AsyncSession, application: KycApplication) -> None:
        now = self._clock.now()
        application.expires_at = now + self._terms.review_within
        application.remind_at = now + self._terms.remind_every
        await move(session, application, KycStatus.IN_REVIEW, clock=self._clock)
        await tell_reviewers(session, application, "kyc_review.requested")

    async def _settle_open(self, session: AsyncSession, application: KycApplication) -> None:
        now = self._clock.now()
        if application.expires_at is not None and now >= application.expires_at:
            is_review = application.status == KycStatus.IN_REVIEW
            why = "Nobody decided in time." if is_review else "The documents did not come in time."
            await self._end(session, application, KycStatus.EXPIRED, detail=why)
        elif application.remind_at is not None and now >= application.remind_at:
            application.remind_at = now + self._terms.remind_every
            if application.status == KycStatus.IN_REVIEW:
                await tell_reviewers(session, application, "kyc_review.reminded")
            else:
                await tell(session, application, "kyc_application.reminded")

    async def _settle_approved(
        self, session: AsyncSession, application: KycApplication, level: KycLevel
    ) -> None:
        now, expiry = self._clock.now(), application.documents_expire_at
        if expiry is not None and now >= expiry:
            await self._lapse(session, application, level)
        elif application.remind_at is not None and now >= application.remind_at:
            application.remind_at = None
            await tell(session, application, "kyc_application.lapsing")

    async def _lapse(
        self, session: AsyncSession, application: KycApplication, level: KycLevel
    ) -> None:
        why = "A document has expired."
        await self._end(session, application, KycStatus.LAPSED, detail=why)
        if level.application_id != application.id:
            return
        others = await granting(session, application.user_id, at=self._clock.now())
        best = others[0] if others else None
        await set_level(
            session,
            level,
            (best.granted_level or 0) if best else 0,
            rests_on=best,
            cause=LevelCause.LAPSED,
            because_of=application,
            clock=self._clock,
        )

    async def decide(self, decision: KycDecisionRequest) -> KycStanding:
        """Record a reviewer's decision and act on it; see ``domain.kyc.KycDesk``."""
        async with self._database.transaction() as session:
            application, level = await self._locked(session, decision.application_id)
            if await session.get(KycDecision, decision.decision_id) is None:
                await check_admin(session, application, decision.reviewer_id, needs=Role.APPROVER)
                if application.status == KycStatus.SUBMITTED:
                    await self._open_review(session, application)
                self._check_reviewable(application, decision.revision)
                row = await record(
                    session,
                    application,
                    decision_id=decision.decision_id,
                    admin_id=decision.reviewer_id,
                    kind=decision.kind,
                    level=application.level,
                    second_factor=decision.second_factor,
                    note=decision.note,
                    clock=self._clock,
                )
                await self._act(session, application, level, row)
            return _standing(application, level)

    def _check_reviewable(self, application: KycApplication, revision: int) -> None:
        if application.status not in REVIEWED_STATUSES:
            msg = f"The application is {application.status}; there is nothing to decide."
            raise KycApplicationStateError(msg)
        if application.revision != revision:
            msg = "More documents have been handed in since; look at the application again."
            raise KycApplicationStateError(msg)
        if application.expires_at is not None and self._clock.now() >= application.expires_at:
            msg = "The application has expired; nobody decided in time."
            raise KycApplicationStateError(msg)

    async def _act(
        self, session: AsyncSession, application: KycApplication, level: KycLevel, row: KycDecision
    ) -> None:
        application.note = row.note
        match row.decision:
            case KycDecisionKind.APPROVE:
                await self._grant(session, application, level, row)
            case KycDecisionKind.REJECT:
                await self._end(session, application, KycStatus.REJECTED, detail=row.note)
            case _:
                now = self._clock.now()
                application.expires_at = now + self._terms.inform_within
                application.remind_at = now + self._terms.remind_every
                status = KycStatus.INFORMATION_REQUESTED
                await move(session, application, status, clock=self._clock, detail=row.note)

    async def _grant(
        self, session: AsyncSession, application: KycApplication, level: KycLevel, row: KycDecision
    ) -> None:
        now = self._clock.now()
        expiry = expiry_of(await documents_of(session, application))
        if expiry is not None and expiry <= now:
            msg = "A document has expired meanwhile; ask for another one."
            raise KycApplicationStateError(msg)
        application.granted_level = application.level
        application.documents_expire_at, application.expires_at = expiry, None
        notice_at = None if expiry is None else expiry - self._terms.notice_before
        application.remind_at = notice_at if notice_at is not None and notice_at > now else None
        await move(session, application, KycStatus.APPROVED, clock=self._clock, detail=row.note)
        if level.level <= application.level:
            await set_level(
                session,
                level,
                application.level,
                rests_on=application,
                cause=LevelCause.APPROVED,
                because_of=application,
                decision_id=row.id,
                clock=self._clock,
            )

    async def supply(self, supply: KycSupply) -> KycStanding:
        """Take the documents of this revision in, and have it reviewed again."""
        async with self._database.transaction() as session:
            application, level = await self._locked(session, supply.application_id)
            if application.revision < supply.revision:
                if application.status != KycStatus.INFORMATION_REQUESTED:
                    msg = f"The application is {application.status}; nothing more is asked for."
                    raise KycApplicationStateError(msg)
                await _check_stored(session, supply)
                application.revision = supply.revision
                await self._open_review(session, application)
            return _standing(application, level)

    async def withdraw(self, application_id: str) -> KycStanding:
        """Take an open application back."""
        async with self._database.transaction() as session:
            application, level = await self._locked(session, application_id)
            if application.status != KycStatus.WITHDRAWN:
                if application.status not in OPEN_STATUSES:
                    msg = f"An application that is {application.status} cannot be withdrawn."
                    raise KycApplicationStateError(msg)
                await self._end(session, application, KycStatus.WITHDRAWN)
            return _standing(application, level)

    async def downgrade(self, request: KycDowngradeRequest) -> KycStanding:
        """Lower the user's level, and what every application of theirs grants."""
        async with self._database.transaction() as session:
            application, level = await self._locked(session, request.application_id)
            if await session.get(KycDecision, request.decision_id) is None:
                await check_admin(session, application, request.owner_id, needs=Role.OWNER)
                if level.application_id != application.id or level.level <= request.level:
                    msg = f"The user's level is {level.level}; that is not above {request.level}."
                    raise KycApplicationStateError(msg)
                row = await record(
                    session,
                    application,
                    decision_id=request.decision_id,
                    admin_id=request.owner_id,
                    kind=KycDecisionKind.DOWNGRADE,
                    level=request.level,
                    second_factor=request.second_factor,
                    note=request.reason,
                    clock=self._clock,
                )
                await self._lower(session, application, level, row)
            return _standing(application, level)

    async def _lower(
        self, session: AsyncSession, application: KycApplication, level: KycLevel, row: KycDecision
    ) -> None:
        for granted in await granting(session, application.user_id, at=self._clock.now()):
            if (granted.granted_level or 0) > row.level:
                granted.granted_level = row.level
                if row.level == 0:
                    await self._end(session, granted, KycStatus.REVOKED, detail=row.note)
                session.add(granted)
        await set_level(
            session,
            level,
            row.level,
            rests_on=application,
            cause=LevelCause.DOWNGRADED,
            because_of=application,
            decision_id=row.id,
            clock=self._clock,
        )

    async def _end(
        self,
        session: AsyncSession,
        application: KycApplication,
        status: KycStatus,
        *,
        detail: str | None = None,
    ) -> None:
        application.expires_at = application.remind_at = None
        await move(session, application, status, clock=self._clock, detail=detail)

    async def _locked(
        self, session: AsyncSession, application_id: str
    ) -> tuple[KycApplication, KycLevel]:
        found = await session.exec(
            select(KycApplication.user_id).where(KycApplication.id == application_id)
        )
        user_id = found.first()
        if user_id is None:
            raise KycApplicationNotFoundError
        level = await locked_level(session, user_id, at=self._clock.now())
        return await session.get_one(KycApplication, application_id, with_for_update=True), level


async def _check_stored(session: AsyncSession, supply: KycSupply) -> None:
    application = await session.get_one(KycApplication, supply.application_id)
    found = await session.exec(
        select(KycDocument.number).where(
            KycDocument.application_id == supply.application_id,
            col(KycDocument.revision) == supply.revision,
        )
    )
    if application.revision + 1 != supply.revision or not found.all():
        msg = "No documents were handed in under this revision."
        raise KycApplicationStateError(msg)


def _standing(application: KycApplication, level: KycLevel) -> KycStanding:
    next_at, next_is = _due(application)
    return KycStanding(
        application_id=application.id,
        status=KycStatus(application.status),
        revision=application.revision,
        level=level.level,
        next_at=next_at,
        next_is=next_is,
    )


def _due(application: KycApplication) -> tuple[datetime | None, str]:
    """Return what comes next, and when."""
    if application.status == KycStatus.APPROVED:
        if application.remind_at is not None:
            return application.remind_at, "tell the user that a document is going to expire"
        return application.documents_expire_at, "a document expires"
    if application.status not in OPEN_STATUSES:
        return None, ""
    moments = [(application.remind_at, "remind"), (application.expires_at, "expire")]
    due = [(at, what) for at, what in moments if at is not None]
    return min(due) if due else (None, "")
