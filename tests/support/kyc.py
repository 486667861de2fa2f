"""KYC on the books of a test: each process as its own role."""

from collections.abc import Sequence
from datetime import date, timedelta
from hashlib import sha256

from sqlmodel import func, select

from domain.ids import KYC_APPLICATION, new_id
from domain.kyc import DocumentKind, KycSupply
from infra.database import Database
from kyc.applications import HandedIn, KycApplications, PersonalDetails
from kyc.desk import PostgresKycDesk
from kyc.queries import level_row
from models.events import OutboxEvent
from models.identity import Role, User
from tests.support.books import APPROVERS, USERS, Books, as_role
from tests.support.identity import KEYRING

ADA = PersonalDetails("Ada Lovelace", date(1985, 12, 10), "GB")
REMINDERS = ("kyc_review.reminded", "kyc_application.reminded", "kyc_application.lapsing")


def document(name: str = "passport.pdf", *, expires_on: date | None = None) -> HandedIn:
    """Return a document that no other name has."""
    return HandedIn(
        kind=DocumentKind.PASSPORT,
        file_name=name,
        sha256=sha256(name.encode()).hexdigest(),
        size_bytes=len(name),
        issued_country="GB",
        expires_on=expires_on,
    )


class PostgresKycWorld:
    """``tests.support.kyc_contract.KycWorld`` on PostgreSQL."""

    applicant, stranger = USERS
    reviewer = APPROVERS[0]
    owner = "o1"

    def __init__(self, books: Books, api: Database) -> None:
        self.books = books
        self.api = api
        self.desk = PostgresKycDesk(books.worker, books.clock)
        self.applications = KycApplications(api, KEYRING, books.clock)

    @classmethod
    async def opened(cls, books: Books, url: str) -> "PostgresKycWorld":
        """Return a world with an owner."""
        async with books.owner.transaction() as session:
            owner = User(
                id=cls.owner,
                email="owner@example.org",
                password_hash="-",
                roles=[Role.OWNER.value],
                created_at=books.clock.now(),
            )
            session.add(owner)
        return cls(books, Database(as_role(url, "api")))

    async def apply(self, level: int = 1, *, lasts: timedelta | None = None) -> str:
        last_day = None if lasts is None else (self.books.clock.now() + lasts).date()
        return await self.submit(level, [document(expires_on=last_day)])

    async def submit(self, level: int, documents: Sequence[HandedIn]) -> str:
        application = await self.applications.submit(
            new_id(KYC_APPLICATION),
            user_id=self.applicant,
            level=level,
            details=ADA,
            documents=documents,
        )
        return application.id

    async def hand_in(self, application_id: str) -> KycSupply:
        return await self.applications.hand_in(
            application_id, user_id=self.applicant, documents=[document("proof.pdf")]
        )

    async def level(self) -> int:
        async with self.api.transaction() as session:
            row = await level_row(session, self.applicant)
        return row.level if row else 0

    async def reminders(self, application_id: str) -> int:
        kinds = await self.told(application_id)
        each_reviewer = len(APPROVERS)
        return sum(
            kinds.get(kind, 0) // (each_reviewer if kind == REMINDERS[0] else 1)
            for kind in REMINDERS
        )

    async def told(self, application_id: str) -> dict[str, int]:
        """Return how many events of each kind are about this application."""
        async with self.books.owner.transaction() as session:
            found = await session.exec(
                select(OutboxEvent.kind, func.count())
                .where(OutboxEvent.resource_id == application_id)
                .group_by(OutboxEvent.kind)
            )
            return {kind: int(count) for kind, count in found}

    def wait(self, step: timedelta) -> None:
        self.books.clock.advance(step)
