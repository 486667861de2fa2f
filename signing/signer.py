"""
The signer: re-checks each intent, then signs and stores the bytes, a batch in few units of work.

Bytes are stored before any node can see them, and an attempt that has bytes is never signed again.
"""

import itertools
import logging
from collections import Counter
from collections.abc import Sequence
from typing import Protocol

from sqlalchemy import ColumnElement, func
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.clock import Clock
from domain.disperse import Dispersal, Payment, batch_id_of
from domain.errors import (
    AddressDeniedError,
    KeyUnavailableError,
    ScreeningOutdatedError,
    SignerCeilingError,
    SigningRefusedError,
    WalletFrozenError,
)
from domain.ports import (
    CoinSigner,
    SignedAttempt,
    SignOutcome,
    TransactionSigner,
    Transfer,
    UnsignedAttempt,
)
from domain.utxo.networks import NAMESPACE as UTXO_NAMESPACE
from infra.database import Database
from models.chain_transactions import (
    ChainAttempt,
    ChainBatch,
    ChainTransaction,
    ChainTransactionKind,
    ChainTransactionStatus,
)
from models.wallets import Asset
from signing.coins import coin_attempt
from signing.payouts import payouts_in
from signing.permission import check_permission, lock_wallet
from signing.runs import PaidRuns, runs_paid_by

SIGNED = "signed"
WAITING = (
    SignerCeilingError.code,
    KeyUnavailableError.code,
    WalletFrozenError.code,
    AddressDeniedError.code,
    ScreeningOutdatedError.code,
)
"""What passes by itself or is mended by an operator; the batch asks again."""

SIGNED_AT_ONCE = 100
"""Most attempts that one unit of work signs: some seconds of work that may have to be repeated."""

SIGNABLE = (
    ChainTransactionStatus.ALLOCATED,
    ChainTransactionStatus.SIGNED,
    ChainTransactionStatus.BROADCAST,
)

logger = logging.getLogger(__name__)


class Keys(TransactionSigner, CoinSigner, Protocol):
    """Whoever holds the keys of every family."""


class PostgresBatchSigner:
    """``domain.ports.BatchSigner`` on PostgreSQL, as the signer's role."""

    def __init__(self, database: Database, signer: Keys, clock: Clock) -> None:
        """Take the database and what holds the keys."""
        self._database = database
        self._signer = signer
        self._clock = clock

    async def sign(self, batch_id: str) -> SignOutcome:
        """
        Sign and store every attempt of the batch that has no bytes yet and is allowed now.

        What would pass the wallet's ceiling waits for the rolling hour, and what pays a frozen
        customer or a denied address until that is lifted; what is not exactly what was asked for
        and approved is never signed.
        """
        work, refused = await self._outstanding(batch_id)
        verdicts: Counter[str] = Counter()
        # What is signed stays so should the time for the rest be up; asked again, that goes on.
        for piece in itertools.batched(work, SIGNED_AT_ONCE):
            async with self._database.transaction() as session:
                await self._sign_piece(session, batch_id, piece, verdicts)
        await self._note(batch_id, next((code for code in WAITING if verdicts[code]), None))
        return SignOutcome(
            signed=verdicts[SIGNED],
            # Also what was refused before by a call whose answer was lost.
            refused=refused + verdicts[SigningRefusedError.code],
            waiting=sum(verdicts[code] for code in WAITING),
        )

    async def _sign_piece(
        self,
        session: AsyncSession,
        batch_id: str,
        attempt_ids: Sequence[str],
        verdicts: Counter[str],
    ) -> None:
        batch = await session.get_one(ChainBatch, batch_id, with_for_update=True)
        # Batches of one wallet are signed in turn, or two could share one ceiling's rest.
        await lock_wallet(session, batch.wallet_address)
        work = await self._unsigned(session, batch_id, attempt_ids)
        runs = await runs_paid_by(session, [row for row, _ in work])
        for row, attempt in work:
            verdicts[await self._sign_one(session, row, attempt, runs=runs)] += 1

    async def _outstanding(self, batch_id: str) -> tuple[list[str], int]:
        """Return the attempts to sign, in order of account nonce, and how many were refused."""
        async with self._database.transaction() as session:
            found = await session.exec(
                select(ChainAttempt.id)
                .join(
                    ChainTransaction,
                    col(ChainTransaction.id) == col(ChainAttempt.chain_transaction_id),
                )
                .where(*_is_unsigned(batch_id))
                .order_by(
                    func.coalesce(ChainTransaction.account_nonce, 0), col(ChainAttempt.sequence)
                )
            )
            refused = await session.exec(
                select(func.count())
                .select_from(ChainTransaction)
                .where(
                    ChainTransaction.batch_id == batch_id,
                    ChainTransaction.status == ChainTransactionStatus.ALLOCATED,
                    ChainTransaction.kind != ChainTransactionKind.NONCE_FILLER,
                    col(ChainTransaction.reason_code).is_not(None),
                )
            )
            return list(found), refused.one()

    async def _note(self, batch_id: str, code: str | None) -> None:
        """Write down what the batch waits for, or that it waits for nothing here."""
        async with self._database.transaction() as session:
            batch = await session.get_one(ChainBatch, batch_id, with_for_update=True)
            if batch.waiting_for != code:
                batch.waiting_for = code
                batch.waiting_since = self._clock.now() if code else None

    async def _unsigned(
        self, session: AsyncSession, batch_id: str, attempt_ids: Sequence[str]
    ) -> Sequence[tuple[ChainTransaction, ChainAttempt]]:
        found = await session.exec(
            select(ChainTransaction, ChainAttempt)
            .join(ChainAttempt, col(ChainAttempt.chain_transaction_id) == col(ChainTransaction.id))
            .where(*_is_unsigned(batch_id), col(ChainAttempt.id).in_(attempt_ids))
            .order_by(col(ChainTransaction.id), col(ChainAttempt.sequence))
            .with_for_update(of=ChainTransaction)
        )
        # Locked in order of id, as everybody does; signed in order of account nonce.
        return sorted(found, key=lambda work: (work[0].account_nonce or 0, work[1].sequence))

    async def _sign_one(
        self,
        session: AsyncSession,
        row: ChainTransaction,
        attempt: ChainAttempt,
        *,
        runs: PaidRuns,
    ) -> str:
        """Return ``SIGNED``, or the code of what keeps it from being signed."""
        if attempt.exported_at is not None:
            # It was handed out and may be signed elsewhere by now: nothing here takes that back.
            return KeyUnavailableError.code
        try:
            await check_permission(session, row, attempt, runs=runs, now=self._clock.now())
            signed = await self._signed(session, row, attempt)
        except SigningRefusedError as refusal:
            logger.error("refused to sign %s: %s", row.id, refusal.detail)  # noqa: TRY400
            if row.status == ChainTransactionStatus.ALLOCATED:
                row.reason_code = SigningRefusedError.code
                row.refused_payouts = list(refusal.payout_ids) or None
            return SigningRefusedError.code
        except (
            SignerCeilingError,
            WalletFrozenError,
            AddressDeniedError,
            ScreeningOutdatedError,
        ) as wait:
            return wait.code
        except KeyUnavailableError as error:
            # A key was taken from the environment too early; nothing is wrong with the payout.
            logger.error("cannot sign %s: %s", row.id, error.detail)  # noqa: TRY400
            return KeyUnavailableError.code
        attempt.raw, attempt.txid = signed.raw, signed.txid
        attempt.signed_at = self._clock.now()
        if row.status == ChainTransactionStatus.ALLOCATED:
            row.status = ChainTransactionStatus.SIGNED
            row.updated_at = self._clock.now()
        # The ceiling of the next transaction must count this one.
        await session.flush()
        return SIGNED

    async def _signed(
        self, session: AsyncSession, row: ChainTransaction, attempt: ChainAttempt
    ) -> SignedAttempt:
        if row.chain_id.startswith(UTXO_NAMESPACE):
            return await self._signer.sign_coins(await coin_attempt(session, row, attempt))
        asset = await session.get_one(Asset, row.asset)
        payments = await _payments(session, row)
        return await self._signer.sign(_unsigned_attempt(row, attempt, asset, payments))


def _is_unsigned(batch_id: str) -> Sequence[ColumnElement[bool]]:
    return (
        col(ChainTransaction.batch_id) == batch_id,
        col(ChainTransaction.status).in_(SIGNABLE),
        col(ChainTransaction.reason_code).is_(None),
        col(ChainAttempt.raw).is_(None),
    )


def _dispersal(
    row: ChainTransaction, asset: Asset, payments: tuple[Payment, ...]
) -> Dispersal | None:
    """Return what the disperse contract is asked for, from the payouts that were checked."""
    if row.disperse_address is None:
        return None
    return Dispersal(
        batch_id=batch_id_of(row.id),
        contract_address=row.disperse_address,
        sender=row.wallet_address,
        payments=payments,
        token_address=asset.contract_address,
    )


async def _payments(session: AsyncSession, row: ChainTransaction) -> tuple[Payment, ...]:
    """Return what is paid to several, in order of the payouts' ids; nothing where it is one."""
    if row.destination is not None:
        return ()
    payouts = await payouts_in(session, row)
    return tuple(Payment(p.destination, p.amount_minor) for p in payouts)


def _unsigned_attempt(
    row: ChainTransaction,
    attempt: ChainAttempt,
    asset: Asset,
    payments: tuple[Payment, ...],
) -> UnsignedAttempt:
    is_filler = row.kind == ChainTransactionKind.NONCE_FILLER
    dispersal = _dispersal(row, asset, payments)
    transfer = Transfer(
        wallet_address=row.wallet_address,
        destination=row.destination or "",
        amount_minor=row.amount_minor,
        contract_address=None if is_filler else asset.contract_address,
        dispersal=dispersal,
        payments=() if dispersal is not None else payments,
        is_approval=row.kind == ChainTransactionKind.TOKEN_APPROVAL,
    )
    if row.account_nonce is None or row.gas_limit is None:
        msg = "no account nonce"
        raise SigningRefusedError(msg)
    return UnsignedAttempt(
        transfer=transfer,
        chain_id=row.chain_id,
        account_nonce=row.account_nonce,
        gas_limit=row.gas_limit,
        max_fee_minor=attempt.max_fee_minor,
        priority_fee_minor=attempt.priority_fee_minor,
    )
