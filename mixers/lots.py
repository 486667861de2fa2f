"""
What becomes of each deposit of a mix: mixed, given to its user's balance, or taken back.

A deposit is decided on once. What was drawn for it is written in the same unit of work, so however
often a step is repeated, one plan is paid.
"""

from collections.abc import Sequence

from sqlalchemy import update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.errors import (
    BelowMinimumError,
    LimitExceededError,
    MixingNotAllowedError,
    MixStateError,
)
from domain.ids import DOLE, derived_id
from domain.limits import Operation
from domain.mixing.messages import LEVEL_MIN, DoleStatus, HoldKind, LotStatus, MixStatus
from domain.mixing.plan import MixPlan, draw_plan
from domain.mixing.policy import MixerPolicy, parse_mixer_policy
from domain.policy import requirement
from ledger import mix_rules
from limits.reservation import give_back, reserve
from mixers.history import note
from mixers.opening import level_of
from mixers.work import Work, put_on_hold
from models.deposits import ChainDeposit
from models.mixing import Mix, MixAddress, MixDole, MixLot
from payouts.policy import current_policy

LATE = "late"
ABOVE_MAXIMUM = "above_maximum"
CANCELLED = "cancelled"


async def decide_lots(work: Work, mix: Mix) -> None:
    """
    Decide on every deposit that was booked since, and undo what the chain took back.

    While a legal hold lasts nothing is decided on: nothing is given to anybody either.
    """
    decides = mix.hold_kind != HoldKind.LEGAL
    lots = {lot.deposit_id: lot for lot in await lots_of(work.session, mix.id)}
    for deposit in await deposits_of(work.session, mix):
        lot = lots.get(deposit.id)
        if lot is None and deposit.is_booked and decides:
            await _decide(work, mix, deposit)
        elif lot is not None and _is_gone(lot, deposit):
            await _take_back(work, mix, lot, deposit)
        elif lot is not None and _is_back(lot, deposit) and decides:
            # What left already is its user's debt; what came back pays that first.
            _refund(work, mix, deposit)
            await _mark(work, lot, LotStatus.REFUNDED)
            await note(work.session, mix, clock=work.clock, detail="a deposit came back")


def _is_gone(lot: MixLot, deposit: ChainDeposit) -> bool:
    return lot.status != LotStatus.TAKEN_BACK and not deposit.is_booked


def _is_back(lot: MixLot, deposit: ChainDeposit) -> bool:
    return lot.status == LotStatus.TAKEN_BACK and deposit.is_booked


async def deposits_of(session: AsyncSession, mix: Mix) -> Sequence[ChainDeposit]:
    """Return what came to a mix's address, oldest first; nothing of it is for a refused one."""
    if mix.status == MixStatus.REFUSED:
        return ()
    found = await session.exec(
        select(ChainDeposit)
        .where(
            ChainDeposit.address_id == mix.address_id,
            ChainDeposit.asset == mix.asset,
            # What is too small to be credited is in nobody's books but ours.
            col(ChainDeposit.reason_code).is_(None),
        )
        .order_by(col(ChainDeposit.seen_at), col(ChainDeposit.id))
    )
    return found.all()


async def lots_of(session: AsyncSession, mix_id: str) -> Sequence[MixLot]:
    """Return the deposits that were decided on, oldest first."""
    found = await session.exec(
        select(MixLot)
        .where(MixLot.mix_id == mix_id)
        .order_by(col(MixLot.created_at), col(MixLot.deposit_id))
    )
    return found.all()


async def cancel(work: Work, mix: Mix) -> None:
    """
    Give up a mix before its first part left: all that came, fees too, is its user's balance.

    Raises:
        MixStateError: A part has left, or operators hold it.
    """
    if mix.hold_kind is not None:
        msg = "The mix is held; nothing moves until that is lifted."
        raise MixStateError(msg)
    doles = await work.session.exec(
        select(MixDole.id).where(MixDole.mix_id == mix.id, MixDole.status == DoleStatus.RELEASED)
    )
    if doles.first() is not None or mix.status == MixStatus.DONE:
        msg = "A part of the mix has left; it cannot be given up any more."
        raise MixStateError(msg)
    await give_up(work, mix)
    work.trail.write(work.session, mix.id, "cancelled")


async def give_up(work: Work, mix: Mix) -> None:
    """
    Make what has not left of a mix its user's balance, and let nothing more leave.

    The fee is given back of a deposit of which nothing has left.
    """
    mix.is_cancelled = True
    deposits = {deposit.id: deposit for deposit in await deposits_of(work.session, mix)}
    for lot in await lots_of(work.session, mix.id):
        deposit = deposits[lot.deposit_id]
        if _is_gone(lot, deposit):
            # Now, or it would count as taken should it come back before anybody looks.
            await _take_back(work, mix, lot, deposit)
        elif lot.status == LotStatus.TAKEN:
            await _give_up_lot(work, mix, lot, deposit)


async def _give_up_lot(work: Work, mix: Mix, lot: MixLot, deposit: ChainDeposit) -> None:
    planned_minor = await _cancel_doles(work, lot)
    if planned_minor == lot.amount_minor - lot.fee_minor:
        _return_fee(work, mix, lot, deposit)
        _refund(work, mix, deposit)
        _untake(mix, lot)
        await _mark(work, lot, LotStatus.REFUNDED, reason_code=CANCELLED)
        await give_back(work.session, deposit.id)
    elif planned_minor:
        # Parts of it have left, so it stays taken. Should its chain take it back, all is owed.
        _refund(work, mix, deposit, amount_minor=planned_minor)


async def _decide(work: Work, mix: Mix, deposit: ChainDeposit) -> None:
    policy = parse_mixer_policy(mix.policy)
    addresses = await _addresses(work, mix)
    # Where they are purged the mix was over long ago, and nobody knows any more where to pay it.
    reason = await _why_not(work, mix, deposit, policy) if addresses else LATE
    plan = (
        None
        if reason
        else draw_plan(
            deposit.amount_minor,
            policy,
            addresses=addresses,
            parts_asked=mix.parts_asked,
            from_at=work.clock.now(),
            random=work.random,
        )
    )
    now = work.clock.now()
    lot = MixLot(
        deposit_id=deposit.id,
        mix_id=mix.id,
        amount_minor=deposit.amount_minor,
        fee_minor=plan.fee_minor if plan else 0,
        status=LotStatus.TAKEN if plan else LotStatus.REFUNDED,
        reason_code=reason,
        created_at=now,
        updated_at=now,
    )
    work.session.add(lot)
    await work.session.flush()
    if plan is None:
        _refund(work, mix, deposit)
        mix.reason_code = reason
        await note(work.session, mix, clock=work.clock, detail=f"not mixed: {reason}")
    else:
        await _take(work, mix, deposit, lot=lot, plan=plan)
    work.trail.write(
        work.session,
        mix.id,
        "deposit",
        deposit_id=deposit.id,
        txid=deposit.txid,
        amount=str(deposit.amount_minor),
        not_mixed=reason,
    )


async def _why_not(work: Work, mix: Mix, deposit: ChainDeposit, policy: MixerPolicy) -> str | None:
    """Return why a deposit is not mixed; None where it is, and is counted against limits."""
    if mix.is_cancelled:
        return CANCELLED
    if deposit.seen_at > mix.expires_at and not policy.takes_late:
        return LATE
    if await level_of(work.session, mix.user_id) < LEVEL_MIN:
        # Revoked since the mix was opened; the lower levels may have no limits of their own.
        return MixingNotAllowedError.code
    if reason := _out_of_bounds(deposit.amount_minor, policy):
        return reason
    try:
        await reserve(
            work.session,
            user_id=mix.user_id,
            operation=Operation.MIX,
            asset=mix.asset,
            amount_minor=deposit.amount_minor,
            at=work.clock.now(),
            hold_id=None,
            resource_id=deposit.id,
        )
    except LimitExceededError:
        return LimitExceededError.code
    return None


def _out_of_bounds(amount_minor: int, policy: MixerPolicy) -> str | None:
    if amount_minor < policy.deposit_min_minor:
        return BelowMinimumError.code
    return ABOVE_MAXIMUM if amount_minor > policy.deposit_max_minor else None


async def _addresses(work: Work, mix: Mix) -> Sequence[str]:
    found = await work.session.exec(
        select(MixAddress.address)
        .where(MixAddress.mix_id == mix.id)
        .order_by(col(MixAddress.address_hash))
    )
    return [address for address in found if address is not None]


async def _take(work: Work, mix: Mix, deposit: ChainDeposit, *, lot: MixLot, plan: MixPlan) -> None:
    work.session.add_all(
        MixDole(
            id=derived_id(DOLE, deposit.id, str(place)),
            mix_id=mix.id,
            deposit_id=deposit.id,
            amount_minor=dole.amount_minor,
            due_at=dole.due_at,
            address=dole.address,
            status=DoleStatus.PLANNED,
            created_at=work.clock.now(),
        )
        for place, dole in enumerate(plan.doles)
    )
    mix.received_minor += lot.amount_minor
    mix.fee_minor += lot.fee_minor
    mix.reason_code = None
    if lot.fee_minor:
        work.postings.append(
            mix_rules.mix_fee(
                deposit_id=deposit.id,
                credit=deposit.credits,
                mix_id=mix.id,
                mixer_id=mix.mixer_id,
                asset=mix.asset,
                fee_minor=lot.fee_minor,
                at=work.clock.now(),
            )
        )
    await _review(work, mix, lot)
    detail = f"taken, to leave in {len(plan.doles)} parts"
    await note(work.session, mix, clock=work.clock, detail=detail)


async def review_again(work: Work, mix: Mix) -> None:
    """Have people look at deposits of which nothing has left, after a hold that came in between."""
    for lot in await lots_of(work.session, mix.id):
        left = select(MixDole.id).where(
            MixDole.deposit_id == lot.deposit_id, MixDole.status == DoleStatus.RELEASED
        )
        has_left = (await work.session.exec(left.limit(1))).first() is not None
        if lot.status == LotStatus.TAKEN and not has_left:
            await _review(work, mix, lot)


async def _review(work: Work, mix: Mix, lot: MixLot) -> None:
    """Have people look at what, paid out as a whole, would need approvers."""
    policy = (await current_policy(work.session)).document
    needed = requirement(policy, asset=mix.asset, amount_minor=lot.amount_minor)
    if needed.approvals and mix.hold_kind is None:
        await put_on_hold(work, mix, HoldKind.REVIEW)


async def _take_back(work: Work, mix: Mix, lot: MixLot, deposit: ChainDeposit) -> None:
    """Undo a deposit that its chain took back; what left already is its user's debt."""
    owing_minor = lot.amount_minor
    if lot.status == LotStatus.TAKEN:
        owing_minor -= lot.fee_minor + await _cancel_doles(work, lot)
        _return_fee(work, mix, lot, deposit)
        _untake(mix, lot)
        await give_back(work.session, deposit.id)
    if owing_minor:
        work.postings.append(
            mix_rules.mix_clawback(
                deposit_id=deposit.id,
                credit=deposit.credits,
                mix_id=mix.id,
                user_id=mix.user_id,
                asset=mix.asset,
                amount_minor=owing_minor,
                at=work.clock.now(),
            )
        )
    await _mark(work, lot, LotStatus.TAKEN_BACK)
    work.trail.write(work.session, mix.id, "taken_back", deposit_id=deposit.id)
    await note(work.session, mix, clock=work.clock, detail="its chain took a deposit back")


async def _cancel_doles(work: Work, lot: MixLot) -> int:
    """Cancel what is planned of a deposit; return how much that was."""
    cancelled = await work.session.execute(
        update(MixDole)
        .where(col(MixDole.deposit_id) == lot.deposit_id, col(MixDole.status) == DoleStatus.PLANNED)
        .values(status=DoleStatus.CANCELLED)
        .returning(col(MixDole.amount_minor))
    )
    return sum(int(amount_minor) for (amount_minor,) in cancelled)


def _refund(
    work: Work, mix: Mix, deposit: ChainDeposit, *, amount_minor: int | None = None
) -> None:
    """Make a deposit its user's balance, as a whole or what is left of it."""
    work.postings.append(
        mix_rules.mix_refund(
            deposit_id=deposit.id,
            credit=deposit.credits,
            mix_id=mix.id,
            user_id=mix.user_id,
            asset=mix.asset,
            amount_minor=deposit.amount_minor if amount_minor is None else amount_minor,
            at=work.clock.now(),
        )
    )


def _return_fee(work: Work, mix: Mix, lot: MixLot, deposit: ChainDeposit) -> None:
    if lot.fee_minor:
        work.postings.append(
            mix_rules.mix_fee_return(
                deposit_id=deposit.id,
                credit=deposit.credits,
                mix_id=mix.id,
                mixer_id=mix.mixer_id,
                asset=mix.asset,
                fee_minor=lot.fee_minor,
                at=work.clock.now(),
            )
        )


def _untake(mix: Mix, lot: MixLot) -> None:
    mix.received_minor -= lot.amount_minor
    mix.fee_minor -= lot.fee_minor


async def _mark(
    work: Work, lot: MixLot, status: LotStatus, *, reason_code: str | None = None
) -> None:
    lot.status, lot.reason_code, lot.updated_at = status, reason_code, work.clock.now()
    work.session.add(lot)
    await work.session.flush()
