"""The steps of a bulk payout on a real PostgreSQL, as the worker's role."""

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlmodel import select

from domain.errors import (
    AlreadyDecidedError,
    ApprovalExpiredError,
    OwnRequestError,
    PayoutRunStateError,
    RoleMissingError,
)
from domain.explanations import SILENT_AFTER
from domain.payouts import DecisionKind, PayoutStatus
from domain.runs import RunStatus
from models.ledger import LimitCounter
from runs.desk import locked_run
from runs.explain import explain
from runs.moves import PAGE_LINES
from runs.queries import run_detail
from tests.support.books import FEE_MINOR, USERS, Books
from tests.support.runs import Runs

TWO_OF_THREE = {"rules": [{"asset": "*", "up_to_minor": None, "approvals": 2}]}
FORGED_LINE = """
    INSERT INTO payout (id, user_id, principal, idempotency_key, request_hash, asset, chain_id,
        amount_minor, fee_minor, destination, status, approvals_required, is_alone, priority,
        run_id, line_number, is_captured, created_at, updated_at)
    SELECT coalesce(f.id, l.payout_id), coalesce(f.user_id, r.user_id), r.principal, l.payout_id,
        '00', coalesce(f.asset, r.asset), r.chain_id, coalesce(f.amount_minor, l.amount_minor),
        coalesce(f.fee_minor, r.fee_total_minor / r.line_count),
        coalesce(f.destination, l.destination), 'ready', 0, false, 'normal', r.id,
        coalesce(f.line_number, l.number), coalesce(f.is_captured, false), r.created_at,
        r.created_at
    FROM payout_run r JOIN payout_run_line l ON l.run_id = r.id AND l.number = 2,
        jsonb_populate_record(NULL::payout, '{forged}') f
    WHERE r.id = '{run}'
"""
INSERT_COPY = """
    INSERT INTO payout
    SELECT (jsonb_populate_record(
        p, '{{"id": "pay_x", "line_number": 99, "idempotency_key": "x"}}')).*
    FROM payout p WHERE run_id = '{run}' LIMIT 1
"""
AMOUNTS = (100, 200, 300, 400)
TOTAL_MINOR = sum(AMOUNTS) + FEE_MINOR * len(AMOUNTS)


@pytest.fixture
async def runs(books: Books) -> AsyncIterator[Runs]:
    await books.deposit("u1", "ETH", 10_000)
    yield Runs(books)
    await books.assert_sound()


class TestStart:
    async def test_holds_all_of_it_once(self, runs: Runs) -> None:
        run_id = await runs.upload(AMOUNTS)
        first, again = await runs.start(run_id), await runs.start(run_id)
        assert first == again
        assert first.status == RunStatus.PAYING
        assert await runs.books.money() == (10_000 - TOTAL_MINOR, TOTAL_MINOR)
        lines = await runs.lines(run_id)
        assert [line.amount_minor for line in lines] == list(AMOUNTS)
        assert {line.status for line in lines} == {PayoutStatus.READY}
        assert [line.line_number for line in lines] == [2, 3, 4, 5]

    async def test_without_the_money_leaves_the_draft(self, runs: Runs) -> None:
        run_id = await runs.upload([9_000, 9_000])
        refused = await runs.start(run_id)
        assert refused.reason_code == "insufficient_available_balance"
        assert (await runs.run(run_id)).status == RunStatus.DRAFT
        assert await runs.lines(run_id) == []
        await runs.books.deposit("u1", "ETH", 10_000)
        assert (await runs.start(run_id)).status == RunStatus.PAYING

    async def test_counts_every_line_against_the_limits(self, runs: Runs) -> None:
        limit = {"asset": "ETH", "window_s": 86_400, "amount_minor": "1100", "count": 4}
        await runs.books.set_policy(
            {"rules": [{"asset": "*", "up_to_minor": None, "approvals": 0}], "limits": [limit]}
        )
        five = await runs.start(await runs.upload([1, 1, 1, 1, 1]))
        assert five.reason_code == "limit_exceeded"
        run_id = await runs.started(*AMOUNTS)
        await runs.cancel(run_id, lines="2-3")
        async with runs.books.owner.transaction() as session:
            counter = (await session.exec(select(LimitCounter))).one()
        assert (counter.amount_minor, counter.count) == (700, 2)

    async def test_is_refused_while_the_customer_is_frozen_or_lines_have_problems(
        self, runs: Runs
    ) -> None:
        run_id = await runs.upload(AMOUNTS)
        await runs.books.execute("UPDATE payout_run SET problem_count = 1")
        assert (await runs.start(run_id)).reason_code == "payout_run_state"
        assert await runs.books.money() == (10_000, 0)

    async def test_takes_a_key_for_one_run_alone(self, runs: Runs) -> None:
        first, second = await runs.upload([1]), await runs.upload([2])
        accepted, refused = await runs.start(first), await runs.start(second)
        assert (accepted.status, refused.status) == (RunStatus.PAYING, RunStatus.DRAFT)
        assert refused.reason_code == "idempotency_key_reused"

    async def test_is_not_kept_by_a_payout_whose_key_looks_like_a_lines(self, runs: Runs) -> None:
        run_id = await runs.upload(AMOUNTS)
        single = await runs.books.freeze(key=f"{run_id}/2")
        assert (await runs.start(run_id)).status == RunStatus.PAYING
        assert (await runs.books.payout(single.payout_id)).status == PayoutStatus.READY
        later = await runs.books.freeze(key=f"{run_id}/3")
        assert later.reason_code is None

    async def test_fails_loudly_for_any_other_reason(self, runs: Runs) -> None:
        run_id = await runs.upload(AMOUNTS)
        await runs.books.execute("ALTER TABLE payout ADD CONSTRAINT odd CHECK (line_number <> 3)")
        with pytest.raises(IntegrityError, match="odd"):
            await runs.start(run_id)
        await runs.books.execute("ALTER TABLE payout DROP CONSTRAINT odd")


class TestDecisions:
    async def test_on_the_whole_run_ask_for_what_its_total_asks_for(self, runs: Runs) -> None:
        rules = [
            {"asset": "*", "up_to_minor": "999", "approvals": 0},
            {"asset": "*", "up_to_minor": None, "approvals": 2},
        ]
        await runs.books.set_policy({"rules": rules})
        run_id = await runs.started(*AMOUNTS)
        one = await runs.decide(run_id, "a1")
        assert one.lines == {PayoutStatus.AWAITING_APPROVAL: 4}
        two = await runs.decide(run_id, "a2")
        assert (two.status, two.lines) == (RunStatus.PAYING, {PayoutStatus.READY: 4})

    async def test_on_chosen_lines_move_those_alone(self, runs: Runs) -> None:
        await runs.books.set_policy(TWO_OF_THREE)
        run_id = await runs.started(*AMOUNTS)
        await runs.decide(run_id, "a1", lines="2-3")
        await runs.decide(run_id, "a2", lines="3-4")
        statuses = [line.status for line in await runs.lines(run_id)]
        assert statuses == ["awaiting_approval", "ready", "awaiting_approval", "awaiting_approval"]
        rejected = await runs.decide(run_id, "a3", lines="5", kind=DecisionKind.REJECT)
        assert rejected.lines == {"awaiting_approval": 2, "ready": 1, "rejected": 1}
        assert await runs.books.money() == (10_000 - TOTAL_MINOR + 410, TOTAL_MINOR - 410)

    async def test_repeated_change_nothing(self, runs: Runs) -> None:
        await runs.books.set_policy(TWO_OF_THREE)
        run_id = await runs.started(*AMOUNTS)
        for _ in range(2):
            standing = await runs.decide(run_id, "a1", decision_id="dec_1")
            assert standing.lines == {PayoutStatus.AWAITING_APPROVAL: 4}

    async def test_sent_again_are_told_from_late_ones(self, runs: Runs) -> None:
        await runs.books.set_policy(TWO_OF_THREE)
        run_id = await runs.started(*AMOUNTS)
        for approver in ("a1", "a2"):
            await runs.decide(run_id, approver)
        with pytest.raises(AlreadyDecidedError):
            await runs.decide(run_id, "a2")
        with pytest.raises(PayoutRunStateError):
            await runs.decide(run_id, "a3")

    async def test_that_do_not_count_are_refused(self, runs: Runs) -> None:
        await runs.books.set_policy(TWO_OF_THREE)
        run_id = await runs.started(*AMOUNTS)
        with pytest.raises(OwnRequestError):
            await runs.decide(run_id, "u1")
        with pytest.raises(RoleMissingError):
            await runs.decide(run_id, USERS[1])
        with pytest.raises(PayoutRunStateError):
            await runs.decide(run_id, "a1", lines="5-6")
        await runs.decide(run_id, "a1", lines="2-3")
        with pytest.raises(AlreadyDecidedError):
            await runs.decide(run_id, "a1", lines="3")
        runs.books.wait(86_401)
        with pytest.raises(ApprovalExpiredError):
            await runs.decide(run_id, "a2")

    async def test_on_a_draft_are_refused(self, runs: Runs) -> None:
        with pytest.raises(PayoutRunStateError):
            await runs.decide(await runs.upload(AMOUNTS), "a1")

    async def test_that_do_not_come_in_time_give_everything_back(self, runs: Runs) -> None:
        await runs.books.set_policy(TWO_OF_THREE)
        run_id = await runs.started(*AMOUNTS)
        await runs.decide(run_id, "a1", lines="2")
        await runs.decide(run_id, "a2", lines="2")
        assert (await runs.desk.expire(run_id)).status == RunStatus.AWAITING_APPROVAL
        runs.books.wait(86_401)
        late = await runs.desk.expire(run_id)
        assert (late.status, late.lines) == (RunStatus.PAYING, {"ready": 1, "expired": 3})
        assert await runs.books.money() == (10_000 - 110, 110)

    async def test_that_are_overdue_are_explained_until_they_are_given_back(
        self, runs: Runs
    ) -> None:
        await runs.books.set_policy(TWO_OF_THREE)
        run_id = await runs.started(*AMOUNTS)

        async def waits_for() -> str | None:
            async with runs.books.worker.transaction() as session:
                detail = await run_detail(session, run_id, user_id="u1")
                return (await explain(session, detail, now=runs.books.clock.now())).waiting_for

        assert await waits_for() == "approval"
        runs.books.wait(86_400 + SILENT_AFTER.total_seconds() + 1)
        assert await waits_for() == "expiry"
        await runs.desk.expire(run_id)
        assert await waits_for() is None


class TestCancellation:
    async def test_of_the_whole_run_ends_it(self, runs: Runs) -> None:
        run_id = await runs.started(*AMOUNTS)
        standing = await runs.cancel(run_id)
        assert (standing.status, standing.lines) == (RunStatus.FINISHED, {"cancelled": 4})
        assert await runs.books.money() == (10_000, 0)
        assert (await runs.run(run_id)).finished_at is not None

    async def test_takes_back_more_than_a_page(self, runs: Runs) -> None:
        run_id = await runs.upload([1] * (PAGE_LINES + 1))
        await runs.books.deposit("u1", "ETH", (PAGE_LINES + 1) * (1 + FEE_MINOR))
        before = await runs.books.money()
        assert (await runs.start(run_id)).reason_code is None
        standing = await runs.cancel(run_id)
        assert standing.lines == {"cancelled": PAGE_LINES + 1}
        assert await runs.books.money() == before

    async def test_of_chosen_lines_is_all_or_nothing_and_may_be_repeated(self, runs: Runs) -> None:
        run_id = await runs.started(*AMOUNTS)
        for _ in range(2):
            assert (await runs.cancel(run_id, lines="2,5")).lines == {"ready": 2, "cancelled": 2}
        with pytest.raises(PayoutRunStateError):
            await runs.cancel(run_id, lines="4-5")
        assert (await runs.desk.advance(run_id)).lines == {"ready": 2, "cancelled": 2}


class TestDatabase:
    """Not even the worker's role can change what was started."""

    @pytest.mark.parametrize(
        "statement",
        [
            "UPDATE payout SET amount_minor = 1 WHERE run_id = '{run}'",
            "UPDATE payout SET destination = '0x1' WHERE run_id = '{run}'",
            "UPDATE payout SET run_id = NULL WHERE run_id = '{run}'",
            "UPDATE payout SET is_captured = false WHERE run_id = '{run}' AND is_captured",
            "UPDATE payout_run SET status = 'draft' WHERE id = '{run}'",
            "UPDATE payout_run SET approvals_required = 0, policy_version = 1 WHERE id = '{run}'",
            "UPDATE payout_run SET total_minor = 1 WHERE id = '{run}'",
            "DELETE FROM payout_run WHERE id = '{run}'",
            "DELETE FROM payout_run_line WHERE run_id = '{run}'",
            INSERT_COPY,
        ],
    )
    async def test_lets_nothing_of_a_started_run_be_changed(
        self, runs: Runs, statement: str
    ) -> None:
        run_id = await runs.started(*AMOUNTS)
        await runs.books.execute("UPDATE payout SET is_captured = true")
        async with runs.books.worker.transaction() as session:
            connection = await session.connection()
            with pytest.raises(DBAPIError, match=r"permission denied|does not change"):
                await connection.exec_driver_sql(statement.format(run=run_id))

    @pytest.mark.parametrize(
        "forged",
        [
            '{"amount_minor": 4000}',
            '{"fee_minor": 0}',
            '{"destination": "0x1"}',
            '{"asset": "USD"}',
            '{"user_id": "u2"}',
            '{"id": "pay_x"}',
            '{"line_number": 99}',
            '{"line_number": 3}',
            '{"is_captured": true}',
        ],
    )
    async def test_lets_a_draft_become_what_was_uploaded_alone(
        self, runs: Runs, forged: str
    ) -> None:
        """A small draft asks nobody for approval; with large lines it would pay all the same."""
        run_id = await runs.upload(AMOUNTS)
        async with runs.books.worker.transaction() as session:
            connection = await session.connection()
            statement = FORGED_LINE.format(run=run_id, forged=forged)
            with pytest.raises(DBAPIError, match="does not change"):
                await connection.exec_driver_sql(statement)

    async def test_lets_what_was_uploaded_become_payouts(self, runs: Runs) -> None:
        run_id = await runs.upload(AMOUNTS)
        async with runs.books.worker.transaction() as session:
            connection = await session.connection()
            await connection.exec_driver_sql(FORGED_LINE.format(run=run_id, forged="{}"))
        assert [line.amount_minor for line in await runs.lines(run_id)] == [AMOUNTS[0]]


class TestLockedRun:
    async def test_keeps_nobody_from_moving_its_lines(self, runs: Runs) -> None:
        """Its lines' foreign key is checked by who may hold the hash chain's end meanwhile."""
        run_id = await runs.started(*AMOUNTS)
        move = text(f"UPDATE payout SET updated_at = now() WHERE run_id = '{run_id}'")  # noqa: S608
        async with runs.books.worker.transaction() as cancelling:
            await locked_run(cancelling, run_id)
            async with runs.books.worker.transaction() as paying:
                await paying.execute(text("SET LOCAL lock_timeout = '50ms'"))
                await paying.execute(move)
                # Only of a row that this unit of work has changed before is the key checked.
                await paying.execute(move)
