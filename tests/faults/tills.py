"""What the books say of purchases, all read at one moment."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from devnet.bootstrap import ITD
from devnet.site import Site
from domain.purchases import STRIPE
from infra.database import Database
from ledger import chart

_CREDITED = text("SELECT id, credited_minor FROM purchase WHERE status <> 'refused'")
_PAID = text("""
    SELECT a.address, sum(d.amount_minor)
    FROM chain_deposit d JOIN chain_address a ON a.id = d.address_id
    WHERE d.is_booked GROUP BY 1
""")
_REUSED = text("""
    SELECT quote_id, count(*) FROM purchase WHERE status <> 'refused'
    GROUP BY 1 HAVING count(*) > 1
""")
_OPEN_EVENTS = text("SELECT count(*) FROM gateway_event WHERE handled_at IS NULL")
_BALANCES = text("SELECT code, asset, balance_minor FROM ledger_account")


@dataclass(frozen=True)
class Standing:
    """Amounts in minor units."""

    credited_minor: dict[str, int]
    """Of ITD, by purchase."""
    paid_minor: dict[str, int]
    """By address: what the books have of deposits, each of which is compared with its chain."""
    held_minor: dict[str, int]
    """ITD of each user; whoever else had some would be in it too."""
    issued_minor: int
    at_gateway_minor: int
    clearing_minor: list[tuple[str, int]]
    """What waits to become the customer's or ours."""
    reused_quotes: list[tuple[str, int]]
    open_events: int
    """Of the gateway, which nobody has handled."""


async def look(site: Site, user_ids: Sequence[str]) -> Standing:
    """Read it all in one snapshot."""
    database = Database(site.database_url())
    try:
        async with database.snapshot() as session:
            return await _standing(session, user_ids)
    finally:
        await database.close()


async def _standing(session: AsyncSession, user_ids: Sequence[str]) -> Standing:
    balances = {(code, asset): int(n) for code, asset, n in await session.execute(_BALANCES)}
    issued = -balances.get((chart.mint(ITD), ITD), 0)
    held = {
        user: sum(
            balances.get((account, ITD), 0) for account in (chart.available(user), chart.held(user))
        )
        for user in user_ids
    }
    clearing = [
        (f"{code} {asset}", minor)
        for (code, asset), minor in balances.items()
        if code.startswith(chart.purchase_clearing(""))
    ]
    at_gateway = -sum(
        minor for (code, _), minor in balances.items() if code == chart.gateway(STRIPE)
    )
    return Standing(
        credited_minor={i: int(n) for i, n in await session.execute(_CREDITED)},
        paid_minor={address: int(n) for address, n in await session.execute(_PAID)},
        held_minor=held,
        issued_minor=issued,
        at_gateway_minor=at_gateway,
        clearing_minor=clearing,
        reused_quotes=[(quote, int(n)) for quote, n in await session.execute(_REUSED)],
        open_events=int((await session.execute(_OPEN_EVENTS)).scalar_one()),
    )
