"""
Settlement of what moves money to and from users' pockets; ``outgoing.settlement`` calls it.

Both ends are ours or our customer's, so the books follow whatever the chain says: a reorg that
undoes a transfer leaves nothing to explain.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.clock import Clock
from domain.hd import EXTERNAL
from domain.payouts import PayoutStatus
from domain.pockets import OF_POCKETS, Route
from ledger import chart, pocket_rules
from ledger.posting import Posting
from models.chain_transactions import ChainBatch, ChainTransaction, ChainTransactionStatus
from models.chain_transactions import ChainTransactionKind as Kind
from models.deposits import AddressPurpose, ChainAddress
from models.payouts import Payout
from outgoing.conversions import fix_posting, settle_posting
from payouts.conversions import Conversion

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Payer:
    """What pays for a batch: the omnibus account that mirrors it, and whose pocket it is, if so."""

    account: str
    pocket_user_id: str | None = None


async def payer_of(session: AsyncSession, batch: ChainBatch) -> Payer:
    """Return what pays for a batch."""
    found = await session.exec(
        select(ChainAddress.purpose, ChainAddress.user_id).where(
            ChainAddress.chain_id == batch.chain_id,
            ChainAddress.address == batch.wallet_address,
            ChainAddress.branch == EXTERNAL,
        )
    )
    handed_out = found.first()
    if handed_out is None:
        return Payer(chart.omnibus_hot(batch.chain_id))
    purpose, user_id = handed_out
    if purpose == AddressPurpose.POCKET:
        return Payer(chart.omnibus_pocket(batch.chain_id), user_id)
    return Payer(chart.omnibus_deposit(batch.chain_id))


async def owners_of_pockets(
    session: AsyncSession, rows: Sequence[ChainTransaction]
) -> Mapping[str, str]:
    """Return whose pockets these gas top-ups pay, by the top-up's id."""
    found = await session.exec(
        select(ChainTransaction.id, ChainAddress.user_id)
        .join(
            ChainAddress,
            (col(ChainAddress.address) == col(ChainTransaction.destination))
            & (col(ChainAddress.chain_id) == col(ChainTransaction.chain_id)),
        )
        .where(
            col(ChainTransaction.id).in_([row.id for row in rows if row.kind == Kind.GAS_TOPUP]),
            ChainAddress.purpose == AddressPurpose.POCKET,
        )
    )
    return {row_id: str(user_id) for row_id, user_id in found}


def transfer_postings(
    row: ChainTransaction,
    payouts: Sequence[Payout],
    *,
    conversions: Mapping[str, Conversion],
    at: datetime,
) -> list[Posting]:
    """
    Return what a transaction moved to or from pockets, less what the books have of it.

    ``payouts`` are all that the transaction pays, in order of id.
    """
    postings: list[Posting] = []
    for place, payout in enumerate(payouts):
        if payout.route not in OF_POCKETS:
            continue
        conversion = conversions.get(payout.id)
        if conversion is None:
            postings += _of_one(row, payout, place, at)
        else:
            postings += _converted(row, payout, place, conversion, at=at)
    return postings


def _converted(
    row: ChainTransaction, payout: Payout, place: int, conversion: Conversion, *, at: datetime
) -> list[Posting]:
    left_minor, arrived_minor = _moved(row, payout, place)
    postings: list[Posting] = []
    if payout.status == PayoutStatus.BATCHED and left_minor:
        postings.append(settle_posting(payout, conversion, arrived_minor=arrived_minor, at=at))
        payout.left_booked_minor = payout.amount_minor
        payout.arrived_booked_minor = arrived_minor
    booked = (payout.left_booked_minor, payout.arrived_booked_minor)
    if (left_minor, arrived_minor) != booked:
        logger.error("the chain says something else of %s than before", payout.id)
        fix = fix_posting(
            row, payout, conversion, left_minor=left_minor, arrived_minor=arrived_minor, at=at
        )
        postings.append(fix)
    payout.left_booked_minor, payout.arrived_booked_minor = left_minor, arrived_minor
    return postings


def _of_one(row: ChainTransaction, payout: Payout, place: int, at: datetime) -> list[Posting]:
    left_minor, arrived_minor = _moved(row, payout, place)
    postings: list[Posting] = []
    trip = pocket_rules.Trip(
        payout.id, Route(payout.route), payout.user_id, row.chain_id, payout.asset
    )
    if payout.status == PayoutStatus.BATCHED and left_minor:
        postings.append(
            pocket_rules.pocket_settle(
                trip,
                amount_minor=payout.amount_minor,
                arrived_minor=arrived_minor,
                fee_minor=payout.fee_minor,
                at=at,
            )
        )
        payout.left_booked_minor = payout.amount_minor
        payout.arrived_booked_minor = arrived_minor
    more_left_minor = left_minor - payout.left_booked_minor
    more_arrived_minor = arrived_minor - payout.arrived_booked_minor
    if more_left_minor or more_arrived_minor:
        logger.error("the chain says something else of %s than before", payout.id)
        postings.append(
            pocket_rules.pocket_fix(
                trip,
                chain_transaction_id=row.id,
                settlement=row.settlements,
                left_minor=more_left_minor,
                arrived_minor=more_arrived_minor,
                at=at,
            )
        )
    payout.left_booked_minor, payout.arrived_booked_minor = left_minor, arrived_minor
    return postings


def _moved(row: ChainTransaction, payout: Payout, place: int) -> tuple[int, int]:
    """Return what left the paying wallet for this transfer, and what got to its destination."""
    is_paid = row.status == ChainTransactionStatus.CONFIRMED
    if not is_paid or place in (row.failed_places or ()):
        return 0, 0
    if row.kind == Kind.POCKET_SPEND:
        arrived_minor = row.received_minor or 0
        return row.outflow_minor or 0, arrived_minor if payout.route == Route.REDEEM else 0
    # Where several share a transaction nobody knows what a token charged each: those go alone.
    arrived_minor = payout.amount_minor if row.destination is None else row.received_minor or 0
    return payout.amount_minor, arrived_minor


def funded_minor(row: ChainTransaction, payouts: Sequence[Payout]) -> int:
    """Return how much more left for pockets than the books have: no outflow to be explained."""
    return sum(
        _moved(row, payout, place)[0] - payout.left_booked_minor
        for place, payout in enumerate(payouts)
        if payout.route == Route.FUND
    )


def gas_postings(
    row: ChainTransaction,
    payouts: Sequence[Payout],
    *,
    owner: str,
    native_asset: str,
    fee_minor: int,
    shared: Mapping[str, int],
    clock: Clock,
) -> list[Posting]:
    """
    Return who bears what the chain took out of a pocket, which is not in the books yet.

    That is its user, by what they set aside; or we, where we lent the coin for it, or where the
    transaction was of no use to its user: a filler of a nonce.
    """
    transfer = payouts[0] if payouts and row.kind == Kind.POCKET_SPEND else None
    about = {"user_id": owner, "chain_id": row.chain_id, "asset": native_asset}
    if transfer is None or transfer.gas_hold_id is None:
        if not fee_minor:
            return []
        return [
            pocket_rules.pocket_network_fee(
                chain_transaction_id=row.id,
                settlement=row.settlements,
                fee_minor=fee_minor,
                shared=shared,
                at=clock.now(),
                **about,
            )
        ]
    if row.settled_at is None and transfer.status == PayoutStatus.BATCHED:
        return [
            pocket_rules.pocket_gas_settle(
                transfer_id=transfer.id,
                captured_minor=transfer.gas_max_minor or 0,
                fee_minor=fee_minor,
                at=clock.now(),
                **about,
            )
        ]
    if not fee_minor:
        return []
    return [
        pocket_rules.pocket_gas_fix(
            transfer_id=transfer.id,
            chain_transaction_id=row.id,
            settlement=row.settlements,
            fee_minor=fee_minor,
            at=clock.now(),
            **about,
        )
    ]
