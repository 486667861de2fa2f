import asyncio
import logging
from datetime import timedelta
from typing import Any, Literal, override

import pytest
from argon2 import PasswordHasher
from sqlalchemy import text

from domain.errors import (
    EmailTakenError,
    InvalidCredentialsError,
    LoginThrottledError,
    StrongroomError,
    ValidationError,
)
from identity.passwords import Passwords
from identity.services import Identity, open_identity
from infra.database import Database
from models.identity import Role
from tests.support.clocks import MovableClock
from tests.support.identity import KEYRING, PASSWORD, Person


class CountingHasher(PasswordHasher):
    """Counts how often a password was looked at."""

    verified = 0

    @override
    def verify(self, *args: Any, **kwargs: Any) -> Literal[True]:
        self.verified += 1
        return super().verify(*args, **kwargs)


async def column(database: Database, query: str) -> object:
    async with database.statement() as connection:
        return (await connection.execute(text(query))).scalar_one()


class TestSignUp:
    async def test_keeps_the_email_in_lower_case(self, identity: Identity) -> None:
        user = await identity.accounts.sign_up("Ada@Example.ORG", PASSWORD)

        assert user.email == "ada@example.org"
        assert user.roles == []

    async def test_refuses_an_email_that_differs_in_case_only(
        self, identity: Identity, person: Person
    ) -> None:
        with pytest.raises(EmailTakenError):
            await identity.accounts.sign_up(person.email.upper(), PASSWORD)

    async def test_gives_an_email_to_one_of_two_who_want_it(self, identity: Identity) -> None:
        outcomes = await asyncio.gather(
            *(identity.accounts.sign_up("twin@example.org", PASSWORD) for _ in range(4)),
            return_exceptions=True,
        )

        assert [isinstance(o, EmailTakenError) for o in outcomes].count(True) == 3

    @pytest.mark.parametrize("password", ["elevenchars", "x" * 201, ""])
    async def test_refuses_passwords_too_short_or_too_long(
        self, identity: Identity, password: str
    ) -> None:
        with pytest.raises(ValidationError) as refusal:
            await identity.accounts.sign_up("ada@example.org", password)

        assert [entry["field"] for entry in refusal.value.errors] == ["password"]

    @pytest.mark.usefixtures("person")
    async def test_stores_an_argon2id_hash(self, database: Database) -> None:
        stored = str(await column(database, "SELECT password_hash FROM app_user"))

        assert stored.startswith("$argon2id$")
        assert PASSWORD not in stored

    async def test_makes_the_first_owner_for_the_command_line(self, identity: Identity) -> None:
        owner = await identity.accounts.create_admin(
            "root@example.org", PASSWORD, [Role.OWNER, Role.APPROVER]
        )

        assert owner.roles == [Role.APPROVER, Role.OWNER]


class TestProvePassword:
    async def test_returns_the_user(self, identity: Identity, person: Person) -> None:
        user = await identity.accounts.prove_password("ADA@example.org", PASSWORD)

        assert user.id == person.id

    async def test_takes_a_password_composed_on_another_keyboard(self, identity: Identity) -> None:
        user = await identity.accounts.sign_up("bob@example.org", "caf\u00e9 au lait 123")

        proven = await identity.accounts.prove_password("bob@example.org", "cafe\u0301 au lait 123")

        assert proven.id == user.id

    @pytest.mark.usefixtures("person")
    @pytest.mark.parametrize("email", ["ada@example.org", "nobody@example.org"])
    async def test_does_not_tell_whether_the_email_exists(
        self, identity: Identity, email: str
    ) -> None:
        with pytest.raises(InvalidCredentialsError) as refusal:
            await identity.accounts.prove_password(email, "not the password")

        assert refusal.value.detail == InvalidCredentialsError.title

    async def test_hashes_for_an_unknown_email_too(
        self, database: Database, clock: MovableClock
    ) -> None:
        hasher = CountingHasher(time_cost=1, memory_cost=8, parallelism=1)
        identity = open_identity(database, KEYRING, clock=clock, passwords=Passwords(hasher))

        with pytest.raises(InvalidCredentialsError):
            await identity.accounts.prove_password("nobody@example.org", PASSWORD)

        assert hasher.verified == 1

    async def test_refuses_a_disabled_user(
        self, identity: Identity, database: Database, person: Person
    ) -> None:
        async with database.statement() as connection:
            await connection.execute(text("UPDATE app_user SET disabled_at = now()"))

        with pytest.raises(InvalidCredentialsError):
            await identity.accounts.prove_password(person.email, PASSWORD)

    async def test_renews_a_hash_made_with_older_parameters(
        self, database: Database, clock: MovableClock, person: Person
    ) -> None:
        stronger = Passwords(PasswordHasher(time_cost=2, memory_cost=16, parallelism=1))
        identity = open_identity(database, KEYRING, clock=clock, passwords=stronger)

        await identity.accounts.prove_password(person.email, PASSWORD)

        stored = str(await column(database, "SELECT password_hash FROM app_user"))
        assert "m=16,t=2" in stored
        await identity.accounts.prove_password(person.email, PASSWORD)

    async def test_logs_neither_password_nor_email(
        self, identity: Identity, person: Person, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)

        with pytest.raises(InvalidCredentialsError):
            await identity.accounts.prove_password(person.email, "not the password")

        assert person.id in caplog.text
        assert "not the password" not in caplog.text
        assert person.email not in caplog.text


class TestLoginThrottle:
    async def outcome(self, identity: Identity, email: str, password: str) -> str:
        try:
            await identity.accounts.prove_password(email, password)
        except StrongroomError as error:
            return error.code
        return "proven"

    @pytest.mark.usefixtures("person")
    @pytest.mark.parametrize("email", ["ada@example.org", "nobody@example.org"])
    async def test_locks_after_five_wrong_passwords(self, identity: Identity, email: str) -> None:
        outcomes = [await self.outcome(identity, email, "wrong password") for _ in range(6)]

        assert outcomes == ["invalid_credentials"] * 5 + ["login_throttled"]

    async def test_refuses_the_right_password_while_locked(
        self, identity: Identity, person: Person, clock: MovableClock
    ) -> None:
        for _ in range(5):
            await self.outcome(identity, person.email, "wrong password")
        with pytest.raises(LoginThrottledError) as refusal:
            await identity.accounts.prove_password(person.email, PASSWORD)
        clock.advance(timedelta(seconds=refusal.value.retry_after_s))

        assert await self.outcome(identity, person.email, PASSWORD) == "proven"

    async def test_waits_twice_as_long_each_time_up_to_a_quarter_of_an_hour(
        self, identity: Identity, clock: MovableClock
    ) -> None:
        for _ in range(5):
            await self.outcome(identity, "eve@example.org", "wrong password")
        waits_s = []
        for _ in range(7):
            with pytest.raises(LoginThrottledError) as refusal:
                await identity.accounts.prove_password("eve@example.org", "wrong password")
            waits_s.append(refusal.value.retry_after_s)
            clock.advance(timedelta(seconds=waits_s[-1]))
            await self.outcome(identity, "eve@example.org", "wrong password")

        assert waits_s == [30, 60, 120, 240, 480, 900, 900]

    async def test_lets_no_more_than_five_parallel_guesses_through(
        self, identity: Identity, person: Person
    ) -> None:
        outcomes = await asyncio.gather(
            *(self.outcome(identity, person.email, f"wrong password {n}") for n in range(12))
        )

        assert outcomes.count("invalid_credentials") == 5
        assert outcomes.count("login_throttled") == 7

    async def test_forgets_failures_after_the_right_password(
        self, identity: Identity, person: Person
    ) -> None:
        for _ in range(3):
            for _ in range(4):
                await self.outcome(identity, person.email, "wrong password")
            assert await self.outcome(identity, person.email, PASSWORD) == "proven"

    async def test_purges_failures_a_day_old(
        self, identity: Identity, database: Database, clock: MovableClock
    ) -> None:
        await self.outcome(identity, "old@example.org", "wrong password")
        clock.advance(timedelta(days=1, seconds=1))
        await self.outcome(identity, "new@example.org", "wrong password")

        await identity.throttle.purge()

        assert await column(database, "SELECT email FROM login_throttle") == "new@example.org"
