"""Nodes that are away, wrong, not ready, or lose what they were told."""

import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from chains.registry import open_outlet
from chains.utxo.outlet import CoinOutlet
from domain.errors import (
    BroadcastUnknownError,
    ChainUnavailableError,
    NodePrunedError,
    NodeSyncingError,
    WrongChainError,
)
from domain.ports import BroadcastOutcome
from domain.utxo.networks import BITCOIN_REGTEST, LITECOIN_REGTEST
from tests.integration.utxo.scripted_node import (
    RAW,
    SCRIPTED,
    Opener,
    ScriptedNode,
    dead_url,
)
from tests.integration.utxo.scripted_node import Fault as Answer
from tests.support.lossy_proxy import Fault, LossyProxy
from tests.support.utxo_nodes import COIN_SAT, Key, NodeKind, RegtestNode, running_node

SEND = "sendrawtransaction"
REAL = BITCOIN_REGTEST.chain_id


@pytest.fixture
async def proxy(kernel_node: RegtestNode) -> AsyncIterator[LossyProxy]:
    async with LossyProxy(kernel_node.url).serving() as serving:
        parts = urlsplit(kernel_node.url)
        serving.url = serving.url.replace("//", f"//{parts.username}:{parts.password}@")
        yield serving


async def payment(node: RegtestNode) -> tuple[str, bytes]:
    """Return a transaction that a node will take, and its address."""
    key = Key()
    coin = await node.fund_key(key, COIN_SAT)
    return key.address(node.network), bytes.fromhex(key.move(coin))


class TestFailover:
    async def test_asks_the_next_node_when_the_first_is_dead(
        self, outlet_of: Opener, scripted: ScriptedNode
    ) -> None:
        outlet = outlet_of(dead_url(), scripted.url)
        assert (await outlet.head()).height == 7

    @pytest.mark.parametrize("fault", [Fault.STALL, Fault.SERVER_ERROR, Fault.LOSE_REPLY])
    async def test_leaves_a_node_that_failed_alone_for_a_while(
        self, outlet_of: Opener, kernel_node: RegtestNode, proxy: LossyProxy, fault: Fault
    ) -> None:
        outlet = outlet_of(proxy.url, kernel_node.url, chain_id=REAL, timeout_s=0.5)
        proxy.faults["batch"] = fault
        assert (await outlet.head()).height == await kernel_node.height()
        asked = len(proxy.seen)
        assert (await outlet.head()).height == await kernel_node.height()
        assert len(proxy.seen) == asked, "a node that just failed is asked first again"

    @pytest.mark.parametrize("status", [401, 403, 429, 503])
    async def test_passes_over_a_node_that_serves_nobody_now(
        self, outlet_of: Opener, scripted: ScriptedNode, other: ScriptedNode, status: int
    ) -> None:
        scripted.status = status
        other.answers["getblockchaininfo"] |= {"blocks": 9}
        assert (await outlet_of(scripted.url, other.url).head()).height == 9
        with pytest.raises(ChainUnavailableError):
            await outlet_of(scripted.url).head()

    async def test_says_when_no_node_answers(self, outlet_of: Opener) -> None:
        outlet = outlet_of(dead_url(), dead_url())
        with pytest.raises(ChainUnavailableError):
            await outlet.head()
        with pytest.raises(ChainUnavailableError):
            await outlet.broadcast(RAW)

    async def test_refuses_a_node_of_another_network(
        self, outlet_of: Opener, scripted: ScriptedNode
    ) -> None:
        outlet = outlet_of(scripted.url, chain_id=LITECOIN_REGTEST.chain_id)
        with pytest.raises(WrongChainError):
            await outlet.head()
        with pytest.raises(WrongChainError):
            await outlet.broadcast(RAW)
        assert SEND not in scripted.seen

    async def test_looks_again_who_answers_when_a_node_comes_back(
        self, outlet_of: Opener, scripted: ScriptedNode
    ) -> None:
        outlet = outlet_of(scripted.url)
        await outlet.head()
        scripted.status = 502
        with pytest.raises(ChainUnavailableError):
            await outlet.head()
        scripted.status = None
        scripted.answers["getblockhash"] = LITECOIN_REGTEST.genesis_hash
        with pytest.raises(WrongChainError):
            await outlet.head()

    async def test_asks_one_by_one_where_batches_are_refused(
        self, outlet_of: Opener, scripted: ScriptedNode
    ) -> None:
        scripted.takes_batches = False
        assert (await outlet_of(scripted.url).head()).height == 7
        assert scripted.seen.count("batch") == 1
        assert scripted.seen.count("getmempoolinfo") == 1

    async def test_asks_again_when_a_kept_connection_has_died(
        self, outlet_of: Opener, scripted: ScriptedNode
    ) -> None:
        scripted.drops = {"getmempoolinfo"}
        assert (await outlet_of(scripted.url).head()).height == 7
        assert scripted.seen.count("getmempoolinfo") == 2


class TestLogin:
    async def test_reads_the_cookie_again_when_the_node_wrote_another(
        self, outlet_of: Opener, scripted: ScriptedNode, tmp_path: Path
    ) -> None:
        cookie = tmp_path / ".cookie"
        cookie.write_text("__cookie__:first\n")
        scripted.login = "__cookie__:first"
        outlet = outlet_of(f"http://127.0.0.1:{scripted.port}?cookie={cookie}")
        await outlet.head()

        scripted.login = "__cookie__:second"
        cookie.write_text("__cookie__:second\n")
        assert (await outlet.head()).height == 7

    async def test_waits_for_a_cookie_that_is_not_written_yet(
        self, outlet_of: Opener, scripted: ScriptedNode, tmp_path: Path
    ) -> None:
        cookie = tmp_path / ".cookie"
        outlet = outlet_of(f"http://127.0.0.1:{scripted.port}?cookie={cookie}")
        with pytest.raises(ChainUnavailableError):
            await outlet.head()
        cookie.write_text(scripted.login)
        assert (await outlet.head()).height == 7

    async def test_takes_any_character_in_a_password(self, outlet_of: Opener) -> None:
        async with ScriptedNode(login="user:p@ss/w:rd?").serving() as node:
            url = f"http://user:p%40ss%2Fw%3Ard%3F@127.0.0.1:{node.port}"
            assert (await outlet_of(url).head()).height == 7

    async def test_of_a_real_node_by_its_cookie(self, outlet_of: Opener, tmp_path: Path) -> None:
        async with running_node(NodeKind.DEVELOPMENT) as node:
            cookie = tmp_path / ".cookie"
            parts = urlsplit(node.url)
            cookie.write_text(f"{parts.username}:{parts.password}")
            outlet = outlet_of(f"http://127.0.0.1:{parts.port}?cookie={cookie}", chain_id=REAL)
            await node.mine(2)
            assert (await outlet.head()).height == 2

    async def test_is_never_logged(
        self, outlet_of: Opener, scripted: ScriptedNode, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        path = "/k3y"
        outlet = outlet_of(f"http://us3r:s3cr3t@127.0.0.1:{scripted.port}{path}", dead_url())
        with pytest.raises(ChainUnavailableError) as refusal:
            await outlet.head()
        await outlet_of(scripted.url).head()
        assert "refuses our login" in caplog.text
        for secret in ("s3cr3t", "us3r", "secret", "dXMzcjpzM2NyM3Q", path):
            assert secret not in caplog.text
            assert secret not in str(refusal.value)


class TestSyncing:
    async def test_is_said_when_the_only_node_downloads_the_chain(
        self, outlet_of: Opener, scripted: ScriptedNode
    ) -> None:
        scripted.is_downloading()
        with pytest.raises(NodeSyncingError):
            await outlet_of(scripted.url).head()

    async def test_is_said_when_the_only_node_is_loading(
        self, outlet_of: Opener, scripted: ScriptedNode
    ) -> None:
        scripted.is_loading()
        outlet = outlet_of(scripted.url)
        with pytest.raises(NodeSyncingError):
            await outlet.head()
        with pytest.raises(NodeSyncingError):
            await outlet.broadcast(RAW)

    async def test_is_said_when_the_node_begins_to_load_after_we_met_it(
        self, outlet_of: Opener, scripted: ScriptedNode
    ) -> None:
        outlet = outlet_of(scripted.url)
        await outlet.head()
        scripted.is_loading()
        with pytest.raises(NodeSyncingError):
            await outlet.head()

    async def test_means_nothing_on_regtest(self, outlet_of: Opener) -> None:
        async with ScriptedNode(BITCOIN_REGTEST).serving() as node:
            node.is_downloading(chain="regtest")
            assert (await outlet_of(node.url, chain_id=REAL).head()).height == 7

    async def test_leaves_the_work_to_a_node_that_is_ready(
        self, outlet_of: Opener, scripted: ScriptedNode, other: ScriptedNode
    ) -> None:
        scripted.is_downloading()
        other.answers["getblockchaininfo"] |= {"blocks": 9}
        other.answers[SEND] = "ab" * 32
        outlet = outlet_of(scripted.url, other.url)
        assert (await outlet.head()).height == 9
        outlet = outlet_of(scripted.url, other.url)
        assert await outlet.broadcast(RAW) is BroadcastOutcome.ACCEPTED
        assert SEND not in scripted.seen


class TestPruned:
    @pytest.fixture
    async def pruned(self, scripted: ScriptedNode) -> ScriptedNode:
        scripted.answers["getblock"] = Answer(-1, "Block not available (pruned data)")
        return scripted

    async def test_is_said_when_no_node_has_the_block(
        self, outlet_of: Opener, pruned: ScriptedNode
    ) -> None:
        with pytest.raises(NodePrunedError):
            await outlet_of(pruned.url).scan(0, 0)

    async def test_asks_another_node_for_the_block_alone(
        self, outlet_of: Opener, kernel_node: RegtestNode
    ) -> None:
        async with AsyncExitStack() as stack:
            pruned = await stack.enter_async_context(ScriptedNode(BITCOIN_REGTEST).serving())
            pruned.answers["getblock"] = Answer(-1, "Block not available (pruned data)")
            outlet = outlet_of(pruned.url, kernel_node.url, chain_id=REAL)
            (block,) = await outlet.scan(0, 0)
            assert block.hash == BITCOIN_REGTEST.genesis_hash
            assert (await outlet.head()).height == 7, "a pruned node knows the tip as well as any"


class TestLostBroadcast:
    async def test_finds_a_transaction_whose_answer_was_lost(
        self, outlet_of: Opener, kernel_node: RegtestNode, proxy: LossyProxy
    ) -> None:
        address, raw = await payment(kernel_node)
        proxy.faults[SEND] = Fault.LOSE_REPLY
        outlet = outlet_of(proxy.url, chain_id=REAL, timeout_s=2)
        assert await outlet.broadcast(raw) is BroadcastOutcome.ALREADY_KNOWN
        await kernel_node.mine()
        assert await outlet.balance_minor(address) == COIN_SAT - 1_000

    @pytest.mark.parametrize("fault", [Fault.LOSE_REQUEST, Fault.STALL, Fault.SERVER_ERROR])
    async def test_does_not_guess_when_the_request_was_lost(
        self, outlet_of: Opener, kernel_node: RegtestNode, proxy: LossyProxy, fault: Fault
    ) -> None:
        _, raw = await payment(kernel_node)
        proxy.faults[SEND] = fault
        outlet = outlet_of(proxy.url, chain_id=REAL, timeout_s=0.5)
        with pytest.raises(BroadcastUnknownError):
            await outlet.broadcast(raw)
        proxy.faults.clear()
        assert await outlet.broadcast(raw) is BroadcastOutcome.ACCEPTED

    async def test_does_not_guess_when_the_look_up_fails_too(
        self, outlet_of: Opener, kernel_node: RegtestNode, proxy: LossyProxy
    ) -> None:
        _, raw = await payment(kernel_node)
        proxy.faults = {SEND: Fault.LOSE_REPLY, "batch": Fault.LOSE_REPLY}
        outlet = outlet_of(proxy.url, chain_id=REAL, timeout_s=2)
        with pytest.raises(BroadcastUnknownError):
            await outlet.broadcast(raw)
        proxy.faults.clear()
        assert await outlet.broadcast(raw) is BroadcastOutcome.ACCEPTED

    async def test_hands_the_same_bytes_to_the_next_node(
        self, outlet_of: Opener, kernel_node: RegtestNode, proxy: LossyProxy
    ) -> None:
        _, raw = await payment(kernel_node)
        proxy.faults[SEND] = Fault.LOSE_REPLY
        outlet = outlet_of(proxy.url, kernel_node.url, chain_id=REAL, timeout_s=2)
        # In the pool already, which the node takes for success.
        assert await outlet.broadcast(raw) is BroadcastOutcome.ACCEPTED
        asked = len(proxy.seen)
        await outlet.head()
        assert len(proxy.seen) == asked, "a node that just failed is asked first again"

    async def test_is_not_repeated_unasked(self, outlet_of: Opener, scripted: ScriptedNode) -> None:
        scripted.answers[SEND] = "ab" * 32
        scripted.drops = {SEND}
        with pytest.raises(BroadcastUnknownError):
            await outlet_of(scripted.url).broadcast(RAW)
        assert scripted.seen.count(SEND) == 1

    async def test_does_not_take_words_that_it_does_not_know_for_a_refusal(
        self, outlet_of: Opener, scripted: ScriptedNode
    ) -> None:
        scripted.answers[SEND] = Answer(-26, "a rule of tomorrow")
        with pytest.raises(BroadcastUnknownError):
            await outlet_of(scripted.url).broadcast(RAW)


class TestRegistry:
    async def test_opens_a_utxo_chain(self) -> None:
        outlet = open_outlet(SCRIPTED, "utxo", [dead_url()])
        assert isinstance(outlet, CoinOutlet)
        assert outlet.chain_id == SCRIPTED
        await outlet.close()

    async def test_refuses_a_network_that_nobody_described(self) -> None:
        with pytest.raises(WrongChainError):
            open_outlet("bip122:" + "0" * 32, "utxo", [dead_url()])
