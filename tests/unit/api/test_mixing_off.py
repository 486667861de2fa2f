"""Where mixing is off there is nothing of it: every route answers 404, whoever asks."""

from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi.routing import APIRoute
from pydantic import SecretStr, ValidationError

from api.app import MIXING, create_app
from infra.keyring import generate_key
from infra.settings import WorkerSettings
from tests.support.api import api_settings

ROUTES = [
    (method, str(route.path).format(mixer_id="mxr_1", mix_id="mix_1"))
    for router in MIXING
    for route in router.routes
    if isinstance(route, APIRoute)
    for method in sorted(route.methods or ())
]


@pytest.fixture
async def off() -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(api_settings())
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://api.example") as client,
    ):
        yield client


class TestOff:
    def test_knows_every_route(self) -> None:
        assert len(ROUTES) == 15

    @pytest.mark.parametrize(("method", "path"), ROUTES, ids=str)
    async def test_answers_404(self, off: httpx.AsyncClient, method: str, path: str) -> None:
        answer = await off.request(method, path, json={})
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")

    async def test_does_not_show_in_the_description(self, off: httpx.AsyncClient) -> None:
        paths = (await off.get("/openapi.json")).json()["paths"]
        assert not [path for path in paths if "mix" in path]


class TestSettings:
    def test_are_off_unless_said_otherwise(self) -> None:
        assert not api_settings().mixer_enabled

    def test_refuse_to_keep_a_trail_in_the_clear(self) -> None:
        secret = SecretStr(f"k1:{generate_key()}")
        with pytest.raises(ValidationError, match="MIXER_KEYS"):
            WorkerSettings(
                database_url=secret,
                temporal_address="unused",
                codec_keys=secret,
                webhook_keys=secret,
                chain_rpc_urls=SecretStr("{}"),
                mixer_enabled=True,
            )
