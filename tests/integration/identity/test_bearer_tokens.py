from datetime import timedelta

import pytest
from sqlalchemy import text

from domain.errors import NotFoundError, SessionExpiredError, ValidationError
from identity.services import Identity
from infra.database import Database
from infra.paging import Page, Position
from models.identity import Role, Scope
from tests.support.clocks import MovableClock
from tests.support.identity import Person, new_person


class TestSessions:
    async def test_resolve_to_the_user_who_logged_in(
        self, identity: Identity, enrolled: Person
    ) -> None:
        principal = await identity.authentication.resolve(enrolled.token)

        assert principal.user_id == principal.principal_id == enrolled.id
        assert principal.scopes is None
        assert principal.second_factor_enabled

    async def test_carry_the_roles_of_this_very_moment(
        self, identity: Identity, database: Database, clock: MovableClock
    ) -> None:
        owner = await new_person(identity, clock, name="owner", roles=(Role.OWNER,))
        async with database.statement() as connection:
            await connection.execute(text("UPDATE app_user SET roles = '{auditor}'"))

        assert (await identity.authentication.resolve(owner.token)).roles == {Role.AUDITOR}

    async def test_end_by_time(
        self, identity: Identity, person: Person, clock: MovableClock
    ) -> None:
        clock.advance(timedelta(hours=12) - timedelta(seconds=1))
        await identity.authentication.resolve(person.token)
        clock.advance(timedelta(seconds=1))

        with pytest.raises(SessionExpiredError):
            await identity.authentication.resolve(person.token)

    async def test_end_by_revocation(self, identity: Identity, person: Person) -> None:
        opened = await identity.sessions.open(person.id)
        await identity.sessions.revoke(person.id, opened.session.id)
        await identity.sessions.revoke(person.id, opened.session.id)

        with pytest.raises(SessionExpiredError):
            await identity.authentication.resolve(opened.token)
        await identity.authentication.resolve(person.token)

    async def test_end_all_at_once_for_one_user_only(
        self, identity: Identity, person: Person, clock: MovableClock
    ) -> None:
        other = await new_person(identity, clock, name="bob")
        second = await identity.sessions.open(person.id)
        await identity.sessions.revoke_all(person.id)

        for token in (person.token, second.token):
            with pytest.raises(SessionExpiredError):
                await identity.authentication.resolve(token)
        await identity.authentication.resolve(other.token)

    async def test_end_when_the_user_is_disabled(
        self, identity: Identity, database: Database, person: Person
    ) -> None:
        async with database.statement() as connection:
            await connection.execute(text("UPDATE app_user SET disabled_at = now()"))

        with pytest.raises(SessionExpiredError):
            await identity.authentication.resolve(person.token)

    async def test_of_others_cannot_be_revoked(
        self, identity: Identity, person: Person, clock: MovableClock
    ) -> None:
        other = await new_person(identity, clock, name="bob")
        session_id = (await identity.sessions.of_user(other.id, Page()))[0].id

        with pytest.raises(NotFoundError):
            await identity.sessions.revoke(person.id, session_id)

    async def test_are_stored_without_their_token(self, database: Database, person: Person) -> None:
        async with database.statement() as connection:
            row = (await connection.execute(text("SELECT * FROM user_session"))).one()

        assert person.token not in str(row)
        assert person.token.removeprefix("srs_") not in str(row)

    async def test_are_listed_newest_first_page_by_page(
        self, identity: Identity, person: Person, clock: MovableClock
    ) -> None:
        for moved_s in (0, 0, 1):
            clock.advance(timedelta(seconds=moved_s))
            await identity.sessions.open(person.id)

        seen: list[str] = []
        page = Page(limit=1)
        while rows := await identity.sessions.of_user(person.id, page):
            seen.append(rows[0].id)
            page = Page(limit=1, after=Position(rows[0].created_at, rows[0].id))

        assert len(seen) == 4
        assert seen == sorted(seen, reverse=True)

    @pytest.mark.usefixtures("person")
    @pytest.mark.parametrize("token", ["", "srs_", "srs_wrong", "Bearer x", "srk_wrong", "\x00"])
    async def test_need_a_token_that_was_issued(self, identity: Identity, token: str) -> None:
        with pytest.raises(SessionExpiredError):
            await identity.authentication.resolve(token)


class TestApiKeys:
    async def test_act_for_their_user_within_their_scopes(
        self, identity: Identity, person: Person
    ) -> None:
        issued = await identity.api_keys.issue(
            person.id, name="shop", scopes=[Scope.READ], expires_at=None
        )

        principal = await identity.authentication.resolve(issued.token)

        assert principal.user_id == person.id
        assert principal.principal_id == issued.key.id
        assert principal.has_scope(Scope.READ)
        assert not principal.has_scope(Scope.PAYOUTS_WRITE)
        assert not principal.is_session

    async def test_are_stored_hashed(
        self, identity: Identity, database: Database, person: Person
    ) -> None:
        issued = await identity.api_keys.issue(
            person.id, name="shop", scopes=[Scope.READ], expires_at=None
        )
        async with database.statement() as connection:
            row = (await connection.execute(text("SELECT * FROM api_key"))).one()

        assert issued.token.partition(".")[2] not in str(row)

    async def test_refuse_another_secret(self, identity: Identity, person: Person) -> None:
        keys = [
            await identity.api_keys.issue(
                person.id, name="shop", scopes=[Scope.READ], expires_at=None
            )
            for _ in range(2)
        ]
        mixed = keys[0].token.partition(".")[0] + "." + keys[1].token.partition(".")[2]

        with pytest.raises(SessionExpiredError):
            await identity.authentication.resolve(mixed)

    async def test_end_by_time(
        self, identity: Identity, person: Person, clock: MovableClock
    ) -> None:
        issued = await identity.api_keys.issue(
            person.id,
            name="shop",
            scopes=[Scope.READ],
            expires_at=clock.now() + timedelta(days=1),
        )
        await identity.authentication.resolve(issued.token)
        clock.advance(timedelta(days=1))

        with pytest.raises(SessionExpiredError):
            await identity.authentication.resolve(issued.token)

    async def test_end_by_revocation_and_stay_listed(
        self, identity: Identity, person: Person
    ) -> None:
        issued = await identity.api_keys.issue(
            person.id, name="shop", scopes=[Scope.READ], expires_at=None
        )
        await identity.api_keys.revoke(person.id, issued.key.id)

        with pytest.raises(SessionExpiredError):
            await identity.authentication.resolve(issued.token)
        listed = await identity.api_keys.of_user(person.id, Page())
        assert [key.revoked_at is not None for key in listed] == [True]

    async def test_of_others_cannot_be_revoked(
        self, identity: Identity, person: Person, clock: MovableClock
    ) -> None:
        other = await new_person(identity, clock, name="bob")
        issued = await identity.api_keys.issue(
            other.id, name="shop", scopes=[Scope.READ], expires_at=None
        )

        with pytest.raises(NotFoundError):
            await identity.api_keys.revoke(person.id, issued.key.id)

    async def test_cannot_be_issued_for_the_past(
        self, identity: Identity, person: Person, clock: MovableClock
    ) -> None:
        with pytest.raises(ValidationError):
            await identity.api_keys.issue(
                person.id, name="shop", scopes=[Scope.READ], expires_at=clock.now()
            )
