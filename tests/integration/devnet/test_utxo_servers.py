"""How every Bitcoin-like node is talked to, and what it has left after it ended."""

from decimal import Decimal

import httpx
import pytest

from tests.support.utxo_nodes import COIN_SAT, KINDS, Key, NodeKind, RegtestNode, running_node

RESTARTED = [kind for kind in KINDS if kind is not NodeKind.LITECOIND_REPLACING]


class TestServer:
    async def test_answers_a_batch_in_order(self, utxo_node: RegtestNode) -> None:
        calls = [
            {"id": "height", "method": "getblockcount", "params": []},
            {"id": 2, "method": "getblockhash", "params": [-1]},
            {"id": None, "method": "nosuchmethod"},
        ]

        answers = await utxo_node.post(calls)

        assert [item["id"] for item in answers] == ["height", 2, None]
        assert answers[0]["result"] == await utxo_node.height()
        assert [item["error"]["code"] for item in answers[1:]] == [-8, -32601]

    async def test_takes_parameters_by_name(self, utxo_node: RegtestNode) -> None:
        answer = await utxo_node.post({"id": 1, "method": "getblockhash", "params": {"height": 0}})

        assert answer["result"] == utxo_node.network.genesis_hash

    @pytest.mark.parametrize("login", [None, ("strongroom", "guess"), ("other", "guess")])
    async def test_refuses_who_cannot_log_in(
        self, utxo_node: RegtestNode, login: tuple[str, str] | None
    ) -> None:
        url = f"http://127.0.0.1:{utxo_node.node.port}"

        async with httpx.AsyncClient(trust_env=False) as client:
            if login is not None:
                client.auth = httpx.BasicAuth(*login)
            answer = await client.post(url, json={"method": "getblockcount"})

        assert answer.status_code == 401

    async def test_answers_errors_with_their_status(self, utxo_node: RegtestNode) -> None:
        async with httpx.AsyncClient(trust_env=False) as client:
            unknown = await client.post(utxo_node.url, json={"id": 1, "method": "nosuchmethod"})
            refused = await client.post(
                utxo_node.url, json={"id": 1, "method": "getblockhash", "params": [-1]}
            )
            garbage = await client.post(utxo_node.url, content=b"{")

        statuses = [answer.status_code for answer in (unknown, refused, garbage)]
        assert statuses == [404, 500, 500]
        assert garbage.json()["error"]["code"] == -32700

    async def test_names_its_network(self, utxo_node: RegtestNode) -> None:
        info = await utxo_node.rpc("getblockchaininfo")

        assert info["chain"] == "regtest"
        assert info["blocks"] == info["headers"] == await utxo_node.height()
        assert not info["initialblockdownload"]
        assert info["bestblockhash"] == await utxo_node.rpc("getbestblockhash")
        assert info["difficulty"] == Decimal("4.656542373906925e-10")


class TestRestart:
    @pytest.fixture(params=["killed", "stopped"])
    def ending(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    @pytest.mark.parametrize("kind", RESTARTED)
    async def test_keeps_the_chain(self, kind: NodeKind, ending: str) -> None:
        key = Key()
        async with running_node(kind) as node:
            await node.open_treasury()
            confirmed = await node.fund_key(key, COIN_SAT)
            unconfirmed = await node.send(key.move(confirmed))
            [last] = await node.rpc("generatetoaddress", 1, node.fresh_address())
            await node.rpc("invalidateblock", last)
            await node.rpc("gettxoutsetinfo")
            height = await node.height()

            if ending == "killed":
                await node.kill()
            await node.restart()

            assert await node.height() == height
            assert await node.confirmations(confirmed.txid) == 1
            assert await node.rpc("gettxout", confirmed.txid, 0, False)  # noqa: FBT003
            assert (unconfirmed in await node.mempool()) == (ending == "stopped")
            await node.mine(2)
            assert await node.height() == height + 2
