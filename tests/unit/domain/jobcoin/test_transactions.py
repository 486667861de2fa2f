import dataclasses
from dataclasses import replace
from hashlib import sha256

import pytest
from coincurve import PrivateKey
from coincurve.ecdsa import deserialize_compact, serialize_compact
from coincurve.utils import int_to_bytes_padded

from chains.jobcoin.node.book import is_signature
from domain.disperse import Payment
from domain.errors import InvalidTransactionError, SigningRefusedError
from domain.jobcoin.addresses import address_of
from domain.jobcoin.transactions import (
    AMOUNT_MAX_MINOR,
    OUTPUTS_MAX,
    Output,
    Transaction,
    read_transaction,
)
from domain.ports import Transfer, UnsignedAttempt
from signing.jobcoin import jobcoin_identity, sign_jobcoin, sign_transaction

CHAIN = "jobcoin:local"
KEY = bytes(31) + b"\x01"
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
PUBLIC = PrivateKey(KEY).public_key.format(compressed=True)
TRANSACTION = Transaction(
    CHAIN, PUBLIC, 7, (Output(b"\x11" * 20, 1), Output(b"\x22" * 20, 2_100_000_000_000_000))
)


class TestBytes:
    def test_are_read_back(self) -> None:
        signed = sign_transaction(TRANSACTION, KEY)
        transaction, signature = read_transaction(signed.raw)

        assert transaction == TRANSACTION
        assert signed.txid == transaction.txid
        assert is_signature(signature, transaction)
        assert transaction.signed(signature) == signed.raw

    def test_stay_what_they_are(self) -> None:
        """A vector: other implementations, and blocks of years ago, depend on it."""
        assert TRANSACTION.body.hex() == (
            "6a6f62636f696e01" + "0d" + b"jobcoin:local".hex() + PUBLIC.hex()
            + "0000000000000007" + "0002"
            + "11" * 20 + "0000000000000001" + "22" * 20 + "000775f05a074000"
        )  # fmt: skip
        assert TRANSACTION.txid == sha256(sha256(TRANSACTION.body).digest()).hexdigest()

    def test_are_the_same_each_time_they_are_signed(self) -> None:
        assert sign_transaction(TRANSACTION, KEY) == sign_transaction(TRANSACTION, KEY)

    @pytest.mark.parametrize("cut", [0, 1, 8, 9, 22, 55, 63, 65, 70, 100, -1])
    def test_are_refused_when_some_are_missing(self, cut: int) -> None:
        raw = sign_transaction(TRANSACTION, KEY).raw
        with pytest.raises(InvalidTransactionError):
            read_transaction(raw[:cut])

    def test_are_refused_with_more_behind_them(self) -> None:
        with pytest.raises(InvalidTransactionError):
            read_transaction(sign_transaction(TRANSACTION, KEY).raw + b"\x00")

    @pytest.mark.parametrize("raw", [b"\xff" * 200, b"jobcoin\x02" + b"\x00" * 200])
    def test_are_refused_when_they_are_something_else(self, raw: bytes) -> None:
        with pytest.raises(InvalidTransactionError):
            read_transaction(raw)


class TestRules:
    @pytest.mark.parametrize(
        "outputs",
        [
            (),
            (Output(b"\x11" * 20, 0),),
            (Output(b"\x11" * 20, AMOUNT_MAX_MINOR), Output(b"\x11" * 20, 1)),
            (Output(b"\x11" * 20, 1),) * (OUTPUTS_MAX + 1),
        ],
        ids=["nobody", "nothing", "too_much", "too_many"],
    )
    def test_refuse_outputs(self, outputs: tuple[Output, ...]) -> None:
        raw = sign_transaction(replace(TRANSACTION, outputs=outputs), KEY).raw
        with pytest.raises(InvalidTransactionError):
            read_transaction(raw)

    def test_take_nothing_to_oneself_which_uses_a_nonce_up(self) -> None:
        filler = replace(TRANSACTION, outputs=(Output(TRANSACTION.sender, 0),))
        assert read_transaction(sign_transaction(filler, KEY).raw)[0] == filler

    def test_refuse_nothing_to_oneself_twice(self) -> None:
        outputs = (Output(TRANSACTION.sender, 0),) * 2
        raw = sign_transaction(replace(TRANSACTION, outputs=outputs), KEY).raw
        with pytest.raises(InvalidTransactionError):
            read_transaction(raw)


class TestSignature:
    @pytest.mark.parametrize(
        "changed",
        [
            {"chain_id": "jobcoin:other"},
            {"account_nonce": 8},
            {"outputs": (Output(b"\x11" * 20, 2),)},
            {"public_key": PrivateKey(bytes(31) + b"\x02").public_key.format()},
            {"public_key": b"\x05" * 33},
        ],
        ids=lambda changed: next(iter(changed)) if isinstance(changed, dict) else str(changed),
    )
    def test_is_of_nothing_else(self, changed: dict[str, object]) -> None:
        _, signature = read_transaction(sign_transaction(TRANSACTION, KEY).raw)
        other = dataclasses.replace(TRANSACTION, **changed)  # type: ignore[arg-type]

        assert not is_signature(signature, other)

    def test_with_the_higher_s_is_none(self) -> None:
        """It would be a second valid form of the same bytes (BIP62)."""
        _, signature = read_transaction(sign_transaction(TRANSACTION, KEY).raw)
        high = int_to_bytes_padded(ORDER - int.from_bytes(signature[32:]))

        assert serialize_compact(deserialize_compact(signature)) == signature
        assert not is_signature(signature[:32] + high, TRANSACTION)

    def test_of_zeros_is_none(self) -> None:
        assert not is_signature(bytes(64), TRANSACTION)
        assert not is_signature(b"\xff" * 64, TRANSACTION)


class TestSignAttempt:
    wallet = jobcoin_identity(KEY, CHAIN).address
    others = tuple(address_of(bytes([n]) * 20, CHAIN) for n in (1, 2, 3))

    def attempt(self, transfer: Transfer) -> UnsignedAttempt:
        return UnsignedAttempt(transfer, CHAIN, 4, 1, 0, 0)

    def test_pays_one(self) -> None:
        transfer = Transfer(self.wallet, self.others[0], 500, None)
        signed = sign_jobcoin(self.attempt(transfer), KEY)
        transaction, _ = read_transaction(signed.raw)

        assert transaction.outputs == (Output(b"\x01" * 20, 500),)
        assert (transaction.account_nonce, transaction.chain_id) == (4, CHAIN)

    def test_pays_several_at_once_in_their_order(self) -> None:
        payments = tuple(Payment(a, n) for n, a in enumerate(self.others, start=1))
        transfer = Transfer(self.wallet, "", 6, None, payments=payments)
        transaction, _ = read_transaction(sign_jobcoin(self.attempt(transfer), KEY).raw)

        assert transaction.outputs == tuple(Output(bytes([n]) * 20, n) for n in (1, 2, 3))

    def test_refuses_another_wallets_money(self) -> None:
        transfer = Transfer(self.others[0], self.others[1], 500, None)
        with pytest.raises(SigningRefusedError):
            sign_jobcoin(self.attempt(transfer), KEY)
