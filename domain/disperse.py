"""
Paying many with one EVM transaction, through ``contracts/Disperse.vy``.

Plain data in, plain data out: calldata, gas limits, and which payments failed. The rule to keep: a
payment's fate is read from the receipt, and a receipt that does not fit the batch to the last
payment is no evidence at all.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from eth_utils.address import to_canonical_address, to_checksum_address

from contracts.artifacts import load_artifact
from domain.errors import AmountOutOfRangeError, InvalidAddressError, InvariantError
from domain.evm_calls import EvmCall
from domain.money import UINT256_MAX

AMOUNT_MAX_MINOR = 2**96 - 1
"""Largest amount of one payment; what is larger is paid by a transfer of its own."""

PAYMENTS_MAX = 500
"""Most payments that the contract takes in one call."""

NATIVE_GAS_EACH = 50_000
"""
Gas for a recipient's code: several times what contract wallets need to log a payment.

A recipient that never stops burns this much of ours and is reported as failed.
"""

TOKEN_GAS_EACH = 100_000
"""
Gas for one transfer of a token: half as much again as the widely held ones take at worst.

Tokens that compute balances, or that call their receivers, may need more.
"""

TRANSACTION_GAS_MAX = 2**24
"""Most gas that a transaction may ask for on Ethereum since Osaka (EIP-7825)."""

PAY_NATIVE_SELECTOR = bytes.fromhex("4cf477a3")
"""``pay_native(bytes32,uint256,uint256[])``."""

PAY_TOKEN_SELECTOR = bytes.fromhex("866aee01")
"""``pay_token(bytes32,uint256,address,uint256[])``."""

APPROVE_SELECTOR = bytes.fromhex("095ea7b3")
"""``approve(address,uint256)`` (EIP-20)."""

ALLOWANCE_SELECTOR = bytes.fromhex("dd62ed3e")
"""``allowance(address,address)`` (EIP-20)."""

FAILED_TOPIC = "0xcf60dd2a74668495c14daf292cdda99f3b595d6f721d797cac961d9d27967789"
"""``PaymentFailed(bytes32,address,uint256,address,uint256)``."""

DISPERSED_TOPIC = "0x908e9ba5fb6b891645d9cd44a4b0d6f7fd79d073e09330ebc48a2b126c868354"
"""``Dispersed(bytes32,address,address,uint256,uint256)``."""

_BATCH_ID_BYTES = 32
_WORD_HEX_DIGITS = 64
_AMOUNT_BITS = 96

_FIXED_GAS = 21_000 + 30_000
"""A transaction, and beside its payments a call: lock, memory, summary and refund take 20,000."""

_COLD_CALL_GAS = 2_600
"""The first call to an address in a transaction (EIP-2929)."""

_VALUE_GAS = 9_000
"""A call that moves value (Yellow Paper, G_callvalue)."""

_NEW_ACCOUNT_GAS = 25_000
"""A call that moves value to an account that was empty (EIP-161)."""

_WORD_GAS = 32 * 16
"""Calldata of one payment without a zero byte (EIP-2028)."""

_LOOP_GAS = 1_000
"""What the contract does for one payment itself: 300 for a native one, 700 for a token's."""

_FAILURE_GAS = 3_000
"""Reporting a failed payment: a log with three topics and three words takes 2,300."""


class Kind(StrEnum):
    """What a batch moves."""

    NATIVE = "native"
    TOKEN = "token"  # noqa: S105 - of the fungible sort


@dataclass(frozen=True, slots=True)
class Payment:
    """One recipient and its amount, in minor units; from one to ``AMOUNT_MAX_MINOR``."""

    recipient: str
    amount_minor: int


@dataclass(frozen=True, slots=True)
class FailedPayment:
    """A payment that moved nothing, by its place in the batch."""

    index: int
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


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a mined batch did, by the contract's word."""

    token_address: str | None
    failed: tuple[FailedPayment, ...]
    paid_count: int
    paid_minor: int
    """What left the sender; a token may have moved less or more, as its own logs say."""


@dataclass(frozen=True, slots=True)
class DispersalReceipt:
    """What a mined batch did, by the chain's word."""

    txid: str
    block_height: int
    block_hash: str
    succeeded: bool
    """The batch was paid, but for those that failed; otherwise nothing moved at all."""
    network_fee_minor: int
    outflow_minor: int
    """What left the sender in the asset: for recipients, and for whoever charges on the way."""
    received_minor: tuple[int, ...]
    """What each payment's recipient got of it, in order; nothing where it failed."""


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


def decode_failures(
    logs: Sequence[Mapping[str, Any]], contract_address: str, *, batch_id: bytes, sender: str
) -> Outcome:
    """
    Return which payments of a batch failed, from the logs of its successful transaction.

    Logs are as nodes give them (``eth_getTransactionReceipt``). Others may pay through the same
    contract within one transaction, so batch and sender must both match.

    Raises:
        InvariantError: There is no summary of this batch, or more than one: the transaction did
            not reach our contract, and what became of the money is not known.
    """
    failed: list[FailedPayment] = []
    summaries: list[tuple[int, ...]] = []
    for topic, words in _events(logs, contract_address, batch_id, sender):
        if topic == FAILED_TOPIC:
            index, recipient, amount_minor = words
            failed.append(FailedPayment(index, _address(recipient), amount_minor))
        elif topic == DISPERSED_TOPIC:
            summaries.append(words)
    if len(summaries) != 1:
        msg = f"The receipt has {len(summaries)} summaries of batch {batch_id.hex()}."
        raise InvariantError(msg)
    token, paid_count, paid_minor = summaries[0]
    return Outcome(_address(token) if token else None, tuple(failed), paid_count, paid_minor)


def outcome_of(dispersal: Dispersal, logs: Sequence[Mapping[str, Any]]) -> Outcome:
    """
    Return what became of each payment of a batch, checked against what was to be paid.

    Raises:
        InvariantError: The logs do not fit these payments.
    """
    outcome = decode_failures(
        logs, dispersal.contract_address, batch_id=dispersal.batch_id, sender=dispersal.sender
    )
    payments = dispersal.payments
    for failed in outcome.failed:
        meant = payments[failed.index] if failed.index < len(payments) else None
        if meant is None or _word(meant) != _word(Payment(failed.recipient, failed.amount_minor)):
            msg = f"Payment {failed.index} of batch {dispersal.batch_id.hex()} was another one."
            raise InvariantError(msg)
    failed_minor = sum(failed.amount_minor for failed in outcome.failed)
    meant_minor = sum(payment.amount_minor for payment in payments)
    indexes = {failed.index for failed in outcome.failed}
    is_each_once = len(indexes) == len(outcome.failed) == len(payments) - outcome.paid_count
    is_whole = outcome.paid_minor + failed_minor == meant_minor
    if not (is_each_once and is_whole and _is_same(outcome.token_address, dispersal.token_address)):
        msg = f"The summary of batch {dispersal.batch_id.hex()} does not add up."
        raise InvariantError(msg)
    return outcome


def gas_limit_for(count: int, kind: Kind, *, gas_each: int | None = None) -> int:
    """
    Return a gas limit that is enough whatever the recipients do, by today's gas schedule.

    A dry run tells what the batch takes if nobody changes its mind until it is mined. With less
    than a recipient's share left the contract reverts as a whole, and nothing is paid.
    """
    gas_each = _gas_each(kind) if gas_each is None else gas_each
    # What is left after the last payment must prove that it had its share of 63/64 (EIP-150).
    return _FIXED_GAS + count * _payment_gas(kind, gas_each) + _proof_gas(gas_each)


def payments_max(
    kind: Kind, *, gas_each: int | None = None, gas_limit: int = TRANSACTION_GAS_MAX
) -> int:
    """Return how many payments are sure to fit below a gas limit, whatever recipients do."""
    gas_each = _gas_each(kind) if gas_each is None else gas_each
    left = gas_limit - _FIXED_GAS - _proof_gas(gas_each)
    return max(0, min(PAYMENTS_MAX, left // _payment_gas(kind, gas_each)))


def deployment_code() -> bytes:
    """Return the creation code of the contract, which takes no arguments."""
    return bytes.fromhex(load_artifact("Disperse").bytecode.removeprefix("0x"))


def runtime_code() -> bytes:
    """
    Return what ``eth_getCode`` answers where the contract stands.

    To be compared before an address is trusted: value sent to one without code is gone.
    """
    return bytes.fromhex(load_artifact("Disperse").runtime.removeprefix("0x"))


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
    return b"".join((offset.to_bytes(32), count.to_bytes(32), *map(_word, payments)))


def _word(payment: Payment) -> bytes:
    """Return a payment as the contract reads it: 20 bytes of recipient, 12 of amount."""
    recipient = to_canonical_address(payment.recipient)
    if not any(recipient):
        msg = "The zero address burns what it receives."
        raise InvalidAddressError(msg)
    if not 0 < payment.amount_minor <= AMOUNT_MAX_MINOR:
        msg = "An amount in a batch is greater than zero and below 2^96 minor units."
        raise AmountOutOfRangeError(msg)
    return recipient + payment.amount_minor.to_bytes(_AMOUNT_BITS // 8)


def _events(
    logs: Sequence[Mapping[str, Any]], contract_address: str, batch_id: bytes, sender: str
) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield first topic and data words of what the contract logged for this batch and sender."""
    contract = to_canonical_address(contract_address)
    topics = ["0x" + batch_id.hex(), "0x" + _padded(sender).hex()]
    for log in logs:
        is_ours = to_canonical_address(log["address"]) == contract
        if is_ours and [topic.lower() for topic in log["topics"][1:]] == topics:
            data = str(log["data"]).removeprefix("0x")
            starts = range(0, len(data), _WORD_HEX_DIGITS)
            words = tuple(int(data[start : start + _WORD_HEX_DIGITS], 16) for start in starts)
            yield log["topics"][0].lower(), words


def _padded(address: str) -> bytes:
    return bytes(12) + to_canonical_address(address)


def _is_same(address: str | None, other: str | None) -> bool:
    if address is None or other is None:
        return address is other
    return bool(to_canonical_address(address) == to_canonical_address(other))


def _address(number: int) -> str:
    return str(to_checksum_address(number.to_bytes(20)))


def _gas_each(kind: Kind) -> int:
    return NATIVE_GAS_EACH if kind is Kind.NATIVE else TOKEN_GAS_EACH


def _payment_gas(kind: Kind, gas_each: int) -> int:
    own = _WORD_GAS + _LOOP_GAS + _FAILURE_GAS + _COLD_CALL_GAS
    if kind is Kind.TOKEN:
        return own + gas_each
    # A new account has no code to run; one with a delegation runs another's (EIP-7702).
    return own + _VALUE_GAS + max(_NEW_ACCOUNT_GAS, _COLD_CALL_GAS + gas_each)


def _proof_gas(gas_each: int) -> int:
    return gas_each * 64 // 63 + 1
