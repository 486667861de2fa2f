"""
Releasing dole-outs: each becomes a payout of its user, held and ready for the next batch.

What follows is what follows on any payout: the write-ahead log, the signer's checks, one chain
transaction for many. The address is screened anew just before.
"""

from collections.abc import Sequence
from datetime import datetime

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.ids import HOLD, PAYOUT, derived_id
from domain.mixing.messages import DoleStatus, HoldKind
from domain.mixing.policy import parse_mixer_policy
from domain.mixing.slots import draw_moments
from domain.payouts import PayoutStatus, Priority, request_hash
from domain.policy import requirement
from ledger import chart, mix_rules, rules
from ledger.posting import Posting
from ledger.queries import account_balance
from mixers.work import Work, put_on_hold
from models.deposits import UserFreeze
from models.mixing import Mix, MixDole
from models.payouts import Payout
from payouts.history import begin
from payouts.policy import PolicyVersion, current_policy


async def due_doles(session: AsyncSession, mix: Mix, *, now: datetime) -> Sequence[MixDole]:
    """Return what is to be released now, in order; nothing while the mix or its user is stopped."""
    if mix.hold_kind is not None or mix.paused_at is not None or mix.is_cancelled:
        return ()
    if await _is_frozen(session, mix.user_id) or await _is_in_debt(session, mix):
        return ()
    found = await session.exec(
        select(MixDole)
        .where(
            MixDole.mix_id == mix.id, MixDole.status == DoleStatus.PLANNED, MixDole.due_at <= now
        )
        .order_by(col(MixDole.due_at), col(MixDole.id))
    )
    return found.all()


async def release(work: Work, mix: Mix, doles: Sequence[MixDole]) -> None:
    """
    Make payouts of dole-outs, unless the approval policy now has people approve of one.

    The mix is then held: the signer would refuse what nobody approved.
    """
    policy = await current_policy(work.session)
    needed = [
        requirement(policy.document, asset=mix.asset, amount_minor=dole.amount_minor).approvals
        for dole in doles
    ]
    if any(needed):
        await put_on_hold(work, mix, HoldKind.POLICY)
        return
    for dole in doles:
        payout = _payout(work, mix, dole, policy)
        begin(work.session, payout)
        await work.session.flush()
        dole.status, dole.payout_id = DoleStatus.RELEASED, payout.id
        work.session.add(dole)
        mix.doled_minor += dole.amount_minor
        work.postings += _postings(work, mix, dole, payout)
        work.trail.write(
            work.session,
            mix.id,
            "released",
            dole_id=dole.id,
            payout_id=payout.id,
            address=dole.address,
            amount=str(dole.amount_minor),
        )
    await work.session.flush()


async def redraw_overdue(work: Work, mix: Mix) -> None:
    """
    Draw the moments anew of what became due while the mix was paused or held.

    Released together, at the moment at which it goes on, they would show that they belong together.
    """
    policy, now = parse_mixer_policy(mix.policy), work.clock.now()
    found = await work.session.exec(
        select(MixDole)
        .where(
            MixDole.mix_id == mix.id, MixDole.status == DoleStatus.PLANNED, MixDole.due_at <= now
        )
        .order_by(col(MixDole.due_at), col(MixDole.id))
    )
    overdue = found.all()
    moments = draw_moments(
        len(overdue),
        from_at=now,
        delay_min=policy.delay_min,
        window=policy.window,
        slot=policy.slot,
        random=work.random,
    )
    for dole, due_at in zip(overdue, moments, strict=True):
        dole.due_at = due_at
        work.session.add(dole)
    await work.session.flush()


async def _is_frozen(session: AsyncSession, user_id: str) -> bool:
    found = await session.exec(
        select(UserFreeze.id).where(
            UserFreeze.user_id == user_id, col(UserFreeze.lifted_at).is_(None)
        )
    )
    return found.first() is not None


async def _is_in_debt(session: AsyncSession, mix: Mix) -> bool:
    """Tell whether the user owes us what a chain took back: that is paid before anything leaves."""
    return await account_balance(session, chart.available(mix.user_id), mix.asset) < 0


def _payout(work: Work, mix: Mix, dole: MixDole, policy: PolicyVersion) -> Payout:
    now = work.clock.now()
    payout_id = derived_id(PAYOUT, dole.id)
    return Payout(
        id=payout_id,
        user_id=mix.user_id,
        principal=mix.id,
        idempotency_key=dole.id,
        request_hash=request_hash({"dole": dole.id}),
        asset=mix.asset,
        chain_id=mix.chain_id,
        amount_minor=dole.amount_minor,
        # The mixer's fee was for all of them.
        fee_minor=0,
        destination=str(dole.address),
        status=PayoutStatus.READY,
        policy_version=policy.version,
        # It waits a little for those of others, to share a transaction with them.
        priority=Priority.ECONOMY,
        mix_id=mix.id,
        hold_id=derived_id(HOLD, payout_id),
        created_at=now,
        updated_at=now,
    )


def _postings(work: Work, mix: Mix, dole: MixDole, payout: Payout) -> list[Posting]:
    at = work.clock.now()
    released = mix_rules.mix_dole(
        dole_id=dole.id,
        mix_id=mix.id,
        user_id=mix.user_id,
        asset=mix.asset,
        amount_minor=dole.amount_minor,
        at=at,
    )
    frozen = rules.payout_freeze(
        payout_id=payout.id,
        hold_id=str(payout.hold_id),
        user_id=mix.user_id,
        asset=mix.asset,
        total_minor=dole.amount_minor,
        # Counted as a mix, when its deposit was taken.
        limits=(),
        expires_at=None,
        at=at,
    )
    return [released, frozen]
