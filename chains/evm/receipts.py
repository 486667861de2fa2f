"""What a mined transaction did of the transfer we meant, read from its receipt."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from eth_utils.address import to_canonical_address

from domain.disperse import Dispersal, outcome_of
from domain.ports import Receipt, Transfer

TRANSFER_TOPIC = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"
"""``Transfer(address,address,uint256)`` (EIP-20); argument names differ, positions do not."""

_TRANSFER_TOPICS = 3
_WORD_HEX_DIGITS = 64


@dataclass(frozen=True, slots=True)
class TokenMove:
    """One ``Transfer`` log."""

    sender: bytes
    receiver: bytes
    value_minor: int


def read_receipt(answer: Mapping[str, Any], transfer: Transfer) -> Receipt | None:
    """Return the receipt of ``eth_getTransactionReceipt``, or None if no block holds it."""
    if answer.get("blockNumber") is None:
        return None
    has_status = int(answer["status"], 16) == 1
    if transfer.is_approval:
        return _receipt(answer, succeeded=has_status)
    if transfer.dispersal is not None:
        return _dispersed(answer, transfer.dispersal, has_status=has_status)
    outflow_minor, received_minor = _moved(answer, transfer) if has_status else (0, 0)
    return _receipt(
        answer,
        # A token can return False, or nothing, without reverting: only its log is evidence.
        succeeded=has_status and (received_minor > 0 or transfer.amount_minor == 0),
        outflow_minor=outflow_minor,
        received_minor=received_minor,
    )


def _receipt(
    answer: Mapping[str, Any],
    *,
    succeeded: bool,
    outflow_minor: int = 0,
    received_minor: int = 0,
    failed_places: tuple[int, ...] = (),
) -> Receipt:
    return Receipt(
        txid=str(answer["transactionHash"]),
        block_height=int(answer["blockNumber"], 16),
        block_hash=str(answer["blockHash"]),
        succeeded=succeeded,
        network_fee_minor=_network_fee(answer),
        outflow_minor=outflow_minor,
        received_minor=received_minor,
        failed_places=failed_places,
    )


def _dispersed(answer: Mapping[str, Any], dispersal: Dispersal, *, has_status: bool) -> Receipt:
    """
    Read which payments of a dispersal were made.

    The contract's word is enough for the native coin. A token's own logs must say so too.
    """
    if not has_status:
        return _receipt(answer, succeeded=False)
    outcome = outcome_of(dispersal, answer["logs"])
    failed = {payment.index for payment in outcome.failed}
    outflow_minor = received_minor = outcome.paid_minor
    if dispersal.token_address is not None:
        wallet = to_canonical_address(dispersal.sender)
        moves = list(_token_moves(answer, dispersal.token_address))
        ours = [m for m in moves if m.sender == wallet and m.receiver != wallet]
        reached = {m.receiver for m in ours if m.value_minor}
        failed |= {
            place
            for place, payment in enumerate(dispersal.payments)
            if to_canonical_address(payment.recipient) not in reached
        }
        paid_to = {to_canonical_address(p.recipient) for p in dispersal.payments}
        outflow_minor = sum(m.value_minor for m in ours)
        received_minor = sum(m.value_minor for m in ours if m.receiver in paid_to)
    return _receipt(
        answer,
        succeeded=True,
        outflow_minor=outflow_minor,
        received_minor=received_minor,
        failed_places=tuple(sorted(failed)),
    )


def _moved(answer: Mapping[str, Any], transfer: Transfer) -> tuple[int, int]:
    """
    Return what left our wallet for anybody else and what it gave the destination.

    Both are sums over the whole transaction: a token may take its charge from the amount or on
    top of it, in logs of its own. What the destination does with it afterwards is its business.
    """
    wallet = to_canonical_address(transfer.wallet_address)
    destination = to_canonical_address(transfer.destination)
    if transfer.contract_address is None:
        left_minor = 0 if wallet == destination else transfer.amount_minor
        return left_minor, transfer.amount_minor
    ours = [m for m in _token_moves(answer, transfer.contract_address) if m.sender == wallet]
    outflow_minor = sum(m.value_minor for m in ours if m.receiver != wallet)
    return outflow_minor, sum(m.value_minor for m in ours if m.receiver == destination)


def _token_moves(answer: Mapping[str, Any], contract_address: str) -> Iterator[TokenMove]:
    """Yield the moves that the token itself reports; any contract can log the same topic."""
    contract = to_canonical_address(contract_address)
    for log in answer["logs"]:
        topics, data = log["topics"], str(log["data"]).removeprefix("0x")
        if to_canonical_address(log["address"]) != contract:
            continue
        # An ERC-721 token logs the same topic with its id as a fourth one and no data.
        if len(topics) != _TRANSFER_TOPICS or topics[0] != TRANSFER_TOPIC:
            continue
        if len(data) == _WORD_HEX_DIGITS:
            yield TokenMove(_address(topics[1]), _address(topics[2]), int(data, 16))


def _address(topic: str) -> bytes:
    return bytes.fromhex(topic.removeprefix("0x"))[-20:]


def _network_fee(answer: Mapping[str, Any]) -> int:
    """Return what the wallet paid for gas, with what a rollup adds for data on its base chain."""
    executed_minor = int(answer["gasUsed"], 16) * int(answer["effectiveGasPrice"], 16)
    return executed_minor + int(answer.get("l1Fee") or "0x0", 16)
