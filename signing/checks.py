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
from domain.utxo.networks import NAMESPACE as UTXO_NAMESPACE
from models.chain_transactions import ChainAttempt, ChainTransaction, ChainTransactionKind
from models.deposits import ChainAddress
from models.identity import Role, User
from models.ledger import Hold, HoldStatus
from models.payouts import ApprovalDecision, Payout, Policy
from models.wallets import Asset, BlockchainWallet, Chain
from signing.own_transfers import check_own_transfer

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
    is_utxo = chain.id.startswith(UTXO_NAMESPACE)
    _require(is_utxo or 0 < (row.gas_limit or 0) <= GAS_LIMIT_MAX, "gas limit out of range")
    match row.kind:
        case ChainTransactionKind.NONCE_FILLER:
            _require(row.destination == row.wallet_address, "a filler pays somebody else")
            _require(row.amount_minor == 0, "a filler moves money")
        case ChainTransactionKind.PAYOUT:
            await _check_payouts(session, row, outputs_max=chain.outputs_max)
        case _:
            await check_own_transfer(session, row, chain)


async def _check_payouts(session: AsyncSession, row: ChainTransaction, *, outputs_max: int) -> None:
    found = await session.exec(
        select(Payout).where(Payout.chain_transaction_id == row.id).order_by(col(Payout.id))
    )
    payouts = found.all()
    _require(0 < len(payouts) <= outputs_max, f"{len(payouts)} payouts")
    total_minor = sum(payout.amount_minor for payout in payouts)
    _require(total_minor == row.amount_minor, "another amount")
    is_shared = len(payouts) > 1
    _require((row.destination is None) == is_shared, "another destination")
    for payout in payouts:
        await _check_payout(session, row, payout)


async def _check_payout(session: AsyncSession, row: ChainTransaction, payout: Payout) -> None:
    _require(payout.status == PayoutStatus.BATCHED, f"payout is {payout.status}")
    _require(payout.chain_id == row.chain_id, "another chain")
    _require(payout.asset == row.asset, "another asset")
    _require(row.destination in (None, payout.destination), "another destination")
    asset = await session.get_one(Asset, payout.asset)
    _require(asset.enabled and asset.chain_id == row.chain_id, "asset is not enabled here")
    _require(not await _is_ours(session, payout.destination), "pays one of our own addresses")
    await _check_money(session, payout)
    await _check_approvals(session, payout)


async def _is_ours(session: AsyncSession, address: str) -> bool:
    wallet = await session.exec(
        select(BlockchainWallet.address).where(BlockchainWallet.address == address)
    )
    handed_out = await session.exec(select(ChainAddress.id).where(ChainAddress.address == address))
    return wallet.first() is not None or handed_out.first() is not None


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
    _require(payout.policy_version is not None, "no policy accepted it")
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
