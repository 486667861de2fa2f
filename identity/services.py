"""Everything of identity, wired: what a process opens once and hands around."""

from dataclasses import dataclass
from datetime import timedelta

from domain.clock import Clock, SystemClock
from identity.accounts import Accounts
from identity.admins import Admins
from identity.api_keys import ApiKeys
from identity.authentication import Authentication
from identity.passwords import Passwords
from identity.permits import Permits
from identity.second_factor import SecondFactors
from identity.sessions import Sessions
from identity.step_up import StepUps
from identity.throttle import LoginThrottling
from infra.database import Database
from infra.keyring import Keyring


@dataclass(frozen=True, slots=True)
class Identity:
    """The identity services of one process."""

    accounts: Accounts
    sessions: Sessions
    api_keys: ApiKeys
    authentication: Authentication
    second_factors: SecondFactors
    step_ups: StepUps
    admins: Admins
    throttle: LoginThrottling
    permits: Permits

    async def purge(self) -> None:
        """Forget what has no use any more: expired step-up tokens and old login failures."""
        await self.step_ups.purge()
        await self.throttle.purge()


def open_identity(
    database: Database,
    keyring: Keyring,
    *,
    clock: Clock | None = None,
    passwords: Passwords | None = None,
    issuer: str = "Strongroom",
    session_lifetime: timedelta = timedelta(hours=12),
    step_up_lifetime: timedelta = timedelta(minutes=5),
) -> Identity:
    """Return the services over one database; ``keyring`` holds the API's data keys."""
    time = clock or SystemClock()
    throttle = LoginThrottling(database, time)
    sessions = Sessions(database, time, lifetime=session_lifetime)
    api_keys = ApiKeys(database, time)
    second_factors = SecondFactors(database, keyring, time, issuer=issuer)
    return Identity(
        accounts=Accounts(database, time, passwords=passwords or Passwords(), throttle=throttle),
        sessions=sessions,
        api_keys=api_keys,
        authentication=Authentication(sessions, api_keys),
        second_factors=second_factors,
        step_ups=StepUps(database, time, second_factors=second_factors, lifetime=step_up_lifetime),
        admins=Admins(database, time),
        throttle=throttle,
        permits=Permits(database, keyring),
    )
