"""
Paying more for a transaction that is on its way: a replacement (BIP125), or a child (CPFP).

Amounts are satoshi, rates satoshi per 1,000 virtual bytes. Whatever more is paid comes out of our
own change; what others are paid never changes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from domain.utxo.networks import Network
from domain.utxo.sizes import dust_minor, transaction_vbytes
from domain.utxo.sizes import fee_minor as fee_of

CHANGE_SCRIPT = b"\x00\x14" + bytes(20)
"""Any P2WPKH script: all of them have the same size."""

INCREMENTAL_SAT_PER_KVB = 1_000
"""What a replacement must pay for its own relay on top (BIP125 rule 4, Bitcoin Core's default)."""


@dataclass(frozen=True, slots=True)
class Bump:
    """A fee, and the change that is left after it; 0 is no change output."""

    change_minor: int
    fee_minor: int


def resized(
    *,
    input_count: int,
    scripts: Sequence[bytes],
    change_minor: int,
    fee_minor: int,
    rate: int,
    network: Network,
) -> Bump | None:
    """
    Return fee and change of a replacement with the same inputs and payments at a higher rate.

    ``fee_minor`` and ``change_minor`` are those of the attempt before. Where the change would be
    dust all of it goes to the fee. None when the change cannot pay what nodes ask for.
    """
    for kept in ([CHANGE_SCRIPT], []):
        vbytes = transaction_vbytes(input_count, [*scripts, *kept])
        if not scripts and not kept:
            break
        least_minor = max(fee_of(vbytes, rate), fee_minor + fee_of(vbytes, INCREMENTAL_SAT_PER_KVB))
        left_minor = change_minor + fee_minor - least_minor
        if kept and left_minor >= dust_minor(CHANGE_SCRIPT, network):
            return Bump(left_minor, least_minor)
        if not kept and change_minor and left_minor >= 0:
            return Bump(0, change_minor + fee_minor)
    return None


def child(
    *,
    parent_vbytes: int,
    parent_fee_minor: int,
    change_minor: int,
    rate: int,
    network: Network,
) -> Bump | None:
    """
    Return fee and output of a child that spends the parent's change and brings both to the rate.

    None when there is no change, it cannot pay, or the parent needs no help.
    """
    vbytes = transaction_vbytes(1, [CHANGE_SCRIPT])
    fee_minor = fee_of(parent_vbytes + vbytes, rate) - parent_fee_minor
    left_minor = change_minor - fee_minor
    is_needed = fee_minor > fee_of(vbytes, rate)
    if not is_needed or left_minor < dust_minor(CHANGE_SCRIPT, network):
        return None
    return Bump(left_minor, fee_minor)
