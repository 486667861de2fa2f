"""Reading deposits, chains and rescans."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from deposits.depth import Depth, depth_of
from deposits.freezes import frozen_among
from domain.deposits import DepositStatus
from domain.errors import ChainNotFoundError, DepositNotFoundError
from infra.paging import Page, paged
from ledger import chart
from ledger.queries import StatementLine
from models.chain_transactions import ChainHead
from models.deposits import ChainAddress, ChainDeposit, ChainDepositEvent, UserFreeze
from models.ledger import LedgerAccount, LedgerEntry, LedgerTransaction
from models.wallets import Asset, Chain


@dataclass(frozen=True, slots=True)
class DepositDetail:
    """A deposit with its address, its history, and how deep it lies."""

    deposit: ChainDeposit
    address: ChainAddress
    asset: Asset | None
    chain: Chain
    head: ChainHead | None
    events: list[ChainDepositEvent]
    is_frozen: bool
    """The deposit was taken back, and its user's outgoing operations are frozen."""

    @property
    def depth(self) -> Depth:
        """Confirmations now, and whether they are enough."""
        return depth_of(self.deposit, self.chain, self.head)


@dataclass(frozen=True, slots=True)
class ListedDeposit:
    """A deposit as a list shows it."""

    deposit: ChainDeposit
    address: str
    depth: Depth


@dataclass(frozen=True, slots=True)
class DepositProgress:
    """A deposit as it stands, and the lines of its history that a reader has not seen."""

    deposit: ChainDeposit
    depth: Depth
    news: list[ChainDepositEvent]

    @property
    def is_final(self) -> bool:
        """Tell whether nothing more is expected; only a reorg can still change it."""
        match DepositStatus(self.deposit.status):
            case DepositStatus.CREDITED | DepositStatus.FORGOTTEN | DepositStatus.IGNORED:
                return True
            case DepositStatus.REVERSED:
                return self.deposit.block_height is None
            case DepositStatus.SEEN | DepositStatus.CONFIRMING:
                return False


async def deposit_detail(
    session: AsyncSession, deposit_id: str, *, user_id: str | None
) -> DepositDetail:
    """
    Return everything about one deposit; with a ``user_id``, only if it is theirs.

    Raises:
        DepositNotFoundError: There is none, or it is somebody else's: the answer is the same.
    """
    deposit = await session.get(ChainDeposit, deposit_id)
    if deposit is None or user_id not in (None, deposit.user_id):
        raise DepositNotFoundError
    events = await session.exec(
        select(ChainDepositEvent)
        .where(ChainDepositEvent.deposit_id == deposit_id)
        .order_by(col(ChainDepositEvent.id))
    )
    is_reversed = deposit.status == DepositStatus.REVERSED
    return DepositDetail(
        deposit=deposit,
        address=await session.get_one(ChainAddress, deposit.address_id),
        asset=await session.get(Asset, deposit.asset) if deposit.asset else None,
        chain=await session.get_one(Chain, deposit.chain_id),
        head=await session.get(ChainHead, deposit.chain_id),
        events=list(events),
        is_frozen=is_reversed and bool(await frozen_among(session, [deposit.user_id])),
    )


async def deposit_progress(
    session: AsyncSession, deposit_id: str, *, user_id: str | None, after: int | None
) -> DepositProgress:
    """
    Return where a deposit stands, and the lines of its history ``after`` this one, oldest first.

    Without ``after`` the newest line alone counts as news. Read it from a snapshot, so that the
    lines belong to the standing.

    Raises:
        DepositNotFoundError: As ``deposit_detail``.
    """
    found = await session.exec(
        select(ChainDeposit, Chain, ChainHead)
        .join(Chain, col(Chain.id) == col(ChainDeposit.chain_id))
        .outerjoin(ChainHead, col(ChainHead.chain_id) == col(ChainDeposit.chain_id))
        .where(ChainDeposit.id == deposit_id)
    )
    row = found.first()
    if row is None or user_id not in (None, row[0].user_id):
        raise DepositNotFoundError
    deposit, chain, head = row
    lines = select(ChainDepositEvent).where(ChainDepositEvent.deposit_id == deposit_id)
    if after is None:
        lines = lines.order_by(col(ChainDepositEvent.id).desc()).limit(1)
    else:
        lines = lines.where(col(ChainDepositEvent.id) > after).order_by(col(ChainDepositEvent.id))
    return DepositProgress(deposit, depth_of(deposit, chain, head), list(await session.exec(lines)))


async def postings_of(session: AsyncSession, deposit: ChainDeposit) -> list[StatementLine]:
    """Return what the books did with a deposit, oldest first; our own side of it left out."""
    codes = (
        chart.available(deposit.user_id),
        chart.onchain(deposit.user_id, deposit.chain_id),
        chart.UNCLAIMED,
        chart.purchase_clearing(deposit.chain_id),
    )
    found = await session.exec(
        select(LedgerEntry, LedgerTransaction, LedgerAccount.code)
        .join(LedgerTransaction, col(LedgerTransaction.id) == col(LedgerEntry.transaction_id))
        .join(LedgerAccount, col(LedgerAccount.id) == col(LedgerEntry.account_id))
        .where(LedgerTransaction.resource == deposit.id, col(LedgerAccount.code).in_(codes))
        .order_by(col(LedgerEntry.id))
    )
    return [
        StatementLine(
            position=entry.account_version,
            asset=entry.asset,
            account=code,
            amount_minor=entry.amount_minor,
            balance_after_minor=entry.balance_after_minor,
            rule=transaction.rule,
            resource=transaction.resource,
            transaction_key=transaction.key,
            effective_at=entry.effective_at,
            recorded_at=transaction.recorded_at,
        )
        for entry, transaction, code in found
    ]


async def list_deposits(
    session: AsyncSession,
    page: Page,
    *,
    user_id: str | None,
    status: DepositStatus | None,
    asset: str | None,
) -> list[ListedDeposit]:
    """Return a page of deposits, newest first, and one row more; of one customer, or of all."""
    query = (
        select(ChainDeposit, ChainAddress.address, Chain, ChainHead)
        .join(ChainAddress, col(ChainAddress.id) == col(ChainDeposit.address_id))
        .join(Chain, col(Chain.id) == col(ChainDeposit.chain_id))
        .outerjoin(ChainHead, col(ChainHead.chain_id) == col(ChainDeposit.chain_id))
    )
    if user_id is not None:
        query = query.where(ChainDeposit.user_id == user_id)
    if status is not None:
        query = query.where(ChainDeposit.status == status)
    if asset is not None:
        query = query.where(ChainDeposit.asset == asset)
    query = paged(query, page, created_at=ChainDeposit.seen_at, row_id=ChainDeposit.id)
    return [
        ListedDeposit(deposit, address, depth_of(deposit, chain, head))
        for deposit, address, chain, head in await session.exec(query)
    ]


async def chain_heads(session: AsyncSession) -> Sequence[tuple[Chain, ChainHead | None]]:
    """Return every chain with what the watcher last saw of it."""
    found = await session.exec(
        select(Chain, ChainHead)
        .outerjoin(ChainHead, col(ChainHead.chain_id) == col(Chain.id))
        .order_by(col(Chain.id))
    )
    return found.all()


async def chain_head(session: AsyncSession, chain_id: str) -> tuple[Chain, ChainHead | None]:
    """
    Return one chain with what the watcher last saw of it.

    Raises:
        ChainNotFoundError: The catalog has no such chain.
    """
    chain = await session.get(Chain, chain_id)
    if chain is None:
        raise ChainNotFoundError
    return chain, await session.get(ChainHead, chain_id)


async def count_by_status(session: AsyncSession) -> dict[str, int]:
    """Return how many deposits stand at each status."""
    found = await session.exec(
        select(ChainDeposit.status, func.count()).group_by(ChainDeposit.status)
    )
    return dict(found.all())


async def count_frozen(session: AsyncSession) -> int:
    """Return how many customers are frozen."""
    found = await session.exec(
        select(func.count(col(UserFreeze.user_id).distinct())).where(
            col(UserFreeze.lifted_at).is_(None)
        )
    )
    return found.one()
