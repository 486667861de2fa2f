"""
Sizes of the transactions that we sign, what they cost, and which outputs are dust.

Every input is one of ours, so it spends a P2WPKH output. Sizes are known before signing, so they
are upper bounds: a transaction is never larger than said here, and smaller by one weight unit for
each signature whose R happens to be short (half of them; our signer does not grind R), in rare
cases by a few more. A fee computed from them is never below the rate that was asked for.

Fee rates are satoshi per 1,000 virtual bytes, as ``estimatesmartfee`` and node settings have them.
"""

from collections.abc import Sequence

from domain.utxo.networks import Network
from domain.utxo.scripts import ScriptKind, script_kind

MAX_STANDARD_WEIGHT = 400_000
"""Weight units; heavier transactions are not relayed (MAX_STANDARD_TX_WEIGHT)."""

SIGNATURE_BYTES_MAX = 72
"""DER with a low S (BIP146) and one byte of sighash type; 71 when R's highest bit is not set."""

WITNESS_SCALE = 4
"""Weight units of a byte outside the witness; a byte in it counts one (BIP141)."""

_OUTPOINT_BYTES, _SEQUENCE_BYTES, _EMPTY_SCRIPT_BYTES = 36, 4, 1
_PUBLIC_KEY_BYTES = 33
_INPUT_WITNESS_BYTES = 1 + 1 + SIGNATURE_BYTES_MAX + 1 + _PUBLIC_KEY_BYTES
"""How many items, then each item behind its length."""

INPUT_WEIGHT = (
    WITNESS_SCALE * (_OUTPOINT_BYTES + _EMPTY_SCRIPT_BYTES + _SEQUENCE_BYTES) + _INPUT_WITNESS_BYTES
)
INPUT_VBYTES = INPUT_WEIGHT // WITNESS_SCALE
"""68, with nothing left over: what inputs cost can be added up without rounding."""
assert INPUT_VBYTES * WITNESS_SCALE == INPUT_WEIGHT

NARROW_COUNT_MAX = 252
"""Inputs or outputs whose number fits in one byte; from the next on it takes three."""

_VERSION_AND_LOCK_TIME_BYTES = 4 + 4
_MARKER_AND_FLAG_BYTES = 2
_AMOUNT_BYTES = 8

# Bitcoin Core's GetDustThreshold: the input that would spend the output. Its witness bytes count
# a quarter, rounded down, which makes it one less than the 68 above.
_DUST_INPUT_LEGACY_VBYTES = 148
_DUST_INPUT_WITNESS_VBYTES = 67
_LEGACY_KINDS = (None, ScriptKind.P2PKH, ScriptKind.P2SH)


def transaction_weight(input_count: int, scripts: Sequence[bytes]) -> int:
    """Return the most weight units that so many inputs and outputs to these scripts can have."""
    base_bytes = (
        _VERSION_AND_LOCK_TIME_BYTES
        + _count_bytes(input_count)
        + _count_bytes(len(scripts))
        + sum(map(output_bytes, scripts))
    )
    return WITNESS_SCALE * base_bytes + _MARKER_AND_FLAG_BYTES + input_count * INPUT_WEIGHT


def transaction_vbytes(input_count: int, scripts: Sequence[bytes]) -> int:
    """Return the same in virtual bytes: weight divided by four, rounded up (BIP141)."""
    return -(-transaction_weight(input_count, scripts) // WITNESS_SCALE)


def inputs_max(scripts: Sequence[bytes], *, weight_max: int = MAX_STANDARD_WEIGHT) -> int:
    """Return how many inputs fit beside outputs to these scripts; 0 or less when none does."""
    count = (weight_max - transaction_weight(0, scripts)) // INPUT_WEIGHT
    if count <= NARROW_COUNT_MAX:
        return count
    wider = _count_bytes(count) - _count_bytes(0)
    left = weight_max - transaction_weight(0, scripts) - WITNESS_SCALE * wider
    return max(NARROW_COUNT_MAX, left // INPUT_WEIGHT)


def output_bytes(script: bytes) -> int:
    """Return the size of an output, which is the same in bytes and virtual bytes."""
    return _AMOUNT_BYTES + _count_bytes(len(script)) + len(script)


def fee_minor(vbytes: int, fee_rate_per_kvb: int) -> int:
    """Return the least whole fee, in satoshi, that is not below the rate."""
    return -(-vbytes * fee_rate_per_kvb // 1_000)


def dust_minor(script: bytes, network: Network) -> int:
    """
    Return the least amount, in satoshi, that an output to this script must have to be relayed.

    As Bitcoin Core's ``GetDustThreshold``: what the output and the input that spends it cost at
    the network's dust relay rate. A script without an address counts as a legacy one.
    """
    is_legacy = script_kind(script) in _LEGACY_KINDS
    spend_vbytes = _DUST_INPUT_LEGACY_VBYTES if is_legacy else _DUST_INPUT_WITNESS_VBYTES
    return fee_minor(output_bytes(script) + spend_vbytes, network.dust_relay_sat_per_kvb)


def _count_bytes(count: int) -> int:
    """Return the size of a CompactSize number."""
    if count <= NARROW_COUNT_MAX:
        return 1
    return 3 if count <= 0xFFFF else 5  # noqa: PLR2004
