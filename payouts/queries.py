"""Reading payouts: one with everything about it, and lists."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.errors import PayoutNotFoundError
from domain.payouts import OPEN_STATUSES, PayoutStatus
from domain.pockets import Route
from infra.paging import Page, paged
from models.chain_transactions import ChainAttempt, ChainBatch, ChainHead, ChainTransaction
from models.mixing import Mix
from models.payouts import ApprovalDecision, Payout, PayoutEvent
from models.wallets import Asset, Chain
from payouts.approvals import decisions_on
from payouts.screening import denied_among


@dataclass(frozen=True, slots=True)
class Offer:
    """What the newest attempt offers for its chain transaction."""

    replacements: int
    cost_minor: int
    """The most that the chain can take for it, in the native asset."""


@dataclass(frozen=True, slots=True)
class PayoutDetail:
    """A payout with its history, its decisions, and where it is on the chain."""

    payout: Payout
    asset: Asset
    chain: Chain
    events: list[PayoutEvent]
    decisions: list[ApprovalDecision]
    chain_transaction: ChainTransaction | None
    batch: ChainBatch | None
    head: ChainHead | None
    is_denied: bool = False
    """Screening denies its destination; no batch takes it."""
    offer: Offer | None = None
    is_stopped: bool = False
    """The mix that it is a part of is paused or held; no batch takes it."""

    @property
    def confirmations(self) -> int:
        """How deep the transaction is buried; the tip's own transactions have one."""
        row = self.chain_transaction
        if row is None or row.block_height is None or self.head is None:
            return 0
        return max(0, self.head.height - row.block_height + 1)


async def payout_for(
    session: AsyncSession, payout_id: str, *, user_id: str | None, own_mixes_of: str | None = None
) -> Payout:
    """
    Return the payout; with a ``user_id``, only if it is theirs.

    With ``own_mixes_of`` a part of a mix is found by this user alone: among those who see
    everybody's payouts, not all see everybody's mixes.

    Raises:
        PayoutNotFoundError: There is none, or it is somebody else's: the answer is the same.
    """
    payout = await session.get(Payout, payout_id)
    if payout is None or user_id not in (None, payout.user_id):
        raise PayoutNotFoundError
    if payout.mix_id is not None and own_mixes_of not in (None, payout.user_id):
        raise PayoutNotFoundError
    return payout


async def payout_detail(
    session: AsyncSession, payout_id: str, *, user_id: str | None, own_mixes_of: str | None = None
) -> PayoutDetail:
    """Return everything about one payout; see ``payout_for``."""
    payout = await payout_for(session, payout_id, user_id=user_id, own_mixes_of=own_mixes_of)
    events = await session.exec(
        select(PayoutEvent).where(PayoutEvent.payout_id == payout_id).order_by(col(PayoutEvent.id))
    )
    row = None
    if payout.chain_transaction_id:
        row = await session.get(ChainTransaction, payout.chain_transaction_id)
    return PayoutDetail(
        payout=payout,
        asset=await session.get_one(Asset, payout.asset),
        chain=await session.get_one(Chain, payout.chain_id),
        events=list(events),
        decisions=await decisions_on(session, payout_id),
        chain_transaction=row,
        batch=await session.get(ChainBatch, row.batch_id) if row else None,
        head=await session.get(ChainHead, payout.chain_id),
        is_denied=payout.status in OPEN_STATUSES and bool(await denied_among(session, [payout])),
        offer=await _offer(session, row) if row else None,
        is_stopped=await _is_stopped(session, payout),
    )


async def _is_stopped(session: AsyncSession, payout: Payout) -> bool:
    if payout.mix_id is None:
        return False
    mix = await session.get_one(Mix, payout.mix_id)
    return mix.hold_kind is not None or mix.paused_at is not None


async def _offer(session: AsyncSession, row: ChainTransaction) -> Offer | None:
    # By name: the signed bytes are a column that the API may not read.
    found = await session.exec(
        select(ChainAttempt.sequence, ChainAttempt.max_fee_minor, ChainAttempt.fee_minor)
        .where(ChainAttempt.chain_transaction_id == row.id)
        .order_by(col(ChainAttempt.sequence).desc())
        .limit(1)
    )
    newest = found.first()
    if newest is None:
        return None
    sequence, rate_minor, fee_minor = newest
    cost_minor = fee_minor if fee_minor is not None else (row.gas_limit or 0) * rate_minor
    return Offer(replacements=sequence, cost_minor=cost_minor)


async def list_payouts(
    session: AsyncSession,
    page: Page,
    *,
    user_id: str | None,
    status: PayoutStatus | None,
    asset: str | None,
    own_mixes_of: str | None = None,
) -> Sequence[Payout]:
    """Return a page of payouts and one row more; of one user, or of all as ``payout_for`` says."""
    query = select(Payout).where(Payout.route == Route.PAYOUT)
    if own_mixes_of is not None:
        query = query.where(col(Payout.mix_id).is_(None) | (col(Payout.user_id) == own_mixes_of))
    if user_id is not None:
        query = query.where(Payout.user_id == user_id)
    if status is not None:
        query = query.where(Payout.status == status)
    if asset is not None:
        query = query.where(Payout.asset == asset)
    query = paged(query, page, created_at=Payout.created_at, row_id=Payout.id)
    return (await session.exec(query)).all()


async def count_by_status(session: AsyncSession) -> dict[str, int]:
    """Return how many payouts stand at each status."""
    found = await session.exec(select(Payout.status, func.count()).group_by(Payout.status))
    return dict(found.all())
