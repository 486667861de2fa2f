"""What a transaction of a paying chain does, decided when a block takes it."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from domain.ports import Block, Receipt
from tests.support.scripted_chain import GAS_USED

GAS_EACH = 9_000
"""What each payment of a dispersal takes on top."""

Body = dict[str, Any]


@dataclass(frozen=True)
class Payment:
    """Money that a mined transaction gave somebody."""

    destination: str
    amount_minor: int
    token: str | None


@dataclass(frozen=True)
class Mined:
    """What became of a transaction in a block of the chain as it is now."""

    receipt: Receipt
    payments: tuple[Payment, ...]
    token: str | None
    is_approval: bool


def asked_for(body: Body) -> list[Payment]:
    """Return what a signed transaction is to pay, in its order."""
    transfer = body["transfer"]
    token = transfer["contract_address"]
    if transfer["dispersal"] is not None:
        payments = transfer["dispersal"]["payments"]
        return [Payment(p["recipient"], p["amount_minor"], token) for p in payments]
    if transfer["amount_minor"]:
        return [Payment(transfer["destination"], transfer["amount_minor"], token)]
    return []


def executed(
    txid: str,
    body: Body,
    block: Block,
    *,
    base_fee_minor: int,
    failing: Collection[str],
    is_broken: bool,
) -> Mined:
    """Return what it does in this block; one that is broken does nothing and costs its fee."""
    asked, is_shared = asked_for(body), body["transfer"]["dispersal"] is not None
    failed = {place for place, p in enumerate(asked) if p.destination in failing}
    is_broken = is_broken or (not is_shared and bool(failed))
    paid = [] if is_broken else [p for place, p in enumerate(asked) if place not in failed]
    price = min(body["max_fee_minor"], base_fee_minor + body["priority_fee_minor"])
    total_minor = sum(p.amount_minor for p in paid)
    receipt = Receipt(
        txid=txid,
        block_height=block.height,
        block_hash=block.hash,
        succeeded=not is_broken,
        network_fee_minor=price * (GAS_USED + GAS_EACH * len(asked)),
        outflow_minor=total_minor,
        received_minor=total_minor,
        failed_places=() if is_broken else tuple(sorted(failed)),
    )
    is_approval = body["transfer"]["is_approval"] and not is_broken
    return Mined(receipt, tuple(paid), body["transfer"]["contract_address"], is_approval)
