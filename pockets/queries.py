"""Reading transfers to and from pockets: they are payouts of other routes."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.errors import PayoutNotFoundError, PocketTransferNotFoundError
from domain.explanations import Explanation
from domain.payouts import PayoutStatus
from domain.pockets import Route
from infra.paging import Page, paged
from models.chain_transactions import ChainTransaction
from models.chain_transactions import ChainTransactionKind as Kind
from models.deposits import ChainAddress
from models.payouts import Payout
from outgoing.held_back import held_back
from outgoing.records import OPEN
from payouts.conversions import Conversion, conversions_of
from payouts.explain import explain
from payouts.queries import PayoutDetail, payout_detail, payout_for

WORDS = {
    Kind.GAS_TOPUP: (
        "Waiting until the coin that we lend it for the network's fee is there.",
        "gas",
    ),
    Kind.NONCE_FILLER: ("Waiting until a place of the pocket on the chain is used up.", "block"),
}


@dataclass(frozen=True, slots=True)
class PocketTransfer:
    """A transfer with what it converts, if it does."""

    payout: Payout
    conversion: Conversion | None


async def transfer_for(session: AsyncSession, transfer_id: str, *, user_id: str | None) -> Payout:
    """
    Return the transfer; with a ``user_id``, only if it is theirs.

    Raises:
        PocketTransferNotFoundError: There is none, or it is somebody else's.
    """
    try:
        return await payout_for(session, transfer_id, user_id=user_id)
    except PayoutNotFoundError:
        raise PocketTransferNotFoundError from None


async def transfer_detail(
    session: AsyncSession, transfer_id: str, *, user_id: str | None
) -> PayoutDetail:
    """Return everything about one transfer; see ``transfer_for``."""
    await transfer_for(session, transfer_id, user_id=user_id)
    return await payout_detail(session, transfer_id, user_id=user_id)


async def list_transfers(
    session: AsyncSession,
    page: Page,
    *,
    user_id: str | None,
    status: PayoutStatus | None,
    route: Route | None,
) -> Sequence[PocketTransfer]:
    """Return a page of transfers and one row more; of one user, or of all."""
    query = select(Payout).where(Payout.route != Route.PAYOUT)
    if user_id is not None:
        query = query.where(Payout.user_id == user_id)
    if status is not None:
        query = query.where(Payout.status == status)
    if route is not None:
        query = query.where(Payout.route == route)
    query = paged(query, page, created_at=Payout.created_at, row_id=Payout.id)
    payouts = (await session.exec(query)).all()
    conversions = await conversions_of(session, payouts)
    return [PocketTransfer(payout, conversions.get(payout.id)) for payout in payouts]


async def explain_transfer(
    session: AsyncSession, detail: PayoutDetail, *, now: datetime
) -> Explanation:
    """Return what the transfer waits for."""
    payout = detail.payout
    if payout.status != PayoutStatus.READY:
        return await explain(session, detail, now=now)
    if why := (await held_back(session, [payout])).get(payout.id):
        return Explanation(f"Approved; waiting because {why}.", "held_back")
    if payout.pocket_id is None:
        return Explanation("Approved; the pocket is being made.", "pocket")
    if not Route(payout.route).spends_pocket:
        return await explain(session, detail, now=now)
    kind = await _on_its_way(session, payout)
    if kind is None:
        return Explanation("Waiting for its chain transaction to be planned.", "planning")
    words = ("Waiting for another transfer from the same pocket.", "pocket")
    return Explanation(*WORDS.get(Kind(kind), words))


async def _on_its_way(session: AsyncSession, payout: Payout) -> str | None:
    """Return what is on its way from or to the pocket that is to pay."""
    pocket = await session.get_one(ChainAddress, payout.pocket_id)
    found = await session.exec(
        select(ChainTransaction.kind)
        .where(
            ChainTransaction.chain_id == payout.chain_id,
            (col(ChainTransaction.wallet_address) == pocket.address)
            | (col(ChainTransaction.destination) == pocket.address),
            col(ChainTransaction.kind) != Kind.PAYOUT,
            col(ChainTransaction.status).in_(OPEN),
        )
        .order_by(col(ChainTransaction.id))
    )
    return found.first()
