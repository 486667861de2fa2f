"""Starting a run, and again: what must hold before its workflow is asked, in which order."""

from sqlmodel import col, select

from api.run_workflows import RunWorkflows
from api.second_factor import SecondFactorCheck
from domain.errors import (
    IdempotencyKeyReusedError,
    PayoutRunStateError,
    StrongroomError,
    error_by_code,
)
from domain.runs import RunStart, RunStatus
from identity.principals import Principal
from infra.database import Database
from models.runs import PayoutRun
from runs.queries import run_for, started_run_for


class RunRequests:
    """Turns the wish to start a draft into a run, once, and lets it go on when it was ended."""

    def __init__(self, database: Database, workflows: RunWorkflows) -> None:
        """Take the database, to look, and the workflows, which alone change anything."""
        self._database = database
        self._workflows = workflows

    async def start(
        self,
        run_id: str,
        *,
        idempotency_key: str,
        principal: Principal,
        second_factor: SecondFactorCheck,
    ) -> None:
        """
        Start a run, now or when the same request was sent before.

        Raises:
            RequestError, ConflictError: Refused; nothing is held, and the run is a draft as before.
            WorkflowEngineUnavailableError, DatabaseUnavailableError: Repeat the same request.
        """
        run = await self._startable(run_id, idempotency_key, principal)
        if run.status != RunStatus.DRAFT:
            return
        await second_factor.require()
        acceptance = await self._workflows.start(
            RunStart(run_id, principal.principal_id, idempotency_key),
            user_id=run.user_id,
            asset=run.asset,
        )
        if acceptance.status == RunStatus.DRAFT:
            known = error_by_code(acceptance.reason_code or "")
            raise known(acceptance.reason) if known else StrongroomError(acceptance.reason)
        if acceptance.idempotency_key != idempotency_key:
            raise _started_otherwise()

    async def resume(self, run_id: str, *, second_factor: SecondFactorCheck) -> None:
        """
        Let the workflow of a held run go on that was ended from outside, such as by hand.

        Raises:
            PayoutRunNotFoundError, PayoutRunStateError: There is no run that is on its way.
            WorkflowEngineUnavailableError, DatabaseUnavailableError: Repeat the same request.
        """
        async with self._database.transaction() as session:
            run = await started_run_for(session, run_id, user_id=None)
        if run.status == RunStatus.FINISHED:
            msg = "Every line of the run has ended."
            raise PayoutRunStateError(msg)
        await second_factor.require()
        await self._workflows.resume(
            RunStart(run_id, run.principal, str(run.idempotency_key)),
            user_id=run.user_id,
            asset=run.asset,
        )

    async def _startable(
        self, run_id: str, idempotency_key: str, principal: Principal
    ) -> PayoutRun:
        async with self._database.transaction() as session:
            run = await run_for(session, run_id, user_id=principal.user_id)
            others = await session.exec(
                select(PayoutRun.id).where(
                    PayoutRun.principal == run.principal,
                    PayoutRun.idempotency_key == idempotency_key,
                    col(PayoutRun.id) != run_id,
                )
            )
            if others.first() is not None:
                raise IdempotencyKeyReusedError
        if run.status != RunStatus.DRAFT and run.idempotency_key != idempotency_key:
            raise _started_otherwise()
        if run.status == RunStatus.DRAFT and run.problem_count:
            msg = f"{run.problem_count} lines have problems; upload a corrected file."
            raise PayoutRunStateError(msg)
        return run


def _started_otherwise() -> PayoutRunStateError:
    msg = "The run was started before, by a request with another Idempotency-Key."
    return PayoutRunStateError(msg)
