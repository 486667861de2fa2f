"""
What moves the money of payouts: into flight, out of it, and back to the customer.

A payout of its own has a hold of its own and a posting for each step. The lines of a bulk payout
share their run's hold, and a posting for all that one chain transaction pays of it.
"""

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from sqlalchemy import any_, bindparam, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm.attributes import set_committed_value
from sqlmodel import String, col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.clock import Clock
from domain.pockets import OF_POCKETS
from domain.policy import LimitReservation
from ledger import rules
from ledger.posting import Posting
from limits.reservation import give_back, give_back_each, give_back_part
from models.ledger import Hold, HoldStatus
from models.payouts import Payout
from payouts import pocket_money


async def dispatch_postings(
    session: AsyncSession, payouts: Sequence[Payout], *, clock: Clock
) -> list[Posting]:
    """
    Return postings that capture holds into flight, and mark the lines whose money goes there.

    A line that was in flight before, for a chain transaction that was given up, stays there.
    """
    alone = [_dispatched(p, clock) for p in payouts if _is_plain(p)]
    pockets = [p for p in payouts if p.route in OF_POCKETS]
    alone += await pocket_money.dispatch_postings(session, pockets, clock=clock)
    held = [p for p in payouts if p.run_id is not None and not p.is_captured]
    if held:
        await _mark_captured(session, held)
    return alone + [_lines_dispatched(lines, clock) for lines in _by_run(held)]


async def _mark_captured(session: AsyncSession, lines: Sequence[Payout]) -> None:
    """Write at once that these lines' money is in flight."""
    ids = bindparam("ids", [line.id for line in lines], ARRAY(String))
    for line in lines:
        set_committed_value(line, "is_captured", value=True)
    await session.execute(
        update(Payout)
        .where(col(Payout.id) == any_(ids))
        .values(is_captured=True)
        .execution_options(synchronize_session=False)
    )


def settle_postings(payouts: Sequence[Payout], *, clock: Clock) -> list[Posting]:
    """
    Return postings for payouts that the chain has paid: off the omnibus, the fees earned.

    Transfers of pockets are settled by what arrived; see ``outgoing.pocket_settlement``.
    """
    alone = [_settled(p, clock) for p in payouts if _is_plain(p)]
    lines = [p for p in payouts if p.run_id is not None]
    return alone + [_lines_settled(together, clock) for together in _by_run(lines)]


async def return_postings(
    session: AsyncSession, payouts: Sequence[Payout], *, clock: Clock, is_expiry: bool = False
) -> list[Posting]:
    """
    Return postings that move amount and fee of each payout back to its user's available.

    What they used of limits is given back with them: here for parts of a run's hold and for what
    was in flight, by the database for a hold that ends as a whole.
    """
    pockets = [p for p in payouts if p.route in OF_POCKETS]
    payouts = [p for p in payouts if p.route not in OF_POCKETS]
    in_flight = await _captured(session, payouts)
    returned = [_returned(p, clock) for p in payouts if p.id in in_flight]
    await _give_back(session, [p for p in payouts if p.id in in_flight])
    held = [p for p in payouts if p.id not in in_flight]
    released = [_released(p, clock, is_expiry=is_expiry) for p in held if p.run_id is None]
    lines = [p for p in held if p.run_id is not None]
    returned += await pocket_money.return_postings(
        session, pockets, clock=clock, is_expiry=is_expiry
    )
    return returned + released + await _lines_released(session, lines, at=clock.now())


def _is_plain(payout: Payout) -> bool:
    return payout.run_id is None and payout.route not in OF_POCKETS


async def _captured(session: AsyncSession, payouts: Sequence[Payout]) -> set[str]:
    alone = {p.hold_id: p.id for p in payouts if p.run_id is None}
    found = await session.exec(
        select(Hold.id).where(col(Hold.id).in_(alone), Hold.status == HoldStatus.CAPTURED)
    )
    return {alone[hold_id] for hold_id in found} | {p.id for p in payouts if p.is_captured}


async def _lines_released(
    session: AsyncSession, lines: Sequence[Payout], *, at: datetime
) -> list[Posting]:
    postings: list[Posting] = []
    by_run = sorted(lines, key=lambda line: (str(line.run_id), line.id))
    for _, group in itertools.groupby(by_run, key=lambda line: line.run_id):
        together = list(group)
        hold = await session.get_one(Hold, together[0].hold_id)
        postings.append(
            await release_posting(
                session,
                hold,
                run_id=str(together[0].run_id),
                payout_ids=[line.id for line in together],
                amount_minor=sum(line.amount_minor for line in together),
                fee_minor=sum(line.fee_minor for line in together),
                at=at,
            )
        )
    return postings


async def _give_back(session: AsyncSession, in_flight: Iterable[Payout]) -> None:
    of_runs: dict[str, dict[str, int]] = {}
    for payout in in_flight:
        if payout.run_id is None:
            await give_back(session, payout.id)
        else:
            of_runs.setdefault(payout.run_id, {})[f"{payout.id}:return"] = payout.amount_minor
    for run_id, amounts_minor in of_runs.items():
        await give_back_each(session, run_id, amounts_minor)


async def release_posting(
    session: AsyncSession,
    hold: Hold,
    *,
    run_id: str,
    payout_ids: Iterable[str],
    amount_minor: int,
    fee_minor: int,
    at: datetime,
) -> Posting:
    """Give lines' limits back, and return the posting that does so with their run's hold, once."""
    ordered = sorted(payout_ids)
    limits = tuple(
        LimitReservation(
            name=limit["name"],
            window_start=datetime.fromisoformat(limit["window_start"]),
            amount_minor=amount_minor,
            amount_cap_minor=None,
            count_cap=None,
            times=len(ordered),
        )
        for limit in hold.limits
    )
    posting = rules.run_release(
        run_id=run_id,
        part=hashlib.sha256("\x1f".join(ordered).encode()).hexdigest()[:32],
        hold_id=hold.id,
        user_id=hold.owner,
        asset=hold.asset,
        total_minor=amount_minor + fee_minor,
        limits=limits,
        at=at,
    )
    await give_back_part(
        session, run_id, key=posting.key, amount_minor=amount_minor, times=len(ordered)
    )
    return posting


def _by_run(lines: Iterable[Payout]) -> Iterator[list[Payout]]:
    """Yield the lines of one run that one chain transaction pays, in a lasting order."""

    def shared(line: Payout) -> tuple[str, str]:
        return str(line.chain_transaction_id), str(line.run_id)

    ordered = sorted(lines, key=lambda line: (*shared(line), line.id))
    for _, together in itertools.groupby(ordered, key=shared):
        yield list(together)


def _dispatched(payout: Payout, clock: Clock) -> Posting:
    return rules.payout_dispatch(
        payout_id=payout.id,
        hold_id=str(payout.hold_id),
        user_id=payout.user_id,
        chain_id=payout.chain_id,
        asset=payout.asset,
        total_minor=payout.amount_minor + payout.fee_minor,
        at=clock.now(),
    )


def _lines_dispatched(lines: Sequence[Payout], clock: Clock) -> Posting:
    first = lines[0]
    return rules.run_dispatch(
        chain_transaction_id=str(first.chain_transaction_id),
        run_id=str(first.run_id),
        hold_id=str(first.hold_id),
        user_id=first.user_id,
        chain_id=first.chain_id,
        asset=first.asset,
        total_minor=sum(line.amount_minor + line.fee_minor for line in lines),
        at=clock.now(),
    )


def _settled(payout: Payout, clock: Clock) -> Posting:
    return rules.payout_settle(
        payout_id=payout.id,
        chain_id=payout.chain_id,
        asset=payout.asset,
        amount_minor=payout.amount_minor,
        fee_minor=payout.fee_minor,
        at=clock.now(),
    )


def _lines_settled(lines: Sequence[Payout], clock: Clock) -> Posting:
    first = lines[0]
    return rules.run_settle(
        chain_transaction_id=str(first.chain_transaction_id),
        run_id=str(first.run_id),
        chain_id=first.chain_id,
        asset=first.asset,
        amount_minor=sum(line.amount_minor for line in lines),
        fee_minor=sum(line.fee_minor for line in lines),
        at=clock.now(),
    )


def _released(payout: Payout, clock: Clock, *, is_expiry: bool) -> Posting:
    return rules.payout_release(
        payout_id=payout.id,
        hold_id=str(payout.hold_id),
        user_id=payout.user_id,
        asset=payout.asset,
        total_minor=payout.amount_minor + payout.fee_minor,
        is_expiry=is_expiry,
        at=clock.now(),
    )


def _returned(payout: Payout, clock: Clock) -> Posting:
    return rules.payout_return(
        payout_id=payout.id,
        user_id=payout.user_id,
        chain_id=payout.chain_id,
        asset=payout.asset,
        total_minor=payout.amount_minor + payout.fee_minor,
        at=clock.now(),
    )
