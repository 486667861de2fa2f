"""A real EVM node for tests: one per run, a fresh wallet per test."""

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from eth_abi.abi import encode
from eth_utils.crypto import keccak

from chains.evm.outlet import EvmOutlet
from contracts.artifacts import load_artifact
from devnet.evm_node import EvmNode
from domain.ids import new_id
from signing.evm import identity_of
from tests.support.chain_world import FUNDED_MINOR, MINTED_MINOR, TokenKind

CHAIN_ID = "eip155:31337"
START_TIMEOUT_S = 20
DEV_ACCOUNT = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
COLLECTOR = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"
AUTOMINE = False
GAS = hex(3_000_000)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running_node(
    folder: Path,
    *,
    port: int | None = None,
    block_time_s: str | None = None,
    chain_id: int = 31337,
    state_interval_s: int = 1,
) -> Iterator[EvmNode]:
    """Yield a node that keeps its chain in this folder; it is killed afterwards."""
    node = EvmNode(
        folder,
        port or free_port(),
        block_time_s=block_time_s,
        chain_id=chain_id,
        log=folder / "evm.log",
        state_interval_s=state_interval_s,
    )
    node.prepare_state()
    with node.log.open("ab") as log:
        process = subprocess.Popen(node.command(), stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not node.is_ready():
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"the EVM node does not start: {node.log.read_text()[-500:]}")
            time.sleep(0.02)
        yield node
    finally:
        process.kill()
        process.wait(timeout=10)


class EvmWorld:
    """``tests.support.chain_world.ChainWorld`` on a real node that mines when told."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.outlet = EvmOutlet(CHAIN_ID, [url], timeout_s=5)
        self.private_key = keccak(text=new_id("test"))
        self.wallet = identity_of(self.private_key).address
        self._client = httpx.AsyncClient(base_url=url)

    async def rpc(self, method: str, *params: Any) -> Any:
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        answer = (await self._client.post("/", json=request)).json()
        assert "error" not in answer, answer
        return answer["result"]

    async def open(self) -> None:
        await self.rpc("evm_setAutomine", AUTOMINE)
        await self.rpc("anvil_dropAllTransactions")
        await self.rpc("anvil_setBalance", self.wallet, hex(FUNDED_MINOR))

    async def close(self) -> None:
        await self.outlet.close()
        await self._client.aclose()

    async def mine(self, count: int = 1) -> None:
        for _ in range(count):
            await self.rpc("evm_mine")

    async def reorg(self, depth: int) -> None:
        # Empty blocks of the same second are the very same blocks, unless somebody else mines them.
        miner = "0x" + keccak(text=new_id("miner")).hex()[-40:]
        await self.rpc("anvil_setCoinbase", miner)
        await self.rpc("anvil_reorg", depth, [])

    async def token(self, kind: TokenKind) -> str:
        contract = await self._deploy(kind)
        await self._invoke(
            contract, "mint(address,uint256)", ["address", "uint256"], [self.wallet, MINTED_MINOR]
        )
        if kind is TokenKind.REVERTING:
            await self._invoke(contract, "set_paused(bool)", ["bool"], [True])
        return contract

    async def deploy(self, name: str) -> str:
        """Deploy a contract that takes no arguments."""
        fields = {"data": load_artifact(name).bytecode}
        return str((await self._transact(fields))["contractAddress"])

    async def _deploy(self, kind: TokenKind) -> str:
        match kind:
            case TokenKind.PLAIN:
                arguments = encode(["string", "string", "uint8"], ["Test", "TST", 6])
            case TokenKind.FEE | TokenKind.SURCHARGE:
                arguments = encode(["address"], [COLLECTOR])
            case _:
                arguments = b""
        code = load_artifact(kind).bytecode + arguments.hex()
        return str((await self._transact({"data": code}))["contractAddress"])

    async def _invoke(
        self, contract: str, signature: str, types: list[str], values: list[Any]
    ) -> None:
        data = keccak(text=signature)[:4] + encode(types, values)
        await self._transact({"to": contract, "data": "0x" + data.hex()})

    async def _transact(self, fields: dict[str, str]) -> dict[str, Any]:
        txid = await self.rpc("eth_sendTransaction", {"from": DEV_ACCOUNT, "gas": GAS, **fields})
        await self.mine()
        receipt: dict[str, Any] = await self.rpc("eth_getTransactionReceipt", txid)
        assert receipt["status"] == "0x1"
        return receipt


@pytest.fixture(scope="session")
def evm_node() -> Iterator[EvmNode]:
    folder = Path(tempfile.mkdtemp(prefix="strongroom-evm-"))
    # Nobody starts it again, and what it writes grows with every test.
    with running_node(folder, state_interval_s=3_600) as node:
        yield node
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
async def evm_world(evm_node: EvmNode) -> AsyncIterator[EvmWorld]:
    opened = EvmWorld(evm_node.url)
    await opened.open()
    yield opened
    await opened.close()
