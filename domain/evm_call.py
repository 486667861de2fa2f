"""The shape of an EVM transaction's effect."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EvmCall:
    """What a transaction does: value in wei and calldata, to one address."""

    to: str
    value_minor: int
    data: bytes
