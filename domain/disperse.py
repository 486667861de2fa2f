"""
Paying many with one EVM transaction, through ``contracts/Disperse.vy``.

What a batch is and the calldata that pays it: plain data in, plain data out. How much gas that may
take is in ``disperse_gas``, what became of it in ``disperse_logs``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from eth_utils.address import to_canonical_address, to_checksum_address

from contracts.artifacts import load_artifact
from domain.disperse_gas import (
    NATIVE_GAS_EACH,
    PAYMENTS_MAX,
    TOKEN_GAS_EACH,
    TRANSACTION_GAS_MAX,
    Kind,
    gas_limit_for,
)
from domain.errors import AmountOutOfRangeError, InvalidAddressError
from domain.evm_call import EvmCall
from domain.money import UINT256_MAX

AMOUNT_MAX_MINOR = 2**96 - 1
"""Largest amount of one payment; what is larger is paid by a transfer of its own."""

PAY_NATIVE_SELECTOR = bytes.fromhex("4cf477a3")
"""``pay_native(bytes32,uint256,uint256[])``."""

PAY_TOKEN_SELECTOR = bytes.fromhex("866aee01")
"""``pay_token(bytes32,uint256,address,uint256[])``."""

APPROVE_SELECTOR = bytes.fromhex("095ea7b3")
"""``approve(address,uint256)`` (EIP-20)."""

ALLOWANCE_SELECTOR = bytes.fromhex("dd62ed3e")
"""``allowance(address,address)`` (EIP-20)."""

_BATCH_ID_BYTES = 32
_AMOUNT_BITS = 96


@dataclass(frozen=True, slots=True)
class Payment:
    """One recipient and its amount, in minor units; from one to ``AMOUNT_MAX_MINOR``."""

    recipient: str
    amount_minor: int


@dataclass(frozen=True, slots=True)
class Dispersal:
    """One batch: who pays whom, through which contract."""

    batch_id: bytes
    """32 bytes that say which intent this is; every attempt at it has the same."""
    contract_address: str
    sender: str
    """Whose money it is: the hot wallet, which calls the contract itself."""
    payments: tuple[Payment, ...]
    token_address: str | None = None
    """None for the chain's own coin. Of a token the sender has allowed the contract the sum."""


def batch_id_of(chain_transaction_id: str) -> bytes:
    """Return the 32 bytes that name a chain transaction to the contract: the SHA-256 of its id."""
    return sha256(chain_transaction_id.encode()).digest()


def most_gas(dispersal: Dispersal) -> int:
    """Return the gas limit that is enough for a dispersal, whatever its recipients do."""
    kind = Kind.NATIVE if dispersal.token_address is None else Kind.TOKEN
    return min(gas_limit_for(len(dispersal.payments), kind), TRANSACTION_GAS_MAX)


def dispersal_call(dispersal: Dispersal) -> EvmCall:
    """Return the transaction that pays a batch; errors as for ``encode_native``."""
    to = str(to_checksum_address(dispersal.contract_address))
    if dispersal.token_address is None:
        value_minor = sum(payment.amount_minor for payment in dispersal.payments)
        return EvmCall(to, value_minor, encode_native(dispersal.batch_id, dispersal.payments))
    token = dispersal.token_address
    return EvmCall(to, 0, encode_token(dispersal.batch_id, token, dispersal.payments))


def encode_native(
    batch_id: bytes, payments: Sequence[Payment], *, gas_each: int = NATIVE_GAS_EACH
) -> bytes:
    """
    Return the calldata that pays native coin; the transaction's value is the sum.

    Raises:
        AmountOutOfRangeError: An amount is zero or does not fit into 96 bits.
        InvalidAddressError: A recipient is the zero address.
        ValueError: The batch id has not 32 bytes, or there are no payments, or too many.
    """
    head = (_checked_batch_id(batch_id), gas_each.to_bytes(32))
    return PAY_NATIVE_SELECTOR + b"".join(head) + _packed_list(payments, head_words=3)


def encode_token(
    batch_id: bytes,
    token_address: str,
    payments: Sequence[Payment],
    *,
    gas_each: int = TOKEN_GAS_EACH,
) -> bytes:
    """Return the calldata that pays a token of the sender; errors as for ``encode_native``."""
    head = (_checked_batch_id(batch_id), gas_each.to_bytes(32), _padded(token_address))
    return PAY_TOKEN_SELECTOR + b"".join(head) + _packed_list(payments, head_words=4)


def approval_call(
    token_address: str, contract_address: str, *, amount_minor: int = UINT256_MAX
) -> EvmCall:
    """
    Return the transaction by which a sender lets the contract move its tokens (EIP-20 ``approve``).

    Some tokens refuse to change an allowance that is neither zero nor becomes it, so it is given
    once, without limit. Whoever calls the contract can only move tokens of its own.
    """
    to = str(to_checksum_address(token_address))
    return EvmCall(to, 0, APPROVE_SELECTOR + _padded(contract_address) + amount_minor.to_bytes(32))


def allowance_data(owner: str, contract_address: str) -> bytes:
    """Return the calldata that asks a token how much the contract may still move."""
    return ALLOWANCE_SELECTOR + _padded(owner) + _padded(contract_address)


def deployment_code() -> bytes:
    """Return the creation code of the contract, which takes no arguments."""
    return bytes.fromhex(load_artifact("Disperse").bytecode.removeprefix("0x"))


def runtime_code() -> bytes:
    """
    Return what ``eth_getCode`` answers where the contract stands.

    To be compared before an address is trusted: value sent to one without code is gone.
    """
    return bytes.fromhex(load_artifact("Disperse").runtime.removeprefix("0x"))


def packed(payment: Payment) -> bytes:
    """
    Return a payment as the contract reads it: 20 bytes of recipient, 12 of amount.

    Raises:
        AmountOutOfRangeError: The amount is zero or does not fit into 96 bits.
        InvalidAddressError: The recipient is the zero address.
    """
    recipient = to_canonical_address(payment.recipient)
    if not any(recipient):
        msg = "The zero address burns what it receives."
        raise InvalidAddressError(msg)
    if not 0 < payment.amount_minor <= AMOUNT_MAX_MINOR:
        msg = "An amount in a batch is greater than zero and below 2^96 minor units."
        raise AmountOutOfRangeError(msg)
    return recipient + payment.amount_minor.to_bytes(_AMOUNT_BITS // 8)


def _checked_batch_id(batch_id: bytes) -> bytes:
    if len(batch_id) != _BATCH_ID_BYTES:
        msg = f"A batch id has 32 bytes, not {len(batch_id)}."
        raise ValueError(msg)
    return batch_id


def _packed_list(payments: Sequence[Payment], *, head_words: int) -> bytes:
    if not 0 < len(payments) <= PAYMENTS_MAX:
        msg = f"A batch has 1 to {PAYMENTS_MAX} payments, not {len(payments)}."
        raise ValueError(msg)
    offset, count = 32 * head_words, len(payments)
    return b"".join((offset.to_bytes(32), count.to_bytes(32), *map(packed, payments)))


def _padded(address: str) -> bytes:
    return bytes(12) + to_canonical_address(address)
