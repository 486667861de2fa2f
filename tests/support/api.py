"""The API in this process, over a test's own database and clock."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from pydantic import SecretStr

from api.app import create_app
from api.state import AppState
from domain.clock import Clock, SystemClock
from identity.services import Identity
from infra.database import Database
from infra.keyring import generate_key
from infra.settings import ApiSettings
from infra.temporal import connect


def api_settings(
    database_url: str = "postgresql://nobody@127.0.0.1:1/none", *, mixing: bool = False
) -> ApiSettings:
    """Return settings that no environment variable changes."""
    return ApiSettings(
        database_url=SecretStr(database_url),
        temporal_address="127.0.0.1:1",
        codec_keys=SecretStr(f"k1:{generate_key()}"),
        data_keys=SecretStr(f"k1:{generate_key()}"),
        webhook_keys=SecretStr(f"k1:{generate_key()}"),
        public_url="http://api.example",
        mixer_enabled=mixing,
        mixer_keys=SecretStr(f"mixer-1:{generate_key()}") if mixing else None,
    )


@asynccontextmanager
async def running_api(
    database: Database, identity: Identity, *, clock: Clock | None = None
) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client of an application that uses these collaborators."""

    @asynccontextmanager
    async def opener(settings: ApiSettings) -> AsyncIterator[AppState]:
        yield AppState(
            settings=settings,
            database=database,
            identity=identity,
            clock=clock or SystemClock(),
            temporal=await connect(
                address=settings.temporal_address,
                namespace=settings.temporal_namespace,
                codec_keys=settings.codec_keys.get_secret_value(),
                lazy=True,
            ),
        )

    app = create_app(api_settings(), state_opener=opener)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://api.example") as client,
    ):
        yield client
