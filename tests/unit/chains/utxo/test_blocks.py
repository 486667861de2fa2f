"""Raw blocks, held against python-bitcoinlib's reading of the same bytes."""

import pytest
from bitcoin.core import (
    CBlock,
    COutPoint,
    CScript,
    CTransaction,
    CTxIn,
    CTxInWitness,
    CTxOut,
    CTxWitness,
    b2lx,
)
from bitcoin.core.script import CScriptWitness
from hypothesis import given
from hypothesis import strategies as st

from chains.utxo.blocks import UnreadableError, read_block, read_transaction
from domain.coins import KeyPosition
from domain.hd import EXTERNAL, derive_address
from domain.scanning import Incoming, Lazy, Outpoint
from domain.utxo.networks import NETWORKS
from tests.unit.signing.vectors import PUBLIC_ACCOUNT_84

# Bitcoin's block 0, as ``getblock 000000000019d6… 0`` answers.
GENESIS = bytes.fromhex(
    "0100000000000000000000000000000000000000000000000000000000000000000000003ba3edfd7a7b12b27ac72c3e"
    "67768f617fc81bc3888a51323a9fb8aa4b1e5e4a29ab5f49ffff001d1dac2b7c01010000000100000000000000000000"
    "00000000000000000000000000000000000000000000ffffffff4d04ffff001d0104455468652054696d65732030332f"
    "4a616e2f32303039204368616e63656c6c6f72206f6e206272696e6b206f66207365636f6e64206261696c6f75742066"
    "6f722062616e6b73ffffffff0100f2052a01000000434104678afdb0fe5548271967f1a67130b7105cd6a828e03909a6"
    "7962e0ea1f61deb649f6bc3f4cef38c4f35504e51ec112de5c384df7ba0b8d578a4c702b6bf11d5fac00000000"
)

# BIP-143, "Native P2WPKH": the serialized signed transaction.
SEGWIT = bytes.fromhex(
    "01000000000102fff7f7881a8099afa6940d42d1e7f6362bec38171ea3edf433541db4e4ad969f000000004948304502"
    "21008b9d1dc26ba6a9cb62127b02742fa9d754cd3bebf337f7a55d114c8e5cdd30be022040529b194ba3f9281a99f2b1"
    "c0a19c0489bc22ede944ccf4ecbab4cc618ef3ed01eeffffffef51e1b804cc89d182d279655c3aa89e815b1b309fe287"
    "d9b2b55d57b90ec68a0100000000ffffffff02202cb206000000001976a9148280b37df378db99f66f85c95a783a76ac"
    "7a6d5988ac9093510d000000001976a9143bde42dbee7e4dbe6a21b2d50ce2f0167faa815988ac000247304402203609"
    "e17b84f6a7d30c80bfa610b5b4542f32a8a0d5447a12fb1366d7f01cc44a0220573a954c4518331561406f90300e8f33"
    "58f51928d43c212a8caed02de67eebee0121025476c2e83188368da1ff3e292e7acafcdb3566bb0ad253f62fc70f07ae"
    "ee635711000000"
)

SCRIPTS = st.one_of(
    st.binary(max_size=40),
    # Longer than one byte can say, and nobody's.
    st.integers(250, 300).map(lambda size: b"\x51" * size),
    st.binary(max_size=20).map(lambda data: b"\x6a" + data),
    st.binary(min_size=20, max_size=20).map(lambda digest: b"\x00\x14" + digest),
)
INPUTS = st.builds(
    lambda txid, index, script: CTxIn(COutPoint(txid, index), CScript(script)),
    st.binary(min_size=32, max_size=32),
    st.integers(0, 2**32 - 1),
    SCRIPTS,
)
OUTPUTS = st.builds(
    lambda value, script: CTxOut(value, CScript(script)),
    st.sampled_from([0, 1, 546, 2**32, 21 * 10**14]),
    SCRIPTS,
)
STACKS = st.lists(st.binary(max_size=300), max_size=3)


@st.composite
def transactions(draw: st.DrawFn) -> CTransaction:
    inputs = draw(st.lists(INPUTS, min_size=1, max_size=3))
    outputs = draw(st.lists(OUTPUTS, max_size=4))
    witnesses = [CTxInWitness(CScriptWitness(draw(STACKS))) for _ in inputs]
    return CTransaction(inputs, outputs, draw(st.integers(0, 2**32 - 1)), 2, CTxWitness(witnesses))


COINBASE = CTransaction(
    [CTxIn(COutPoint(), CScript(b"\x01\x02"))],
    [CTxOut(5_000_000_000, CScript(b"\x51")), CTxOut(0, CScript(b"\x6a\x24"))],
    0,
    2,
    CTxWitness([CTxInWitness(CScriptWitness([bytes(32)]))]),
)


def block_of(*rest: CTransaction) -> CBlock:
    found = [COINBASE, *rest]
    root = CBlock.build_merkle_tree_from_txs(found)[-1]
    return CBlock(0x20000000, b"\x07" * 32, root, 1_700_000_000, 0x207FFFFF, 9, found)


def txid(transaction: CTransaction) -> str:
    return str(b2lx(transaction.GetTxid()))


class TestReadBlock:
    def test_reads_the_first_block(self) -> None:
        block = read_block(GENESIS, height=0)
        coinbase = "4a5e1e4baab89f3a32518a88c31bc87f618f76673e2cc77ab2127b7afdeda33b"
        assert block.hash == "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f"
        assert (block.height, block.parent_hash) == (0, "0" * 64)
        assert block.txids == (coinbase,)
        (paid,) = block.incoming
        assert (paid.txid, paid.position, paid.amount_minor) == (coinbase, "vout:0", 5_000_000_000)
        assert paid.is_coinbase
        assert len(paid.lookup_key) == 67
        assert block.spent == ()

    @given(rest=st.lists(transactions(), max_size=5))
    def test_reads_what_another_library_reads(self, rest: list[CTransaction]) -> None:
        theirs = block_of(*rest)
        ours = read_block(theirs.serialize(), height=12)
        assert ours.hash == b2lx(theirs.GetHash())
        assert ours.parent_hash == "07" * 32
        assert list(ours.txids) == [txid(each) for each in theirs.vtx]
        assert list(ours.spent) == [
            (Outpoint(b2lx(spent.prevout.hash), spent.prevout.n), txid(each))
            for each in rest
            for spent in each.vin
            if not each.is_coinbase()
        ]
        assert list(ours.incoming) == [
            Incoming(
                txid(each),
                f"vout:{place}",
                bytes(output.scriptPubKey),
                output.nValue,
                None,
                each is theirs.vtx[0],
            )
            for each in theirs.vtx
            for place, output in enumerate(each.vout)
            if output.nValue and bytes(output.scriptPubKey)[:1] != b"\x6a"
        ]

    @given(rest=st.lists(transactions(), max_size=5))
    def test_names_every_key_and_outpoint_that_could_be_ours(
        self, rest: list[CTransaction]
    ) -> None:
        """What is searched for before anything is built must hold what is built then."""
        block = read_block(block_of(*rest).serialize(), height=12)
        keys, outpoints = block.lookup_keys(), block.outpoints()
        built = [each.lookup_key for each in block.incoming]
        ours = [key for key in built if key[:2] == b"\x00\x14" and len(key) == 22]
        assert not set(ours) - set(keys)
        assert {key for key in keys if key in built} == {key for key in built if len(key) == 22}
        assert list(outpoints) == [outpoint.serialized() for outpoint, _ in block.spent]

    @pytest.mark.parametrize("chain_id", NETWORKS)
    def test_names_the_keys_of_our_addresses(self, chain_id: str) -> None:
        ours = derive_address(chain_id, PUBLIC_ACCOUNT_84, KeyPosition(EXTERNAL, 7)).lookup_key
        paying = CTransaction([CTxIn(COutPoint(b"\x01" * 32, 0))], [CTxOut(9, CScript(ours))])
        block = read_block(block_of(paying).serialize(), height=1)
        assert list(block.lookup_keys()) == [ours]

    def test_builds_nothing_of_a_block_that_is_only_searched(self) -> None:
        block = read_block(block_of().serialize(), height=12)
        assert isinstance(block.incoming, Lazy)
        assert (list(block.lookup_keys()), block.incoming._built) == ([], None)
        assert len(block.incoming) == 1, "a coinbase of another shape than our addresses"

    def test_reads_counts_that_one_byte_cannot_hold(self) -> None:
        many = CTransaction(
            [CTxIn(COutPoint(bytes([1]) * 32, n)) for n in range(300)],
            [CTxOut(1 + n, CScript(b"\x51")) for n in range(66_000)],
        )
        block = read_block(block_of(many).serialize(), height=1)
        assert len(block.spent) == 300
        assert block.incoming[-1].position == "vout:65999"
        assert block.incoming[-1].amount_minor == 66_000

    @given(rest=st.lists(transactions(), min_size=1, max_size=2), data=st.data())
    def test_refuses_one_that_is_cut_short(
        self, rest: list[CTransaction], data: st.DataObject
    ) -> None:
        raw = block_of(*rest).serialize()
        with pytest.raises(UnreadableError):
            read_block(raw[: data.draw(st.integers(0, len(raw) - 5))], height=1)

    @given(rest=st.lists(transactions(), min_size=1, max_size=2), data=st.data())
    def test_refuses_transactions_that_its_header_does_not_stand_for(
        self, rest: list[CTransaction], data: st.DataObject
    ) -> None:
        raw = bytearray(block_of(*rest).serialize())
        stripped = block_of(*rest).vtx[1].serialize(params={"include_witness": False})
        # Its outputs and lock time are nowhere in a witness.
        place = data.draw(st.integers(0, 31))
        at = bytes(raw).index(stripped[5:37]) + place
        raw[at] ^= 1 << data.draw(st.integers(0, 7))
        with pytest.raises(UnreadableError):
            read_block(bytes(raw), height=1)


class TestMweb:
    """Litecoin's extension blocks (LIP-0002): flags and bytes that mean nothing to us."""

    HOGEX = CTransaction(
        [CTxIn(COutPoint(b"\x05" * 32, 0))],
        [
            CTxOut(9 * 10**8, CScript(b"\x59\x20" + b"\x01" * 32)),
            CTxOut(3 * 10**8, CScript(b"\x00\x14" + b"\x02" * 20)),
        ],
        0,
        2,
    )

    def with_flag(self, transaction: CTransaction, flag: int, mweb: bytes) -> bytes:
        stripped = bytes(transaction.serialize())
        return stripped[:4] + bytes([0, flag]) + stripped[4:-4] + mweb + stripped[-4:]

    def test_is_passed_over_in_a_block(self) -> None:
        plain = block_of(self.HOGEX)
        hogex = self.with_flag(self.HOGEX, 0x08, b"\x00")
        raw = plain.serialize().replace(self.HOGEX.serialize(), hogex) + b"\x01" + b"\xee" * 500
        block = read_block(raw, height=1)
        assert block == read_block(plain.serialize(), height=1)
        assert (block.incoming[-1].amount_minor, block.incoming[-1].position) == (
            3 * 10**8,
            "vout:1",
        )

    @pytest.mark.parametrize("data", [b"\x01", b"\x01" + bytes(700), b"\x01" + b"\xff" * 99])
    def test_is_passed_over_in_the_pool(self, data: bytes) -> None:
        name, incoming = read_transaction(self.with_flag(self.HOGEX, 0x08, data))
        assert name == txid(self.HOGEX)
        assert [each.amount_minor for each in incoming] == [9 * 10**8, 3 * 10**8]

    def test_is_passed_over_behind_witnesses(self) -> None:
        stripped = self.HOGEX.serialize()
        witness = b"\x02\x01\xaa\x02\xbb\xbb"
        raw = stripped[:4] + b"\x00\x09" + stripped[4:-4] + witness + b"\x01abc" + stripped[-4:]
        assert read_transaction(raw)[0] == txid(self.HOGEX)

    def test_alone_pays_nobody(self) -> None:
        raw = b"\x02\x00\x00\x00" + b"\x00\x08" + b"\x00\x00" + b"\x01" + bytes(600) + bytes(4)
        assert read_transaction(raw)[1] == ()

    def test_data_of_a_transaction_does_not_stand_in_a_block(self) -> None:
        hogex = self.with_flag(self.HOGEX, 0x08, b"\x01" + bytes(50))
        raw = block_of(self.HOGEX).serialize().replace(self.HOGEX.serialize(), hogex)
        with pytest.raises(UnreadableError):
            read_block(raw, height=1)


class TestReadTransaction:
    def test_leaves_flags_and_witnesses_out_of_the_txid(self) -> None:
        name, incoming = read_transaction(SEGWIT)
        assert name == txid(CTransaction.deserialize(SEGWIT))
        assert [each.amount_minor for each in incoming] == [112_340_000, 223_450_000]

    @given(transaction=transactions())
    def test_names_the_txid_that_another_library_does(self, transaction: CTransaction) -> None:
        assert read_transaction(transaction.serialize())[0] == txid(transaction)

    @pytest.mark.parametrize("raw", [b"", b"\x02", bytes(4), b"\xff" * 8, SEGWIT[:50]])
    def test_refuses_what_is_no_transaction(self, raw: bytes) -> None:
        with pytest.raises(UnreadableError):
            read_transaction(raw)
