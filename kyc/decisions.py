"""Who may decide on an application, and what is kept of a decision."""

from collections.abc import Sequence

from sqlalchemy import select as any_select
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.clock import Clock
from domain.errors import OwnRequestError, RoleMissingError
from domain.kyc import DocumentContent, KycDecisionKind, reviewed_hash
from models.identity import Role, User
from models.kyc import KycApplication, KycDecision, KycDocument


async def check_admin(
    session: AsyncSession, application: KycApplication, admin_id: str, *, needs: Role
) -> None:
    """
    Pass for somebody else than the applicant, who has the role now.

    Raises:
        OwnRequestError, RoleMissingError: As named.
    """
    if admin_id == application.user_id:
        msg = "Nobody decides on a level of their own."
        raise OwnRequestError(msg)
    found = await session.exec(select(User.roles, User.disabled_at).where(User.id == admin_id))
    known = found.first()
    if known is None or needs not in known[0] or known[1] is not None:
        msg = f"This needs the role {needs}."
        raise RoleMissingError(msg)


async def documents_of(
    session: AsyncSession, application: KycApplication
) -> Sequence[DocumentContent]:
    """Return what a decision now covers: every document that was handed in by this revision."""
    # By name: the file's name is a column that the worker may not read.
    found = await session.execute(
        any_select(
            col(KycDocument.kind),
            col(KycDocument.sha256),
            col(KycDocument.issued_country),
            col(KycDocument.expires_on),
        )
        .where(
            col(KycDocument.application_id) == application.id,
            col(KycDocument.revision) <= application.revision,
        )
        .order_by(col(KycDocument.number))
    )
    return [DocumentContent(*row) for row in found]


async def record(
    session: AsyncSession,
    application: KycApplication,
    *,
    decision_id: str,
    admin_id: str,
    kind: KycDecisionKind,
    level: int,
    second_factor: str,
    note: str | None,
    clock: Clock,
) -> KycDecision:
    """Store a decision, which enters the hash chain at the commit."""
    row = KycDecision(
        id=decision_id,
        application_id=application.id,
        admin_id=admin_id,
        decision=kind,
        revision=application.revision,
        level=level,
        content_hash=reviewed_hash(
            application_id=application.id,
            user_id=application.user_id,
            level=application.level,
            details_sha256=application.details_sha256,
            documents=await documents_of(session, application),
        ),
        second_factor=second_factor,
        note=note,
        decided_at=clock.now(),
    )
    session.add(row)
    await session.flush()
    return row
