"""Coins of UTXO chains, and the unsigned transaction that spends them. Plain values."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from domain.scanning import Outpoint


@dataclass(frozen=True, slots=True)
class KeyPosition:
    """Where a key stands below an account's extended key (BIP44: change and address index)."""

    branch: int
    """0 for addresses that are handed out, 1 for our own change."""
    index: int


@dataclass(frozen=True, slots=True)
class Coin:
    """An unspent output that one of our keys can spend."""

    outpoint: Outpoint
    amount_minor: int
    position: KeyPosition
    """Whose key; the output script is P2WPKH of it (BIP141)."""


@dataclass(frozen=True, slots=True)
class CoinOutput:
    """An output to be: an address of the chain and an amount."""

    address: str
    amount_minor: int


@dataclass(frozen=True, slots=True)
class UnsignedCoinAttempt:
    """
    Everything that is signed, inputs and outputs in the order that they will have.

    The same values always give the same bytes (RFC 6979). Inputs signal replaceability (BIP125,
    sequence 0xfffffffd), version 2, lock time 0.
    """

    chain_id: str
    inputs: tuple[Coin, ...]
    outputs: tuple[CoinOutput, ...]

    @property
    def fee_minor(self) -> int:
        """What is left for the miner."""
        spent = sum(coin.amount_minor for coin in self.inputs)
        return spent - sum(output.amount_minor for output in self.outputs)


def arranged(
    outputs: Sequence[CoinOutput], change: CoinOutput | None, *, seed: str
) -> tuple[CoinOutput, ...]:
    """
    Return the outputs with the change among them, at a place that shows nobody which it is.

    The place follows from ``seed`` alone, so that it is the same each time it is asked for.
    """
    if change is None:
        return tuple(outputs)
    place = int.from_bytes(sha256(f"change:{seed}".encode()).digest()[:8]) % (len(outputs) + 1)
    return (*outputs[:place], change, *outputs[place:])
