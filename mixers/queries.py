"""Reading mixes: for their users, and for operators."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.errors import MixNotFoundError
from domain.mixing.messages import MixStatus
from infra.paging import Page, paged
from models.chain_transactions import ChainTransaction
from models.deposits import ChainAddress
from models.mixing import Mix, MixDole, MixEvent, MixLot
from models.payouts import Payout


@dataclass(frozen=True, slots=True)
class DoleLine:
    """One dole-out with the payout that it became, and the chain's id of that."""

    dole: MixDole
    payout: Payout | None
    txid: str | None


@dataclass(frozen=True, slots=True)
class MixDetail:
    """A mix with all that its user may know of it."""

    mix: Mix
    deposit_address: str
    lots: Sequence[MixLot]
    doles: Sequence[DoleLine]
    events: Sequence[MixEvent]


async def mix_for(session: AsyncSession, mix_id: str, *, user_id: str | None) -> Mix:
    """
    Return the mix; with a ``user_id``, only if it is theirs.

    Raises:
        MixNotFoundError: There is none, or it is somebody else's: the same answer.
    """
    mix = await session.get(Mix, mix_id)
    if mix is None or user_id not in (None, mix.user_id):
        raise MixNotFoundError
    return mix


async def mix_detail(session: AsyncSession, mix_id: str, *, user_id: str | None) -> MixDetail:
    """Return the mix with its deposits, dole-outs and history; raises as ``mix_for``."""
    mix = await mix_for(session, mix_id, user_id=user_id)
    address = await session.get_one(ChainAddress, mix.address_id)
    lots = await session.exec(
        select(MixLot).where(MixLot.mix_id == mix.id).order_by(col(MixLot.created_at))
    )
    doles = await session.exec(
        select(MixDole, Payout, ChainTransaction.txid)
        .outerjoin(Payout, col(Payout.id) == col(MixDole.payout_id))
        .outerjoin(ChainTransaction, col(ChainTransaction.id) == col(Payout.chain_transaction_id))
        .where(MixDole.mix_id == mix.id)
        .order_by(col(MixDole.due_at), col(MixDole.id))
    )
    events = await session.exec(
        select(MixEvent).where(MixEvent.mix_id == mix.id).order_by(col(MixEvent.id))
    )
    lines = [DoleLine(dole, payout, txid) for dole, payout, txid in doles]
    return MixDetail(mix, address.address, lots.all(), lines, events.all())


async def list_mixes(
    session: AsyncSession, page: Page, *, user_id: str | None, status: MixStatus | None = None
) -> Sequence[Mix]:
    """Return a page of mixes, newest first, and one row more."""
    query = select(Mix)
    if user_id is not None:
        query = query.where(Mix.user_id == user_id)
    if status is not None:
        query = query.where(Mix.status == status)
    query = paged(query, page, created_at=Mix.created_at, row_id=Mix.id)
    return (await session.exec(query)).all()
