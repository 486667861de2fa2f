"""
What a transfer of a pocket converts on its way, and the arithmetic of it. Plain values.

The policy, in one place:

- What goes to a pocket is paid and given in exactly the amounts of its quote.
- What comes back from one is converted by what arrives, at the locked rate, rounded down; nothing
  beyond the quoted amount is. What buys nothing stays what it is, on the balance.
- *Late* is what settles after its time. It is converted where the present rate is within a
  tolerance of the locked one, at the worse of both for the user; otherwise it stays what it is.
- A transfer that does not take place gives back exactly what was held. Its quote stays used.
"""

from dataclasses import dataclass
from fractions import Fraction

from domain.purchases import Terms, late_rate
from domain.rates import bought_minor, needed_minor


@dataclass(frozen=True, slots=True)
class Redeemed:
    """What became of what arrived from a pocket; in minor units."""

    converted_minor: int = 0
    rest_minor: int = 0
    """Of what arrived: the user's, unconverted."""
    given_minor: int = 0
    """Of what it was converted into."""

    def minus(self, before: "Redeemed") -> "Redeemed":
        """Return by how much it is more than it was."""
        return Redeemed(
            self.converted_minor - before.converted_minor,
            self.rest_minor - before.rest_minor,
            self.given_minor - before.given_minor,
        )


def redeemed(terms: Terms, arrived_minor: int, rate: Fraction | None) -> Redeemed:
    """Return what arrived buys at a rate; without one it is not converted."""
    converted_minor = min(arrived_minor, terms.pay_minor)
    given_minor = 0 if rate is None else bought_minor(converted_minor, min(rate, terms.rate))
    if given_minor == 0:
        return Redeemed(rest_minor=arrived_minor)
    return Redeemed(converted_minor, arrived_minor - converted_minor, given_minor)


def settled_rate(
    terms: Terms, *, is_late: bool, present: Fraction | None, tolerance_bps: int
) -> Fraction | None:
    """Return at which rate what arrived is converted, or None where it is not."""
    if not is_late:
        return terms.rate
    return late_rate(terms, present, tolerance_bps=tolerance_bps)


def fee_in_paid(terms: Terms, fee_minor: int) -> int:
    """Return what a fee in the asset that is bought costs in the asset that pays, rounded up."""
    return needed_minor(fee_minor, terms.rate)
