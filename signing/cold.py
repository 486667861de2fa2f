"""
Signing where the keys are elsewhere: a UTXO chain whose seed was never given to this signer.

The same transaction that the signer would sign is handed out as a PSBT (BIP174) and taken back
signed. It passes the same checks, is stored in the same place, and its workflow goes on by itself.
Once handed out it counts as signed: its txid is known, since no signature is part of it (BIP141),
and the watcher recognizes it even if it is broadcast elsewhere and never taken back.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.clock import Clock
from domain.coins import KeyPosition, UnsignedCoinAttempt
from domain.errors import ConflictError, ValidationError
from domain.hd import account_path
from domain.utxo.networks import network_of
from domain.utxo.psbt import ColdAccount, signed_attempt, unsigned_psbt
from domain.utxo.transactions import unsigned_transaction
from infra.database import Database
from models.chain_transactions import ChainAttempt, ChainTransaction, ChainTransactionStatus
from models.deposits import ChainAddress, HdAccount
from signing.coins import coin_attempt
from signing.hd import check_xpub
from signing.permission import check_permission, lock_wallet
from signing.runs import runs_paid_by
from signing.signer import SIGNABLE


@dataclass(frozen=True, slots=True)
class ColdTask:
    """A transaction that waits for a signature from elsewhere."""

    attempt_id: str
    chain_transaction_id: str
    chain_id: str
    kind: str
    asset: str
    amount_minor: int
    fee_minor: int
    is_exported: bool
    """It was handed out before, and may be signed already."""


class ColdDesk:
    """What an operator with a cold wallet does, as the signer's database role."""

    def __init__(self, database: Database, clock: Clock) -> None:
        """Take the database as the signer's role; no key is needed, or read."""
        self._database = database
        self._clock = clock

    async def add_account(self, chain_id: str, xpub: str, fingerprint: str) -> None:
        """
        Make a chain's account one whose keys are elsewhere; before the signer made one of its own.

        Raises:
            ValidationError: Not an account's extended public key of this network (BIP32, BIP84).
            ConflictError: The chain has an account already, with which addresses may be in use.
        """
        check_xpub(chain_id, xpub)
        async with self._database.transaction() as session:
            if await _account(session, chain_id) is not None:
                msg = f"{chain_id} has an account already."
                raise ConflictError(msg)
            session.add(
                HdAccount(
                    chain_id=chain_id,
                    path=account_path(chain_id),
                    xpub=xpub,
                    fingerprint=_fingerprint(fingerprint),
                    created_at=self._clock.now(),
                )
            )

    async def tasks(self) -> list[ColdTask]:
        """Return what waits for a signature from elsewhere, oldest first."""
        async with self._database.transaction() as session:
            found = await session.exec(
                select(ChainTransaction, ChainAttempt)
                .join(
                    ChainAttempt,
                    col(ChainAttempt.chain_transaction_id) == col(ChainTransaction.id),
                )
                .where(
                    col(ChainTransaction.chain_id).in_(await _cold_chains(session)),
                    col(ChainTransaction.status).in_(SIGNABLE),
                    col(ChainTransaction.reason_code).is_(None),
                    col(ChainAttempt.raw).is_(None),
                )
                .order_by(col(ChainTransaction.created_at), col(ChainAttempt.sequence))
            )
            return [_task(row, attempt) for row, attempt in found]

    async def export(self, attempt_id: str) -> bytes:
        """
        Return the unsigned PSBT of a waiting transaction, which counts as signed from now on.

        Asked again it answers the same.

        Raises:
            ConflictError: It does not wait for a signature from elsewhere.
            SigningRefusedError: It is not what was asked for and approved.
            WalletFrozenError: It pays for a customer who is frozen.
            AddressDeniedError: It pays an address that screening denies.
            SignerCeilingError: The wallet's ceiling for the rolling hour is reached.
        """
        async with self._database.transaction() as session:
            row, attempt = await _waiting(session, attempt_id)
            unsigned = await self._checked(session, row, attempt)
            account = await _cold_account(session, row.chain_id)
            own = await _own_outputs(session, unsigned)
            previous = await _previous(session, unsigned)
            attempt.txid = bytes(unsigned_transaction(unsigned).txid()).hex()
            attempt.exported_at = attempt.exported_at or self._clock.now()
        return unsigned_psbt(unsigned, account, own_outputs=own, previous=previous)

    async def take_back(self, attempt_id: str, psbt: bytes) -> str:
        """
        Store a signed PSBT's transaction and return its txid; raises as ``export``.

        Raises:
            ValidationError: It is another transaction, or not signed by the account's keys.
        """
        async with self._database.transaction() as session:
            row, attempt = await _waiting(session, attempt_id)
            unsigned = await self._checked(session, row, attempt)
            account = await _cold_account(session, row.chain_id)
            signed = signed_attempt(unsigned, account, psbt)
            attempt.raw, attempt.txid = signed.raw, signed.txid
            attempt.signed_at = self._clock.now()
            if row.status == ChainTransactionStatus.ALLOCATED:
                row.status = ChainTransactionStatus.SIGNED
                row.updated_at = self._clock.now()
        return signed.txid

    async def _checked(
        self, session: AsyncSession, row: ChainTransaction, attempt: ChainAttempt
    ) -> UnsignedCoinAttempt:
        runs = await runs_paid_by(session, [row])
        await check_permission(session, row, attempt, runs=runs, now=self._clock.now())
        return await coin_attempt(session, row, attempt)


def _task(row: ChainTransaction, attempt: ChainAttempt) -> ColdTask:
    return ColdTask(
        attempt_id=attempt.id,
        chain_transaction_id=row.id,
        chain_id=row.chain_id,
        kind=row.kind,
        asset=row.asset,
        amount_minor=row.amount_minor,
        fee_minor=attempt.fee_minor or 0,
        is_exported=attempt.exported_at is not None,
    )


async def _waiting(session: AsyncSession, attempt_id: str) -> tuple[ChainTransaction, ChainAttempt]:
    """Return a transaction that waits for a signature from elsewhere; locks wallet, then row."""
    attempt = await session.get(ChainAttempt, attempt_id)
    row = None
    if attempt is not None:
        row = await session.get_one(ChainTransaction, attempt.chain_transaction_id)
        await lock_wallet(session, row.wallet_address)
        await session.refresh(row, with_for_update=True)
        await session.refresh(attempt)
    is_waiting = (
        row is not None
        and attempt is not None
        and attempt.raw is None
        and row.reason_code is None
        and row.status in SIGNABLE
        and row.chain_id in await _cold_chains(session)
    )
    if not is_waiting or row is None or attempt is None:
        msg = f"{attempt_id} does not wait for a signature from elsewhere."
        raise ConflictError(msg)
    return row, attempt


async def _cold_chains(session: AsyncSession) -> Sequence[str]:
    found = await session.execute(
        text("SELECT chain_id FROM hd_account WHERE encrypted_seed IS NULL")
    )
    return list(found.scalars())


async def _cold_account(session: AsyncSession, chain_id: str) -> ColdAccount:
    account = await session.get_one(HdAccount, chain_id)
    return ColdAccount(account.xpub, bytes.fromhex(account.fingerprint))


async def _own_outputs(
    session: AsyncSession, unsigned: UnsignedCoinAttempt
) -> dict[str, KeyPosition]:
    found = await session.exec(
        select(ChainAddress).where(
            ChainAddress.chain_id == unsigned.chain_id,
            col(ChainAddress.address).in_([output.address for output in unsigned.outputs]),
        )
    )
    return {a.address: KeyPosition(a.branch, a.index) for a in found}


async def _previous(session: AsyncSession, unsigned: UnsignedCoinAttempt) -> dict[str, bytes]:
    """Return the transactions of our own that made the coins; the signer knows no others."""
    found = await session.exec(
        select(ChainAttempt.txid, ChainAttempt.raw).where(
            col(ChainAttempt.txid).in_({coin.outpoint.txid for coin in unsigned.inputs}),
            col(ChainAttempt.raw).is_not(None),
        )
    )
    return {str(txid): raw for txid, raw in found if raw is not None}


async def _account(session: AsyncSession, chain_id: str) -> HdAccount | None:
    network_of(chain_id)
    found = await session.exec(select(HdAccount).where(HdAccount.chain_id == chain_id))
    return found.first()


def _fingerprint(text_: str) -> str:
    try:
        value = bytes.fromhex(text_)
    except ValueError:
        value = b""
    if len(value) != 4:  # noqa: PLR2004
        msg = "A fingerprint is 4 bytes in hex (BIP32)."
        raise ValidationError(msg)
    return value.hex()
