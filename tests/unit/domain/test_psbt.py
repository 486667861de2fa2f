"""Partially signed transactions, signed by another library as a cold wallet would."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from embit.bip32 import HDKey
from embit.psbt import PSBT
from embit.transaction import SIGHASH, Transaction
from hypothesis import given
from hypothesis import strategies as st

from domain.coins import Coin, CoinOutput, KeyPosition, UnsignedCoinAttempt
from domain.errors import ValidationError
from domain.hd import derive_address
from domain.scanning import Outpoint
from domain.utxo.networks import BITCOIN
from domain.utxo.psbt import ColdAccount, signed_attempt, unsigned_psbt
from signing.utxo import sign_coins
from tests.unit.signing.vectors import MNEMONIC_SEED, PUBLIC_ACCOUNT_84

ROOT = HDKey.from_seed(MNEMONIC_SEED)
ACCOUNT = ColdAccount(PUBLIC_ACCOUNT_84, bytes.fromhex("73c5da0a"))
CHANGE = KeyPosition(1, 4)


def address(position: KeyPosition) -> str:
    return derive_address(BITCOIN.chain_id, PUBLIC_ACCOUNT_84, position).address


def funding(position: KeyPosition, amount_minor: int) -> bytes:
    """Return a transaction that pays a position, as its output 0."""
    spent = Coin(Outpoint("aa" * 32, position.index), amount_minor, KeyPosition(0, 0))
    paid = CoinOutput(address(position), amount_minor)
    return sign_coins(UnsignedCoinAttempt(BITCOIN.chain_id, (spent,), (paid,)), MNEMONIC_SEED).raw


PLACES = [KeyPosition(0, 2), KeyPosition(1, 9), KeyPosition(0, 11)]
FUNDING = [funding(place, 40_000 + n) for n, place in enumerate(PLACES)]
TXIDS = [bytes(Transaction.parse(raw).txid()).hex() for raw in FUNDING]
ATTEMPT = UnsignedCoinAttempt(
    BITCOIN.chain_id,
    tuple(
        Coin(Outpoint(txid, 0), 40_000 + n, place)
        for n, (txid, place) in enumerate(zip(TXIDS, PLACES, strict=True))
    ),
    (
        CoinOutput("1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", 50_000),
        CoinOutput(address(CHANGE), 69_000),
    ),
)


def signed_by_device(psbt: bytes) -> PSBT:
    parsed = PSBT.parse(psbt)
    assert parsed.sign_with(ROOT) == len(ATTEMPT.inputs)
    return parsed


WHOLE = bytes(signed_by_device(unsigned_psbt(ATTEMPT, ACCOUNT)).serialize())
SIGNED = signed_attempt(ATTEMPT, ACCOUNT, WHOLE)


def high_s(signature: bytes) -> bytes:
    """Return the signature's twin, which nodes do not relay (BIP146)."""
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    s_at = 4 + signature[3] + 2
    twin = (order - int.from_bytes(signature[s_at:-1])).to_bytes(33)
    head = signature[: s_at - 2] + b"\x02\x21" + twin
    return b"\x30" + bytes([len(head) - 2]) + head[2:] + signature[-1:]


class TestUnsignedPsbt:
    def test_asks_for_the_attempts_transaction(self) -> None:
        parsed = PSBT.parse(unsigned_psbt(ATTEMPT, ACCOUNT))
        assert bytes(parsed.tx.txid()).hex() == sign_coins(ATTEMPT, MNEMONIC_SEED).txid
        assert parsed.fee() == ATTEMPT.fee_minor
        assert [scope.sighash_type for scope in parsed.inputs] == [SIGHASH.ALL] * len(PLACES)

    def test_tells_a_device_which_keys_are_its_own(self) -> None:
        parsed = PSBT.parse(unsigned_psbt(ATTEMPT, ACCOUNT))
        for scope, place in zip(parsed.inputs, PLACES, strict=True):
            ((public, origin),) = scope.bip32_derivations.items()
            assert origin.fingerprint == ROOT.my_fingerprint
            assert ROOT.derive(origin.derivation).to_public().key == public
            assert origin.derivation[-2:] == [place.branch, place.index]

    def test_shows_the_change_as_the_devices_own(self) -> None:
        own = {address(CHANGE): CHANGE}
        payment, change = PSBT.parse(unsigned_psbt(ATTEMPT, ACCOUNT, own_outputs=own)).outputs
        assert not payment.bip32_derivations
        ((public, origin),) = change.bip32_derivations.items()
        assert ROOT.derive(origin.derivation).to_public().key == public

    def test_brings_the_transactions_that_are_spent(self) -> None:
        previous = dict(zip(TXIDS, FUNDING, strict=True))
        parsed = PSBT.parse(unsigned_psbt(ATTEMPT, ACCOUNT, previous=previous))
        assert parsed.verify()

    def test_refuses_a_wrong_transaction_as_the_one_that_is_spent(self) -> None:
        with pytest.raises(ValidationError):
            unsigned_psbt(ATTEMPT, ACCOUNT, previous={TXIDS[0]: FUNDING[1]})


class TestSignedAttempt:
    def test_is_what_the_device_signed(self) -> None:
        psbt = signed_by_device(unsigned_psbt(ATTEMPT, ACCOUNT))
        signed = signed_attempt(ATTEMPT, ACCOUNT, psbt.serialize())
        assert signed.txid == sign_coins(ATTEMPT, MNEMONIC_SEED).txid
        transaction = Transaction.parse(signed.raw)
        for scope, spent in zip(psbt.inputs, transaction.vin, strict=True):
            ((public, signature),) = scope.partial_sigs.items()
            assert spent.witness.items == [signature, public.sec()]

    def test_takes_a_finalized_one(self) -> None:
        psbt = signed_by_device(unsigned_psbt(ATTEMPT, ACCOUNT))
        partial = signed_attempt(ATTEMPT, ACCOUNT, psbt.serialize())
        for scope, spent in zip(psbt.inputs, Transaction.parse(partial.raw).vin, strict=True):
            scope.final_scriptwitness = spent.witness
            scope.partial_sigs.clear()
        assert signed_attempt(ATTEMPT, ACCOUNT, psbt.serialize()) == partial

    def test_is_signed_as_our_own_signer_would(self) -> None:
        ours = sign_coins(ATTEMPT, MNEMONIC_SEED)
        psbt = PSBT.parse(unsigned_psbt(ATTEMPT, ACCOUNT))
        for scope, spent in zip(psbt.inputs, Transaction.parse(ours.raw).vin, strict=True):
            scope.final_scriptwitness = spent.witness
        assert signed_attempt(ATTEMPT, ACCOUNT, psbt.serialize()) == ours

    @pytest.mark.parametrize(
        "other",
        [
            replace(ATTEMPT, outputs=ATTEMPT.outputs[:1]),
            replace(ATTEMPT, outputs=(ATTEMPT.outputs[0], CoinOutput(address(PLACES[0]), 69_000))),
            replace(ATTEMPT, outputs=(CoinOutput(address(CHANGE), 50_001), *ATTEMPT.outputs[1:])),
            replace(ATTEMPT, inputs=ATTEMPT.inputs[:2]),
            replace(ATTEMPT, inputs=ATTEMPT.inputs[::-1]),
        ],
    )
    def test_refuses_another_transaction(self, other: UnsignedCoinAttempt) -> None:
        psbt = PSBT.parse(unsigned_psbt(other, ACCOUNT))
        psbt.sign_with(ROOT)
        with pytest.raises(ValidationError, match="another transaction"):
            signed_attempt(ATTEMPT, ACCOUNT, psbt.serialize())

    def test_refuses_one_that_is_not_signed(self) -> None:
        with pytest.raises(ValidationError, match="Input 0"):
            signed_attempt(ATTEMPT, ACCOUNT, unsigned_psbt(ATTEMPT, ACCOUNT))

    def test_refuses_one_that_is_signed_in_part(self) -> None:
        psbt = signed_by_device(unsigned_psbt(ATTEMPT, ACCOUNT))
        psbt.inputs[2].partial_sigs.clear()
        with pytest.raises(ValidationError, match="Input 2"):
            signed_attempt(ATTEMPT, ACCOUNT, psbt.serialize())

    def test_refuses_a_signature_by_another_key(self) -> None:
        psbt = signed_by_device(unsigned_psbt(ATTEMPT, ACCOUNT))
        (public,) = psbt.inputs[1].partial_sigs
        stranger = HDKey.from_seed(b"x" * 32)
        psbt.inputs[1].partial_sigs = {stranger.key.get_public_key(): b""}
        digest = psbt.sighash(1, SIGHASH.ALL)
        signature = stranger.key.sign(digest).serialize() + b"\x01"
        psbt.inputs[1].partial_sigs = {public: signature}
        with pytest.raises(ValidationError, match="Input 1"):
            signed_attempt(ATTEMPT, ACCOUNT, psbt.serialize())

    def test_refuses_another_key_in_a_finalized_input(self) -> None:
        psbt = signed_by_device(unsigned_psbt(ATTEMPT, ACCOUNT))
        raw = signed_attempt(ATTEMPT, ACCOUNT, psbt.serialize()).raw
        witnesses = [spent.witness for spent in Transaction.parse(raw).vin]
        psbt.inputs[0].final_scriptwitness = witnesses[1]
        with pytest.raises(ValidationError, match="Input 0"):
            signed_attempt(ATTEMPT, ACCOUNT, psbt.serialize())

    @pytest.mark.parametrize(
        "spoilt",
        [
            lambda s: s[:-1] + bytes([SIGHASH.NONE]),
            lambda s: s[:-1],
            lambda _: b"",
            lambda _: b"\x30",
            lambda s: s[:20] + bytes([s[20] ^ 1]) + s[21:],
            high_s,
        ],
        ids=["sighash none", "no sighash", "empty", "cut", "one bit", "high s"],
    )
    def test_refuses_a_signature_that_nodes_would_not_take(
        self, spoilt: Callable[[bytes], bytes]
    ) -> None:
        psbt = signed_by_device(unsigned_psbt(ATTEMPT, ACCOUNT))
        ((public, signature),) = psbt.inputs[0].partial_sigs.items()
        psbt.inputs[0].partial_sigs = {public: spoilt(signature)}
        with pytest.raises(ValidationError, match="Input 0"):
            signed_attempt(ATTEMPT, ACCOUNT, psbt.serialize())

    def test_refuses_what_signs_less_than_everything(self) -> None:
        psbt = PSBT.parse(unsigned_psbt(ATTEMPT, ACCOUNT))
        for scope in psbt.inputs:
            scope.sighash_type = SIGHASH.NONE
        assert psbt.sign_with(ROOT, sighash=SIGHASH.NONE) == len(ATTEMPT.inputs)
        with pytest.raises(ValidationError, match="Input 0"):
            signed_attempt(ATTEMPT, ACCOUNT, psbt.serialize())

    @pytest.mark.parametrize(
        "garbage",
        [b"", b"psbt", b"psbt\xff", b"psbt\xff\x00", b"psbt\xff\x01\x00\x05abc", bytes(99)],
    )
    def test_refuses_what_is_no_psbt(self, garbage: bytes) -> None:
        with pytest.raises(ValidationError):
            signed_attempt(ATTEMPT, ACCOUNT, garbage)

    @given(place=st.integers(0, len(WHOLE) - 1), value=st.binary(min_size=1, max_size=3))
    def test_is_the_same_transaction_or_none_whatever_was_changed(
        self, place: int, value: bytes
    ) -> None:
        changed = WHOLE[:place] + value + WHOLE[place + len(value) :]
        try:
            signed = signed_attempt(ATTEMPT, ACCOUNT, changed)
        except ValidationError:
            return
        assert signed == SIGNED

    def test_refuses_one_that_is_cut_anywhere(self) -> None:
        for length in range(0, len(WHOLE), 13):
            with pytest.raises(ValidationError):
                signed_attempt(ATTEMPT, ACCOUNT, WHOLE[:length])
