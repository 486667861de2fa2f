"""
Whether payouts are what was asked for and approved: all that share a transaction, at once.

However many there are, the questions to the database are the same few.
"""

from collections.abc import Callable, Mapping, Sequence

from sqlalchemy import BindParameter, any_, bindparam
from sqlalchemy.dialects.postgresql import ARRAY
from sqlmodel import String, col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.errors import SigningRefusedError
from domain.families import family_of
from domain.ids import HOLD, derived_id
from domain.payouts import DecisionKind, PayoutStatus
from domain.pockets import Route
from domain.policy import is_satisfied, parse_policy, requirement
from models.chain_transactions import ChainAttempt, ChainTransaction
from models.deposits import ChainAddress
from models.identity import Role, User
from models.ledger import Hold, HoldStatus, LedgerTransaction
from models.payouts import ApprovalDecision, Payout, Policy
from models.wallets import Asset, BlockchainWallet, Chain
from signing.conversions import Backing, backings_of
from signing.pockets import check_funded_pockets, check_spend, content_of
from signing.runs import PaidRuns

type Refusals = Mapping[str, str]
"""Why payouts may not be paid, by their ids."""


async def check_payouts(
    session: AsyncSession, row: ChainTransaction, chain: Chain, *, runs: PaidRuns
) -> None:
    """
    Refuse a transaction that pays anything else than payouts which may be paid.

    Raises:
        SigningRefusedError: With the reason, and which payouts are to blame if not all of it is.
    """
    payouts = await payouts_in(session, row)
    await _check_whole(session, row, chain, payouts)
    singles = [payout for payout in payouts if payout.run_id is None]
    lines = [payout for payout in payouts if payout.run_id is not None]
    refused: dict[str, str] = {}
    for found in (
        await runs.refused_among(lines),
        await _unapproved(session, singles),
        await _without_money(session, singles),
        await _given_back(session, payouts),
        await _to_ourselves(session, [p for p in payouts if p.route == Route.PAYOUT]),
        await _of_another_pocket(session, [p for p in payouts if p.route != Route.PAYOUT]),
        _refusals(payouts, lambda payout: _check_one(row, payout)),
    ):
        # What was looked at last weighs most: it is the simplest reason.
        refused |= found
    _raise_first(refused)


async def _check_whole(
    session: AsyncSession, row: ChainTransaction, chain: Chain, payouts: Sequence[Payout]
) -> None:
    require(0 < len(payouts) <= chain.outputs_max, f"{len(payouts)} payouts")
    require(sum(p.amount_minor for p in payouts) == row.amount_minor, "another amount")
    require((row.destination is None) == (len(payouts) > 1), "another destination")
    is_dispersed = len(payouts) > 1 and not family_of(chain.id).shares_natively
    require(not is_dispersed or chain.disperse_address is not None, "no contract to share")
    contract = chain.disperse_address if is_dispersed else None
    require(row.disperse_address == contract, "another contract")
    asset = await session.get_one(Asset, row.asset)
    require(asset.enabled and asset.chain_id == row.chain_id, "asset is not enabled here")


def _refusals(payouts: Sequence[Payout], check: Callable[[Payout], None]) -> Refusals:
    """Return which payouts do not pass a check, and why."""
    refused: dict[str, str] = {}
    for payout in payouts:
        try:
            check(payout)
        except SigningRefusedError as refusal:
            refused[payout.id] = refusal.detail
    return refused


def _raise_first(refused: Refusals) -> None:
    for reason in refused.values():
        raise SigningRefusedError(reason, payout_ids=sorted(refused))


async def _of_another_pocket(session: AsyncSession, payouts: Sequence[Payout]) -> Refusals:
    refused: dict[str, str] = {}
    for payout in payouts:
        try:
            await check_funded_pockets(session, [payout])
        except SigningRefusedError as refusal:
            refused[payout.id] = refusal.detail
    return refused


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
    _raise_first(await _given_back(session, payouts))
    require(payout.hold_id == derived_id(HOLD, payout.id), "another payout's hold")
    if payout.route == Route.SEND:
        _raise_first(await _to_ourselves(session, payouts))
        _raise_first(await _unapproved(session, payouts))


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


async def _to_ourselves(session: AsyncSession, payouts: Sequence[Payout]) -> Refusals:
    paid = any_(_texts({payout.destination for payout in payouts}))
    wallets = await session.exec(
        select(BlockchainWallet.address).where(col(BlockchainWallet.address) == paid)
    )
    handed_out = await session.exec(
        select(ChainAddress.address).where(col(ChainAddress.address) == paid)
    )
    ours = {*wallets, *handed_out}
    return {p.id: "pays one of our own addresses" for p in payouts if p.destination in ours}


async def _given_back(session: AsyncSession, payouts: Sequence[Payout]) -> Refusals:
    """A payout whose customer has the money back is not paid, whatever its status is made to be."""
    keys = {f"{p.id}:{step}": p.id for p in payouts for step in ("return", "release")}
    found = await session.exec(
        select(LedgerTransaction.key).where(col(LedgerTransaction.key) == any_(_texts(set(keys))))
    )
    return {keys[key]: "its money was given back" for key in found}


async def _without_money(session: AsyncSession, payouts: Sequence[Payout]) -> Refusals:
    if not payouts:
        return {}
    found = await session.exec(
        select(Hold).where(col(Hold.id) == any_(_texts({str(p.hold_id) for p in payouts})))
    )
    holds = {hold.id: hold for hold in found}
    backings = await backings_of(session, payouts)
    return _refusals(
        payouts,
        lambda payout: _check_money(
            payout, holds.get(str(payout.hold_id)), backings.get(payout.id)
        ),
    )


def _check_money(payout: Payout, hold: Hold | None, backing: Backing | None) -> None:
    if payout.quote_id is None:
        backing = Backing(payout.asset, payout.amount_minor + payout.fee_minor)
    require(backing is not None, "its quote does not back it")
    assert backing is not None
    # One hold pays one payout: a copy of a payout cannot lean on the hold of the first.
    require(payout.hold_id == derived_id(HOLD, payout.id), "another payout's hold")
    is_captured = (
        hold is not None
        and hold.status == HoldStatus.CAPTURED
        and hold.captured_minor == backing.amount_minor
        and (hold.owner, hold.asset) == (payout.user_id, backing.asset)
        # What a pocket holds is paid by that pocket, and not by the hot wallet.
        and hold.pocket is None
    )
    require(is_captured, "its money is not in flight")


async def _unapproved(session: AsyncSession, payouts: Sequence[Payout]) -> Refusals:
    if not payouts:
        return {}
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
    return _refusals(
        payouts,
        lambda payout: _check_decisions(
            payout, policies.get(payout.policy_version or -1), decisions.get(payout.id, [])
        ),
    )


async def _policies(session: AsyncSession, payouts: Sequence[Payout]) -> Mapping[int, Policy]:
    versions = {payout.policy_version for payout in payouts}
    found = await session.exec(select(Policy).where(col(Policy.version).in_(versions)))
    return {int(policy.version or 0): policy for policy in found}


def _check_decisions(
    payout: Payout,
    policy: Policy | None,
    decisions: Sequence[tuple[ApprovalDecision, Sequence[str]]],
) -> None:
    if policy is None:
        msg = "no policy accepted it"
        raise SigningRefusedError(msg)
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
