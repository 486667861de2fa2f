"""Pockets against a chain in memory: whatever is asked, killed or reorganized, they mirror it."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.pockets import ALL
from tests.support.evm_books import CONFIRMATIONS, ETHER
from tests.support.pocket_books import STEPS, PocketBooks
from tests.support.postgres import PostgresServer, fresh_database

amounts = st.sampled_from([1_000, ETHER // 50, ETHER // 5])
operations = st.one_of(
    st.tuples(st.just("fund"), st.sampled_from(["ETH", "USD"]), amounts),
    st.tuples(st.just("redeem"), st.sampled_from(["ETH", "USD"]), st.one_of(amounts, st.just(ALL))),
    st.tuples(st.just("send"), st.sampled_from(["ETH", "USD"]), st.one_of(amounts, st.just(ALL))),
    st.tuples(st.just("gift"), st.just("ETH"), amounts),
    st.tuples(st.just("die"), st.just(""), st.integers(0, len(STEPS) - 1)),
    st.tuples(st.just("work"), st.just(""), st.integers(1, 4)),
    st.tuples(st.just("reorg"), st.just(""), st.integers(1, CONFIRMATIONS + 1)),
)


@pytest.mark.timeout(600)
def test_mirror_their_chain(postgres_server: PostgresServer) -> None:
    @settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(operations, min_size=4, max_size=12))
    def check(asked: list[tuple[str, str, Any]]) -> None:
        async def play() -> None:
            async with AsyncExitStack() as stack:
                books = PocketBooks(stack.enter_context(fresh_database(postgres_server)))
                stack.push_async_callback(books.close)
                await books.begin()
                for operation in asked:
                    await books.run(*operation)
                await books.finish()

        asyncio.run(play())

    check()
