import hashlib

import pytest
from coincurve import PrivateKey
from embit.script import Script, Witness
from embit.transaction import Transaction, TransactionInput, TransactionOutput

from domain.utxo.networks import BITCOIN
from domain.utxo.scripts import output_script
from domain.utxo.sizes import (
    INPUT_WEIGHT,
    MAX_STANDARD_WEIGHT,
    SIGNATURE_BYTES_MAX,
    dust_minor,
    fee_minor,
    inputs_max,
    transaction_vbytes,
    transaction_weight,
)

# The same key hash or script hash in every kind; addresses of the BIPs' own examples.
P2PKH = output_script("1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2", BITCOIN)
P2SH = output_script("3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy", BITCOIN)
P2WPKH = output_script("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", BITCOIN)
P2WSH = output_script("bc1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3qccfmv3", BITCOIN)
P2TR = output_script("bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0", BITCOIN)
KINDS = (P2PKH, P2SH, P2WPKH, P2WSH, P2TR)


def serialized(input_count: int, scripts: list[bytes], *, signature_bytes: int) -> tuple[int, int]:
    """The size with witnesses and the size without, by another implementation."""
    inputs = [TransactionInput(bytes(32), index) for index in range(input_count)]
    outputs = [TransactionOutput(1, Script(script)) for script in scripts]
    bare = len(Transaction(vin=inputs, vout=outputs).serialize())
    for spend in inputs:
        spend.witness = Witness([bytes(signature_bytes), bytes(33)])
    return len(Transaction(vin=inputs, vout=outputs).serialize()), bare


class TestTransactionWeight:
    @pytest.mark.parametrize("input_count", [1, 2, 252, 253, 300])
    @pytest.mark.parametrize("output_count", [1, 5, 252, 253, 300])
    def test_is_what_another_implementation_serializes(
        self, input_count: int, output_count: int
    ) -> None:
        scripts = [KINDS[number % len(KINDS)] for number in range(output_count)]

        total, bare = serialized(input_count, scripts, signature_bytes=SIGNATURE_BYTES_MAX)

        assert transaction_weight(input_count, scripts) == 3 * bare + total

    def test_is_one_more_than_that_of_a_short_signature(self) -> None:
        total, bare = serialized(1, [P2WPKH], signature_bytes=SIGNATURE_BYTES_MAX - 1)

        assert transaction_weight(1, [P2WPKH]) == 3 * bare + total + 1

    def test_leaves_room_for_every_signature(self) -> None:
        """With the sighash byte, and without grinding; half are of the full length."""
        key = PrivateKey(hashlib.sha256(b"sizes").digest())
        lengths = [len(key.sign(number.to_bytes(32), hasher=None)) + 1 for number in range(400)]

        assert max(lengths) == SIGNATURE_BYTES_MAX
        assert 0.4 < lengths.count(SIGNATURE_BYTES_MAX) / 400 < 0.6
        assert sum(length >= SIGNATURE_BYTES_MAX - 1 for length in lengths) / 400 > 0.9

    def test_of_the_usual_payment(self) -> None:
        """One input, one output, change: 141 virtual bytes, as every wallet has it."""
        assert transaction_vbytes(1, [P2WPKH, P2WPKH]) == 141
        assert transaction_vbytes(1, [P2WPKH]) == 110


class TestInputsMax:
    @pytest.mark.parametrize("weight_max", [1_000, 68_690, 68_800, 68_900, MAX_STANDARD_WEIGHT])
    def test_is_the_most_that_fits(self, weight_max: int) -> None:
        count = inputs_max([P2TR], weight_max=weight_max)

        assert transaction_weight(count, [P2TR]) <= weight_max
        assert transaction_weight(count + 1, [P2TR]) > weight_max

    def test_meets_both_widths_of_the_count(self) -> None:
        """An input more fits in bytes, but not with the wider count that it brings."""
        full = transaction_weight(252, [P2TR])

        assert inputs_max([P2TR], weight_max=full) == 252
        assert inputs_max([P2TR], weight_max=full + INPUT_WEIGHT) == 252
        assert inputs_max([P2TR], weight_max=full + INPUT_WEIGHT + 8) == 253

    def test_is_not_positive_when_the_outputs_alone_are_too_heavy(self) -> None:
        assert inputs_max([P2TR] * 3_000) <= 0


class TestDust:
    @pytest.mark.parametrize(
        ("script", "expected"),
        [(P2PKH, 546), (P2SH, 540), (P2WPKH, 294), (P2WSH, 330), (P2TR, 330)],
    )
    def test_is_what_bitcoin_core_says(self, script: bytes, expected: int) -> None:
        """At 3 sat/vB; the figures are those of Core's own documentation of the rule."""
        assert dust_minor(script, BITCOIN) == expected


class TestFee:
    def test_is_rounded_up(self) -> None:
        assert fee_minor(141, 1_000) == 141
        assert fee_minor(141, 1_001) == 142
        assert fee_minor(1, 1) == 1
        assert fee_minor(141, 0) == 0
