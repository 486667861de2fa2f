"""The second factor of one request: collected with its headers, judged when asked for."""

from collections.abc import Callable
from dataclasses import dataclass

from sqlmodel.ext.asyncio.session import AsyncSession

from domain.errors import StrongroomError
from identity.principals import Principal
from identity.step_up import SecondFactorKind, StepUps


@dataclass(frozen=True, slots=True)
class SecondFactorCheck:
    """The second factor that came with this request, not yet looked at."""

    step_ups: StepUps
    principal: Principal
    fingerprint: Callable[[], str]
    totp_code: str | None
    step_up_token: str | None

    async def require(self) -> SecondFactorKind:
        """
        Use the second factor up for this very operation and tell which kind it was.

        Raises:
            SecondFactorNotEnabledError: No authenticator is enrolled.
            SecondFactorRequiredError: Neither a code nor a token came.
            SecondFactorInvalidError: Not good for this operation.
            SecondFactorLockedError: Too many wrong codes.
        """
        return await self.step_ups.require_second_factor(
            self.principal,
            totp_code=self.totp_code,
            step_up_token=self.step_up_token,
            fingerprint=self.fingerprint(),
        )

    async def spend(self, session: AsyncSession) -> SecondFactorKind | StrongroomError:
        """Use it up as part of a unit of work; a refusal is to be raised after the commit."""
        return await self.step_ups.spend(
            session,
            self.principal,
            totp_code=self.totp_code,
            step_up_token=self.step_up_token,
            fingerprint=self.fingerprint(),
        )
