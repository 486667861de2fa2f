"""What users are told of bulk payouts; of lines that end, see ``payouts.news``."""

from domain.events import Event, Json
from models.runs import PayoutRun


def run_event(run: PayoutRun) -> Event:
    """Return what is told of a run that has come to its status."""
    data: dict[str, Json] = {
        "status": run.status,
        "name": run.name,
        "asset": run.asset,
        "chain_id": run.chain_id,
        "line_count": run.line_count,
        "amount": str(run.total_minor),
        "fee": str(run.fee_total_minor),
    }
    return Event(run.user_id, f"payout_run.{run.status}", run.id, data)
