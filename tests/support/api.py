"""The API in this process, over a test's own database and clock."""

from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from fastapi import FastAPI
from pydantic import SecretStr

from api.app import create_app
from api.state import AppState, StateOpener, open_state
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


class _PooledApp:
    """An application that serves one test after another, each with a state of its own."""

    def __init__(self, settings: ApiSettings) -> None:
        self.settings = settings
        self.opener: StateOpener = open_state
        self.app = create_app(settings, state_opener=self._open)

    @asynccontextmanager
    async def _open(self, settings: ApiSettings) -> AsyncIterator[AppState]:
        del settings
        async with self.opener(self.settings) as state:
            yield state


_IDLE: defaultdict[object, list[_PooledApp]] = defaultdict(list)


@asynccontextmanager
async def opened_app(
    settings: ApiSettings, opener: StateOpener = open_state
) -> AsyncIterator[FastAPI]:
    """Yield an open application; to build one anew for each test would take most of its time."""
    shape = (
        settings.upload_bytes_max,
        settings.codec_anonymous,
        settings.temporal_ui_url,
        settings.mixer_enabled,
    )
    pooled = _IDLE[shape].pop() if _IDLE[shape] else _PooledApp(settings)
    pooled.settings, pooled.opener = settings, opener
    overrides = dict(pooled.app.dependency_overrides)
    async with pooled.app.router.lifespan_context(pooled.app):
        yield pooled.app
    pooled.app.dependency_overrides = overrides
    _IDLE[shape].append(pooled)


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

    async with opened_app(api_settings(), opener) as app:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://api.example") as client:
            yield client
