"""What a Jobcoin node reads and writes in bulk while it mines."""

from collections.abc import Mapping, Sequence

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.jobcoin.pool import Standing, Waiting, concerned

_READ_MAX = 5_000
"""Of the pool at once: more than a block takes, so that what cannot be paid keeps few out."""

_POOL = text("""
    SELECT t.txid, t.sender, coalesce(t.account_nonce, 0) AS account_nonce,
           array_agg(o.address ORDER BY o.place) AS addresses,
           array_agg(o.amount_minor ORDER BY o.place) AS amounts
    FROM (
        SELECT * FROM (
            SELECT w.*, coalesce(a.next_nonce, 0) - 1
                   + row_number() OVER (PARTITION BY w.sender ORDER BY w.account_nonce) AS its_turn,
                   CASE WHEN w.sender IS NULL THEN w.arrival
                        ELSE max(w.arrival) OVER (PARTITION BY w.sender ORDER BY w.account_nonce)
                   END AS ready_at
            FROM jobcoin_transaction w LEFT JOIN jobcoin_account a ON a.address = w.sender
            WHERE w.block_height IS NULL
        ) q
        WHERE sender IS NULL OR account_nonce = its_turn
        ORDER BY ready_at, account_nonce LIMIT :most
    ) t
    JOIN jobcoin_output o USING (txid)
    GROUP BY t.txid, t.sender, t.account_nonce, t.ready_at
    ORDER BY t.ready_at, t.account_nonce
""")

_STANDINGS = text("""
    SELECT address, balance_minor, next_nonce FROM jobcoin_account
    WHERE address = ANY(CAST(:addresses AS text[]))
""")

_STORE = text("""
    INSERT INTO jobcoin_account (address, balance_minor, next_nonce)
    SELECT * FROM unnest(CAST(:addresses AS text[]), CAST(:balances AS numeric[]),
                         CAST(:nonces AS bigint[]))
    ON CONFLICT (address) DO UPDATE
    SET balance_minor = excluded.balance_minor, next_nonce = excluded.next_nonce
""")


async def read_pool(session: AsyncSession) -> list[Waiting]:
    """
    Return what waits for a block, in the order in which it and all before it came.

    What waits for an account nonce that nobody has handed in is left out: it costs its sender
    nothing and may stay for ever, so enough of it would keep everybody else out.
    """
    found = await session.execute(_POOL, {"most": _READ_MAX})
    return [
        Waiting(
            row.txid,
            row.sender,
            row.account_nonce,
            tuple((a, int(m)) for a, m in zip(row.addresses, row.amounts, strict=True)),
        )
        for row in found
    ]


async def standings_of(
    session: AsyncSession, transactions: Sequence[Waiting]
) -> dict[str, Standing]:
    """Return what the chain has of every address that these concern."""
    found = await session.execute(_STANDINGS, {"addresses": sorted(concerned(transactions))})
    return {row.address: Standing(int(row.balance_minor), row.next_nonce) for row in found}


async def store_standings(session: AsyncSession, standings: Mapping[str, Standing]) -> None:
    """Write what the chain has of these addresses now."""
    await session.execute(
        _STORE,
        {
            "addresses": list(standings),
            "balances": [standing.balance_minor for standing in standings.values()],
            "nonces": [standing.next_nonce for standing in standings.values()],
        },
    )
