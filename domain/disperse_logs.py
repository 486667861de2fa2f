"""
What became of a batch that the disperse contract paid, by the logs of its transaction.

The rule to keep: logs that do not fit the batch to the last payment are no evidence at all.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eth_utils.address import to_canonical_address, to_checksum_address

from domain.disperse import Dispersal, Payment, packed
from domain.errors import InvariantError

FAILED_TOPIC = "0xcf60dd2a74668495c14daf292cdda99f3b595d6f721d797cac961d9d27967789"
"""``PaymentFailed(bytes32,address,uint256,address,uint256)``."""

DISPERSED_TOPIC = "0x908e9ba5fb6b891645d9cd44a4b0d6f7fd79d073e09330ebc48a2b126c868354"
"""``Dispersed(bytes32,address,address,uint256,uint256)``."""

_WORD_HEX_DIGITS = 64


@dataclass(frozen=True, slots=True)
class FailedPayment:
    """A payment that moved nothing, by its place in the batch."""

    index: int
    recipient: str
    amount_minor: int


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
        if meant is None or packed(meant) != packed(Payment(failed.recipient, failed.amount_minor)):
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


def _events(
    logs: Sequence[Mapping[str, Any]], contract_address: str, batch_id: bytes, sender: str
) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield first topic and data words of what the contract logged for this batch and sender."""
    contract = to_canonical_address(contract_address)
    topics = ["0x" + batch_id.hex(), "0x" + (bytes(12) + to_canonical_address(sender)).hex()]
    for log in logs:
        is_ours = to_canonical_address(log["address"]) == contract
        if is_ours and [topic.lower() for topic in log["topics"][1:]] == topics:
            data = str(log["data"]).removeprefix("0x")
            starts = range(0, len(data), _WORD_HEX_DIGITS)
            words = tuple(int(data[start : start + _WORD_HEX_DIGITS], 16) for start in starts)
            yield log["topics"][0].lower(), words


def _is_same(address: str | None, other: str | None) -> bool:
    if address is None or other is None:
        return address is other
    return bool(to_canonical_address(address) == to_canonical_address(other))


def _address(number: int) -> str:
    return str(to_checksum_address(number.to_bytes(20)))
