"""
Real Bitcoin-like regtest nodes for tests: our development node, ``bitcoind``, ``litecoind``.

A session has one node of each kind, started when a test first asks for it. Tests share its chain,
so they make addresses of their own and never assume a height.
"""

import asyncio
import hashlib
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any

import httpx
import pytest
from embit.ec import PrivateKey
from embit.script import Script, Witness
from embit.transaction import SIGHASH, Transaction, TransactionInput, TransactionOutput

from devnet.bitcoin_daemon import bitcoind, core_node, development_node
from devnet.litecoin_node import litecoin_node
from devnet.ports import Ports
from devnet.supervisor import ManagedProcess
from devnet.utxo_node import UtxoNode
from domain.utxo.networks import BITCOIN_REGTEST, LITECOIN_REGTEST, Network
from domain.utxo.scripts import address_of, output_script

COIN_SAT = 10**8
FEE_SAT = 5_000
"""What the helper's own transactions pay, whatever their size."""
REPLACEABLE, FINAL = 0xFFFF_FFFD, 0xFFFF_FFFF
TREASURY_BLOCKS = 25
MATURITY_BLOCKS = 100
RPC_TIMEOUT_S = 60.0


class NodeKind(StrEnum):
    """A kind of node that tests run against."""

    DEVELOPMENT = "development"
    """Ours, on Bitcoin Core's consensus engine."""
    BITCOIND = "bitcoind"
    LITECOIND = "litecoind"
    """As on the real network: it replaces nothing."""
    LITECOIND_REPLACING = "litecoind_replacing"


KINDS = [kind for kind in NodeKind if kind is not NodeKind.BITCOIND or bitcoind() is not None]
"""Those that this machine can have; a ``litecoind`` that cannot be had is an error, no skip."""


class RpcFault(Exception):  # noqa: N818 - an answer, no failure of the test
    """The node answered with an error."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


@dataclass(frozen=True)
class Coin:
    """An output that a key can spend."""

    txid: str
    vout: int
    value_sat: int


class Key:
    """A key with its P2WPKH script."""

    def __init__(self, secret: bytes | None = None) -> None:
        self._private = PrivateKey(secret or secrets.token_bytes(32))
        self.public: bytes = self._private.get_public_key().sec()
        digest = hashlib.new("ripemd160", hashlib.sha256(self.public).digest()).digest()
        self.script = b"\x00\x14" + digest

    def address(self, network: Network) -> str:
        return address_of(self.script, network)

    def spend(
        self,
        coins: Sequence[Coin],
        outputs: Sequence[tuple[bytes, int]],
        *,
        sequence: int = REPLACEABLE,
    ) -> str:
        """Return a signed transaction in hex; outputs are scripts and satoshi, the rest is fee."""
        inputs = [TransactionInput(bytes.fromhex(c.txid), c.vout, sequence=sequence) for c in coins]
        paid = [TransactionOutput(value_sat, Script(script)) for script, value_sat in outputs]
        tx = Transaction(version=2, vin=inputs, vout=paid, locktime=0)
        code = Script(b"\x76\xa9" + self.script[1:] + b"\x88\xac")
        for index, coin in enumerate(coins):
            digest = tx.sighash_segwit(index, code, coin.value_sat, SIGHASH.ALL)
            signature = self._private.sign(digest).serialize() + bytes([SIGHASH.ALL])
            tx.vin[index].witness = Witness([signature, self.public])
        return str(tx.serialize().hex())

    def move(self, *coins: Coin, fee_sat: int = 1_000, sequence: int = REPLACEABLE) -> str:
        """Return a transaction in hex that sends whole coins back to this key."""
        value_sat = sum(coin.value_sat for coin in coins) - fee_sat
        return self.spend(coins, [(self.script, value_sat)], sequence=sequence)


class RegtestNode:
    """One running node, and a miner that owns the first blocks' coins (``treasury``)."""

    def __init__(self, node: UtxoNode, kind: NodeKind, *, folder: Path) -> None:
        self.kind = kind
        self.node = node
        is_litecoin = kind in (NodeKind.LITECOIND, NodeKind.LITECOIND_REPLACING)
        self.network = LITECOIN_REGTEST if is_litecoin else BITCOIN_REGTEST
        self.has_replacement = kind is not NodeKind.LITECOIND
        self.treasury = Key()
        self._client = _client()
        self._process = ManagedProcess(
            kind,
            node.command(),
            env=node.env,
            log_path=folder / "node.log",
            pid_path=folder / "node.pid",
            cwd=node.cwd,
            ready=lambda _pid: asyncio.to_thread(node.is_ready),
            pre_start=node.prepare,
        )

    @property
    def url(self) -> str:
        """The endpoint with user and password, as an adapter takes it."""
        return self.node.url

    async def start(self) -> None:
        await self._process.start()

    async def stop(self) -> None:
        # Core 0.21 waits for kept connections to time out before it ends.
        await self._client.aclose()
        await self._process.stop()
        self._client = _client()

    async def close(self) -> None:
        await self.stop()
        await self._client.aclose()

    async def kill(self) -> None:
        """End the node with SIGKILL and wait until it is gone."""
        self._process.kill()
        await self._process.wait()

    async def restart(self) -> None:
        """Start the node again, stopping it in order if it runs."""
        await self.stop()
        await self.start()

    async def post(self, content: Any) -> Any:
        """Send one JSON-RPC call or a batch of them, and return the answer as it is."""
        answer = await self._client.post(self.url, json=content)
        return answer.json(parse_float=Decimal)

    async def rpc(self, method: str, *params: Any) -> Any:
        """Return a call's result, amounts as Decimal; raises ``RpcFault``."""
        answer = await self.post({"id": 1, "method": method, "params": params})
        if answer["error"] is not None:
            raise RpcFault(answer["error"]["code"], answer["error"]["message"])
        return answer["result"]

    async def fault(self, method: str, *params: Any) -> RpcFault:
        """Return the error that a call must be answered with."""
        with pytest.raises(RpcFault) as refusal:
            await self.rpc(method, *params)
        return refusal.value

    def fresh_address(self) -> str:
        """Return an address whose key nobody has: to mine to."""
        return Key().address(self.network)

    async def open_treasury(self) -> None:
        """Mine coins for ``fund`` and let them mature."""
        await self.mine(TREASURY_BLOCKS, self.treasury.address(self.network))
        await self.mine(MATURITY_BLOCKS)

    async def mine(self, count: int = 1, address: str | None = None) -> list[str]:
        """Mine blocks of what is in the mempool, and see them to disk; return their hashes."""
        found: list[str] = await self.rpc(
            "generatetoaddress", count, address or self.fresh_address()
        )
        await asyncio.to_thread(self.node.flush)
        return found

    async def height(self) -> int:
        return int(await self.rpc("getblockcount"))

    async def mempool(self) -> list[str]:
        found: list[str] = await self.rpc("getrawmempool")
        return found

    async def confirmations(self, txid: str) -> int:
        """
        Return how deep a transaction is: 0 in the mempool or in a stale block.

        One that is nowhere is an ``RpcFault``. A reorg makes none such: nodes with an index of
        all transactions still show those of stale blocks.
        """
        view = await self.rpc("getrawtransaction", txid, True)  # noqa: FBT003
        return int(view.get("confirmations", 0))

    async def fund(self, address: str, amount_sat: int) -> str:
        """Send coins of the treasury to an address; return the txid, which is in the mempool."""
        coins = await self._treasury_coins(amount_sat + FEE_SAT)
        change_sat = sum(coin.value_sat for coin in coins) - amount_sat - FEE_SAT
        outputs = [(output_script(address, self.network), amount_sat)]
        if change_sat >= FEE_SAT:
            outputs.append((self.treasury.script, change_sat))
        return await self.send(self.treasury.spend(coins, outputs, sequence=REPLACEABLE))

    async def fund_key(self, key: Key, amount_sat: int) -> Coin:
        """Send confirmed coins to a key."""
        txid = await self.fund(key.address(self.network), amount_sat)
        await self.confirm(txid)
        return Coin(txid, 0, amount_sat)

    async def send(self, raw: str) -> str:
        return str(await self.rpc("sendrawtransaction", raw))

    async def confirm(self, txid: str) -> str:
        """Mine one block, which must have this transaction; return its hash."""
        [block_hash] = await self.mine()
        block = await self.rpc("getblock", block_hash)
        assert txid in block["tx"], f"{txid} was not mined"
        return block_hash

    async def balance(self, address: str) -> int:
        """Return an address's confirmed coins, in satoshi."""
        found = await self.rpc("scantxoutset", "start", [f"addr({address})"])
        return to_sat(found["total_amount"])

    async def reorg(
        self,
        depth: int,
        *,
        drop: Collection[str] = (),
        instead: Sequence[str] = (),
        is_remining: bool = True,
    ) -> list[str]:
        """
        Replace the last ``depth`` blocks by one more; return the new ones' hashes.

        What the old blocks had is mined again in the first new one, unless ``is_remining`` is
        False: then it stays in the mempool. Transactions to ``drop``, and what depends on them, are
        not: those that ``fund`` made are double-spent and gone for good; others stay in the mempool
        unless a raw transaction in ``instead``, which the first new block has, conflicts.
        """
        old_hash = await self.rpc("getblockhash", await self.height() - depth + 1)
        double_spends = [await self._double_spend(txid) for txid in drop]
        await self.rpc("invalidateblock", old_hash)
        replacing = [*instead, *filter(None, double_spends)]
        returned = await self._mempool_without(drop) if is_remining else []
        made = [await self._generate_block([*replacing, *returned])]
        made += [await self._generate_block([]) for _ in range(depth)]
        await asyncio.to_thread(self.node.flush)
        return made

    async def _generate_block(self, transactions: Sequence[str]) -> str:
        made = await self.rpc("generateblock", self.fresh_address(), list(transactions))
        return str(made["hash"])

    async def _mempool_without(self, dropped: Collection[str]) -> list[str]:
        """Return the mempool, parents first, but for these and what depends on them."""
        entries = await self.rpc("getrawmempool", True)  # noqa: FBT003
        left_out = set(dropped)
        for txid in entries.keys() & set(dropped):
            left_out.update(await self.rpc("getmempooldescendants", txid))
        kept = entries.keys() - left_out
        return sorted(kept, key=lambda txid: (entries[txid]["ancestorcount"], txid))

    async def _double_spend(self, txid: str) -> str | None:
        """Return what spends the same treasury coins back to the treasury; None: not ours."""
        view = await self.rpc("getrawtransaction", txid, True)  # noqa: FBT003
        coins = []
        for item in view["vin"]:
            source = await self.rpc("getrawtransaction", item["txid"], True)  # noqa: FBT003
            output = source["vout"][item["vout"]]
            if output["scriptPubKey"]["hex"] != self.treasury.script.hex():
                return None
            coins.append(Coin(item["txid"], item["vout"], to_sat(output["value"])))
        value_sat = sum(coin.value_sat for coin in coins) - FEE_SAT
        return self.treasury.spend(coins, [(self.treasury.script, value_sat)])

    async def _treasury_coins(self, needed_sat: int) -> list[Coin]:
        address = self.treasury.address(self.network)
        found = await self.rpc("scantxoutset", "start", [f"addr({address})"])
        chosen: list[Coin] = []
        for item in found["unspents"]:
            if sum(coin.value_sat for coin in chosen) >= needed_sat:
                break
            view = await self.rpc("gettxout", item["txid"], item["vout"])
            # Null when the mempool spends it. A reorg can make a coinbase immature again.
            if view and (not view["coinbase"] or view["confirmations"] > MATURITY_BLOCKS):
                chosen.append(Coin(item["txid"], item["vout"], to_sat(item["amount"])))
        assert sum(coin.value_sat for coin in chosen) >= needed_sat, "the treasury is empty"
        return chosen


def _client() -> httpx.AsyncClient:
    return httpx.AsyncClient(timeout=RPC_TIMEOUT_S, trust_env=False)


def to_sat(amount: Decimal | int) -> int:
    """Return whole coins as satoshi, exactly."""
    value_sat = Decimal(amount) * COIN_SAT
    assert value_sat == int(value_sat)
    return int(value_sat)


def node_of(kind: NodeKind, datadir: Path) -> UtxoNode:
    """Return a node of a kind on a free port; for ``litecoind`` this may fetch the program."""
    port, password = Ports.free().bitcoin, secrets.token_urlsafe()
    match kind:
        case NodeKind.DEVELOPMENT:
            return development_node(datadir, port, password=password)
        case NodeKind.BITCOIND:
            program = bitcoind()
            assert program is not None
            return core_node(program, datadir, port, password=password)
        case NodeKind.LITECOIND | NodeKind.LITECOIND_REPLACING:
            has_replacement = kind is NodeKind.LITECOIND_REPLACING
            return litecoin_node(datadir, port, password=password, has_replacement=has_replacement)


@asynccontextmanager
async def running_node(kind: NodeKind) -> AsyncIterator[RegtestNode]:
    """Yield a node of one's own, with nothing mined; it and its folder are gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix=f"strongroom-{kind}-"))
    node = await asyncio.to_thread(node_of, kind, folder / "data")
    running = RegtestNode(node, kind, folder=folder)
    try:
        await running.start()
        yield running
    finally:
        await running.close()
        shutil.rmtree(folder, ignore_errors=True)


NodeOf = Callable[[NodeKind], Awaitable[RegtestNode]]


@pytest.fixture(scope="session")
async def utxo_nodes() -> AsyncIterator[NodeOf]:
    """Yield what returns the session's node of a kind, starting it the first time."""
    running: dict[NodeKind, RegtestNode] = {}
    stack = AsyncExitStack()

    async def get(kind: NodeKind) -> RegtestNode:
        if kind not in running:
            running[kind] = await stack.enter_async_context(running_node(kind))
            await running[kind].open_treasury()
        return running[kind]

    async with stack:
        yield get


@pytest.fixture(params=KINDS)
async def utxo_node(request: pytest.FixtureRequest, utxo_nodes: NodeOf) -> RegtestNode:
    """Return each kind of node in turn: for a test that all of them must pass."""
    return await utxo_nodes(request.param)


@pytest.fixture
async def bitcoin_node(utxo_nodes: NodeOf) -> RegtestNode:
    """Return a Bitcoin node: ``bitcoind`` where there is one, else the development node."""
    return await utxo_nodes(
        NodeKind.BITCOIND if NodeKind.BITCOIND in KINDS else NodeKind.DEVELOPMENT
    )


@pytest.fixture
async def kernel_node(utxo_nodes: NodeOf) -> RegtestNode:
    return await utxo_nodes(NodeKind.DEVELOPMENT)


@pytest.fixture
async def litecoind_node(utxo_nodes: NodeOf) -> RegtestNode:
    return await utxo_nodes(NodeKind.LITECOIND)


@pytest.fixture
async def litecoind_replacing_node(utxo_nodes: NodeOf) -> RegtestNode:
    return await utxo_nodes(NodeKind.LITECOIND_REPLACING)
