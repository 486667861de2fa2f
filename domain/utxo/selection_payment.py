"""
What a payment asks of coin selection, and what becomes of coins that were selected for it.

Sums that involve fee rates are in thousandths of the minor unit ("milli"), where they are exact.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from domain.coins import Coin
from domain.errors import InvariantError
from domain.utxo.networks import Network
from domain.utxo.selection_search import Goal
from domain.utxo.sizes import (
    INPUT_VBYTES,
    NARROW_COUNT_MAX,
    dust_minor,
    fee_minor,
    inputs_max,
    transaction_vbytes,
)

MILLI = 1_000


class Algorithm(StrEnum):
    """How a selection was found; see ``selection_search``."""

    BRANCH_AND_BOUND = "branch_and_bound"
    """Without change."""
    FEWEST = "fewest"
    """As few coins as possible, with change."""
    CONSOLIDATION = "consolidation"
    """The fewest and some small coins, because fees are low."""
    RANDOM_DRAW = "random_draw"
    """Coins in random order until they suffice, with change."""


@dataclass(frozen=True, slots=True)
class ScriptOutput:
    """An output to be: its script and amount."""

    script: bytes
    amount_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Coins to spend; they sum to the outputs, the change and the fee."""

    coins: tuple[Coin, ...]
    """In order of their outpoints."""
    change_minor: int
    """0: no change output."""
    fee_minor: int
    waste_minor: int
    """
    What it costs to pay with these coins now, beyond what any coins would, rounded up: for each
    input its fee now less its fee at the long-term rate; for change, making and spending it;
    without change, what is overpaid. Negative where spending now saves.
    """
    algorithm: Algorithm


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    """Outputs to be paid at a rate. Fee rates are satoshi per 1,000 virtual bytes."""

    outputs: tuple[ScriptOutput, ...]
    change_script: bytes
    fee_rate: int
    long_term_fee_rate: int
    network: Network
    weight_max: int

    @property
    def paid_minor(self) -> int:
        """The sum of the outputs."""
        return sum(output.amount_minor for output in self.outputs)

    @property
    def change_min_minor(self) -> int:
        """The least change that is relayed, and worth more than spending it costs."""
        spend_minor = INPUT_VBYTES * self.long_term_fee_rate // MILLI
        return max(dust_minor(self.change_script, self.network), spend_minor + 1)

    def scripts(self, *, has_change: bool) -> list[bytes]:
        """Return the output scripts."""
        return [output.script for output in self.outputs] + [self.change_script] * has_change

    def vbytes(self, count: int, *, has_change: bool) -> int:
        """Return the most virtual bytes that the transaction can have with so many inputs."""
        return transaction_vbytes(count, self.scripts(has_change=has_change))

    def inputs_max(self, *, has_change: bool) -> int:
        """Return how many inputs fit."""
        return inputs_max(self.scripts(has_change=has_change), weight_max=self.weight_max)

    def verify(self, coins: Sequence[Coin]) -> None:
        """Raise InvariantError where no answer could be right."""
        if not self.outputs:
            raise InvariantError("A payment has at least one output.")
        if len({coin.outpoint for coin in coins}) < len(coins):
            raise InvariantError("A coin was given twice.")
        if self.inputs_max(has_change=False) < 1:
            raise InvariantError(f"{len(self.outputs)} outputs are too heavy for one transaction.")

    def goal(self, pool: Sequence[Coin]) -> Goal:
        """Return the same in numbers, for a pool that is sorted by falling amount."""
        one, narrow, wide = (
            self.vbytes(count, has_change=False) - count * INPUT_VBYTES
            for count in (1, NARROW_COUNT_MAX, NARROW_COUNT_MAX + 1)
        )
        assert one == narrow
        change_vbytes = self.vbytes(1, has_change=True) - self.vbytes(1, has_change=False)
        return Goal(
            values=tuple(self._value_milli(coin) for coin in pool),
            needed=self.paid_minor * MILLI + narrow * self.fee_rate,
            change_from=change_vbytes * self.fee_rate + self.change_min_minor * MILLI,
            input_waste=INPUT_VBYTES * (self.fee_rate - self.long_term_fee_rate),
            wide_count_fee=(wide - narrow) * self.fee_rate,
            inputs_max=self.inputs_max(has_change=False),
            inputs_max_with_change=self.inputs_max(has_change=True),
        )

    def is_worth_spending(self, coin: Coin) -> bool:
        """Say whether the coin adds more than its input costs."""
        return self._value_milli(coin) > 0

    def settled(self, coins: Sequence[Coin], algorithm: Algorithm) -> Selection:
        """Return change, fee and waste of paying with these coins, which must suffice."""
        left = sum(coin.amount_minor for coin in coins) - self.paid_minor
        change_minor = left - fee_minor(self.vbytes(len(coins), has_change=True), self.fee_rate)
        if change_minor < self.change_min_minor:
            change_minor = 0
        fee = left - change_minor
        assert fee >= fee_minor(self.vbytes(len(coins), has_change=change_minor > 0), self.fee_rate)
        waste_milli = self._waste_milli(len(coins), left, has_change=change_minor > 0)
        return Selection(
            coins=tuple(sorted(coins, key=lambda coin: coin.outpoint)),
            change_minor=change_minor,
            fee_minor=fee,
            waste_minor=-(-waste_milli // MILLI),
            algorithm=algorithm,
        )

    def _waste_milli(self, count: int, left_minor: int, *, has_change: bool) -> int:
        base_milli = (self.vbytes(1, has_change=False) - INPUT_VBYTES) * self.fee_rate
        long_term_milli = INPUT_VBYTES * self.long_term_fee_rate
        if has_change:
            paid_milli = self.vbytes(count, has_change=True) * self.fee_rate + long_term_milli
        else:
            paid_milli = left_minor * MILLI
        return paid_milli - base_milli - count * long_term_milli

    def _value_milli(self, coin: Coin) -> int:
        return coin.amount_minor * MILLI - INPUT_VBYTES * self.fee_rate
