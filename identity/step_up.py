"""A second factor given ahead: tokens ``sru_…`` for one operation, and the gate that asks."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from sqlmodel import col, delete, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.clock import Clock
from domain.errors import (
    SecondFactorInvalidError,
    SecondFactorNotEnabledError,
    SecondFactorRequiredError,
    StrongroomError,
)
from domain.ids import STEP_UP, new_id
from identity.principals import Principal
from identity.second_factor import SecondFactors
from identity.tokens import STEP_UP_PREFIX, digest, new_secret
from infra.database import Database
from models.identity import SecondFactor, StepUpToken

SecondFactorKind = Literal["totp", "step_up"]
"""How a caller proved the second factor."""


@dataclass(frozen=True, slots=True)
class IssuedStepUp:
    """A new token; it is not kept anywhere."""

    token: str
    expires_at: datetime


class StepUps:
    """Issues step-up tokens and asks for the second factor."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        second_factors: SecondFactors,
        lifetime: timedelta,
    ) -> None:
        """Take what judges codes, and how long a token lives."""
        self._database = database
        self._clock = clock
        self._second_factors = second_factors
        self._lifetime = lifetime

    async def issue(self, user_id: str, code: str, *, fingerprint: str) -> IssuedStepUp:
        """
        Exchange a one-time code for a token that is good for one operation.

        Raises:
            SecondFactorNotEnabledError: No authenticator is enrolled.
            SecondFactorInvalidError: Wrong, too old, or taken for something else.
            SecondFactorLockedError: Too many wrong codes.
        """
        token, expires_at = STEP_UP_PREFIX + new_secret(), self._clock.now() + self._lifetime
        async with self._database.transaction() as session:
            refusal = await self._second_factors.spend_code(
                session, user_id, code, fingerprint=fingerprint
            )
            if refusal is None:
                session.add(
                    StepUpToken(
                        id=new_id(STEP_UP),
                        user_id=user_id,
                        token_hash=digest(token),
                        fingerprint=fingerprint,
                        expires_at=expires_at,
                    )
                )
        if refusal is not None:
            raise refusal
        return IssuedStepUp(token, expires_at)

    async def require_second_factor(
        self,
        principal: Principal,
        *,
        totp_code: str | None,
        step_up_token: str | None,
        fingerprint: str,
    ) -> SecondFactorKind:
        """
        Return how the caller proved the second factor for this operation. A token goes first.

        Raises:
            SecondFactorNotEnabledError: No authenticator is enrolled.
            SecondFactorRequiredError: Neither a code nor a token came.
            SecondFactorInvalidError: The code or the token is not good for this operation.
            SecondFactorLockedError: Too many wrong codes.
        """
        async with self._database.transaction() as session:
            verdict = await self.spend(
                session,
                principal,
                totp_code=totp_code,
                step_up_token=step_up_token,
                fingerprint=fingerprint,
            )
        if isinstance(verdict, StrongroomError):
            raise verdict
        return verdict

    async def spend(
        self,
        session: AsyncSession,
        principal: Principal,
        *,
        totp_code: str | None,
        step_up_token: str | None,
        fingerprint: str,
    ) -> SecondFactorKind | StrongroomError:
        """
        Judge the second factor as part of a unit of work.

        A refusal is returned, to be raised after the commit: it may have been counted as a guess.
        Whatever else undoes the unit of work gives the code back.
        """
        if step_up_token is not None:
            refusal = await self._token_refusal(
                session, principal.user_id, step_up_token, fingerprint=fingerprint
            )
            return refusal or "step_up"
        if totp_code is not None:
            refusal = await self._second_factors.spend_code(
                session, principal.user_id, totp_code, fingerprint=fingerprint
            )
            return refusal or "totp"
        if not principal.second_factor_enabled:
            return SecondFactorNotEnabledError()
        return SecondFactorRequiredError()

    async def purge(self) -> None:
        """Forget tokens that are over."""
        async with self._database.transaction() as session:
            await session.exec(
                delete(StepUpToken).where(col(StepUpToken.expires_at) < self._clock.now())
            )

    async def _token_refusal(
        self, session: AsyncSession, user_id: str, token: str, *, fingerprint: str
    ) -> StrongroomError | None:
        # Joined, so that a token does not outlive the second factor it stands for.
        query = (
            select(StepUpToken.fingerprint, StepUpToken.expires_at)
            .select_from(SecondFactor)
            .outerjoin(
                StepUpToken,
                (col(StepUpToken.user_id) == col(SecondFactor.user_id))
                & (col(StepUpToken.token_hash) == digest(token)),
            )
            .where(SecondFactor.user_id == user_id, col(SecondFactor.enabled_at).is_not(None))
        )
        row = (await session.exec(query)).one_or_none()
        if row is None:
            return SecondFactorNotEnabledError()
        bound_to, expires_at = row
        if bound_to != fingerprint:
            return SecondFactorInvalidError("The step-up token is not for this operation.")
        if expires_at <= self._clock.now():
            return SecondFactorInvalidError("The step-up token is over.")
        return None
