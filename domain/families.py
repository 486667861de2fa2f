"""
What the families of chains can and cannot do, as data.

Whoever must know asks here what a chain can do, and not which family it is of.
"""

from dataclasses import dataclass

from domain.jobcoin.addresses import is_jobcoin
from domain.utxo.networks import NAMESPACE as UTXO_NAMESPACE


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One family of chains."""

    name: str
    """As in the catalog, and the package below ``chains/`` that speaks to it."""
    shares_natively: bool
    """A transaction can pay several by itself; else it takes a contract of ours."""
    has_fees: bool
    """The network takes something for a transaction, and a higher fee replaces a lower one."""


EVM = Family(name="evm", shares_natively=False, has_fees=True)
UTXO = Family(name="utxo", shares_natively=True, has_fees=True)
JOBCOIN = Family(name="jobcoin", shares_natively=True, has_fees=False)

FAMILIES = {family.name: family for family in (EVM, UTXO, JOBCOIN)}


def family_of(chain_id: str) -> Family:
    """Return the family of the chain with this CAIP-2 id."""
    if is_jobcoin(chain_id):
        return JOBCOIN
    return UTXO if chain_id.startswith(UTXO_NAMESPACE) else EVM
