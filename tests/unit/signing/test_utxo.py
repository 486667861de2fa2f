"""Signatures over coins, held against BIP-143 and against Bitcoin Core's own script check."""

from dataclasses import replace

import pbk
import pytest
from bitcoin.core import CTransaction
from coincurve import PrivateKey

from chains.utxo.blocks import read_transaction
from domain.coins import Coin, CoinOutput, KeyPosition, UnsignedCoinAttempt
from domain.errors import InvalidAddressError, WrongChainError
from domain.hd import derive_address
from domain.ports import SignedAttempt
from domain.scanning import Outpoint
from domain.utxo import transactions
from domain.utxo.networks import BITCOIN, BITCOIN_REGTEST, LITECOIN_REGTEST
from domain.utxo.sizes import transaction_vbytes
from signing.hd import account_xpub
from signing.utxo import _witness, sign_coins, unsigned_transaction

SEED = bytes(range(32))
CHAIN = BITCOIN_REGTEST.chain_id
SECP256K1_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141

FLAGS = (
    pbk.ScriptVerificationFlags.P2SH
    | pbk.ScriptVerificationFlags.WITNESS
    | pbk.ScriptVerificationFlags.DERSIG
    | pbk.ScriptVerificationFlags.NULLDUMMY
)


def own_address(position: KeyPosition, chain_id: str = CHAIN) -> str:
    return derive_address(chain_id, account_xpub(SEED, chain_id), position).address


def own_script(position: KeyPosition, chain_id: str = CHAIN) -> bytes:
    return derive_address(chain_id, account_xpub(SEED, chain_id), position).lookup_key


COINS = tuple(
    Coin(Outpoint(f"{n:02x}" * 32, n), 50_000 + n, KeyPosition(n % 2, n)) for n in range(1, 6)
)
ATTEMPT = UnsignedCoinAttempt(
    CHAIN,
    COINS,
    (
        CoinOutput(own_address(KeyPosition(0, 90)), 60_000),
        CoinOutput("2MsFDzHRUAMpjHxKyoEHU3aMCMsVtMqs1PV", 70_000),
        CoinOutput("mfWxJ45yp2SFn7UciZyNpvDKrzbhyfKrY8", 80_000),
    ),
)


def is_valid(raw: bytes, place: int, script: bytes, amount_minor: int) -> bool:
    """Ask Bitcoin Core's script check whether an input may spend an output."""
    transaction = pbk.Transaction(raw)
    return bool(pbk.ScriptPubkey(script).verify(amount_minor, transaction, None, place, FLAGS))


def all_valid(signed: SignedAttempt, attempt: UnsignedCoinAttempt) -> list[bool]:
    return [
        is_valid(signed.raw, n, own_script(coin.position, attempt.chain_id), coin.amount_minor)
        for n, coin in enumerate(attempt.inputs)
    ]


class TestWitness:
    def test_is_that_of_bip143(self) -> None:
        # BIP-143, "Native P2WPKH": the second input.
        unsigned = CTransaction.deserialize(
            bytes.fromhex(
                "0100000002fff7f7881a8099afa6940d42d1e7f6362bec38171ea3edf433541db4e4ad969f00000000"
                "00eeffffffef51e1b804cc89d182d279655c3aa89e815b1b309fe287d9b2b55d57b90ec68a01000000"
                "00ffffffff02202cb206000000001976a9148280b37df378db99f66f85c95a783a76ac7a6d5988ac90"
                "93510d000000001976a9143bde42dbee7e4dbe6a21b2d50ce2f0167faa815988ac11000000"
            )
        )
        key = PrivateKey.from_hex(
            "619c335025c7f4012e556c2a58b2506e30b8511b53ade95ea316fd8c3286feb9"
        )
        coin = Coin(Outpoint("00" * 32, 1), 600_000_000, KeyPosition(0, 0))
        signature, public = _witness(unsigned, 1, coin, key).stack
        assert signature.hex() == (
            "304402203609e17b84f6a7d30c80bfa610b5b4542f32a8a0d5447a12fb1366d7f01cc44a0220573a954c45"
            "18331561406f90300e8f3358f51928d43c212a8caed02de67eebee01"
        )
        assert public.hex() == "025476c2e83188368da1ff3e292e7acafcdb3566bb0ad253f62fc70f07aeee6357"


class TestSignCoins:
    def test_satisfies_every_coins_script(self) -> None:
        assert all_valid(sign_coins(ATTEMPT, SEED), ATTEMPT) == [True] * len(COINS)

    def test_satisfies_the_scripts_of_another_coin(self) -> None:
        chain_id = LITECOIN_REGTEST.chain_id
        mine = CoinOutput(own_address(KeyPosition(1, 1), chain_id), 60_000)
        attempt = UnsignedCoinAttempt(chain_id, COINS, (mine,))
        assert all_valid(sign_coins(attempt, SEED), attempt) == [True] * len(COINS)

    def test_commits_to_each_coins_amount(self) -> None:
        signed = sign_coins(ATTEMPT, SEED)
        coin = COINS[2]
        assert not is_valid(signed.raw, 2, own_script(coin.position), coin.amount_minor + 1)

    def test_commits_to_what_is_paid(self) -> None:
        raw = sign_coins(ATTEMPT, SEED).raw
        changed = raw.replace((60_000).to_bytes(8, "little"), (60_001).to_bytes(8, "little"))
        assert changed != raw
        assert not is_valid(changed, 0, own_script(COINS[0].position), COINS[0].amount_minor)

    def test_gives_the_same_bytes_every_time(self) -> None:
        assert sign_coins(ATTEMPT, SEED) == sign_coins(replace(ATTEMPT), bytes(SEED))

    def test_gives_another_txid_for_anything_else(self) -> None:
        attempts = [
            ATTEMPT,
            replace(ATTEMPT, inputs=COINS[::-1]),
            replace(ATTEMPT, outputs=ATTEMPT.outputs[::-1]),
            replace(ATTEMPT, inputs=COINS[:-1]),
            replace(ATTEMPT, outputs=ATTEMPT.outputs[:-1]),
        ]
        assert len({sign_coins(each, SEED).txid for each in attempts}) == len(attempts)

    def test_names_the_txid_that_nodes_compute(self) -> None:
        signed = sign_coins(ATTEMPT, SEED)
        assert str(pbk.Transaction(signed.raw).txid) == signed.txid
        assert read_transaction(signed.raw)[0] == signed.txid

    def test_signals_replaceability_and_locks_nothing(self) -> None:
        signed = CTransaction.deserialize(sign_coins(ATTEMPT, SEED).raw)
        assert {each.nSequence for each in signed.vin} == {0xFFFFFFFD}
        assert (signed.nVersion, signed.nLockTime) == (2, 0)

    def test_signs_with_low_s_over_everything(self) -> None:
        signed = CTransaction.deserialize(sign_coins(ATTEMPT, SEED).raw)
        for each in signed.wit.vtxinwit:
            signature = each.scriptWitness.stack[0]
            s_at = 4 + signature[3] + 2
            assert int.from_bytes(signature[s_at:-1]) <= SECP256K1_ORDER // 2
            assert signature[-1] == 1

    def test_is_never_larger_than_was_paid_for(self) -> None:
        unsigned = unsigned_transaction(ATTEMPT)
        scripts = [bytes(output.scriptPubKey) for output in unsigned.vout]
        signed = CTransaction.deserialize(sign_coins(ATTEMPT, SEED).raw)
        assert signed.calc_weight() <= 4 * transaction_vbytes(len(COINS), scripts)

    def test_signs_nothing_valid_with_another_seed(self) -> None:
        assert not any(all_valid(sign_coins(ATTEMPT, bytes(32)), ATTEMPT))

    def test_refuses_an_address_of_another_network(self) -> None:
        foreign = CoinOutput("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", 1_000)
        with pytest.raises(InvalidAddressError):
            sign_coins(replace(ATTEMPT, outputs=(foreign,)), SEED)

    def test_refuses_a_chain_that_nobody_described(self) -> None:
        with pytest.raises(WrongChainError):
            sign_coins(replace(ATTEMPT, chain_id="bip122:" + "f" * 32), SEED)

    def test_leaves_the_librarys_own_network_alone(self) -> None:
        import bitcoin  # noqa: PLC0415 - its module attribute is what is looked at

        sign_coins(ATTEMPT, SEED)
        assert bitcoin.params.NAME == "mainnet"


class TestUnsignedTransaction:
    @pytest.mark.parametrize("attempt", [ATTEMPT, replace(ATTEMPT, inputs=COINS * 60)])
    def test_is_the_same_by_both_libraries(self, attempt: UnsignedCoinAttempt) -> None:
        ours = unsigned_transaction(attempt).serialize()
        assert ours == transactions.unsigned_transaction(attempt).serialize()

    def test_keeps_amounts_beyond_32_bits(self) -> None:
        most = CoinOutput("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", 21 * 10**14)
        attempt = UnsignedCoinAttempt(BITCOIN.chain_id, COINS, (most,))
        assert unsigned_transaction(attempt).vout[0].nValue == 21 * 10**14
