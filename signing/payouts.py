"""
Whether payouts are what was asked for and approved: all that share a transaction, at once.

However many there are, the questions to the database are the same few.
"""

from collections.abc import Mapping, Sequence

from sqlalchemy import BindParameter, any_, bindparam
from sqlalchemy.dialects.postgresql import ARRAY
from sqlmodel import String, col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.errors import SigningRefusedError
from domain.ids import HOLD, derived_id
from domain.payouts import DecisionKind, PayoutStatus
from domain.pockets import Route
from domain.policy import is_satisfied, parse_policy, requirement
from domain.utxo.networks import NAMESPACE as UTXO_NAMESPACE
from models.chain_transactions import ChainAttempt, ChainTransaction
from models.deposits import ChainAddress
from models.identity import Role, User
from models.ledger import Hold, HoldStatus, LedgerTransaction
from models.payouts import ApprovalDecision, Payout, Policy
from models.wallets import Asset, BlockchainWallet, Chain
from signing.pockets import check_funded_pockets, check_spend, content_of
from signing.runs import PaidRuns


async def check_payouts(
    session: AsyncSession, row: ChainTransaction, chain: Chain, *, runs: PaidRuns
) -> None:
    """
    Refuse a transaction that pays anything else than payouts which may be paid.

    Raises:
        SigningRefusedError: With the reason.
    """
    payouts = await payouts_in(session, row)
    require(0 < len(payouts) <= chain.outputs_max, f"{len(payouts)} payouts")
    require(sum(p.amount_minor for p in payouts) == row.amount_minor, "another amount")
    require((row.destination is None) == (len(payouts) > 1), "another destination")
    is_dispersed = len(payouts) > 1 and not chain.id.startswith(UTXO_NAMESPACE)
    require(not is_dispersed or chain.disperse_address is not None, "no contract to share")
    contract = chain.disperse_address if is_dispersed else None
    require(row.disperse_address == contract, "another contract")
    asset = await session.get_one(Asset, row.asset)
    require(asset.enabled and asset.chain_id == row.chain_id, "asset is not enabled here")
    for payout in payouts:
        _check_one(row, payout)
    await _check_not_ours(session, [p for p in payouts if p.route == Route.PAYOUT])
    await check_funded_pockets(session, [p for p in payouts if p.route != Route.PAYOUT])
    await _check_not_given_back(session, payouts)
    await _check_money(session, [p for p in payouts if p.run_id is None])
    await _check_approvals(session, [p for p in payouts if p.run_id is None])
    await runs.check_lines([p for p in payouts if p.run_id is not None])


async def check_pocket_spend(
    session: AsyncSession, row: ChainTransaction, attempt: ChainAttempt, chain: Chain
) -> None:
    """
    Refuse a transaction that pays with a pocket anything but one transfer of its user's.

    Raises:
        SigningRefusedError: With the reason.
    """
    payouts = await payouts_in(session, row)
    require(len(payouts) == 1, f"{len(payouts)} payouts")
    require(row.disperse_address is None, "a contract with a pocket's money")
    (payout,) = payouts
    await check_spend(session, row, payout=payout, attempt=attempt, chain=chain)
    asset = await session.get_one(Asset, row.asset)
    require(asset.enabled and asset.chain_id == row.chain_id, "asset is not enabled here")
    await _check_not_given_back(session, payouts)
    require(payout.hold_id == derived_id(HOLD, payout.id), "another payout's hold")
    if payout.route == Route.SEND:
        await _check_not_ours(session, payouts)
        await _check_approvals(session, payouts)


async def payouts_in(session: AsyncSession, row: ChainTransaction) -> Sequence[Payout]:
    """Return what a transaction pays, in the order in which it pays: that of their ids."""
    found = await session.exec(
        select(Payout).where(Payout.chain_transaction_id == row.id).order_by(col(Payout.id))
    )
    return found.all()


def _check_one(row: ChainTransaction, payout: Payout) -> None:
    require(payout.status == PayoutStatus.BATCHED, f"payout is {payout.status}")
    require(payout.route in (Route.PAYOUT, Route.FUND), f"a {payout.route} by the hot wallet")
    require(payout.chain_id == row.chain_id, "another chain")
    require(payout.asset == row.asset, "another asset")
    require(row.destination in (None, payout.destination), "another destination")


async def _check_not_ours(session: AsyncSession, payouts: Sequence[Payout]) -> None:
    paid = any_(_texts({payout.destination for payout in payouts}))
    wallet = await session.exec(
        select(BlockchainWallet.address).where(col(BlockchainWallet.address) == paid)
    )
    handed_out = await session.exec(
        select(ChainAddress.id).where(col(ChainAddress.address) == paid)
    )
    is_ours = wallet.first() is not None or handed_out.first() is not None
    require(not is_ours, "pays one of our own addresses")


async def _check_not_given_back(session: AsyncSession, payouts: Sequence[Payout]) -> None:
    """A payout whose customer has the money back is not paid, whatever its status is made to be."""
    keys = {f"{p.id}:{step}" for p in payouts for step in ("return", "release")}
    found = await session.exec(
        select(LedgerTransaction.id).where(col(LedgerTransaction.key) == any_(_texts(keys)))
    )
    require(found.first() is None, "its money was given back")


async def _check_money(session: AsyncSession, payouts: Sequence[Payout]) -> None:
    if not payouts:
        return
    found = await session.exec(
        select(Hold).where(col(Hold.id) == any_(_texts({str(p.hold_id) for p in payouts})))
    )
    holds = {hold.id: hold for hold in found}
    for payout in payouts:
        # One hold pays one payout: a copy of a payout cannot lean on the hold of the first.
        require(payout.hold_id == derived_id(HOLD, payout.id), "another payout's hold")
        hold = holds.get(str(payout.hold_id))
        is_captured = (
            hold is not None
            and hold.status == HoldStatus.CAPTURED
            and hold.captured_minor == payout.amount_minor + payout.fee_minor
            and (hold.owner, hold.asset) == (payout.user_id, payout.asset)
            # What a pocket holds is paid by that pocket, and not by the hot wallet.
            and hold.pocket is None
        )
        require(is_captured, "its money is not in flight")


async def _check_approvals(session: AsyncSession, payouts: Sequence[Payout]) -> None:
    if not payouts:
        return
    policies = await _policies(session, payouts)
    rows = await session.exec(
        select(ApprovalDecision, User.roles)
        .join(User, col(User.id) == col(ApprovalDecision.approver_id))
        .where(
            col(ApprovalDecision.payout_id) == any_(_texts({p.id for p in payouts})),
            col(User.disabled_at).is_(None),
        )
    )
    decisions: dict[str, list[tuple[ApprovalDecision, Sequence[str]]]] = {}
    for decision, roles in rows:
        decisions.setdefault(decision.payout_id, []).append((decision, roles))
    for payout in payouts:
        policy = policies.get(payout.policy_version or -1)
        require(policy is not None, "no policy accepted it")
        assert policy is not None
        _check_decisions(payout, policy, decisions.get(payout.id, []))


async def _policies(session: AsyncSession, payouts: Sequence[Payout]) -> Mapping[int, Policy]:
    versions = {payout.policy_version for payout in payouts}
    found = await session.exec(select(Policy).where(col(Policy.version).in_(versions)))
    return {int(policy.version or 0): policy for policy in found}


def _check_decisions(
    payout: Payout, policy: Policy, decisions: Sequence[tuple[ApprovalDecision, Sequence[str]]]
) -> None:
    needed = requirement(
        parse_policy(policy.document), asset=payout.asset, amount_minor=payout.amount_minor
    )
    content = content_of(payout)
    approvers: list[str] = []
    for decision, roles in decisions:
        require(decision.decision != DecisionKind.REJECT, "an approver rejected it")
        require(decision.payout_hash == content, "something else was approved")
        if Role.APPROVER in roles and decision.decision == DecisionKind.APPROVE:
            approvers.append(decision.approver_id)
    enough = is_satisfied(needed, requester=payout.user_id, approvers=approvers)
    require(enough, f"{len(approvers)} of {needed.approvals} approvals")


def _texts(values: set[str]) -> BindParameter[Sequence[str]]:
    return bindparam(None, sorted(values), ARRAY(String))


def require(holds: bool, otherwise: str) -> None:  # noqa: FBT001
    """Refuse to sign unless it holds."""
    if not holds:
        raise SigningRefusedError(otherwise)
