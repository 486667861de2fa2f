"""
How a transfer becomes an EVM transaction: the one place that knows, for estimating and signing.

Plain data in, plain data out; nothing here asks a node or holds a key.
"""

from typing import Any

from eth_utils.address import to_canonical_address, to_checksum_address

from domain.disperse import approval_call, dispersal_call
from domain.errors import WrongChainError
from domain.evm_call import EvmCall
from domain.ports import Transfer, UnsignedAttempt

TRANSFER_SELECTOR = bytes.fromhex("a9059cbb")
"""``transfer(address,uint256)`` (EIP-20)."""

BALANCE_OF_SELECTOR = bytes.fromhex("70a08231")
"""``balanceOf(address)`` (EIP-20)."""

FEE_MARKET_TYPE = 2
"""Transaction type with ``maxFeePerGas`` (EIP-1559)."""

TRANSFER_GAS_MAX = 1_000_000
"""No transfer to one recipient that we know needs more; a higher limit would only burn money."""

TOPUP_GAS_MAX = 300_000
"""Gas that a top-up may pay for, at the chain's fee ceiling: a token transfer or two."""

_NAMESPACE = "eip155:"


def evm_call(transfer: Transfer) -> EvmCall:
    """Return the call that does this: plain value, a token's ``transfer``, or our contract's."""
    if transfer.dispersal is not None:
        return dispersal_call(transfer.dispersal)
    if transfer.is_approval:
        return approval_call(str(transfer.contract_address), transfer.destination)
    if transfer.contract_address is None:
        return EvmCall(str(to_checksum_address(transfer.destination)), transfer.amount_minor, b"")
    arguments = _address_word(transfer.destination) + transfer.amount_minor.to_bytes(32)
    to = str(to_checksum_address(transfer.contract_address))
    return EvmCall(to, 0, TRANSFER_SELECTOR + arguments)


def balance_of_data(address: str) -> bytes:
    """Return the calldata that asks a token for an address's balance."""
    return BALANCE_OF_SELECTOR + _address_word(address)


def evm_chain_number(chain_id: str) -> int:
    """
    Return the number of an EVM chain from its CAIP-2 id (``eip155:1`` is 1).

    Raises:
        WrongChainError: Not the id of an EVM chain.
    """
    number = chain_id.removeprefix(_NAMESPACE)
    if not chain_id.startswith(_NAMESPACE) or not (number.isascii() and number.isdigit()):
        msg = f"{chain_id!r} is not the id of an EVM chain."
        raise WrongChainError(msg)
    return int(number)


def transaction_fields(attempt: UnsignedAttempt) -> dict[str, Any]:
    """Return the fields of the EIP-1559 transaction that this attempt is, as signers take them."""
    call = evm_call(attempt.transfer)
    return {
        "type": FEE_MARKET_TYPE,
        "chainId": evm_chain_number(attempt.chain_id),
        "nonce": attempt.account_nonce,
        "to": call.to,
        "value": call.value_minor,
        "data": call.data,
        "gas": attempt.gas_limit,
        "maxFeePerGas": attempt.max_fee_minor,
        "maxPriorityFeePerGas": attempt.priority_fee_minor,
    }


def _address_word(address: str) -> bytes:
    return bytes(12) + to_canonical_address(address)
