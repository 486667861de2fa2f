"""
What users are told of payouts.

A payout by itself tells of every status it comes to. Lines of a run do not: there may be a hundred
thousand, so those that end together, in one way, are told of at once.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from domain.events import Event, Json
from domain.payouts import PayoutStatus
from domain.pockets import Route, shown_destination
from models.payouts import Payout


def payout_events(payouts: Iterable[Payout], status: PayoutStatus) -> list[Event]:
    """Return what is told of payouts that have come to a status."""
    told: list[Event] = []
    by_run: defaultdict[str, list[Payout]] = defaultdict(list)
    for payout in payouts:
        if payout.mix_id is not None:
            # A mix tells of itself.
            continue
        if payout.run_id is None:
            told.append(_of_one(payout, status))
        elif status.is_final:
            by_run[payout.run_id].append(payout)
    return told + [_of_lines(lines, status) for lines in by_run.values()]


def lines_ended(
    *,
    user_id: str,
    run_id: str,
    asset: str,
    status: PayoutStatus,
    line_count: int,
    amount_minor: int,
) -> Event:
    """Return what is told of lines of a run that have ended together."""
    data: dict[str, Json] = {
        "status": status.value,
        "line_count": line_count,
        "asset": asset,
        "amount": str(amount_minor),
    }
    return Event(user_id, "payout_run.lines_ended", run_id, data)


def _of_one(payout: Payout, status: PayoutStatus) -> Event:
    data: dict[str, Json] = {
        "status": status.value,
        "asset": payout.asset,
        "chain_id": payout.chain_id,
        "amount": str(payout.amount_minor),
        "fee": str(payout.fee_minor),
        "destination": shown_destination(payout.route, payout.pocket_id, payout.destination),
        "reason_code": payout.reason_code,
    }
    if payout.route == Route.PAYOUT:
        return Event(payout.user_id, f"payout.{status}", payout.id, data)
    told = data | {"route": payout.route, "quote_id": payout.quote_id}
    return Event(payout.user_id, f"pocket_transfer.{status}", payout.id, told)


def _of_lines(lines: Sequence[Payout], status: PayoutStatus) -> Event:
    return lines_ended(
        user_id=lines[0].user_id,
        run_id=str(lines[0].run_id),
        asset=lines[0].asset,
        status=status,
        line_count=len(lines),
        amount_minor=sum(line.amount_minor for line in lines),
    )
