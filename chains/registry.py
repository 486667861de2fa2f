"""Which package speaks to which family of chains."""

from collections.abc import Sequence

from chains.evm.outlet import EvmOutlet
from domain.errors import ValidationError
from domain.ports import AccountOutlet


def open_outlet(chain_id: str, family: str, rpc_urls: Sequence[str]) -> AccountOutlet:
    """
    Return the outlet of a chain; it connects on its first call.

    Raises:
        ValidationError: No package speaks to this family.
    """
    if family == "evm":
        return EvmOutlet(chain_id, rpc_urls)
    msg = f"Chains of family {family!r} are not supported."
    raise ValidationError(msg)
