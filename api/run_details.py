"""What the routes of bulk payouts share: who sees which, and a run with everything about it."""

from typing import Annotated, Final

from fastapi import Path

from api.problems import SESSION_PROBLEMS
from api.schemas.base import id_pattern
from api.schemas.payout_runs import RunDetailView, run_detail_view
from api.state import AppState
from domain.errors import PayoutRunNotFoundError, ValidationError
from domain.ids import PAYOUT_RUN
from domain.runs import RunStatus
from domain.workflow_ids import payout_run_workflow_id
from identity.principals import Principal
from models.identity import Role
from runs.queries import run_detail
from runs.terms import RunTotals, run_terms

STAFF: Final = (Role.APPROVER, Role.OPERATOR, Role.AUDITOR, Role.OWNER)
"""Who sees everybody's runs."""

RunPath = Annotated[str, Path(pattern=id_pattern(PAYOUT_RUN))]
ONE_RUN: Final = (*SESSION_PROBLEMS, PayoutRunNotFoundError, ValidationError)
"""What any operation on one run may answer."""


def visible_to(principal: Principal) -> str | None:
    """Return whose runs the caller may see; None for everybody's."""
    return None if principal.has_role(*STAFF) else principal.user_id


async def detail_of(state: AppState, run_id: str, principal: Principal) -> RunDetailView:
    """Return the run as this caller may see it; see ``runs.queries.run_for``."""
    async with state.database.transaction() as session:
        detail = await run_detail(session, run_id, user_id=visible_to(principal))
        run = detail.run
        terms = None
        if run.status == RunStatus.DRAFT:
            fees_minor = run.line_count * detail.asset.payout_fee_minor
            totals = RunTotals(run.line_count, run.total_minor, fees_minor)
            terms = await run_terms(session, run, totals, now=state.clock.now())
    workflow_id = payout_run_workflow_id(run_id)
    return run_detail_view(
        detail, terms, workflow_id=workflow_id, workflow_url=state.workflow_url(workflow_id)
    )
