"""
Choosing the ready payouts that leave now, each customer in turn.

Choosing takes no locks; those that are chosen are locked one by one after, and whoever has changed
or is taken by somebody else meanwhile is left out.
"""

from datetime import timedelta

from sqlalchemy import any_, bindparam, text
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

WAITING = text("""
    SELECT id, asset, priority, amount_minor, updated_at, is_alone
    FROM (
        SELECT p.id, p.asset, p.priority, p.amount_minor, p.updated_at, p.is_alone, p.created_at,
               row_number() OVER (
                   PARTITION BY p.user_id, p.priority = 'urgent' ORDER BY p.created_at, p.id
               ) AS turn
        FROM payout p
        WHERE p.chain_id = :chain_id AND p.status = 'ready' AND p.priority = ANY(:priorities)
          AND NOT EXISTS (SELECT FROM user_freeze f
                          WHERE f.user_id = p.user_id AND f.lifted_at IS NULL)
          AND NOT EXISTS (SELECT FROM address_screening s
                          WHERE s.chain_id = p.chain_id AND s.address = p.destination
                            AND s.verdict = 'deny')
    ) waiting
    ORDER BY priority <> 'urgent', turn, created_at, id
    LIMIT :capacity
""")
"""What may leave: the urgent first, then the first of each customer, the second of each, …"""


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
        capacity=chain.batch_size * chain.outputs_max,
        outputs_max=chain.outputs_max,
        wait=timedelta(milliseconds=chain.batch_wait_ms),
        economy_wait=timedelta(milliseconds=chain.economy_wait_ms),
        value_minor=chain.batch_value_minor,
    )


async def _waiting(
    session: AsyncSession, chain: Chain, rules: BatchRules, *, clock: Clock
) -> list[Waiting]:
    head = await session.get(ChainHead, chain.id)
    affordable = [p for p in Priority if not is_too_dear(chain, head, p, now=clock.now())]
    found = await session.execute(
        WAITING,
        {
            "chain_id": chain.id,
            "priorities": [priority.value for priority in affordable],
            "capacity": rules.capacity,
        },
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
