"""A bank's API on a real socket: what streams, and what is not Python, needs one."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import uvicorn

from tests.support.bank import Bank, served
from tests.support.flows import until

QUICK: dict[str, Any] = {"stream_interval": timedelta(milliseconds=20)}


@asynccontextmanager
async def listening(bank: Bank, **changes: Any) -> AsyncIterator[str]:
    """Yield the address of the bank's API with other settings, on a free port."""
    settings = bank.state.settings.model_copy(update=changes)
    async with served(dataclasses.replace(bank.state, settings=settings)) as (app, _):
        server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", lifespan="off"))
        serving = asyncio.create_task(server.serve())
        await until(lambda: server.started)
        port = server.servers[0].sockets[0].getsockname()[1]
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            server.should_exit = True
            await serving
