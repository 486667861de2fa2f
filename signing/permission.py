"""Whether a transaction may be signed now: by the signer itself, or by whoever it is handed to."""

from collections.abc import Collection
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, func, text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.errors import (
    AddressDeniedError,
    ScreeningOutdatedError,
    SignerCeilingError,
    WalletFrozenError,
)
from domain.ports import ScreeningVerdict
from domain.screening import SIGNED_WITHIN
from models.chain_transactions import ChainAttempt, ChainTransaction, ChainTransactionKind
from models.deposits import UserFreeze
from models.payouts import Payout
from models.runs import AddressScreening, ScreeningAnswer
from models.wallets import SignerCeiling
from signing.checks import check_intent, check_replacement
from signing.runs import PaidRuns

CEILING_WINDOW = timedelta(hours=1)

STAYS_WITH_US: Collection[str] = (ChainTransactionKind.SWEEP, ChainTransactionKind.FEE_CHILD)
"""What is not signed away, and so is not counted."""


async def lock_wallet(session: AsyncSession, address: str) -> None:
    """Sign for one wallet in turn, until the unit of work ends: else two could share a rest."""
    await session.execute(
        text("SELECT pg_advisory_xact_lock(7310, hashtext(:address))"), {"address": address}
    )


async def check_permission(
    session: AsyncSession,
    row: ChainTransaction,
    attempt: ChainAttempt,
    *,
    runs: PaidRuns,
    now: datetime,
) -> None:
    """
    Pass for what was asked for and approved and may leave at this moment.

    The caller holds the wallet's lock. A replacement pays the same thing again at most once, so it
    may leave if the first attempt could: holding it back would only keep what follows waiting.

    Raises:
        SigningRefusedError: It is not what was asked for and approved.
        WalletFrozenError: It pays for a customer who is frozen.
        AddressDeniedError: It pays an address that screening denies.
        ScreeningOutdatedError: A provider was asked about those it pays, too long ago.
        SignerCeilingError: The wallet's ceiling for the rolling hour is reached.
    """
    if await _any_attempt(session, row.id, col(ChainAttempt.raw).is_not(None)):
        await check_replacement(session, row, attempt)
    else:
        await check_intent(session, row, attempt, runs=runs)
        await _check_nobody_frozen(session, row)
        await _check_nobody_denied(session, row)
        if row.screened_at is not None and row.screened_at < now - SIGNED_WITHIN:
            raise ScreeningOutdatedError
    if not await _any_attempt(session, row.id, _is_given_away()):
        await _check_ceiling(session, row, now=now)


async def _check_nobody_frozen(session: AsyncSession, row: ChainTransaction) -> None:
    found = await session.exec(
        select(UserFreeze.id)
        .join(Payout, col(Payout.user_id) == col(UserFreeze.user_id))
        .where(Payout.chain_transaction_id == row.id, col(UserFreeze.lifted_at).is_(None))
    )
    if found.first() is not None:
        raise WalletFrozenError


async def _check_nobody_denied(session: AsyncSession, row: ChainTransaction) -> None:
    found = await session.exec(
        select(Payout.id)
        .outerjoin(
            AddressScreening,
            and_(
                col(AddressScreening.chain_id) == col(Payout.chain_id),
                col(AddressScreening.address) == col(Payout.destination),
            ),
        )
        .outerjoin(
            ScreeningAnswer,
            and_(
                col(ScreeningAnswer.chain_id) == col(Payout.chain_id),
                col(ScreeningAnswer.address) == col(Payout.destination),
            ),
        )
        .where(
            Payout.chain_transaction_id == row.id,
            # Our own list goes before what a provider says.
            func.coalesce(AddressScreening.verdict, ScreeningAnswer.verdict)
            == ScreeningVerdict.DENY,
        )
        .limit(1)
    )
    if found.first() is not None:
        raise AddressDeniedError


async def _check_ceiling(session: AsyncSession, row: ChainTransaction, *, now: datetime) -> None:
    ceiling = await session.get(SignerCeiling, (row.wallet_address, row.asset))
    if ceiling is None or row.kind in STAYS_WITH_US:
        return
    given_away_at = func.least(ChainAttempt.signed_at, ChainAttempt.exported_at)
    recent = (
        select(ChainAttempt.chain_transaction_id)
        .where(_is_given_away())
        .group_by(col(ChainAttempt.chain_transaction_id))
        .having(func.min(given_away_at) > now - CEILING_WINDOW)
    )
    found = await session.exec(
        select(func.coalesce(func.sum(ChainTransaction.amount_minor), 0)).where(
            ChainTransaction.wallet_address == row.wallet_address,
            ChainTransaction.asset == row.asset,
            col(ChainTransaction.kind).not_in(STAYS_WITH_US),
            col(ChainTransaction.id).in_(recent),
        )
    )
    if int(found.one()) + row.amount_minor > ceiling.per_hour_minor:
        raise SignerCeilingError


def _is_given_away() -> ColumnElement[bool]:
    """Tell which attempts others may have a signature of: once exported it is out of our hands."""
    return col(ChainAttempt.signed_at).is_not(None) | col(ChainAttempt.exported_at).is_not(None)


async def _any_attempt(
    session: AsyncSession, transaction_id: str, condition: ColumnElement[bool]
) -> bool:
    found = await session.exec(
        select(ChainAttempt.id).where(
            ChainAttempt.chain_transaction_id == transaction_id, condition
        )
    )
    return found.first() is not None
