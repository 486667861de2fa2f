"""What the API opens once and hands to every request."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

from identity.services import Identity, open_identity
from infra.database import Database
from infra.keyring import Keyring
from infra.settings import ApiSettings


@dataclass(frozen=True, slots=True)
class AppState:
    """The API's collaborators."""

    settings: ApiSettings
    database: Database
    identity: Identity


StateOpener = Callable[[ApiSettings], AbstractAsyncContextManager[AppState]]


@asynccontextmanager
async def open_state(settings: ApiSettings) -> AsyncIterator[AppState]:
    """Yield the collaborators that the settings describe; close them afterwards."""
    database = Database(
        settings.database_url.get_secret_value(), pool_size=settings.database_pool_size
    )
    try:
        yield AppState(
            settings=settings,
            database=database,
            identity=open_identity(
                database,
                Keyring.parse(settings.data_keys.get_secret_value()),
                issuer=settings.totp_issuer,
                session_lifetime=settings.session_lifetime,
                step_up_lifetime=settings.step_up_lifetime,
            ),
        )
    finally:
        await database.close()
