"""
What the signer satisfies itself of before it signs, from the database alone.

It trusts no message: a workflow only names a batch. Whoever can start workflows or write chain
transactions still cannot make the signer pay what nobody asked for and approved.
"""

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.errors import SigningRefusedError
from domain.ids import HOLD, derived_id
from domain.payouts import DecisionKind, PayoutStatus, approved_content_hash
from domain.policy import is_satisfied, parse_policy, requirement
from models.chain_transactions import ChainAttempt, ChainTransaction, ChainTransactionKind
from models.identity import Role, User
from models.ledger import Hold, HoldStatus
from models.payouts import ApprovalDecision, Payout, Policy
from models.wallets import Asset, BlockchainWallet, Chain

GAS_LIMIT_MAX = 1_000_000
"""No transfer we know needs more; a higher limit would only burn money."""


async def check_intent(session: AsyncSession, row: ChainTransaction, attempt: ChainAttempt) -> None:
    """
    Refuse a chain transaction that is not exactly what was asked for and approved.

    Raises:
        SigningRefusedError: With the reason, for the log; the caller abandons it.
    """
    chain = await session.get_one(Chain, row.chain_id)
    _require(attempt.max_fee_minor <= chain.max_fee_ceiling_minor, "fee above the ceiling")
    _require(0 < (row.gas_limit or 0) <= GAS_LIMIT_MAX, "gas limit out of range")
    if row.kind == ChainTransactionKind.NONCE_FILLER:
        _require(row.destination == row.wallet_address, "a filler pays somebody else")
        _require(row.amount_minor == 0, "a filler moves money")
        return
    found = await session.exec(select(Payout).where(Payout.chain_transaction_id == row.id))
    payouts = found.all()
    _require(len(payouts) == 1, "not exactly one payout")
    await _check_payout(session, row, payouts[0])


async def _check_payout(session: AsyncSession, row: ChainTransaction, payout: Payout) -> None:
    _require(payout.status == PayoutStatus.BATCHED, f"payout is {payout.status}")
    _require(payout.chain_id == row.chain_id, "another chain")
    _require(payout.asset == row.asset, "another asset")
    _require(payout.amount_minor == row.amount_minor, "another amount")
    _require(payout.destination == row.destination, "another destination")
    asset = await session.get_one(Asset, payout.asset)
    _require(asset.enabled and asset.chain_id == row.chain_id, "asset is not enabled here")
    own = await session.exec(
        select(BlockchainWallet.address).where(BlockchainWallet.address == payout.destination)
    )
    _require(own.first() is None, "pays one of our own wallets")
    await _check_money(session, payout)
    await _check_approvals(session, payout)


async def _check_money(session: AsyncSession, payout: Payout) -> None:
    # One hold pays one payout: a copy of a payout cannot lean on the hold of the first.
    _require(payout.hold_id == derived_id(HOLD, payout.id), "another payout's hold")
    hold = await session.get(Hold, payout.hold_id)
    total_minor = payout.amount_minor + payout.fee_minor
    is_captured = (
        hold is not None
        and hold.status == HoldStatus.CAPTURED
        and hold.captured_minor == total_minor
        and (hold.owner, hold.asset) == (payout.user_id, payout.asset)
    )
    _require(is_captured, "its money is not in flight")


async def _check_approvals(session: AsyncSession, payout: Payout) -> None:
    policy = await session.get(Policy, payout.policy_version)
    _require(policy is not None, "no policy accepted it")
    assert policy is not None
    needed = requirement(
        parse_policy(policy.document), asset=payout.asset, amount_minor=payout.amount_minor
    )
    rows = await session.exec(
        select(ApprovalDecision, User.roles)
        .join(User, col(User.id) == col(ApprovalDecision.approver_id))
        .where(ApprovalDecision.payout_id == payout.id, col(User.disabled_at).is_(None))
    )
    content = approved_content_hash(
        payout_id=payout.id,
        asset=payout.asset,
        amount_minor=payout.amount_minor,
        destination=payout.destination,
    )
    approvers: list[str] = []
    for decision, roles in rows:
        _require(decision.decision != DecisionKind.REJECT, "an approver rejected it")
        _require(decision.payout_hash == content, "something else was approved")
        if Role.APPROVER in roles:
            approvers.append(decision.approver_id)
    enough = is_satisfied(needed, requester=payout.user_id, approvers=approvers)
    _require(enough, f"{len(approvers)} of {needed.approvals} approvals")


def _require(holds: bool, otherwise: str) -> None:  # noqa: FBT001
    if not holds:
        raise SigningRefusedError(otherwise)
