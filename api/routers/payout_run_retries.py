"""Bulk payouts: pay a line again that the chain did not pay."""

from typing import Annotated

from fastapi import APIRouter, Path, Response

from api.dependencies import IdempotencyKey, PayoutsWritePrincipal, SecondFactor, State
from api.problems import problem_responses
from api.routers.payouts import PAY_PROBLEMS, detail_of
from api.run_details import ONE_RUN, RunPath
from api.schemas.payouts import PayoutDetailView
from domain.errors import PayoutNotFoundError
from domain.runs import LINES_MAX

router = APIRouter(prefix="/v1/payout-runs", tags=["payout-runs"])

LineNumber = Annotated[int, Path(ge=1, le=2 * LINES_MAX, description="Where it is in the file.")]


@router.post(
    "/{run_id}/lines/{number}/retries",
    status_code=202,
    responses=problem_responses(*ONE_RUN, *PAY_PROBLEMS, PayoutNotFoundError),
)
async def retry_payout_run_line(
    run_id: RunPath,
    number: LineNumber,
    idempotency_key: IdempotencyKey,
    principal: PayoutsWritePrincipal,
    second_factor: SecondFactor,
    state: State,
    response: Response,
) -> PayoutDetailView:
    """
    Pay a line again that the chain did not pay and that was given back: the same, by a new payout.

    One at a time, and none after one that paid. It is frozen, approved and screened as any payout.
    """
    payout = await state.payout_requests.retry_line(
        run_id,
        number,
        idempotency_key=idempotency_key,
        principal=principal,
        second_factor=second_factor,
    )
    response.headers["Location"] = f"{state.settings.public_url}/v1/payouts/{payout.id}"
    return await detail_of(state, payout.id, principal)
