"""
The second factor: enrolment, and taking each one-time code once.

Every judgement locks the user's row, so that two requests with one code cannot both pass. A wrong
code is counted and committed first, and refused afterwards: an error inside the unit of work would
undo the count.
"""

import logging
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, delete, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.clock import Clock
from domain.errors import (
    EnrolmentMissingError,
    SecondFactorAlreadyEnabledError,
    SecondFactorInvalidError,
    SecondFactorLockedError,
    SecondFactorNotEnabledError,
    StrongroomError,
)
from identity.backoff import FAILURES_ALLOWED, lock_duration, seconds_left
from identity.recovery_codes import (
    recovery_codes_left,
    replace_recovery_codes,
    spend_recovery_code,
)
from identity.totp import matching_steps, new_totp_secret, provisioning_uri, qr_data_uri
from infra.database import Database
from infra.keyring import Keyring
from models.identity import RecoveryCode, SecondFactor, StepUpToken

LOCK_LONGEST = timedelta(hours=1)

_CONFIRMATION = "confirmation"
"""Stands for the enrolment's own step; it is no operation's fingerprint."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What an authenticator app needs; shown once."""

    secret: str
    """Base32."""
    otpauth_uri: str
    qr_data_uri: str


@dataclass(frozen=True, slots=True)
class SecondFactorStatus:
    """Where a user's second factor stands."""

    is_enabled: bool
    locked_for_s: int
    recovery_codes_left: int


class SecondFactors:
    """Enrols authenticators and judges their codes."""

    def __init__(
        self, database: Database, keyring: Keyring, clock: Clock, *, issuer: str = "Strongroom"
    ) -> None:
        """Take the keys that seal the secrets, and the name that authenticator apps show."""
        self._database = database
        self._keyring = keyring
        self._clock = clock
        self._issuer = issuer

    async def status(self, user_id: str) -> SecondFactorStatus:
        """Return whether codes are asked for, and what is left of them."""
        async with self._database.transaction() as session:
            row = await session.get(SecondFactor, user_id)
            if row is None or row.enabled_at is None:
                return SecondFactorStatus(is_enabled=False, locked_for_s=0, recovery_codes_left=0)
            return SecondFactorStatus(
                is_enabled=True,
                locked_for_s=seconds_left(row.locked_until, now=self._clock.now()),
                recovery_codes_left=await recovery_codes_left(session, user_id),
            )

    async def enrol(self, user_id: str, *, email: str) -> Enrolment:
        """
        Draw a secret that waits for ``confirm``; an earlier unconfirmed one is forgotten.

        Raises:
            SecondFactorAlreadyEnabledError: Disable it first.
        """
        secret = new_totp_secret()
        fresh = {
            "sealed_secret": self._keyring.seal(secret.encode(), associated=user_id.encode()),
            "last_step": 0,
            "last_step_fingerprint": None,
            "failures": 0,
            "locked_until": None,
        }
        statement = (
            insert(SecondFactor)
            .values(user_id=user_id, **fresh)
            .on_conflict_do_update(
                index_elements=["user_id"], set_=fresh, where=col(SecondFactor.enabled_at).is_(None)
            )
            .returning(col(SecondFactor.user_id))
        )
        async with self._database.transaction() as session:
            stored = (await session.exec(statement)).first()
        if stored is None:
            raise SecondFactorAlreadyEnabledError
        uri = provisioning_uri(secret, email=email, issuer=self._issuer)
        return Enrolment(secret, uri, qr_data_uri(uri))

    async def confirm(self, user_id: str, code: str) -> list[str]:
        """
        Switch the second factor on and return the recovery codes, which are shown once.

        Raises:
            EnrolmentMissingError: Nothing to confirm.
            SecondFactorAlreadyEnabledError: It is on.
            SecondFactorInvalidError: Wrong code; the enrolment still waits.
            SecondFactorLockedError: Too many wrong codes.
        """
        codes: list[str] = []
        async with self._database.transaction() as session:
            row = await self._locked_row(session, user_id)
            if row is None:
                raise EnrolmentMissingError
            if row.enabled_at is not None:
                raise SecondFactorAlreadyEnabledError
            refusal = self._judge(row, code, fingerprint=_CONFIRMATION)
            if refusal is None:
                row.enabled_at = self._clock.now()
                codes = await replace_recovery_codes(session, user_id)
        if refusal is not None:
            raise refusal
        _log.info("second factor of user %s enabled", user_id)
        return codes

    async def verify(self, user_id: str, code: str, *, fingerprint: str) -> None:
        """
        Take a one-time code for the operation with this fingerprint.

        The newest code taken may be repeated for the very same operation: its first answer may
        have been lost, and asking again must be possible.

        Raises:
            SecondFactorNotEnabledError: No authenticator is enrolled.
            SecondFactorInvalidError: Wrong, too old, or taken for something else.
            SecondFactorLockedError: Too many wrong codes.
        """
        async with self._database.transaction() as session:
            refusal = await self.spend_code(session, user_id, code, fingerprint=fingerprint)
        if refusal is not None:
            raise refusal

    async def spend_code(
        self, session: AsyncSession, user_id: str, code: str, *, fingerprint: str
    ) -> StrongroomError | None:
        """Take a code as part of a unit of work; return why not, to be raised after its commit."""
        row = await self._locked_row(session, user_id)
        if row is None or row.enabled_at is None:
            return SecondFactorNotEnabledError()
        return self._judge(row, code, fingerprint=fingerprint)

    async def renew_recovery_codes(self, user_id: str) -> list[str]:
        """
        Replace the recovery codes; the caller has checked the second factor.

        Raises:
            SecondFactorNotEnabledError: No authenticator is enrolled.
        """
        async with self._database.transaction() as session:
            row = await self._locked_row(session, user_id)
            if row is None or row.enabled_at is None:
                raise SecondFactorNotEnabledError
            return await replace_recovery_codes(session, user_id)

    async def spend_recovery_code(self, user_id: str, code: str) -> None:
        """
        Take a recovery code instead of a one-time code: to disable the second factor, no more.

        Raises:
            SecondFactorNotEnabledError: No authenticator is enrolled.
            SecondFactorInvalidError: Wrong, or used before.
            SecondFactorLockedError: Too many wrong codes.
        """
        async with self._database.transaction() as session:
            row = await self._locked_row(session, user_id)
            refusal: StrongroomError | None
            if row is None or row.enabled_at is None:
                refusal = SecondFactorNotEnabledError()
            elif (refusal := self._lock_refusal(row)) is None:
                good = await spend_recovery_code(session, user_id, code, clock=self._clock)
                refusal = None if good else self._count_failure(row)
        if refusal is not None:
            raise refusal

    async def disable(self, user_id: str) -> None:
        """Forget the authenticator and all that hangs on it; the caller has checked a code."""
        async with self._database.transaction() as session:
            for table in (StepUpToken, RecoveryCode, SecondFactor):
                await session.exec(delete(table).where(col(table.user_id) == user_id))
        _log.info("second factor of user %s disabled", user_id)

    async def _locked_row(self, session: AsyncSession, user_id: str) -> SecondFactor | None:
        query = select(SecondFactor).where(SecondFactor.user_id == user_id).with_for_update()
        return (await session.exec(query)).one_or_none()

    def _judge(self, row: SecondFactor, code: str, *, fingerprint: str) -> StrongroomError | None:
        if (refusal := self._lock_refusal(row)) is not None:
            return refusal
        secret = self._keyring.open(row.sealed_secret, associated=row.user_id.encode()).decode()
        steps = matching_steps(secret, code, now=self._clock.now())
        if not steps:
            return self._count_failure(row)
        fresh = [step for step in steps if step > row.last_step]
        if fresh:
            row.last_step, row.last_step_fingerprint = fresh[0], fingerprint
        elif steps[-1] != row.last_step or row.last_step_fingerprint != fingerprint:
            # A used code is no guess, so it does not count towards the lock.
            return SecondFactorInvalidError("This code was used; wait for the next one.")
        row.failures, row.locked_until = 0, None
        return None

    def _lock_refusal(self, row: SecondFactor) -> StrongroomError | None:
        wait_s = seconds_left(row.locked_until, now=self._clock.now())
        return SecondFactorLockedError(retry_after_s=wait_s) if wait_s > 0 else None

    def _count_failure(self, row: SecondFactor) -> StrongroomError:
        row.failures += 1
        if row.failures >= FAILURES_ALLOWED:
            wait = lock_duration(row.failures, longest=LOCK_LONGEST)
            row.locked_until = self._clock.now() + wait
            _log.warning("second factor of user %s locked for %s", row.user_id, wait)
        return SecondFactorInvalidError()
