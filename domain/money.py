"""
Amounts. Money is an ``int`` of minor units (wei, satoshi, cent); in JSON a decimal string.

``Decimal`` appears only where people read or type whole units; ``float`` nowhere.
"""

import re
from decimal import Decimal, localcontext

from domain.errors import InvalidAmountError

UINT256_MAX = 2**256 - 1
"""Largest amount an ERC-20 contract can name (EIP-20), in minor units."""

_MINOR_UNITS = re.compile(r"[0-9]{1,78}", re.ASCII)


_SHOWN_MAX = 40
"""Characters of what was typed that a refusal repeats."""


def parse_minor(text: str) -> int:
    """
    Return the positive number of minor units that ``text`` spells.

    Raises:
        InvalidAmountError: Zero, negative, fractional, not ASCII digits, or above uint256.
    """
    if not _MINOR_UNITS.fullmatch(text):
        msg = "An amount is a string of decimal digits, in minor units of the asset."
        raise InvalidAmountError(msg)
    amount_minor = int(text)
    if not 0 < amount_minor <= UINT256_MAX:
        msg = "An amount is greater than zero and at most 2^256 - 1 minor units."
        raise InvalidAmountError(msg)
    return amount_minor


def parse_units(text: str, *, decimals: int) -> int:
    """
    Return the minor units of a whole-unit amount as people type it (``"1.5"`` at 18 decimals).

    Raises:
        InvalidAmountError: Not a plain decimal number, or more digits than the asset has.
    """
    match = re.fullmatch(r"([0-9]{1,60})(?:\.([0-9]{1,60}))?", text, re.ASCII)
    if match is None or len(match[2] or "") > decimals:
        msg = f"{text[:_SHOWN_MAX]!r} is not a decimal number with at most {decimals} decimals."
        raise InvalidAmountError(msg)
    return parse_minor((match[1] + (match[2] or "").ljust(decimals, "0")).lstrip("0") or "0")


def format_units(amount_minor: int, *, decimals: int) -> str:
    """Return the amount in whole units for people, without trailing zeros."""
    with localcontext(prec=100):
        whole = Decimal(amount_minor).scaleb(-decimals)
        return f"{whole:f}".rstrip("0").rstrip(".") if decimals else f"{whole:f}"
