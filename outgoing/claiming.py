"""
Choosing the ready payouts that leave now, each customer in turn.

Choosing takes no locks; those that are chosen are locked after, and whoever has changed or is taken
by somebody else meanwhile is left out. However many wait, about as many rows are read as leave.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Row, any_, bindparam, func, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlmodel import String, col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.batching import BatchRules, Waiting, leaving
from domain.clock import Clock
from domain.disperse import AMOUNT_MAX_MINOR
from domain.payouts import PayoutStatus, Priority
from models.chain_transactions import ChainHead, ChainTransaction, ChainTransactionStatus
from models.payouts import Payout
from models.wallets import Chain
from payouts.fee_ceilings import is_too_dear

PAYOUTS_MAX = 2_000
"""
Most payouts that one batch takes, in however many chain transactions.

Each step of a batch is one unit of work within seconds; see ``workflows.options.database``.
"""

UNMINED_MAX = 64
"""
Most chain transactions of a wallet that no block has yet, as long as a batch is no larger.

Nodes' pools hold few of one account, what is in a batch cannot be cancelled any more, and all of
them would be worked on at once.
"""
UNMINED = (
    ChainTransactionStatus.PLANNED,
    ChainTransactionStatus.ALLOCATED,
    ChainTransactionStatus.SIGNED,
    ChainTransactionStatus.BROADCAST,
)

TURNS_GROWTH = 4
"""So many times more of each customer are looked at where others have too few."""

LOOKS_MAX = 5
"""So often others are looked for in one unit of work in place of what screening denies."""

# Payouts of one asset, priority and customer are a group; an index has them together, by age. So
# what cannot leave costs as many looks as there are groups of it, not as many as there are payouts.
GROUPS = text("""
    WITH RECURSIVE grouped AS (
        (SELECT p.asset, p.priority, p.user_id FROM payout p
         WHERE p.chain_id = :chain_id AND p.status = 'ready' AND NOT p.is_denied
         ORDER BY p.asset, p.priority, p.user_id LIMIT 1)
        UNION ALL
        SELECT n.* FROM grouped g CROSS JOIN LATERAL (
            SELECT p.asset, p.priority, p.user_id FROM payout p
            WHERE p.chain_id = :chain_id AND p.status = 'ready' AND NOT p.is_denied
              AND (p.asset, p.priority, p.user_id) > (g.asset, g.priority, g.user_id)
            ORDER BY p.asset, p.priority, p.user_id LIMIT 1
        ) n
    )
    SELECT g.asset, g.priority, g.user_id
    FROM grouped g JOIN asset a ON a.code = g.asset AND a.enabled
    WHERE g.priority = ANY(:priorities)
      AND NOT EXISTS (SELECT FROM user_freeze f
                      WHERE f.user_id = g.user_id AND f.lifted_at IS NULL)
""")
"""Of which assets, priorities and customers payouts may leave; the frozen left out."""

TURNS = text("""
    SELECT w.*,
           coalesce((SELECT s.verdict FROM address_screening s
                     WHERE s.chain_id = :chain_id AND s.address = w.destination),
                    (SELECT a.verdict FROM screening_answer a
                     WHERE a.chain_id = :chain_id AND a.address = w.destination),
                    'allow') = 'deny' AS is_to_wait
    FROM (
        SELECT r.*, row_number() OVER (PARTITION BY r.user_id ORDER BY r.created_at, r.id) AS turn
        FROM unnest(CAST(:assets AS text[]), CAST(:of_priorities AS text[]),
                    CAST(:customers AS text[])) AS g (asset, priority, user_id)
        CROSS JOIN LATERAL (
            SELECT p.id, p.user_id, p.asset, p.priority, p.amount_minor, p.destination,
                   p.updated_at, p.is_alone, p.created_at
            FROM payout p
            WHERE p.chain_id = :chain_id AND p.asset = g.asset AND p.priority = g.priority
              AND p.user_id = g.user_id AND p.status = 'ready' AND NOT p.is_denied
              AND (p.route = 'payout' OR p.route = 'fund' AND p.pocket_id IS NOT NULL)
              AND (p.mix_id IS NULL OR NOT EXISTS (
                   SELECT FROM mix m WHERE m.id = p.mix_id
                   AND (m.hold_kind IS NOT NULL OR m.paused_at IS NOT NULL)))
            ORDER BY p.created_at, p.id LIMIT :turns
        ) r
    ) w
    WHERE w.turn <= :turns
    ORDER BY w.turn, w.created_at, w.id LIMIT :capacity
""")
"""The first payout of each customer, the second of each, …; and whether screening denies it."""

# The lock makes whoever changes what screening says wait, or us: the trigger that takes marks away
# sees them all. That one changes nothing else while it holds it.
_LOCK_DENIALS = text("SELECT pg_advisory_xact_lock_shared(7314)")
_DENY = text("""
    UPDATE payout p SET is_denied = true
    WHERE p.id = ANY(CAST(:ids AS text[])) AND p.status = 'ready'
      AND coalesce((SELECT s.verdict FROM address_screening s
                    WHERE s.chain_id = p.chain_id AND s.address = p.destination),
                   (SELECT a.verdict FROM screening_answer a
                    WHERE a.chain_id = p.chain_id AND a.address = p.destination),
                   'allow') = 'deny'
""")


async def lock_leaving(
    session: AsyncSession, chain: Chain, wallet_address: str, *, clock: Clock
) -> list[Payout]:
    """Return the payouts that leave the wallet now, locked, in the order of their turns."""
    if not await _has_room(session, chain, wallet_address):
        return []
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


async def _has_room(session: AsyncSession, chain: Chain, wallet_address: str) -> bool:
    """Tell whether blocks have taken enough of what left before for a whole batch to follow."""
    found = await session.exec(
        select(func.count())
        .select_from(ChainTransaction)
        .where(
            ChainTransaction.chain_id == chain.id,
            ChainTransaction.wallet_address == wallet_address,
            col(ChainTransaction.status).in_(UNMINED),
        )
    )
    return found.one() + chain.batch_size <= max(UNMINED_MAX, chain.batch_size)


def rules_of(chain: Chain) -> BatchRules:
    """Return when this chain's payouts leave."""
    return BatchRules(
        capacity=min(chain.batch_size * chain.outputs_max, PAYOUTS_MAX),
        outputs_max=chain.outputs_max,
        wait=timedelta(milliseconds=chain.batch_wait_ms),
        economy_wait=timedelta(milliseconds=chain.economy_wait_ms),
        transactions_max=chain.batch_size,
        value_minor=chain.batch_value_minor,
    )


async def _waiting(
    session: AsyncSession, chain: Chain, rules: BatchRules, *, clock: Clock
) -> list[Waiting]:
    """Return what may leave, the urgent first; of them and of others as many as a batch holds."""
    head = await session.get(ChainHead, chain.id)
    affordable = [p for p in Priority if not is_too_dear(chain, head, p, now=clock.now())]
    found = await session.execute(
        GROUPS, {"chain_id": chain.id, "priorities": [priority.value for priority in affordable]}
    )
    groups = found.all()
    urgent = [group for group in groups if group.priority == Priority.URGENT]
    others = [group for group in groups if group.priority != Priority.URGENT]
    rows = [
        *await _in_turn(session, chain.id, urgent, capacity=rules.capacity),
        *await _in_turn(session, chain.id, others, capacity=rules.capacity),
    ]
    return [
        Waiting(
            payout_id=row.id,
            asset=row.asset,
            priority=Priority(row.priority),
            amount_minor=int(row.amount_minor),
            since=row.updated_at,
            is_shareable=not row.is_alone and row.amount_minor <= AMOUNT_MAX_MINOR,
        )
        for row in rows
    ]


async def _in_turn(
    session: AsyncSession, chain_id: str, groups: Sequence[Row[Any]], *, capacity: int
) -> Sequence[Row[Any]]:
    """
    Return up to ``capacity`` payouts of these groups, each customer in turn.

    What a pocket pays leaves by itself, and is left out; see ``pockets.spending``.

    Those that screening denies are marked, so that they are not looked at again before that
    changes; after some of them others may have their turn only at the next look.
    """
    rows: Sequence[Row[Any]] = []
    for _ in range(LOOKS_MAX):
        rows = await _looked_at(session, chain_id, groups, capacity=capacity)
        denied = [row.id for row in rows if row.is_to_wait]
        if not denied:
            return rows
        await session.execute(_LOCK_DENIALS)
        await session.execute(_DENY, {"ids": denied})
    return [row for row in rows if not row.is_to_wait]


async def _looked_at(
    session: AsyncSession, chain_id: str, groups: Sequence[Row[Any]], *, capacity: int
) -> Sequence[Row[Any]]:
    if not groups:
        return []
    customers = len({group.user_id for group in groups})
    turns = min(capacity, capacity // customers + 1)
    wanted = {
        "chain_id": chain_id,
        "assets": [group.asset for group in groups],
        "of_priorities": [group.priority for group in groups],
        "customers": [group.user_id for group in groups],
        "capacity": capacity,
    }
    while True:
        found = await session.execute(TURNS, wanted | {"turns": turns})
        rows = found.all()
        if len(rows) >= capacity or turns >= capacity or all(row.turn < turns for row in rows):
            return rows
        # Fewer than asked for, and somebody may have more.
        turns = min(capacity, TURNS_GROWTH * turns)
