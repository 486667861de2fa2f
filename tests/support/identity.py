"""People for tests: users who are logged in, enrolled, and hold the codes of their phone."""

from dataclasses import dataclass, field
from datetime import timedelta

import pyotp
from argon2 import PasswordHasher

from identity.passwords import Passwords
from identity.services import Identity, open_identity
from identity.totp import STEP_S
from infra.database import Database
from infra.keyring import Keyring
from models.identity import Role
from tests.support.clocks import MovableClock

PASSWORD = "correct horse battery staple"
KEYRING = Keyring({"k1": bytes(range(32))})


def quick_passwords() -> Passwords:
    """Hash with parameters that cost nothing; the real ones take 50 ms."""
    return Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))


def identity_for_tests(database: Database, clock: MovableClock) -> Identity:
    return open_identity(database, KEYRING, clock=clock, passwords=quick_passwords())


@dataclass(slots=True)
class Person:
    """A user with a session and, after ``enrol``, an authenticator app."""

    identity: Identity
    clock: MovableClock
    id: str
    email: str
    token: str
    secret: str = ""
    recovery_codes: list[str] = field(default_factory=list)

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    async def enrol(self) -> "Person":
        """Switch the second factor on, then wait until the next code is a fresh one."""
        enrolment = await self.identity.second_factors.enrol(self.id, email=self.email)
        self.secret = enrolment.secret
        self.recovery_codes = await self.identity.second_factors.confirm(self.id, self.code())
        self.clock.advance(timedelta(seconds=STEP_S))
        return self

    def code(self, *, steps: int = 0) -> str:
        """Return what the app shows now, or so many steps from now."""
        moment = self.clock.now() + timedelta(seconds=STEP_S * steps)
        return pyotp.TOTP(self.secret).at(moment)

    def wrong_code(self) -> str:
        """Return a code that no step around now has."""
        right = {self.code(steps=steps) for steps in range(-2, 3)}
        return next(code for n in range(10) if (code := f"{n:06}") not in right)


async def new_person(
    identity: Identity, clock: MovableClock, *, name: str = "ada", roles: tuple[Role, ...] = ()
) -> Person:
    """Create a user, with roles if asked, and log them in."""
    user = await identity.accounts.create_admin(f"{name}@example.org", PASSWORD, roles)
    opened = await identity.sessions.open(user.id)
    return Person(identity, clock, user.id, user.email, opened.token)
