"""Why a payout is where it is, in one sentence that its owner understands."""

from datetime import datetime, timedelta

from sqlmodel.ext.asyncio.session import AsyncSession

from domain.bump_policy import is_spent
from domain.errors import error_by_code
from domain.explanations import SILENT_AFTER, Explanation, overdue_since
from domain.payouts import PayoutStatus, Priority
from domain.workflow_ids import SIGNING_QUEUE
from models.chain_transactions import UNCLEAR_RECEIPT, ChainTransactionStatus
from models.wallets import Finality
from payouts.approvals import approvers_among
from payouts.fee_ceilings import ceiling_minor, is_too_dear, rate_now_minor
from payouts.liveness import last_seen
from payouts.queries import PayoutDetail

STEPS = {
    ChainTransactionStatus.PLANNED: Explanation("In a batch; its fee is being planned.", "fee"),
    ChainTransactionStatus.SIGNED: Explanation("Signed; about to be broadcast.", "broadcast"),
    ChainTransactionStatus.ABANDONED: Explanation(
        "The signer refused it; an operator must refund it or try again.", "operator"
    ),
}

REASONS = {
    "input_gone": Explanation(
        "A reorg took a coin that it spends, so it can never be mined; an operator must refund it.",
        "input_gone",
    ),
    UNCLEAR_RECEIPT: Explanation(
        "Mined, and nobody can tell what it did; an operator must look at it.", "unclear_receipt"
    ),
}
"""Why it does not go on, where it is not the signer's refusal."""

MOVED_ON = (ChainTransactionStatus.MINED, ChainTransactionStatus.ABANDONED)
"""Where what holds its batch up is no matter to it."""


async def explain(session: AsyncSession, detail: PayoutDetail, *, now: datetime) -> Explanation:
    """Return what the payout waits for, from what the database knows."""
    signer_seen_at = (await last_seen(session)).get(SIGNING_QUEUE)
    return explained(detail, signer_seen_at=signer_seen_at, now=now)


def explained(
    detail: PayoutDetail, *, signer_seen_at: datetime | None, now: datetime
) -> Explanation:
    """Return the explanation; pure."""
    match PayoutStatus(detail.payout.status):
        case PayoutStatus.AWAITING_APPROVAL:
            return _approvals(detail, now=now)
        case PayoutStatus.READY:
            return _ready(detail, now=now)
        case PayoutStatus.BATCHED:
            return _on_the_way(detail, signer_seen_at=signer_seen_at, now=now)
        case PayoutStatus.SETTLED:
            row = detail.chain_transaction
            return Explanation(f"Settled in transaction {row.txid if row else '?'}.", None)
        case _:
            return _ended(detail)


def _approvals(detail: PayoutDetail, *, now: datetime) -> Explanation:
    payout = detail.payout
    if overdue := overdue_since(payout.approval_expires_at, now=now):
        return overdue
    got = len(approvers_among(detail.decisions))
    until = payout.approval_expires_at
    sentence = f"Waiting for approval {got + 1} of {payout.approvals_required}"
    if until is not None:
        sentence += f", until {until:%Y-%m-%d %H:%M} UTC"
    return Explanation(f"{sentence}.", "approval")


def _ready(detail: PayoutDetail, *, now: datetime) -> Explanation:
    chain, priority = detail.chain, Priority(detail.payout.priority)
    if detail.is_denied:
        return Explanation(
            "Screening denies its destination; waiting until it is allowed, or for a refund.",
            "address_denied",
        )
    if detail.is_stopped:
        return Explanation("Its mix is paused or held; waiting until that goes on.", "mix")
    if not detail.asset.enabled:
        return Explanation(
            f"Approved; waiting until {detail.asset.code} is enabled again.", "asset_disabled"
        )
    if is_too_dear(chain, detail.head, priority, now=now):
        rate_minor = rate_now_minor(detail.head, now=now)
        most_minor = ceiling_minor(chain, priority)
        return Explanation(
            f"Approved; waiting for lower fees: now {rate_minor}, {priority} payouts leave up to"
            f" {most_minor}.",
            "fees",
        )
    wait_ms = chain.economy_wait_ms if priority == Priority.ECONOMY else chain.batch_wait_ms
    until = detail.payout.updated_at + timedelta(milliseconds=wait_ms)
    if priority != Priority.URGENT and now < until:
        moment = f"{until:%Y-%m-%d %H:%M:%S}"
        return Explanation(f"Approved; waiting for company until {moment} UTC.", "company")
    return Explanation("Approved; waiting for the next batch.", "batch")


def _on_the_way(
    detail: PayoutDetail, *, signer_seen_at: datetime | None, now: datetime
) -> Explanation:
    row, batch = detail.chain_transaction, detail.batch
    if row is None or batch is None:
        return Explanation("In a batch.", "batch")
    if batch.waiting_for and row.status not in MOVED_ON:
        return _held_up(batch.waiting_for, batch.waiting_since)
    match ChainTransactionStatus(row.status):
        case ChainTransactionStatus.ALLOCATED:
            return _signature(row.reason_code, signer_seen_at=signer_seen_at, now=now)
        case ChainTransactionStatus.BROADCAST:
            return _block(detail, now=now)
        case known if row.reason_code in REASONS or known in STEPS:
            return REASONS.get(row.reason_code or "") or STEPS[known]
        case _:
            return _confirmations(detail)


def _held_up(code: str, since: datetime | None) -> Explanation:
    error = error_by_code(code)
    title = error.title if error else code.replace("_", " ").capitalize()
    moment = f" since {since:%Y-%m-%d %H:%M:%S} UTC" if since else ""
    return Explanation(f"{title}{moment}.", code)


def _signature(
    reason_code: str | None, *, signer_seen_at: datetime | None, now: datetime
) -> Explanation:
    if reason_code is not None:
        return Explanation("The signer refused it; its place is being freed.", reason_code)
    if signer_seen_at is None:
        return Explanation("Waiting for the signer, which has never run.", "signer")
    if now - signer_seen_at > SILENT_AFTER:
        moment = f"{signer_seen_at:%Y-%m-%d %H:%M:%S}"
        return Explanation(f"Signer not running since {moment} UTC.", "signer")
    return Explanation("Waiting for the signer.", "signer")


def _block(detail: PayoutDetail, *, now: datetime) -> Explanation:
    head = detail.head
    if head is not None and now - head.seen_at > SILENT_AFTER:
        moment = f"{head.seen_at:%Y-%m-%d %H:%M:%S}"
        return Explanation(f"Broadcast; {detail.chain.name} not seen since {moment} UTC.", "chain")
    offer, most_minor = detail.offer, detail.chain.bump_fee_max_minor
    if offer is not None and is_spent(offer.cost_minor, most_minor):
        return Explanation(
            f"Broadcast; waiting for a block of {detail.chain.name}. It is not replaced: that could"
            f" cost more than {most_minor}.",
            "fee_budget",
        )
    return Explanation(f"Broadcast; waiting for a block of {detail.chain.name}.", "block")


def _confirmations(detail: PayoutDetail) -> Explanation:
    chain = detail.chain
    if chain.finality == Finality.FINALIZED:
        return Explanation("Mined; waiting for the chain to finalize it.", "finality")
    got = min(detail.confirmations, chain.confirmations_min)
    return Explanation(f"Mined; {got} of {chain.confirmations_min} confirmations.", "confirmations")


def _ended(detail: PayoutDetail) -> Explanation:
    status = PayoutStatus(detail.payout.status)
    reason = detail.payout.reason_code
    text = next((e.detail for e in reversed(detail.events) if e.detail), None)
    because = f": {text or reason}" if text or reason else ""
    return Explanation(f"{status.value.capitalize()}{because}".rstrip(".") + ".", None)
