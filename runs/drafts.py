"""Discarding drafts: whoever uploaded one does so, and time does. Nothing is held for a draft."""

from datetime import timedelta

from sqlalchemy import delete
from sqlalchemy.exc import DBAPIError
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.clock import Clock
from domain.errors import PayoutRunStateError
from domain.runs import RunStatus
from infra.database import Database
from models.runs import PayoutRun, PayoutRunLine

GUARDED = "SR009"
"""SQLSTATE of the guards over started runs; see the migrations."""


async def discard(session: AsyncSession, run: PayoutRun) -> None:
    """
    Delete a draft with its lines.

    Raises:
        PayoutRunStateError: It was started; the unit of work is lost.
    """
    msg = "The run was started; it can be cancelled, not discarded."
    if run.status != RunStatus.DRAFT:
        raise PayoutRunStateError(msg)
    try:
        await session.execute(delete(PayoutRunLine).where(col(PayoutRunLine.run_id) == run.id))
        await session.execute(delete(PayoutRun).where(col(PayoutRun.id) == run.id))
    except DBAPIError as error:
        # It was started between the look at it and this.
        if getattr(error.orig, "sqlstate", None) == GUARDED:
            raise PayoutRunStateError(msg) from error
        raise


async def discard_old(database: Database, clock: Clock, *, kept_for: timedelta) -> int:
    """
    Delete every draft that was uploaded so long ago, each in its own unit of work; return how many.

    One that is being started right now is spared.
    """
    async with database.transaction() as session:
        found = await session.exec(
            select(PayoutRun).where(
                PayoutRun.status == RunStatus.DRAFT,
                PayoutRun.created_at < clock.now() - kept_for,
                col(PayoutRun.waiting_for).is_(None),
            )
        )
        old = found.all()
    discarded = 0
    for run in old:
        try:
            async with database.transaction() as session:
                await discard(session, run)
            discarded += 1
        except PayoutRunStateError:
            continue
    return discarded
