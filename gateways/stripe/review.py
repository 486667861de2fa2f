"""
What the gateway lists and no webhook brought.

The inbox is the queue: what is listed is put there beside what webhooks bring, and whatever stays
unhandled for a while is handled, for whichever reason it stayed.
"""

from collections.abc import Sequence
from datetime import timedelta
from itertools import batched

from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.clock import Clock
from domain.gateway_ports import CardGateway, GatewayNews
from domain.purchases import STRIPE
from infra.database import Database
from models.purchases import GatewayCursor, GatewayEvent

OVERLAP = timedelta(hours=1)
"""Read again each time: whoever lists events may list one late."""

ROWS_AT_ONCE = 1_000
HANDLED_AT_ONCE = 200


class PostgresCardReview:
    """``domain.gateway_ports.CardReview`` on PostgreSQL and a gateway."""

    def __init__(
        self, database: Database, gateway: CardGateway | None, clock: Clock, *, grace: timedelta
    ) -> None:
        """Take the database as the worker's role, and how long an event is left to its webhook."""
        self._database = database
        self._gateway = gateway
        self._clock = clock
        self._grace = grace

    async def missed(self) -> Sequence[str]:
        """Put what is listed into the inbox; return what nobody has handled for a while."""
        if self._gateway is None:
            return ()
        async with self._database.transaction() as session:
            cursor = await session.get(GatewayCursor, STRIPE)
        since = None if cursor is None else cursor.seen_until - OVERLAP
        news = await self._gateway.news(since)
        for some in batched(news, ROWS_AT_ONCE):
            async with self._database.transaction() as session:
                await self._keep(session, some)
        async with self._database.transaction() as session:
            # Last: whoever dies before this reads the same list again.
            await _advance(session, news)
            return await self._unhandled(session)

    async def _keep(self, session: AsyncSession, news: Sequence[GatewayNews]) -> None:
        now = self._clock.now()
        rows = [
            {"id": e.event_id, "kind": e.kind, "object_id": e.object_id, "received_at": now}
            for e in news
        ]
        await session.execute(insert(GatewayEvent).values(rows).on_conflict_do_nothing())

    async def _unhandled(self, session: AsyncSession) -> Sequence[str]:
        found = await session.exec(
            select(GatewayEvent.id)
            .where(
                col(GatewayEvent.handled_at).is_(None),
                col(GatewayEvent.received_at) <= self._clock.now() - self._grace,
            )
            .order_by(col(GatewayEvent.received_at), col(GatewayEvent.id))
            .limit(HANDLED_AT_ONCE)
        )
        return found.all()


async def _advance(session: AsyncSession, news: Sequence[GatewayNews]) -> None:
    """Move the cursor to the newest event, and never back."""
    if not news:
        return
    until = max(event.at for event in news)
    row = insert(GatewayCursor).values(gateway=STRIPE, seen_until=until)
    await session.execute(
        row.on_conflict_do_update(
            index_elements=["gateway"],
            set_={"seen_until": until},
            where=col(GatewayCursor.seen_until) < until,
        )
    )
