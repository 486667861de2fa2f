import asyncio

import pytest
from sqlalchemy import text
from sqlmodel import select

from domain.errors import LastOwnerError, NotFoundError, RoleMissingError
from identity.principals import Principal
from identity.services import Identity
from infra.database import Database
from infra.paging import Page
from models.identity import Role, User
from tests.support.clocks import MovableClock
from tests.support.identity import Person, new_person


@pytest.fixture
async def owner(identity: Identity, clock: MovableClock) -> Person:
    return await new_person(identity, clock, name="owner", roles=(Role.OWNER,))


async def principal_of(identity: Identity, person: Person) -> Principal:
    return await identity.authentication.resolve(person.token)


async def until_waiting(database: Database, count: int) -> None:
    """Return once so many statements of this database wait for a lock."""
    waiting = text(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    async with database.statement() as connection:
        while (await connection.execute(waiting)).scalar_one() < count:
            await connection.execute(text("SELECT pg_sleep(0.01)"))


class TestSetRoles:
    async def test_grants_and_revokes(
        self, identity: Identity, owner: Person, person: Person
    ) -> None:
        actor = await principal_of(identity, owner)

        await identity.admins.set_roles(actor, person.id, [Role.APPROVER, Role.AUDITOR])
        granted = (await principal_of(identity, person)).roles
        await identity.admins.set_roles(actor, person.id, [])
        revoked = (await principal_of(identity, person)).roles

        assert granted == {Role.APPROVER, Role.AUDITOR}
        assert revoked == set()

    async def test_keeps_the_last_owner(self, identity: Identity, owner: Person) -> None:
        actor = await principal_of(identity, owner)

        with pytest.raises(LastOwnerError):
            await identity.admins.set_roles(actor, owner.id, [Role.AUDITOR])
        user = await identity.admins.set_roles(actor, owner.id, [Role.AUDITOR, Role.OWNER])
        assert user.roles == [Role.AUDITOR, Role.OWNER]

    async def test_lets_an_owner_go_when_another_remains(
        self, identity: Identity, owner: Person, person: Person
    ) -> None:
        actor = await principal_of(identity, owner)
        await identity.admins.set_roles(actor, person.id, [Role.OWNER])

        await identity.admins.set_roles(actor, owner.id, [])

        assert [user.id for user in await identity.admins.listed(Page())] == [person.id]

    async def test_leaves_an_owner_when_two_demote_each_other(
        self, identity: Identity, database: Database, clock: MovableClock
    ) -> None:
        pair = [await new_person(identity, clock, name=name, roles=(Role.OWNER,)) for name in "ab"]
        actors = [await principal_of(identity, person) for person in pair]

        # Both are held at their first row lock, so that they really meet.
        async with database.transaction() as session:
            await session.exec(select(User).with_for_update())
            both = asyncio.gather(
                identity.admins.set_roles(actors[0], pair[1].id, []),
                identity.admins.set_roles(actors[1], pair[0].id, []),
                return_exceptions=True,
            )
            await until_waiting(database, 2)
        outcomes = await both

        assert [isinstance(o, RoleMissingError) for o in outcomes].count(True) == 1
        assert len(await identity.admins.listed(Page())) == 1

    async def test_refuses_an_actor_who_is_no_owner_any_more(
        self, identity: Identity, owner: Person, person: Person
    ) -> None:
        stale = Principal(person.id, person.id, roles=frozenset({Role.OWNER}))

        with pytest.raises(RoleMissingError):
            await identity.admins.set_roles(stale, owner.id, [])

    async def test_knows_no_stranger(self, identity: Identity, owner: Person) -> None:
        with pytest.raises(NotFoundError):
            await identity.admins.set_roles(
                await principal_of(identity, owner), "usr_nobody", [Role.AUDITOR]
            )


class TestListed:
    @pytest.mark.usefixtures("person")
    async def test_shows_only_users_with_a_role(self, identity: Identity, owner: Person) -> None:
        assert [user.id for user in await identity.admins.listed(Page())] == [owner.id]
