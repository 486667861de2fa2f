"""
What applicants hand in. Names, dates of birth and file names are sealed before they are stored.

Runs as the API's role, which stores while something is asked for; workflows do all else.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from hashlib import sha256

from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.clock import Clock
from domain.errors import (
    IdempotencyKeyReusedError,
    InvalidDocumentError,
    KycApplicationStateError,
)
from domain.kyc import (
    DocumentContent,
    DocumentKind,
    KycStatus,
    KycSupply,
    expiry_of,
)
from infra.database import Database
from infra.keyring import Keyring
from kyc.queries import application_for, open_application
from limits.usage import level_of
from models.kyc import KycApplication, KycApplicationEvent, KycDetails, KycDocument

DOCUMENTS_MAX = 20
"""Of one application, whenever they are handed in."""


@dataclass(frozen=True, slots=True)
class PersonalDetails:
    """Who the applicant says they are."""

    full_name: str
    born_on: date
    residence_country: str
    """ISO 3166-1 alpha-2."""


@dataclass(frozen=True, slots=True)
class HandedIn:
    """What is known of a document that is handed in."""

    kind: DocumentKind
    file_name: str
    sha256: str
    size_bytes: int
    issued_country: str
    expires_on: date | None

    @property
    def content(self) -> DocumentContent:
        """What a reviewer approves of it."""
        return DocumentContent(self.kind, self.sha256, self.issued_country, self.expires_on)


class KycApplications:
    """Stores applications and documents, and opens what is sealed in them."""

    def __init__(self, database: Database, keyring: Keyring, clock: Clock) -> None:
        """Take the database as the API's role, and its data keys."""
        self._database = database
        self._keyring = keyring
        self._clock = clock

    async def submit(
        self,
        application_id: str,
        *,
        user_id: str,
        level: int,
        details: PersonalDetails,
        documents: Sequence[HandedIn],
    ) -> KycApplication:
        """
        Store an application, or find it: the same id is the same application.

        Raises:
            IdempotencyKeyReusedError: It is there and says something else.
            InvalidDocumentError: A document has expired, or is there twice.
            KycApplicationStateError: Another one is open, or the level is below the user's.
        """
        try:
            async with self._database.transaction() as session:
                known = await session.get(KycApplication, application_id)
                if known is None:
                    await self._check_may_apply(session, user_id, level)
                    self._check_documents(documents, known=[])
                    return await self._store(
                        session,
                        KycApplication(
                            id=application_id,
                            user_id=user_id,
                            level=level,
                            status=KycStatus.SUBMITTED,
                            details_sha256="",
                        ),
                        details,
                        documents,
                    )
        except IntegrityError:
            # The same request, or another of this user's, came at the same moment.
            async with self._database.transaction() as session:
                known = await session.get(KycApplication, application_id)
                if known is None:
                    msg = "Another application of yours is open."
                    raise KycApplicationStateError(msg) from None
        await self._check_same(known, level, details, documents)
        return known

    async def _check_may_apply(self, session: AsyncSession, user_id: str, level: int) -> None:
        present = await level_of(session, user_id)
        if level < present:
            msg = f"Your level is {present} already."
            raise KycApplicationStateError(msg)
        if (other := await open_application(session, user_id)) is not None:
            msg = f"Your application {other.id} is open; withdraw it first."
            raise KycApplicationStateError(msg)

    def _check_documents(self, documents: Sequence[HandedIn], *, known: Sequence[str]) -> None:
        hashes = [document.sha256 for document in documents]
        if len(set(hashes)) < len(hashes) or set(hashes) & set(known):
            msg = "A document is there twice."
            raise InvalidDocumentError(msg)
        expiry = expiry_of([document.content for document in documents])
        if expiry is not None and expiry <= self._clock.now():
            msg = "A document has expired."
            raise InvalidDocumentError(msg)
        if len(hashes) + len(known) > DOCUMENTS_MAX:
            msg = f"An application has at most {DOCUMENTS_MAX} documents."
            raise InvalidDocumentError(msg)

    async def _store(
        self,
        session: AsyncSession,
        application: KycApplication,
        details: PersonalDetails,
        documents: Sequence[HandedIn],
    ) -> KycApplication:
        plain = json.dumps(asdict(details), default=str).encode()
        sealed = self._keyring.seal(plain, associated=application.id.encode())
        application.details_sha256 = sha256(sealed).hexdigest()
        application.created_at = application.updated_at = self._clock.now()
        session.add(application)
        await session.flush()
        session.add(KycDetails(application_id=application.id, sealed=sealed))
        session.add(
            KycApplicationEvent(
                application_id=application.id,
                status=KycStatus.SUBMITTED,
                at=application.created_at,
            )
        )
        self._add(session, application.id, documents, revision=1, first=1)
        await session.flush()
        return application

    def _add(
        self,
        session: AsyncSession,
        application_id: str,
        documents: Sequence[HandedIn],
        *,
        revision: int,
        first: int,
    ) -> None:
        for number, document in enumerate(documents, first):
            name = self._keyring.seal(
                document.file_name.encode(), associated=application_id.encode()
            )
            session.add(
                KycDocument(
                    application_id=application_id,
                    number=number,
                    revision=revision,
                    kind=document.kind,
                    sealed_file_name=name,
                    sha256=document.sha256,
                    size_bytes=document.size_bytes,
                    issued_country=document.issued_country,
                    expires_on=document.expires_on,
                    created_at=self._clock.now(),
                )
            )

    async def _check_same(
        self,
        known: KycApplication,
        level: int,
        details: PersonalDetails,
        documents: Sequence[HandedIn],
    ) -> None:
        async with self._database.transaction() as session:
            stored = await self.documents(session, known.id)
            first = [document for document, revision in stored if revision == 1]
            is_same = known.level == level and first == list(documents)
            if not is_same or await self.details(session, known.id) != details:
                raise IdempotencyKeyReusedError

    async def hand_in(
        self, application_id: str, *, user_id: str, documents: Sequence[HandedIn]
    ) -> KycSupply:
        """
        Store what a reviewer asked for; documents that are stored for it already count once.

        Raises:
            KycApplicationNotFoundError: No application of this user's.
            KycApplicationStateError: Nothing more is asked for.
            InvalidDocumentError: A document has expired, or was handed in before.
        """
        try:
            async with self._database.transaction() as session:
                application = await application_for(session, application_id, user_id=user_id)
                if application.status != KycStatus.INFORMATION_REQUESTED:
                    msg = f"The application is {application.status}; nothing more is asked for."
                    raise KycApplicationStateError(msg)
                revision = application.revision + 1
                stored = await self.documents(session, application_id)
                again = {d.sha256 for d, handed_in in stored if handed_in == revision}
                new = [document for document in documents if document.sha256 not in again]
                self._check_documents(new, known=[document.sha256 for document, _ in stored])
                first = len(stored) + 1
                self._add(session, application_id, new, revision=revision, first=first)
        except DBAPIError as error:
            if not isinstance(error, IntegrityError) and not _is_guards(error):
                raise
            msg = "The application has changed at the same moment; look at it again."
            raise KycApplicationStateError(msg) from error
        return KycSupply(application_id, revision)

    async def details(self, session: AsyncSession, application_id: str) -> PersonalDetails:
        """Return who an applicant says they are."""
        row = await session.get_one(KycDetails, application_id)
        plain = json.loads(self._keyring.open(row.sealed, associated=application_id.encode()))
        return PersonalDetails(
            full_name=plain["full_name"],
            born_on=date.fromisoformat(plain["born_on"]),
            residence_country=plain["residence_country"],
        )

    async def documents(
        self, session: AsyncSession, application_id: str
    ) -> list[tuple[HandedIn, int]]:
        """Return an application's documents in order, each with the revision it came with."""
        found = await session.exec(
            select(KycDocument)
            .where(KycDocument.application_id == application_id)
            .order_by(col(KycDocument.number))
        )
        return [(self._opened(row), row.revision) for row in found]

    def _opened(self, row: KycDocument) -> HandedIn:
        name = self._keyring.open(row.sealed_file_name, associated=row.application_id.encode())
        return HandedIn(
            kind=DocumentKind(row.kind),
            file_name=name.decode(),
            sha256=row.sha256,
            size_bytes=row.size_bytes,
            issued_country=row.issued_country,
            expires_on=row.expires_on,
        )


def _is_guards(error: DBAPIError) -> bool:
    """Tell whether ``keep_kyc_document`` refused: nothing is asked for any more."""
    return getattr(error.orig, "sqlstate", None) == "SR009"
