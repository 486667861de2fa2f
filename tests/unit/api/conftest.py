from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI

from api.app import create_app
from tests.support.api import api_settings


@pytest.fixture
async def app() -> AsyncIterator[FastAPI]:
    """Yield the real application; no database listens, so whoever gets through meets a 503."""
    created = create_app(api_settings(mixing=True))
    async with created.router.lifespan_context(created):
        yield created


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://api.example") as opened:
        yield opened
