"""Which package speaks to which family of chains."""

from collections.abc import Sequence

from chains.evm.outlet import EvmOutlet
from chains.jobcoin.outlet import JobcoinOutlet
from chains.utxo.outlet import CoinOutlet
from domain.errors import ValidationError


def open_outlet(
    chain_id: str, family: str, rpc_urls: Sequence[str]
) -> EvmOutlet | CoinOutlet | JobcoinOutlet:
    """
    Return the outlet of a chain; it connects on its first call.

    Raises:
        ValidationError: No package speaks to this family.
    """
    match family:
        case "evm":
            return EvmOutlet(chain_id, rpc_urls)
        case "utxo":
            return CoinOutlet(chain_id, rpc_urls)
        case "jobcoin":
            return JobcoinOutlet(chain_id, rpc_urls)
        case _:
            msg = f"Chains of family {family!r} are not supported."
            raise ValidationError(msg)
