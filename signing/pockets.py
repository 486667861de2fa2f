"""
What the signer satisfies itself of before it moves money to or from a user's own pocket.

A pocket's key signs for its user alone: each transfer carries that user's own authorization, which
they gave with their second factor for exactly this, sealed in the hash chain like any decision.
"""

from collections.abc import Sequence

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.coins import KeyPosition
from domain.errors import SigningRefusedError
from domain.hd import EXTERNAL, derive_address
from domain.ids import HOLD, derived_id
from domain.payouts import DecisionKind, PayoutStatus, approved_content_hash
from domain.pockets import OF_POCKETS, Route, approved_destination
from models.chain_transactions import ChainAttempt, ChainTransaction
from models.deposits import AddressPurpose, ChainAddress, HdAccount
from models.ledger import Hold, HoldStatus
from models.payouts import ApprovalDecision, Payout
from models.wallets import Chain


async def check_funded_pockets(session: AsyncSession, payouts: Sequence[Payout]) -> None:
    """
    Refuse a transfer to a pocket that is not the pocket of whoever asked for it.

    Raises:
        SigningRefusedError: With the reason.
    """
    for payout in payouts:
        pocket = await _pocket_of(session, payout)
        _require(payout.destination == pocket.address, "pays another pocket")
        await check_authorized(session, payout)


async def check_spend(
    session: AsyncSession,
    row: ChainTransaction,
    *,
    payout: Payout,
    attempt: ChainAttempt,
    chain: Chain,
) -> None:
    """
    Refuse to pay with a pocket what its own user did not ask for, or at more than they set aside.

    Raises:
        SigningRefusedError: With the reason.
    """
    _require(payout.route in (Route.REDEEM, Route.SEND), f"a {payout.route} from a pocket")
    pocket = await _pocket_of(session, payout)
    _require(row.wallet_address == pocket.address, "another pocket pays")
    _require(payout.status == PayoutStatus.BATCHED, f"payout is {payout.status}")
    _require(payout.chain_id == row.chain_id, "another chain")
    _require(payout.asset == row.asset, "another asset")
    _require(payout.amount_minor == row.amount_minor, "another amount")
    _require(payout.destination == row.destination, "another destination")
    await check_authorized(session, payout)
    cost_minor = attempt.fee_minor
    if cost_minor is None:
        cost_minor = (row.gas_limit or 0) * attempt.max_fee_minor
    _require(cost_minor <= (payout.gas_max_minor or 0), "costs more than was set aside")
    if payout.gas_hold_id is not None:
        _require(payout.gas_hold_id == derived_id(HOLD, payout.id, "gas"), "another's gas")
        await _check_held(
            session,
            payout,
            payout.gas_hold_id,
            asset=chain.native_asset,
            amount_minor=payout.gas_max_minor or 0,
        )
    held_minor = payout.amount_minor + payout.fee_minor
    await _check_held(
        session, payout, str(payout.hold_id), asset=payout.asset, amount_minor=held_minor
    )


async def check_authorized(session: AsyncSession, payout: Payout) -> None:
    """Refuse what its user did not ask for by their second factor."""
    found = await session.exec(
        select(ApprovalDecision).where(
            ApprovalDecision.payout_id == payout.id,
            ApprovalDecision.approver_id == payout.user_id,
            ApprovalDecision.decision == DecisionKind.AUTHORIZE,
        )
    )
    word = found.first()
    _require(word is not None, "its user did not authorize it")
    assert word is not None
    _require(word.payout_hash == content_of(payout), "its user authorized something else")


def content_of(payout: Payout) -> str:
    """Return the hash of what was approved of a payout of any route."""
    return approved_content_hash(
        payout_id=payout.id,
        asset=payout.asset,
        amount_minor=payout.amount_minor,
        destination=approved_destination(
            payout.route,
            payout.user_id,
            payout.chain_id,
            payout.destination,
            quote_id=payout.quote_id,
        ),
    )


async def is_pocket(session: AsyncSession, chain_id: str, address: str) -> bool:
    """Tell whether an address is some user's own pocket: nothing of ours, never to be swept."""
    found = await session.exec(
        select(ChainAddress.id).where(
            ChainAddress.chain_id == chain_id,
            ChainAddress.address == address,
            ChainAddress.purpose == AddressPurpose.POCKET,
        )
    )
    return found.first() is not None


async def _pocket_of(session: AsyncSession, payout: Payout) -> ChainAddress:
    """Return the pocket of whoever asked; derived again: a row is no proof that it is ours."""
    _require(payout.route in OF_POCKETS, "no transfer of a pocket")
    pocket = await session.get(ChainAddress, payout.pocket_id) if payout.pocket_id else None
    _require(pocket is not None, "there is no pocket")
    assert pocket is not None
    is_theirs = (pocket.user_id, pocket.chain_id, pocket.purpose, pocket.branch) == (
        payout.user_id,
        payout.chain_id,
        AddressPurpose.POCKET,
        EXTERNAL,
    )
    _require(is_theirs, "somebody else's pocket")
    account = await session.get_one(HdAccount, payout.chain_id)
    position = KeyPosition(pocket.branch, pocket.index)
    derived = derive_address(payout.chain_id, account.xpub, position)
    _require(derived.address == pocket.address, "a pocket that is not ours")
    return pocket


async def _check_held(
    session: AsyncSession, payout: Payout, hold_id: str, *, asset: str, amount_minor: int
) -> None:
    found = await session.exec(
        select(Hold).where(col(Hold.id) == hold_id, Hold.pocket == payout.chain_id)
    )
    hold = found.first()
    is_captured = (
        hold is not None
        and hold.status == HoldStatus.CAPTURED
        and hold.captured_minor == amount_minor
        and (hold.owner, hold.asset) == (payout.user_id, asset)
    )
    _require(is_captured, "its money is not in flight")


def _require(holds: bool, otherwise: str) -> None:  # noqa: FBT001
    if not holds:
        raise SigningRefusedError(otherwise)
