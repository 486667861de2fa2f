"""What a mined transaction did of the transfer we meant, read from its receipt."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eth_utils.address import to_canonical_address

from domain.disperse import Dispersal, Payment
from domain.disperse_logs import DispersalReceipt, outcome_of
from domain.errors import InvariantError
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
    if transfer.dispersal is not None:
        return _shared(read_dispersal(answer, transfer.dispersal))
    has_status = int(answer["status"], 16) == 1
    outflow_minor, received_minor = _moved(answer, transfer) if has_status else (0, 0)
    return Receipt(
        txid=str(answer["transactionHash"]),
        block_height=int(answer["blockNumber"], 16),
        block_hash=str(answer["blockHash"]),
        # A token can return False, or nothing, without reverting: only its log is evidence.
        succeeded=has_status and (received_minor > 0 or transfer.amount_minor == 0),
        network_fee_minor=_network_fee(answer),
        outflow_minor=outflow_minor,
        received_minor=received_minor,
    )


def _shared(receipt: DispersalReceipt | None) -> Receipt | None:
    """Return the receipt of what was paid to several, with the places of those it did not pay."""
    if receipt is None:
        return None
    places = enumerate(receipt.received_minor)
    return Receipt(
        txid=receipt.txid,
        block_height=receipt.block_height,
        block_hash=receipt.block_hash,
        succeeded=receipt.succeeded,
        network_fee_minor=receipt.network_fee_minor,
        outflow_minor=receipt.outflow_minor,
        received_minor=sum(receipt.received_minor),
        failed_places=tuple(p for p, minor in places if not minor) if receipt.succeeded else (),
    )


def read_dispersal(answer: Mapping[str, Any], dispersal: Dispersal) -> DispersalReceipt | None:
    """
    Return what a batch did (``eth_getTransactionReceipt``), or None if no block holds it.

    Raises:
        InvariantError: Contract and token do not tell the same, or not of this batch; nobody may
            be refunded before it is known what happened.
    """
    if answer.get("blockNumber") is None:
        return None
    succeeded = int(answer["status"], 16) == 1
    if succeeded:
        outflow_minor, received_minor = _dispersed(answer, dispersal)
    else:
        outflow_minor, received_minor = 0, (0,) * len(dispersal.payments)
    return DispersalReceipt(
        txid=str(answer["transactionHash"]),
        block_height=int(answer["blockNumber"], 16),
        block_hash=str(answer["blockHash"]),
        succeeded=succeeded,
        network_fee_minor=_network_fee(answer),
        outflow_minor=outflow_minor,
        received_minor=received_minor,
    )


def _dispersed(answer: Mapping[str, Any], dispersal: Dispersal) -> tuple[int, tuple[int, ...]]:
    """Return what left the sender for others, and what each payment's recipient got."""
    failed = {payment.index for payment in outcome_of(dispersal, answer["logs"]).failed}
    payments, wallet = dispersal.payments, to_canonical_address(dispersal.sender)
    if dispersal.token_address is None:
        received = tuple(0 if i in failed else p.amount_minor for i, p in enumerate(payments))
        receivers = [to_canonical_address(p.recipient) for p in payments]
        pairs = zip(receivers, received, strict=True)
        return sum(value for receiver, value in pairs if receiver != wallet), received
    ours = [m for m in _token_moves(answer, dispersal.token_address) if m.sender == wallet]
    outflow_minor = sum(m.value_minor for m in ours if m.receiver != wallet)
    return outflow_minor, _received(ours, payments, failed)


def _received(
    moves: Sequence[TokenMove], payments: Sequence[Payment], failed: set[int]
) -> tuple[int, ...]:
    """
    Return what the token's logs say of each payment.

    A token can move and answer false, or answer true and move nothing. The first must not be taken
    for a failure, since the money would be paid twice; the second is one. Who gets more than was
    meant for them was paid: a token may charge on top, and we may pay its collector with it.
    """
    moved = defaultdict[bytes, list[int]](list)
    for move in moves:
        moved[move.receiver].append(move.value_minor)
    places = defaultdict[bytes, list[int]](list)
    for place, payment in enumerate(payments):
        places[to_canonical_address(payment.recipient)].append(place)
    received = [0] * len(payments)
    for receiver, its_places in places.items():
        paid = [place for place in its_places if place not in failed]
        asked = [payments[place].amount_minor for place in paid]
        for place, value in zip(paid, _shared_out(moved[receiver], asked), strict=True):
            received[place] = value
    return tuple(received)


def _shared_out(values: Sequence[int], asked: Sequence[int]) -> Sequence[int]:
    """
    Return what of each payment to one recipient arrived, who got these values in all.

    Raises:
        InvariantError: Less arrived than was asked for, and nobody can tell of which.
    """
    if asked and sum(values) >= sum(asked):
        return asked
    if len(asked) == 1:
        return [sum(values)]
    if values and len(values) != len(asked):
        msg = f"A recipient of {len(asked)} payments got {len(values)}."
        raise InvariantError(msg)
    return [min(pair) for pair in zip(values, asked, strict=True)] if values else [0] * len(asked)


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
