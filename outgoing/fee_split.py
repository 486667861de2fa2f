"""
What each payout's part of its chain transaction's fee is: expected, and as the chain took it.

On account chains every payout of a transaction bears the same; on UTXO chains what its output
weighs. Inputs and change are nobody's in particular and are shared in the same proportion; so is
what a child took that carries its parent along.
"""

from collections.abc import Mapping, Sequence

from sqlalchemy import bindparam, func, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm.attributes import set_committed_value
from sqlmodel import Numeric, String, col
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.fee_shares import shares
from domain.utxo.networks import NAMESPACE as UTXO_NAMESPACE
from domain.utxo.networks import network_of
from domain.utxo.scripts import output_script
from domain.utxo.sizes import output_bytes
from models.chain_transactions import ChainAttempt, ChainTransaction
from models.payouts import Payout
from outgoing.records import by_transaction, latest_attempts


async def note_estimates(
    session: AsyncSession, placed: Sequence[ChainTransaction], payouts: Sequence[Payout]
) -> None:
    """Write down what each of these payouts is expected to cost, now that it has its place."""
    attempts = await latest_attempts(session, [row.id for row in placed])
    its = by_transaction(payouts)
    expected: dict[str, int] = {}
    for row in placed:
        if (paid := its.get(row.id)) and row.id in attempts:
            parts = shares(most_minor(row, attempts[row.id]), _weights(row, paid))
            expected |= dict(zip((payout.id for payout in paid), parts, strict=True))
    if not expected:
        return
    for payout in payouts:
        if payout.id in expected:
            set_committed_value(payout, "network_fee_estimate_minor", expected[payout.id])
    await _write(session, "network_fee_estimate_minor", expected)


async def write_shares(session: AsyncSession, payouts: Sequence[Payout]) -> None:
    """Write what ``book_shares`` gave these payouts."""
    given = {p.id: p.network_fee_minor for p in payouts if p.network_fee_minor is not None}
    if given:
        await _write(session, "network_fee_minor", given)


async def _write(session: AsyncSession, name: str, values_minor: Mapping[str, int]) -> None:
    """Write one column of many payouts at once; the session must not do so row by row."""
    ids = bindparam("ids", list(values_minor), ARRAY(String))
    values = bindparam("values", list(values_minor.values()), ARRAY(Numeric))
    new = func.unnest(ids, values).table_valued("id", "minor").render_derived(name="new")
    await session.execute(
        update(Payout)
        .where(col(Payout.id) == new.c.id)
        .values({name: new.c.minor})
        .execution_options(synchronize_session=False)
    )


def book_shares(row: ChainTransaction, payouts: Sequence[Payout]) -> Mapping[str, int]:
    """
    Give each of these payouts its part of a mined transaction's fee; return what that changed.

    The transaction pays them, or carries along what pays them (CPFP): a payout's network fee is its
    part of both. ``write_shares`` then writes the parts of all payouts at once.

    The answer is by customer, in minor units of the native asset: what the books do not have yet.
    After a reorg that is the difference, and may be negative.
    """
    if not payouts:
        return {}
    weights = _weights(row, payouts)
    now, booked = (shares(m or 0, weights) for m in (row.network_fee_minor, row.fee_booked_minor))
    changed: dict[str, int] = {}
    for payout, part, before in zip(payouts, now, booked, strict=True):
        changed[payout.user_id] = changed.get(payout.user_id, 0) + part - before
        total_minor = (payout.network_fee_minor or 0) + part - before
        set_committed_value(payout, "network_fee_minor", total_minor)
    return {user_id: minor for user_id, minor in changed.items() if minor}


def most_minor(row: ChainTransaction, attempt: ChainAttempt) -> int:
    """Return the most that an attempt can cost, in the native asset."""
    if attempt.fee_minor is not None:
        return attempt.fee_minor
    return (row.gas_limit or 0) * attempt.max_fee_minor


def _weights(row: ChainTransaction, payouts: Sequence[Payout]) -> list[int]:
    if not row.chain_id.startswith(UTXO_NAMESPACE):
        return [1] * len(payouts)
    network = network_of(row.chain_id)
    return [output_bytes(output_script(payout.destination, network)) for payout in payouts]
