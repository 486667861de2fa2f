"""What must hold before a run is started: all that its dry run looked at, looked at again."""

from sqlmodel.ext.asyncio.session import AsyncSession

from domain.clock import Clock
from domain.errors import PayoutRunStateError, error_by_code
from models.runs import PayoutRun
from runs.checks import check_lines


async def check_startable(session: AsyncSession, run: PayoutRun, *, clock: Clock) -> int:
    """
    Return the service fee of each line, in minor units.

    Raises:
        PayoutRunStateError: It has problems, or is not what was uploaded.
        RequestError, ConflictError: What stands in the way of the run as a whole.
    """
    found = await check_lines(session, run.id, now=clock.now())
    problem_count = max(run.problem_count, found.problem_count)
    if problem_count:
        msg = f"{problem_count} lines have problems; mend them and upload the file again."
        if found.line_problems:
            first = found.line_problems[0]
            msg += f" First of them line {first.number}: {first.detail}"
        raise PayoutRunStateError(msg)
    for problem in found.terms.problems:
        raise (error_by_code(problem.code) or PayoutRunStateError)(problem.detail)
    if (found.totals.line_count, found.totals.total_minor) != (run.line_count, run.total_minor):
        msg = "The stored lines are not those that were uploaded; upload the file again."
        raise PayoutRunStateError(msg)
    return run.fee_total_minor // run.line_count
