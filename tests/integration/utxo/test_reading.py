"""What is read from nodes: blocks, the pool, fees; garbled, or while the chain changes."""

import pytest
from bitcoin.core import CBlock, COutPoint, CScript, CTransaction, CTxIn, CTxOut

from chains.utxo.blocks import read_block
from chains.utxo.outlet import CoinOutlet
from domain.errors import ChainUnavailableError
from domain.ports import FeeQuote
from domain.scanning import ScannedBlock
from domain.utxo.networks import BITCOIN
from tests.integration.utxo.scripted_node import RAW, SCRIPTED, Opener, ScriptedNode, dead_url
from tests.integration.utxo.scripted_node import Fault as Answer
from tests.support.utxo_nodes import RegtestNode


class TestReading:
    @pytest.mark.parametrize(
        "body", ["", "zz", "00" * 80, "00" * 81 + "01", "00" * 400], ids=lambda body: f"{len(body)}"
    )
    async def test_refuses_what_is_no_block(
        self, outlet_of: Opener, scripted: ScriptedNode, body: str
    ) -> None:
        scripted.answers["getblock"] = body
        with pytest.raises(ChainUnavailableError):
            await outlet_of(scripted.url).scan(0, 0)

    async def test_refuses_another_block_than_was_asked_for(
        self, outlet_of: Opener, scripted: ScriptedNode, kernel_node: RegtestNode
    ) -> None:
        another = await kernel_node.rpc("getbestblockhash")
        scripted.answers["getblock"] = await kernel_node.rpc("getblock", another, 0)
        with pytest.raises(ChainUnavailableError):
            await outlet_of(scripted.url).scan(0, 0)

    async def test_passes_over_a_pool_transaction_that_it_cannot_read(
        self, outlet_of: Opener, scripted: ScriptedNode
    ) -> None:
        good = RAW.hex()
        scripted.answers["getrawmempool"] = ["aa" * 32, "bb" * 32, "cc" * 32]
        scripted.answers["getrawtransaction"] = lambda txid: {
            "aa": "ff00",
            "bb": Answer(-5, "No such mempool transaction."),
            "cc": good,
        }[txid[:2]]
        view = await outlet_of(scripted.url).pending(frozenset())
        assert view.txids == {"aa" * 32, "bb" * 32, "cc" * 32}
        assert [each.amount_minor for each in view.incoming] == [700]

    async def test_asks_for_many_pool_transactions_in_bounded_batches(
        self, outlet_of: Opener, scripted: ScriptedNode
    ) -> None:
        txids = [f"{n:064x}" for n in range(200)]
        good = RAW.hex()
        scripted.answers["getrawmempool"] = txids
        scripted.answers["getrawtransaction"] = lambda _txid: good
        view = await outlet_of(scripted.url).pending(frozenset(txids[:50]))
        assert scripted.seen.count("getrawtransaction") == 150
        assert len(view.incoming) == 150


class TestChangingChain:
    """The chain changes between two answers of one scan."""

    @pytest.fixture
    def forked(self, scripted: ScriptedNode) -> ScriptedNode:
        """Return a node with two branches of 12 blocks from height 100; it is on the first."""
        self.branches = [branch(mark) for mark in (b"\x01", b"\x02")]
        bodies = {block.hash: raw for blocks in self.branches for block, raw in blocks}
        self.moved_at = 12
        genesis = BITCOIN.genesis_hash

        def hash_at(height: int) -> str | Answer:
            if height == 0:
                return genesis
            if height >= 112:
                return Answer(-8, "Block height out of range")
            blocks = self.branches[0 if height - 100 < self.moved_at else 1]
            return blocks[height - 100][0].hash

        scripted.answers["getblockhash"] = hash_at
        scripted.answers["getblock"] = lambda wanted, _verbosity: bodies.get(
            wanted, Answer(-5, "Block not found")
        )
        self.bodies = bodies
        return scripted

    async def test_is_read_whole_while_it_stands_still(
        self, outlet_of: Opener, forked: ScriptedNode
    ) -> None:
        blocks = await outlet_of(forked.url).scan(100, 130)
        assert [block.hash for block in blocks] == [b.hash for b, _ in self.branches[0]]

    @pytest.mark.parametrize("moved_at", range(1, 12))
    async def test_ends_the_scan_where_it_moved(
        self, outlet_of: Opener, forked: ScriptedNode, moved_at: int
    ) -> None:
        self.moved_at = moved_at
        blocks = await outlet_of(forked.url).scan(100, 111)
        assert [block.hash for block in blocks] == [
            block.hash for block, _ in self.branches[0][:moved_at]
        ]

    @pytest.mark.parametrize("missing", range(12))
    async def test_ends_the_scan_before_a_block_that_is_gone(
        self, outlet_of: Opener, forked: ScriptedNode, missing: int
    ) -> None:
        del self.bodies[self.branches[0][missing][0].hash]
        blocks = await outlet_of(forked.url).scan(100, 111)
        assert [block.height for block in blocks] == list(range(100, 100 + missing))


def branch(mark: bytes) -> list[tuple[ScannedBlock, str]]:
    """Return 12 linked blocks from height 100, each with nothing but its coinbase."""
    blocks: list[tuple[ScannedBlock, str]] = []
    parent = b"\x09" * 32
    for height in range(100, 112):
        script = CScript(mark + bytes([height]))
        coinbase = CTransaction([CTxIn(COutPoint(), script)], [CTxOut(5, CScript(b"\x51"))])
        raw = CBlock(2, parent, coinbase.GetTxid(), 0, 0, 0, [coinbase]).serialize()
        blocks.append((read_block(raw, height=height), raw.hex()))
        parent = bytes.fromhex(blocks[-1][0].hash)[::-1]
    return blocks


class TestFee:
    @pytest.mark.parametrize(
        ("estimate", "rate"),
        [
            ({"feerate": 0.00012345, "blocks": 6}, 12_345),
            ({"feerate": 0.00000500, "blocks": 6}, 1_000),
            ({"errors": ["Insufficient data or no feerate found"], "blocks": 6}, 5_000),
            (Answer(-32603, "Fee estimation disabled"), 5_000),
        ],
    )
    async def test_is_the_nodes_estimate_but_what_its_pool_takes(
        self, outlet_of: Opener, scripted: ScriptedNode, estimate: object, rate: int
    ) -> None:
        scripted.answers["estimatesmartfee"] = lambda _target, _mode: estimate
        quote = await outlet_of(scripted.url).quote_fee()
        assert (quote.base_fee_minor, quote.max_fee_minor) == (1_000, rate)
        assert quote.priority_fee_minor == 0

    async def test_rises_with_a_full_pool(self, outlet_of: Opener, scripted: ScriptedNode) -> None:
        scripted.answers["getmempoolinfo"] = {"mempoolminfee": 0.00031, "minrelaytxfee": 0.00001}
        scripted.answers["estimatesmartfee"] = {"feerate": 0.0001, "blocks": 6}
        outlet = outlet_of(scripted.url)
        assert (await outlet.quote_fee()).max_fee_minor == 31_000
        assert (await outlet.head()).base_fee_minor == 31_000

    async def test_is_asked_for_the_blocks_that_were_chosen(self, scripted: ScriptedNode) -> None:
        asked: list[object] = []

        def estimate(*given: object) -> dict[str, object]:
            asked.append(given)
            return {}

        scripted.answers["estimatesmartfee"] = estimate
        outlet = CoinOutlet(SCRIPTED, [scripted.url], confirm_target_blocks=2)
        await outlet.quote_fee()
        await outlet.close()
        assert asked == [(2, "economical")]


class TestReplacementFee:
    @pytest.mark.parametrize(
        ("previous", "base", "quoted", "offered"),
        [
            (100_000, 1_000, 1_000, 125_000),
            (1_000, 1_000, 1_000, 2_000),
            (2_000, 3_000, 1_000, 5_000),
            (10_000, 1_000, 90_000, 90_000),
        ],
        ids=["a quarter more", "the relay's cost more", "a dear pool", "what is asked now"],
    )
    async def test_is_above_the_former(
        self, outlet_of: Opener, *, previous: int, base: int, quoted: int, offered: int
    ) -> None:
        raised = outlet_of(dead_url()).replacement_fee(
            previous=FeeQuote(0, previous, 0), quote=FeeQuote(base, quoted, 0)
        )
        assert raised == FeeQuote(base, offered, 0)
