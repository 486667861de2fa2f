"""Which processes are alive, as they say themselves in the database."""

import asyncio
import contextlib
import os
import socket
from datetime import datetime, timedelta

from sqlalchemy import func
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.clock import Clock
from domain.errors import DatabaseUnavailableError
from infra.database import Database
from models.chain_transactions import ProcessHeartbeat

HEARTBEAT_INTERVAL = timedelta(seconds=5)


async def beat(database: Database, role: str, clock: Clock) -> None:
    """Say that this process is alive, again and again, whether or not the database listens."""
    instance = f"{socket.gethostname()}:{os.getpid()}"
    started_at = clock.now()
    while True:
        with contextlib.suppress(DatabaseUnavailableError):
            async with database.transaction() as session:
                seen = {"seen_at": clock.now()}
                row = insert(ProcessHeartbeat).values(
                    role=role, instance=instance, started_at=started_at, **seen
                )
                await session.execute(
                    row.on_conflict_do_update(index_elements=["role", "instance"], set_=seen)
                )
        await asyncio.sleep(HEARTBEAT_INTERVAL.total_seconds())


async def last_seen(session: AsyncSession) -> dict[str, datetime]:
    """Return when each role's most recent process was last heard of."""
    found = await session.exec(
        select(ProcessHeartbeat.role, func.max(col(ProcessHeartbeat.seen_at))).group_by(
            ProcessHeartbeat.role
        )
    )
    return dict(found.all())
