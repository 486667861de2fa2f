"""What applicants hand in, and who may write and read which part of it."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import date, timedelta

import pytest
from sqlalchemy.exc import DBAPIError, ProgrammingError

from domain.errors import (
    IdempotencyKeyReusedError,
    InvalidDocumentError,
    KycApplicationNotFoundError,
    KycApplicationStateError,
)
from domain.ids import KYC_APPLICATION, new_id
from domain.kyc import KycStatus
from infra.database import Database
from kyc.applications import DOCUMENTS_MAX
from kyc.queries import level_changes
from models.kyc import KycApplication
from tests.support.books import Books, as_role
from tests.support.kyc import ADA, PostgresKycWorld, document
from tests.support.kyc_contract import ASK, decision, downgrade
from tests.support.limits import frozen, row, set_limits

YESTERDAY = date(2025, 12, 31)
"""By the clock of test books."""


@pytest.fixture
async def world(books: Books, database_url: str) -> AsyncIterator[PostgresKycWorld]:
    opened = await PostgresKycWorld.opened(books, database_url)
    yield opened
    await opened.api.close()


class TestSubmit:
    async def test_is_found_again_by_its_id(self, world: PostgresKycWorld) -> None:
        application_id = new_id(KYC_APPLICATION)

        async def submit(
            level: int = 1, name: str = "a.pdf", full_name: str = ADA.full_name
        ) -> KycApplication:
            return await world.applications.submit(
                application_id,
                user_id=world.applicant,
                level=level,
                details=replace(ADA, full_name=full_name),
                documents=[document(name)],
            )

        first = await submit()
        await world.desk.advance(first.id)
        assert (await submit()).id == first.id
        for other in (submit(level=2), submit(name="b.pdf"), submit(full_name="Eve")):
            with pytest.raises(IdempotencyKeyReusedError):
                await other

    async def test_leaves_one_application_open(self, world: PostgresKycWorld) -> None:
        first = await world.apply()
        with pytest.raises(KycApplicationStateError, match=first):
            await world.apply(2)
        await world.desk.withdraw(first)
        await world.apply(2)

    async def test_of_many_at_once_stores_one(self, world: PostgresKycWorld) -> None:
        answers = await asyncio.gather(*(world.apply() for _ in range(10)), return_exceptions=True)
        refused = [a for a in answers if isinstance(a, KycApplicationStateError)]
        assert len(refused) == 9, answers

    async def test_asks_for_no_less_than_there_is(self, world: PostgresKycWorld) -> None:
        await world.desk.decide(decision(world, await world.apply(2)))
        with pytest.raises(KycApplicationStateError, match="2 already"):
            await world.apply(1)
        await world.apply(2)

    async def test_refuses_documents_that_do_not_count(self, world: PostgresKycWorld) -> None:
        many = [document(f"{n}.pdf") for n in range(DOCUMENTS_MAX + 1)]
        for documents in (
            [document(expires_on=YESTERDAY)],
            [document("a.pdf"), document("b.pdf", expires_on=YESTERDAY)],
            [document("a.pdf"), document("a.pdf")],
            many,
        ):
            with pytest.raises(InvalidDocumentError):
                await world.submit(1, documents)
        last_day = YESTERDAY + timedelta(days=1)
        await world.submit(1, [document(expires_on=last_day)])


class TestHandIn:
    async def test_is_for_the_applicant_who_was_asked(self, world: PostgresKycWorld) -> None:
        application_id = await world.apply()
        with pytest.raises(KycApplicationStateError):
            await world.hand_in(application_id)
        await world.desk.decide(decision(world, application_id, ASK))
        with pytest.raises(KycApplicationNotFoundError):
            await world.applications.hand_in(
                application_id, user_id=world.stranger, documents=[document("x.pdf")]
            )
        with pytest.raises(InvalidDocumentError):
            await world.applications.hand_in(
                application_id, user_id=world.applicant, documents=[document()]
            )

    async def test_repeated_stores_it_once(self, world: PostgresKycWorld) -> None:
        application_id = await world.apply()
        await world.desk.decide(decision(world, application_id, ASK))
        assert await world.hand_in(application_id) == await world.hand_in(application_id)
        async with world.api.transaction() as session:
            stored = await world.applications.documents(session, application_id)
        assert [(d.file_name, revision) for d, revision in stored] == [
            ("passport.pdf", 1),
            ("proof.pdf", 2),
        ]


class TestSealing:
    async def test_keeps_what_is_personal_out_of_the_database(
        self, world: PostgresKycWorld, books: Books
    ) -> None:
        application_id = await world.apply()
        async with world.api.transaction() as session:
            assert await world.applications.details(session, application_id) == ADA
        async with books.owner.transaction() as session:
            connection = await session.connection()
            for table in ("kyc_application", "kyc_details", "kyc_document", "outbox_event"):
                rows = await connection.exec_driver_sql(
                    f"SELECT encode(convert_to(t::text, 'UTF8'), 'escape') FROM {table} t"  # noqa: S608
                )
                stored = "".join(text for (text,) in rows)
                assert "Lovelace" not in stored
                assert "passport.pdf" not in stored

    async def test_hides_it_from_the_worker(
        self, world: PostgresKycWorld, database_url: str
    ) -> None:
        await world.apply()
        for statement in (
            "SELECT sealed FROM kyc_details",
            "SELECT sealed_file_name FROM kyc_document",
        ):
            for role in ("worker", "signer"):
                with pytest.raises(ProgrammingError):
                    await _run(database_url, role, statement)


class TestGuards:
    @pytest.mark.parametrize(
        ("role", "statement"),
        [
            ("api", "UPDATE kyc_application SET status = 'approved'"),
            ("api", "INSERT INTO kyc_level (user_id, level, since) VALUES ('u1', 3, now())"),
            ("api", "INSERT INTO kyc_decision SELECT * FROM kyc_decision"),
            ("api", "UPDATE kyc_details SET sealed = ''"),
            ("api", "UPDATE limits_version SET document = '{}'"),
            ("worker", "INSERT INTO kyc_level (user_id, level, since) VALUES ('u2', 3, now())"),
            ("worker", "UPDATE kyc_level SET level = 3"),
            ("worker", "UPDATE kyc_application SET level = 3"),
            ("worker", "UPDATE kyc_application SET granted_level = 1"),
            ("worker", "INSERT INTO limits_version (document, created_at) VALUES ('{}', now())"),
            ("worker", "DELETE FROM limit_usage"),
            ("worker", "UPDATE limit_usage SET times = 0"),
            ("signer", "SELECT 1 FROM kyc_application"),
            ("signer", "INSERT INTO limit_usage SELECT * FROM limit_usage"),
        ],
    )
    async def test_refuse_to_write_past_the_rules(
        self, world: PostgresKycWorld, database_url: str, role: str, statement: str
    ) -> None:
        """A level of 1 was approved and lowered; nothing makes more of it."""
        application_id = await world.apply(2)
        await world.desk.decide(decision(world, application_id))
        await world.desk.downgrade(downgrade(world, application_id))
        with pytest.raises(DBAPIError):
            await _run(database_url, role, statement)

    async def test_let_nobody_slip_documents_under_a_decision(
        self, world: PostgresKycWorld, database_url: str
    ) -> None:
        application_id = await world.apply()
        await world.desk.advance(application_id)
        statement = (
            "INSERT INTO kyc_document (application_id, number, revision, kind, sealed_file_name,"
            " sha256, size_bytes, issued_country, created_at)"
            " SELECT id, 9, 1, 'passport', '', 'x', 1, 'GB', now() FROM kyc_application"
        )
        with pytest.raises(DBAPIError):
            await _run(database_url, "api", statement)


class TestAudit:
    async def test_notices_a_changed_decision_and_a_changed_level(
        self, world: PostgresKycWorld, books: Books
    ) -> None:
        application_id = await world.apply(2)
        await world.desk.decide(decision(world, application_id))
        await world.desk.downgrade(downgrade(world, application_id, 1))
        await books.assert_sound()
        async with books.owner.transaction() as session:
            changes = await level_changes(session, world.applicant)
        assert [(c.level_before, c.level_after, c.cause) for c in changes] == [
            (0, 2, "approved"),
            (2, 1, "downgraded"),
        ]
        for table, change, back in (
            ("kyc_decision", "note = 'x'", "note = 'a reason'"),
            ("kyc_level_change", "level_after = 3", "level_after = 1"),
        ):
            newest = f"(SELECT max(id) FROM {table})"  # noqa: S608
            if table == "kyc_decision":
                newest = "(SELECT id FROM kyc_decision WHERE decision = 'downgrade')"
            await books.tamper(f"UPDATE {table} SET {change} WHERE id = {newest}")  # noqa: S608
            assert "was changed" in (await books.broken() or "")
            await books.tamper(f"UPDATE {table} SET {back} WHERE id = {newest}")  # noqa: S608
            assert await books.broken() is None

    async def test_tells_the_user_and_the_reviewers(self, world: PostgresKycWorld) -> None:
        application_id = await world.apply()
        await world.desk.decide(decision(world, application_id))
        assert await world.told(application_id) == {
            "kyc_application.in_review": 1,
            "kyc_review.requested": 3,
            "kyc_application.approved": 1,
            "kyc_level.changed": 1,
        }


async def test_a_level_changes_limits_at_once(world: PostgresKycWorld, books: Books) -> None:
    await books.deposit("u1", "ETH", 1_000)
    await set_limits(books, row(0, count=0), row(1, count=2))
    assert not await frozen(books, "p1", 10)
    application_id = await world.apply()
    standing = await world.desk.decide(decision(world, application_id))
    assert standing.status == KycStatus.APPROVED
    assert await frozen(books, "p2", 10)
    await world.desk.downgrade(downgrade(world, application_id))
    assert not await frozen(books, "p3", 10)


async def _run(url: str, role: str, statement: str) -> None:
    database = Database(as_role(url, role), pool_size=1)
    try:
        async with database.transaction() as session:
            await (await session.connection()).exec_driver_sql(statement)
    finally:
        await database.close()
