"""The local node keeps its chain through kill -9, torn state files included."""

from pathlib import Path

import httpx
import pytest

from devnet.evm_node import EvmNode
from tests.support.evm import AUTOMINE, DEV_ACCOUNT, running_node

MINED = 5


def rpc(node: EvmNode, method: str, *params: object) -> object:
    request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    answer = httpx.post(node.url, json=request).json()
    assert "error" not in answer, answer
    return answer["result"]


def height(node: EvmNode) -> int:
    return int(str(rpc(node, "eth_blockNumber")), 16)


def dumped(node: EvmNode, folder: Path) -> None:
    """Wait until the node has written its present state: a copy made after the last block."""
    mined = f'"number":"{hex(height(node))}"'.encode()
    good = folder / "state.good.json"
    with httpx.Client() as client:
        while not (node.keep_good_copy() and mined in good.read_bytes()[:200]):
            client.post(node.url, json={"jsonrpc": "2.0", "id": 1, "method": "eth_chainId"})


class TestRestart:
    @pytest.mark.parametrize("kept_share", [0.0, 0.5, 0.999])
    async def test_goes_back_to_the_copy_when_the_state_is_torn(
        self, tmp_path: Path, kept_share: float
    ) -> None:
        with running_node(tmp_path) as node:
            rpc(node, "anvil_mine", hex(MINED))
            dumped(node, tmp_path)
        state = tmp_path / "state.json"
        content = state.read_bytes()
        state.write_bytes(content[: int(len(content) * kept_share)])

        assert not node.keep_good_copy(), "a torn file must never become the copy"
        with running_node(tmp_path) as again:
            assert height(again) == MINED

    async def test_keeps_transactions_and_can_still_be_reorganized(self, tmp_path: Path) -> None:
        with running_node(tmp_path) as node:
            sent = {"from": DEV_ACCOUNT, "to": DEV_ACCOUNT, "value": "0x1"}
            txid = rpc(node, "eth_sendTransaction", sent)
            rpc(node, "anvil_mine", hex(MINED))
            dumped(node, tmp_path)
        with running_node(tmp_path) as again:
            rpc(again, "evm_setAutomine", AUTOMINE)
            assert rpc(again, "eth_getTransactionReceipt", txid) is not None
            rpc(again, "anvil_reorg", MINED + 1, [])
            assert rpc(again, "eth_getTransactionReceipt", txid) is None

    async def test_starts_anew_when_nothing_whole_was_ever_written(self, tmp_path: Path) -> None:
        (tmp_path / "state.json").write_bytes(b'{"block":')
        with running_node(tmp_path) as node:
            assert height(node) == 0

    async def test_is_not_ready_for_another_chain(self, tmp_path: Path) -> None:
        with running_node(tmp_path, chain_id=7) as node:
            same_port = EvmNode(
                tmp_path, node.port, block_time_s=None, chain_id=8, log=tmp_path / "log"
            )
            assert node.is_ready()
            assert not same_port.is_ready()
