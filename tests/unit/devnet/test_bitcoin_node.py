"""What only our own node has, or what the real ones' behaviour cannot show from outside."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from embit.ec import PrivateKey
from embit.script import Witness, p2tr
from embit.transaction import Transaction, TransactionInput, TransactionOutput

from devnet.bitcoin_node import policy
from devnet.bitcoin_node.blocks import mine_block, parse_block, subsidy_sat
from devnet.bitcoin_node.errors import BlockRejectedError, RejectedError, RpcError
from devnet.bitcoin_node.journal import BLOCK, Journal
from devnet.bitcoin_node.node import Node
from devnet.bitcoin_node.rpc_transactions import dev_setfeerate, estimatesmartfee
from devnet.bitcoin_node.transactions import Tx, TxOutput, parse_tx
from devnet.bitcoin_node.views import asm, descriptor, script_view
from tests.support.utxo_nodes import COIN_SAT, FINAL, REPLACEABLE, Coin, Key

MATURITY_BLOCKS = 100


@pytest.fixture
def key() -> Key:
    return Key()


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    opened = Node(tmp_path)
    yield opened
    opened.close()


def matured(node: Node, key: Key, *, count: int = 1) -> list[Coin]:
    """Mine coins to a key and let them mature."""
    hashes = [node.generate(key.script) for _ in range(count)]
    for _ in range(MATURITY_BLOCKS):
        node.generate(Key().script)
    txs = [node.chain.blocks[item].txs[0] for item in hashes]
    return [Coin(tx.txid, 0, tx.outputs[0].value_sat) for tx in txs]


def moved(key: Key, *coins: Coin, fee_sat: int = 1_000, sequence: int = REPLACEABLE) -> Tx:
    return parse_tx(bytes.fromhex(key.move(*coins, fee_sat=fee_sat, sequence=sequence)))


def enter(node: Node, tx: Tx) -> Coin:
    node.enter(node.examine(tx))
    return Coin(tx.txid, 0, tx.outputs[0].value_sat)


class TestJournal:
    @pytest.mark.parametrize("torn", ["bl", "block 00", "block"])
    def test_forgets_a_record_that_was_torn(self, tmp_path: Path, torn: str) -> None:
        path = tmp_path / "journal"
        path.write_text(f"{BLOCK} aa\n{torn}")

        journal = Journal(path)
        journal.append(BLOCK, "bb")

        assert list(journal) == [(BLOCK, "aa"), (BLOCK, "bb")]
        journal.close()

    def test_brings_chain_and_changes_of_mind_back(self, tmp_path: Path, key: Key) -> None:
        first = Node(tmp_path)
        kept, undone, again = (first.generate(key.script) for _ in range(3))
        first.invalidate(again)
        first.reconsider(again)
        first.invalidate(undone)
        fork = first.generate(Key().script)
        first.close()

        second = Node(tmp_path)

        assert second.chain.active[1:] == [kept, fork]
        assert set(second.chain.blocks) == set(first.chain.blocks)
        assert second.chain.coins == first.chain.coins
        second.close()


class TestBlocks:
    def test_are_never_made_twice_the_same(self, node: Node, key: Key) -> None:
        undone = node.generate(key.script)
        node.invalidate(undone)

        assert node.generate(key.script) != undone
        assert node.chain.height == 1

    def test_are_refused_when_they_pay_too_much(self, node: Node, key: Key) -> None:
        raw = mine_block(
            prev_hash=node.chain.tip.hash,
            height=1,
            time_s=node.chain.tip.time_s + 1,
            script=key.script,
            txs=[],
            fees_sat=1,
        )

        with pytest.raises(BlockRejectedError, match="consensus"):
            node.submit_block(raw)
        assert node.chain.height == 0

    def test_of_a_longer_branch_take_over(self, node: Node, tmp_path: Path, key: Key) -> None:
        """As from a peer: nobody invalidates anything."""
        [coin] = matured(node, key)
        tx = moved(key, coin)
        enter(node, tx)
        (tmp_path / "other").mkdir()
        other = Node(tmp_path / "other")
        for block_hash in node.chain.active[1:]:
            other.submit_block(node.chain.blocks[block_hash].raw)
        node.generate(Key().script)
        branch = [other.generate(Key().script) for _ in range(2)]

        for block_hash in branch:
            node.submit_block(other.chain.blocks[block_hash].raw)
        other.close()

        assert node.chain.active[-2:] == branch
        assert tx.txid in node.pool
        assert node.chain.coins.keys() == other.chain.coins.keys()

    def test_that_follow_nothing_known_are_refused(self, node: Node, key: Key) -> None:
        raw = mine_block(
            prev_hash="ab" * 32, height=5, time_s=2**31, script=key.script, txs=[], fees_sat=0
        )

        with pytest.raises(BlockRejectedError):
            node.submit_block(raw)

    def test_halve_their_subsidy(self) -> None:
        assert [subsidy_sat(height) for height in (149, 150, 300)] == [
            50 * COIN_SAT,
            25 * COIN_SAT,
            1_250_000_000,
        ]

    def test_read_as_they_were_written(self, node: Node, key: Key) -> None:
        block = node.chain.blocks[node.generate(key.script)]

        assert parse_block(block.raw) == block
        assert node.chain.heights[block.hash] == 1


class TestMempool:
    def test_survives_an_orderly_stop(self, tmp_path: Path, key: Key) -> None:
        first = Node(tmp_path)
        [coin] = matured(first, key)
        parent = enter(first, moved(key, coin))
        child = enter(first, moved(key, parent))
        first.close()

        second = Node(tmp_path)

        assert [entry.tx.txid for entry in second.pool] == [parent.txid, child.txid]
        second.close()

    def test_loses_what_a_block_double_spends(self, node: Node, key: Key) -> None:
        [coin] = matured(node, key)
        parent = enter(node, moved(key, coin))
        child = enter(node, moved(key, parent))

        node.generate(Key().script, [moved(key, coin, fee_sat=9_000)])

        assert parent.txid not in node.pool
        assert child.txid not in node.pool
        assert not node.pool.spender_of

    def test_loses_what_spends_a_coinbase_that_a_reorg_took(self, node: Node, key: Key) -> None:
        [coin] = matured(node, key)
        enter(node, moved(key, coin))

        node.invalidate(node.chain.active[-1])
        assert len(node.pool) == 1
        node.invalidate(node.chain.active[-1])

        assert len(node.pool) == 0

    def test_refuses_a_replacement_with_another_unconfirmed_input(
        self, node: Node, key: Key
    ) -> None:
        first, second = matured(node, key, count=2)
        enter(node, moved(key, first))
        unconfirmed = enter(node, moved(key, second))

        with pytest.raises(RejectedError, match="replacement-adds-unconfirmed"):
            node.examine(moved(key, first, unconfirmed, fee_sat=90_000))

    def test_refuses_a_replacement_of_what_it_spends(self, node: Node, key: Key) -> None:
        [coin] = matured(node, key)
        parent = enter(node, moved(key, coin))

        with pytest.raises(RejectedError, match="bad-txns-spends-conflicting-tx"):
            node.examine(moved(key, coin, parent, fee_sat=90_000))

    def test_does_not_replace_what_does_not_signal_it(self, node: Node, key: Key) -> None:
        [coin] = matured(node, key)
        enter(node, moved(key, coin, sequence=FINAL))

        with pytest.raises(RejectedError, match="txn-mempool-conflict"):
            node.examine(moved(key, coin, fee_sat=90_000))

    def test_waits_for_relative_locks(self, node: Node, key: Key) -> None:
        """BIP68: the third block after the coin's may have it."""
        [coin] = matured(node, key)
        fresh = enter(node, moved(key, coin))
        node.generate(Key().script)
        locked = moved(key, fresh, sequence=3)

        with pytest.raises(RejectedError, match="non-BIP68-final"):
            node.examine(locked)
        node.generate(Key().script)
        node.generate(Key().script, [])
        enter(node, locked)
        node.generate(Key().script)

        assert node.chain.block_of[locked.txid] == node.chain.tip.hash


class TestScripts:
    @pytest.mark.parametrize("is_forged", [False, True])
    def test_of_taproot_are_verified(self, node: Node, key: Key, *, is_forged: bool) -> None:
        """A key path spend (BIP341), which needs all spent outputs for its signature hash."""
        [coin] = matured(node, key)
        private = PrivateKey(bytes([7] * 32))
        script = p2tr(private.get_public_key())
        value_sat = coin.value_sat - 1_000
        funding = parse_tx(bytes.fromhex(key.spend([coin], [(script.data, value_sat)])))
        enter(node, funding)
        spend = Transaction(
            version=2,
            vin=[TransactionInput(bytes.fromhex(funding.txid), 0, sequence=REPLACEABLE)],
            vout=[TransactionOutput(value_sat - 1_000, script)],
        )
        digest = spend.sighash_taproot(0, [script], [value_sat - is_forged])
        signature = private.taproot_tweak(b"").schnorr_sign(digest).serialize()
        spend.vin[0].witness = Witness([signature])
        tx = parse_tx(spend.serialize())

        if is_forged:
            with pytest.raises(RejectedError, match="mandatory-script-verify-flag-failed"):
                node.examine(tx)
        else:
            enter(node, tx)
            node.generate(Key().script)
            assert node.chain.block_of[tx.txid] == node.chain.tip.hash


class TestPolicy:
    @pytest.mark.parametrize(
        ("script", "threshold_sat"),
        [
            ("76a914" + "00" * 20 + "88ac", 546),
            ("a914" + "00" * 20 + "87", 540),
            ("0014" + "00" * 20, 294),
            ("0020" + "00" * 32, 330),
            ("5120" + "00" * 32, 330),
            ("6a04deadbeef", 0),
        ],
    )
    def test_knows_dust_as_core_does(self, script: str, threshold_sat: int) -> None:
        """Values of Core's GetDustThreshold at 3000 sat/kvB."""
        assert policy.dust_threshold_sat(TxOutput(0, bytes.fromhex(script))) == threshold_sat

    def test_refuses_what_is_too_large(self, node: Node, key: Key) -> None:
        [coin] = matured(node, key)
        outputs = [(key.script, 1_000)] * 3_300
        large = parse_tx(bytes.fromhex(key.spend([coin], outputs)))

        with pytest.raises(RejectedError, match="tx-size"):
            node.examine(large)

    @pytest.mark.parametrize("script", ["51", "6a4c60" + "00" * 96])
    def test_refuses_scripts_that_are_not_standard(self, node: Node, key: Key, script: str) -> None:
        [coin] = matured(node, key)
        odd = key.spend([coin], [(bytes.fromhex(script), 10_000)])

        with pytest.raises(RejectedError, match="scriptpubkey"):
            node.examine(parse_tx(bytes.fromhex(odd)))


class TestViews:
    def test_shows_scripts_as_core_does(self) -> None:
        # BIP173's example key; the checksum is of BIP380.
        script = bytes.fromhex("0014751e76e8199196d454941c45d1b3a323f1433bd6")

        assert script_view(script) == {
            "asm": "0 751e76e8199196d454941c45d1b3a323f1433bd6",
            "desc": "addr(bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080)#8pk5s7ya",
            "hex": script.hex(),
            "address": "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080",
            "type": "witness_v0_keyhash",
        }

    @pytest.mark.parametrize(
        ("script", "words"),
        [
            ("5121" + "02" * 33 + "51ae", f"1 {'02' * 33} 1 OP_CHECKMULTISIG"),
            ("028101", "385"),
            ("0181", "-1"),
            ("05", "[error]"),
        ],
    )
    def test_writes_scripts_in_words(self, script: str, words: str) -> None:
        assert asm(bytes.fromhex(script)) == words

    def test_describes_scripts_without_an_address(self) -> None:
        assert descriptor(bytes.fromhex("51")).startswith("raw(51)#")


class TestFeeEstimate:
    def test_is_what_a_developer_set(self, node: Node) -> None:
        dev_setfeerate(node, "0.00012")
        with_data = estimatesmartfee(node, 1)
        dev_setfeerate(node)

        assert (str(with_data["feerate"]), with_data["blocks"]) == ("0.00012", 2)
        assert "errors" in estimatesmartfee(node, 1)

    @pytest.mark.parametrize("target", [0, 1009, "6"])
    def test_refuses_an_impossible_target(self, node: Node, target: object) -> None:
        with pytest.raises(RpcError, match="Invalid conf_target"):
            estimatesmartfee(node, target)
