"""
Choosing the ready payouts that leave now, each customer in turn.

Choosing takes no locks; those that are chosen are locked after, and whoever has changed or is taken
by somebody else meanwhile is left out. However many wait, about as many rows are read as leave.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Row, any_, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlmodel import String, col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.batching import BatchRules, Waiting, leaving
from domain.clock import Clock
from domain.disperse import AMOUNT_MAX_MINOR
from domain.payouts import PayoutStatus, Priority
from models.chain_transactions import ChainHead
from models.payouts import Payout
from models.wallets import Chain
from payouts.fee_ceilings import is_too_dear

PAYOUTS_MAX = 2_000
"""
Most payouts that one batch takes, in however many chain transactions.

Each step of a batch is one unit of work within seconds; see ``workflows.options.database``.
"""

TURNS_GROWTH = 4
"""So many times more of each customer are looked at where others have too few."""

# Each half of the ready payouts has an index of its own, by customer; see ``models.payouts``.
_CUSTOMERS = """
    WITH RECURSIVE customer AS (
        (SELECT p.user_id FROM payout p
         WHERE p.chain_id = :chain_id AND p.status = 'ready' AND p.priority {half}
         ORDER BY p.user_id LIMIT 1)
        UNION ALL
        SELECT (SELECT p.user_id FROM payout p
                WHERE p.chain_id = :chain_id AND p.status = 'ready' AND p.priority {half}
                  AND p.user_id > c.user_id
                ORDER BY p.user_id LIMIT 1)
        FROM customer c WHERE c.user_id IS NOT NULL
    )
    SELECT c.user_id FROM customer c
    WHERE c.user_id IS NOT NULL
      AND NOT EXISTS (SELECT FROM user_freeze f
                      WHERE f.user_id = c.user_id AND f.lifted_at IS NULL)
"""
_TURNS = """
    SELECT w.*
    FROM unnest(CAST(:customers AS text[])) AS c (user_id)
    CROSS JOIN LATERAL (
        SELECT p.id, p.asset, p.priority, p.amount_minor, p.updated_at, p.is_alone, p.created_at,
               row_number() OVER (ORDER BY p.created_at, p.id) AS turn
        FROM payout p
        WHERE p.chain_id = :chain_id AND p.user_id = c.user_id AND p.status = 'ready'
          AND (p.route = 'payout' OR p.route = 'fund' AND p.pocket_id IS NOT NULL)
          AND p.priority {half} AND p.priority = ANY(:priorities)
          AND coalesce((SELECT s.verdict FROM address_screening s
                        WHERE s.chain_id = p.chain_id AND s.address = p.destination),
                       (SELECT a.verdict FROM screening_answer a
                        WHERE a.chain_id = p.chain_id AND a.address = p.destination),
                       'allow') <> 'deny'
        ORDER BY p.created_at, p.id LIMIT :turns
    ) w
    ORDER BY w.turn, w.created_at, w.id LIMIT :capacity
"""
HALVES = ("= 'urgent'", "<> 'urgent'")
CUSTOMERS = {half: text(_CUSTOMERS.format(half=half)) for half in HALVES}
"""Whose payouts are ready, the frozen left out."""
TURNS = {half: text(_TURNS.format(half=half)) for half in HALVES}
"""The first payout of each customer, the second of each, …; what screening denies left out."""


async def lock_leaving(session: AsyncSession, chain: Chain, *, clock: Clock) -> list[Payout]:
    """Return the payouts that leave now, locked, in the order of their turns."""
    rules = rules_of(chain)
    waiting = await _waiting(session, chain, rules, clock=clock)
    chosen = [each.payout_id for each in leaving(waiting, rules, now=clock.now())]
    if not chosen:
        return []
    found = await session.exec(
        select(Payout)
        .where(
            col(Payout.id) == any_(bindparam(None, chosen, ARRAY(String))),
            Payout.status == PayoutStatus.READY,
        )
        .with_for_update(skip_locked=True)
    )
    locked = {payout.id: payout for payout in found}
    return [locked[payout_id] for payout_id in chosen if payout_id in locked]


def rules_of(chain: Chain) -> BatchRules:
    """Return when this chain's payouts leave."""
    return BatchRules(
        capacity=min(chain.batch_size * chain.outputs_max, PAYOUTS_MAX),
        outputs_max=chain.outputs_max,
        wait=timedelta(milliseconds=chain.batch_wait_ms),
        economy_wait=timedelta(milliseconds=chain.economy_wait_ms),
        value_minor=chain.batch_value_minor,
    )


async def _waiting(
    session: AsyncSession, chain: Chain, rules: BatchRules, *, clock: Clock
) -> list[Waiting]:
    """Return what may leave, the urgent first; no more than a batch holds."""
    head = await session.get(ChainHead, chain.id)
    affordable = [p for p in Priority if not is_too_dear(chain, head, p, now=clock.now())]
    found: list[Row[Any]] = []
    for half in HALVES:
        found += await in_turn(
            session, chain.id, half, affordable, capacity=rules.capacity - len(found)
        )
    return [
        Waiting(
            payout_id=row.id,
            asset=row.asset,
            priority=Priority(row.priority),
            amount_minor=int(row.amount_minor),
            since=row.updated_at,
            is_shareable=not row.is_alone and row.amount_minor <= AMOUNT_MAX_MINOR,
        )
        for row in found
    ]


async def in_turn(
    session: AsyncSession,
    chain_id: str,
    half: str,
    priorities: Sequence[Priority],
    *,
    capacity: int,
) -> Sequence[Row[Any]]:
    """
    Return up to ``capacity`` payouts of these priorities that the hot wallet pays.

    Each customer in turn. What a pocket pays leaves by itself; see ``pockets.spending``.
    """
    wanted = {"chain_id": chain_id}
    customers = list((await session.execute(CUSTOMERS[half], wanted)).scalars())
    if not customers or capacity <= 0:
        return []
    turns = min(capacity, capacity // len(customers) + 1)
    while True:
        rows = (
            await session.execute(
                TURNS[half],
                wanted
                | {
                    "customers": customers,
                    "priorities": [priority.value for priority in priorities],
                    "turns": turns,
                    "capacity": capacity,
                },
            )
        ).all()
        if len(rows) >= capacity or turns >= capacity or all(row.turn < turns for row in rows):
            return rows
        # Fewer than asked for, and somebody may have more.
        turns = min(capacity, TURNS_GROWTH * turns)
