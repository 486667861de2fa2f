"""Starting, deciding and taking back, against a workflow that answers as the real one may."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from temporalio import workflow
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from api.run_workflows import PAYOUT_RUN_WORKFLOW
from domain.errors import AlreadyDecidedError
from domain.runs import (
    RunAcceptance,
    RunCancellation,
    RunDecisionRequest,
    RunStanding,
    RunStart,
    RunStatus,
)
from domain.workflow_ids import WALLET_QUEUE, payout_run_workflow_id
from models.identity import Role
from models.runs import PayoutRun
from tests.integration.api.run_files import Counter, begin, csv_of, csv_payments
from tests.support.bank import FUNDS_MINOR, Bank, code_of
from tests.support.identity import Person

SHORT, STUBBORN = "short of money", "unheard of"


@workflow.defn(name=PAYOUT_RUN_WORKFLOW, sandboxed=False)
class FakeRunWorkflow:
    """Refuses one key, knows what it was told, and ends when it is refused or taken back."""

    @workflow.init
    def __init__(self, request: RunStart) -> None:
        self._request = request
        self._is_over = False

    @workflow.run
    async def run(self, request: RunStart) -> None:
        del request
        await workflow.wait_condition(lambda: self._is_over)
        await workflow.wait_condition(workflow.all_handlers_finished)

    @workflow.update
    async def accept(self) -> RunAcceptance:
        key, run_id = self._request.idempotency_key, self._request.run_id
        if key in (SHORT, STUBBORN):
            self._is_over = True
            code = "insufficient_available_balance" if key == SHORT else "no_such_code"
            return RunAcceptance(run_id, RunStatus.DRAFT, key, code, "It is not enough.")
        return RunAcceptance(run_id, RunStatus.PAYING, key)

    @workflow.update
    async def decide(self, decision: RunDecisionRequest) -> RunStanding:
        if decision.note == "again":
            raise ApplicationError("Once is enough.", type=AlreadyDecidedError.code)
        counts = {"ready": 1 if decision.lines else 3}
        return RunStanding(decision.run_id, RunStatus.PAYING, counts)

    @workflow.update
    async def cancel(self, cancellation: RunCancellation) -> RunStanding:
        self._is_over = cancellation.lines is None
        return RunStanding(cancellation.run_id, RunStatus.FINISHED, {"cancelled": 3})


@pytest.fixture
async def desk(
    bank: Bank, counter: Counter, temporal: WorkflowEnvironment
) -> AsyncIterator[Counter]:
    """Yield a counter whose runs are started by the fake; the bank's own worker is away."""
    await bank.stop_worker()
    serving = Worker(temporal.client, task_queue=WALLET_QUEUE, workflows=[FakeRunWorkflow])
    running = asyncio.create_task(serving.run())
    try:
        yield counter
    finally:
        await serving.shutdown()
        await running


async def send(
    desk: Counter,
    run_id: str,
    action: str,
    *,
    person: Person | None = None,
    key: str | None = None,
    code: str | None = None,
    body: Any = None,
) -> httpx.Response:
    caller = person or desk.bank.customer
    desk.bank.clock.advance(timedelta(seconds=30))
    headers = caller.headers | {"TOTP-Code": caller.code() if code is None else code}
    if key is not None:
        headers["Idempotency-Key"] = key
    if not headers["TOTP-Code"]:
        del headers["TOTP-Code"]
    return await desk.client.post(f"/v1/payout-runs/{run_id}/{action}", headers=headers, json=body)


class TestStart:
    async def test_asks_the_workflow_of_the_run(
        self, desk: Counter, temporal: WorkflowEnvironment
    ) -> None:
        run = await desk.draft(csv_payments(3))
        answer = await send(desk, run["id"], "start", key="k")
        workflow_id = payout_run_workflow_id(run["id"])
        description = await temporal.client.get_workflow_handle(workflow_id).describe()

        assert answer.status_code == 202
        assert answer.json()["workflow_id"] == workflow_id
        assert description.workflow_type == PAYOUT_RUN_WORKFLOW

    async def test_may_be_repeated_with_its_key_alone(self, desk: Counter) -> None:
        run = await desk.draft(csv_payments(3))
        first, again, other = [
            await send(desk, run["id"], "start", key=key) for key in ("k", "k", "another")
        ]
        await begin(desk.bank, run["id"])
        later, too_late = [await send(desk, run["id"], "start", key=k) for k in ("k", "another")]

        assert [first.status_code, again.status_code, later.status_code] == [202, 202, 202]
        assert later.json()["status"] == "paying"
        for refused in (other, too_late):
            assert (refused.status_code, code_of(refused)) == (409, "payout_run_state")

    async def test_that_is_refused_leaves_a_draft_for_another_key(self, desk: Counter) -> None:
        run = await desk.draft(csv_payments(3))
        refused = await send(desk, run["id"], "start", key=SHORT)
        again = await send(desk, run["id"], "start", key=SHORT)
        started = await send(desk, run["id"], "start", key="k")

        for answer in (refused, again):
            assert (answer.status_code, code_of(answer)) == (409, "insufficient_available_balance")
            assert answer.json()["detail"] == "It is not enough."
        assert started.status_code == 202

    async def test_that_is_refused_for_what_nobody_knows_is_our_fault(self, desk: Counter) -> None:
        run = await desk.draft(csv_payments(3))
        answer = await send(desk, run["id"], "start", key=STUBBORN)

        assert (answer.status_code, code_of(answer)) == (500, "internal_error")

    async def test_of_a_draft_with_problems_is_refused_and_uses_no_code(
        self, desk: Counter
    ) -> None:
        bad = await desk.draft(csv_of(["nonsense,ETH,100,,"]))
        good = await desk.draft(csv_payments(3))
        desk.bank.clock.advance(timedelta(minutes=1))
        code = desk.bank.customer.code(steps=1)
        refused = await send(desk, bad["id"], "start", key="a", code=code)
        started = await send(desk, good["id"], "start", key="b", code=code)

        assert (refused.status_code, code_of(refused)) == (409, "payout_run_state")
        assert started.status_code == 202

    async def test_with_the_key_of_another_run_is_refused(self, desk: Counter) -> None:
        first, second = [await desk.draft(csv_payments(3)) for _ in range(2)]
        await begin(desk.bank, first["id"])
        answer = await send(desk, second["id"], "start", key="k")

        assert (answer.status_code, code_of(answer)) == (422, "idempotency_key_reused")

    @pytest.mark.parametrize(
        ("key", "code", "refusal"),
        [
            (None, None, (400, "idempotency_key_missing")),
            ("k", "", (403, "second_factor_required")),
            ("k", "000000", (403, "second_factor_invalid")),
        ],
    )
    async def test_without_key_or_second_factor_is_refused(
        self, desk: Counter, key: str | None, code: str | None, refusal: tuple[int, str]
    ) -> None:
        run = await desk.draft(csv_payments(3))
        answer = await send(desk, run["id"], "start", key=key, code=code)

        assert (answer.status_code, code_of(answer)) == refusal
        assert await desk.bank.balances() == (FUNDS_MINOR, 0)

    async def test_of_somebody_elses_run_is_refused(self, desk: Counter) -> None:
        run = await desk.draft(csv_payments(3))
        boss = await desk.bank.person("boss", *Role)
        answer = await send(desk, run["id"], "start", key="k", person=boss)

        assert (answer.status_code, code_of(answer)) == (404, "payout_run_not_found")

    async def test_without_a_worker_may_be_repeated(self, bank: Bank, counter: Counter) -> None:
        await bank.stop_worker()
        run = await counter.draft(csv_payments(3))
        settings = bank.state.settings.model_copy(
            update={"accept_timeout": timedelta(milliseconds=300)}
        )
        async with bank.without(settings=settings) as client:
            answer = await send(Counter(bank, client), run["id"], "start", key="k")

        assert (answer.status_code, code_of(answer)) == (503, "workflow_engine_unavailable")
        assert (await counter.get(f"/{run['id']}")).json()["status"] == "draft"


class TestDecision:
    @pytest.fixture
    async def run_id(self, desk: Counter) -> str:
        run = await desk.draft(csv_payments(3))
        assert (await send(desk, run["id"], "start", key="k")).status_code == 202
        await begin(desk.bank, run["id"], status="awaiting_approval")
        return str(run["id"])

    @pytest.mark.parametrize("action", ["approvals", "rejections"])
    async def test_reaches_the_workflow(self, desk: Counter, run_id: str, action: str) -> None:
        ann = await desk.bank.person("ann", Role.APPROVER)
        whole = await send(desk, run_id, action, person=ann, body={})
        chosen = await send(desk, run_id, action, person=ann, body={"lines": "2-3,4"})
        again = await send(desk, run_id, action, person=ann, body={"note": "again"})

        assert whole.json() == {"run_id": run_id, "status": "paying", "lines": {"ready": 3}}
        assert chosen.json()["lines"] == {"ready": 1}
        assert (again.status_code, code_of(again)) == (409, "already_decided")

    @pytest.mark.parametrize(
        ("lines", "refusal"),
        [
            ("", (422, "validation_failed")),
            ("a", (422, "validation_failed")),
            ("-3", (422, "validation_failed")),
            ("9" * 5_000, (422, "validation_failed")),
            ("3-2", (400, "invalid_lines")),
            ("2-5,4", (400, "invalid_lines")),
            ("0", (400, "invalid_lines")),
        ],
    )
    async def test_on_lines_that_are_named_wrongly_is_refused(
        self, desk: Counter, run_id: str, lines: str, refusal: tuple[int, str]
    ) -> None:
        ann = await desk.bank.person("ann", Role.APPROVER)
        answer = await send(desk, run_id, "approvals", person=ann, body={"lines": lines})

        assert (answer.status_code, code_of(answer)) == refusal

    async def test_on_a_draft_is_refused(self, desk: Counter) -> None:
        draft = await desk.draft(csv_payments(3))
        ann = await desk.bank.person("ann", Role.APPROVER)
        decided = await send(desk, draft["id"], "approvals", person=ann, body={})
        cancelled = await send(desk, draft["id"], "cancellation", body={})

        for answer in (decided, cancelled):
            assert (answer.status_code, code_of(answer)) == (409, "payout_run_state")

    async def test_takes_back_once_however_often_the_same_key_asks(
        self, desk: Counter, run_id: str
    ) -> None:
        same = [await send(desk, run_id, "cancellation", body={}, key="c") for _ in range(2)]
        other = await send(desk, run_id, "cancellation", body={}, key="another")

        assert [answer.status_code for answer in same] == [200, 200]
        assert same[0].json() == same[1].json()
        assert other.status_code == 409

    async def test_takes_back_what_is_the_callers(self, desk: Counter, run_id: str) -> None:
        ann = await desk.bank.person("ann", *Role)
        foreign = await send(desk, run_id, "cancellation", person=ann, body={})
        own = await send(desk, run_id, "cancellation", body={"lines": None})
        again = await send(desk, run_id, "cancellation", body={})

        assert (foreign.status_code, code_of(foreign)) == (404, "payout_run_not_found")
        assert own.json()["status"] == "finished"
        assert (again.status_code, code_of(again)) == (409, "payout_run_state")


class TestResumption:
    async def test_lets_a_run_go_on_whose_workflow_was_ended_by_hand(
        self, desk: Counter, temporal: WorkflowEnvironment
    ) -> None:
        run = await desk.draft(csv_payments(3))
        run_id = str(run["id"])
        await send(desk, run_id, "start", key="k")
        await begin(desk.bank, run_id, status="awaiting_approval")
        op = await desk.bank.person("op", Role.OPERATOR)
        ann = await desk.bank.person("ann", Role.APPROVER)
        handle = temporal.client.get_workflow_handle(payout_run_workflow_id(run_id))
        before = (await handle.describe()).run_id

        while_running = await send(desk, run_id, "resumption", person=op)
        assert (while_running.status_code, (await handle.describe()).run_id) == (202, before)
        await handle.terminate()
        stuck = await send(desk, run_id, "approvals", person=ann, body={})
        resumed = await send(desk, run_id, "resumption", person=op)
        decided = await send(desk, run_id, "approvals", person=ann, body={})

        assert stuck.status_code == 409
        assert resumed.status_code == 202
        assert resumed.json()["workflow_id"] == payout_run_workflow_id(run_id)
        assert decided.status_code == 200

    async def test_is_refused_for_a_draft_and_after_the_end(self, desk: Counter) -> None:
        op = await desk.bank.person("op", Role.OPERATOR)
        run = await desk.draft(csv_payments(3))
        draft = await send(desk, run["id"], "resumption", person=op)
        await begin(desk.bank, run["id"], status="settled")
        async with desk.bank.database.transaction() as session:
            (await session.get_one(PayoutRun, run["id"])).status = RunStatus.FINISHED
        finished = await send(desk, run["id"], "resumption", person=op)

        for answer in (draft, finished):
            assert (answer.status_code, code_of(answer)) == (409, "payout_run_state")

    async def test_takes_a_second_factor(self, desk: Counter) -> None:
        op = await desk.bank.person("op", Role.OPERATOR)
        run = await desk.draft(csv_payments(3))
        await begin(desk.bank, run["id"], status="awaiting_approval")
        answer = await send(desk, run["id"], "resumption", person=op, code="")

        assert (answer.status_code, code_of(answer)) == (403, "second_factor_required")
