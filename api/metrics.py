"""Prometheus metrics: requests as they are served, and the business as the database knows it."""

import time
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from sqlalchemy import func
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.schemas.chains import lag_blocks
from api.unit_metrics import unit_metrics
from deposits import queries as deposit_queries
from domain.clock import Clock
from domain.payouts import OPEN_STATUSES
from ledger import chart
from models.chain_transactions import (
    UNCLEAR_RECEIPT,
    ChainBatch,
    ChainHead,
    ChainTransaction,
    ChainTransactionStatus,
)
from models.ledger import LedgerAccount
from models.mixing import Mixer
from models.payouts import Payout
from models.wallets import Chain
from payouts.liveness import last_seen
from payouts.queries import count_by_status

REQUESTS: Final = Counter(
    "strongroom_http_requests", "Requests served", ("method", "route", "status")
)
LATENCY: Final = Histogram(
    "strongroom_http_request_duration_seconds", "Time to answer", ("method", "route")
)


class RequestMetrics:
    """Counts and times each request under its route's template, never under what a caller typed."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap the application."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 500

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            route = getattr(scope.get("route"), "path", "unmatched")
            REQUESTS.labels(scope["method"], route, status).inc()
            LATENCY.labels(scope["method"], route).observe(time.perf_counter() - began)


async def business_metrics(session: AsyncSession, clock: Clock) -> CollectorRegistry:
    """Return gauges of money, chains, processes and the units, read now."""
    registry = CollectorRegistry()
    payouts = Gauge("strongroom_payouts", "Payouts by status", ("status",), registry=registry)
    for status, count in (await count_by_status(session)).items():
        payouts.labels(status).set(count)
    oldest = Gauge(
        "strongroom_oldest_open_payout_seconds",
        "Age of the oldest payout that holds money",
        registry=registry,
    )
    began = await session.exec(
        select(func.min(col(Payout.created_at))).where(col(Payout.status).in_(OPEN_STATUSES))
    )
    first: datetime | None = began.one()
    oldest.set(0 if first is None else (clock.now() - first).total_seconds())
    waiting = Gauge(
        "strongroom_batches_waiting", "Batches held up, by reason", ("code",), registry=registry
    )
    reasons = await session.exec(
        select(ChainBatch.waiting_for, func.count())
        .where(col(ChainBatch.waiting_for).is_not(None))
        .group_by(ChainBatch.waiting_for)
    )
    for code, count in reasons:
        waiting.labels(code).set(count)
    await _deposits(session, registry)
    await _chains(session, clock, registry)
    await _state_of_the_world(session, clock, registry)
    await unit_metrics(session, clock, registry)
    await _mixers(session, clock, registry)
    return registry


async def _deposits(session: AsyncSession, registry: CollectorRegistry) -> None:
    deposits = Gauge("strongroom_deposits", "Deposits by status", ("status",), registry=registry)
    for status, count in (await deposit_queries.count_by_status(session)).items():
        deposits.labels(status).set(count)
    frozen = Gauge(
        "strongroom_frozen_users", "Users whose deposit was taken back", registry=registry
    )
    frozen.set(await deposit_queries.count_frozen(session))


async def _chains(session: AsyncSession, clock: Clock, registry: CollectorRegistry) -> None:
    height = Gauge("strongroom_chain_height", "Last block read", ("chain",), registry=registry)
    age = Gauge(
        "strongroom_chain_seen_seconds", "Since the chain was read", ("chain",), registry=registry
    )
    lag = Gauge("strongroom_chain_lag_blocks", "Blocks not read yet", ("chain",), registry=registry)
    reorg = Gauge(
        "strongroom_chain_reorg_depth", "Blocks of the last reorg", ("chain",), registry=registry
    )
    unclear = Gauge(
        "strongroom_unclear_receipts",
        "Mined transactions of which nobody can tell what they did",
        ("chain",),
        registry=registry,
    )
    for chain_id, count in await _unclear_receipts(session):
        unclear.labels(chain_id).set(count)
    for head in await session.exec(select(ChainHead)):
        height.labels(head.chain_id).set(head.height)
        age.labels(head.chain_id).set((clock.now() - head.seen_at).total_seconds())
        reorg.labels(head.chain_id).set(head.reorg_depth or 0)
        if (behind := lag_blocks(head)) is not None:
            lag.labels(head.chain_id).set(behind)


async def _unclear_receipts(session: AsyncSession) -> Sequence[tuple[str, int]]:
    row = ChainTransaction
    found = await session.exec(
        select(Chain.id, func.count(col(row.id)))
        .outerjoin(
            row,
            (col(row.chain_id) == col(Chain.id))
            & (col(row.status) == ChainTransactionStatus.MINED)
            & (col(row.reason_code) == UNCLEAR_RECEIPT),
        )
        .group_by(col(Chain.id))
    )
    return found.all()


async def _mixers(session: AsyncSession, clock: Clock, registry: CollectorRegistry) -> None:
    imbalance = Gauge(
        "strongroom_mixer_imbalance_minor",
        "By how much a mixer's house is off",
        ("mixer", "asset"),
        registry=registry,
    )
    age = Gauge(
        "strongroom_mixer_check_age_seconds",
        "Since a mixer's books were compared",
        ("mixer",),
        registry=registry,
    )
    for mixer in await session.exec(select(Mixer)):
        imbalance.labels(mixer.id, mixer.asset).set(mixer.imbalance_minor)
        # One that was never compared counts from its making.
        checked_at = mixer.checked_at or mixer.created_at
        age.labels(mixer.id).set((clock.now() - checked_at).total_seconds())


async def _state_of_the_world(
    session: AsyncSession, clock: Clock, registry: CollectorRegistry
) -> None:
    silence = Gauge(
        "strongroom_process_silence_seconds", "Since a process beat", ("role",), registry=registry
    )
    for role, seen_at in (await last_seen(session)).items():
        silence.labels(role).set((clock.now() - seen_at).total_seconds())
    suspense = Gauge(
        "strongroom_suspense_minor", "Money nobody explained", ("asset",), registry=registry
    )
    found = await session.exec(select(LedgerAccount).where(LedgerAccount.code == chart.SUSPENSE))
    for account in found:
        suspense.labels(account.asset).set(account.balance_minor)
