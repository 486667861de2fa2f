"""Outlets and scripted nodes for the tests of UTXO chains."""

from collections.abc import AsyncIterator

import pytest

from chains.utxo.outlet import CoinOutlet
from tests.integration.utxo.scripted_node import SCRIPTED, Opener, ScriptedNode


@pytest.fixture
async def outlet_of() -> AsyncIterator[Opener]:
    """Return what opens an outlet that is closed after the test."""
    opened: list[CoinOutlet] = []

    def open_one(*urls: str, chain_id: str = SCRIPTED, timeout_s: float = 10.0) -> CoinOutlet:
        opened.append(CoinOutlet(chain_id, urls, timeout_s=timeout_s))
        return opened[-1]

    yield open_one
    for each in opened:
        await each.close()


@pytest.fixture
async def scripted() -> AsyncIterator[ScriptedNode]:
    async with ScriptedNode().serving() as node:
        yield node


@pytest.fixture
async def other() -> AsyncIterator[ScriptedNode]:
    """Another node of the same network, in order."""
    async with ScriptedNode().serving() as node:
        yield node
