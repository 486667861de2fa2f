from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI

from identity import services
from tests.support.api import api_settings, opened_app
from tests.support.identity import quick_passwords


@pytest.fixture
async def app(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FastAPI]:
    """Yield the real application; no database listens, so whoever gets through meets a 503."""
    monkeypatch.setattr(services, "Passwords", quick_passwords)
    async with opened_app(api_settings(mixing=True)) as opened:
        yield opened


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://api.example") as opened:
        yield opened
