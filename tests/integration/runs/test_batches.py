"""Lines of runs on their way through batches: shared transactions, one hold, each paid once."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from threading import Thread

import pytest
from sqlalchemy import event

from domain.payouts import DecisionKind, OperatorAction, PayoutStatus
from domain.runs import RunStatus
from infra.database import Database
from ledger import chart
from models.chain_transactions import ChainTransactionKind, ChainTransactionStatus
from outgoing.log import PostgresOutgoingLog
from tests.support.books import FEE_MINOR, TOKEN, Books
from tests.support.runs import DISPERSE, Runs, allow_dispersals, stranger

AMOUNTS = (100, 200, 300, 400)
HOT_MINOR = 10_000


@pytest.fixture
async def tampered(books: Books) -> Runs:
    """Return runs whose books need not be sound in the end."""
    for asset in ("ETH", "USD"):
        await books.deposit("u1", asset, HOT_MINOR)
    await allow_dispersals(books)
    return Runs(books)


@pytest.fixture
async def runs(tampered: Runs) -> AsyncIterator[Runs]:
    yield tampered
    await tampered.books.assert_sound()


async def mined(books: Books, batch_id: str) -> None:
    books.chain.mine(3)
    await books.watch.watch_once()
    await books.log.settle(batch_id)


async def on_the_wire(books: Books) -> str:
    batch_id = await books.claim()
    await books.runner.prepare(batch_id)
    assert await books.log.allocate(batch_id)
    outcome = await books.signer.sign(batch_id)
    assert (outcome.refused, outcome.waiting) == (0, 0)
    await books.runner.broadcast(batch_id)
    return batch_id


class TestPaying:
    async def test_shares_transactions_and_postings(self, runs: Runs) -> None:
        books = runs.books
        run_id = await runs.started(*AMOUNTS)
        batch_id = await on_the_wire(books)
        sent = await books.transactions(batch_id)
        assert {row.disperse_address for row in sent} == {DISPERSE, None}
        assert await books.money() == (HOT_MINOR - 1_000 - 4 * FEE_MINOR, 0)
        assert await books.in_flight() == 1_000 + 4 * FEE_MINOR
        await mined(books, batch_id)
        assert await books.in_flight() == 0
        assert await books.balance(chart.SERVICE_FEES) == 4 * FEE_MINOR
        outcomes = await books.log.unnotified(batch_id)
        assert {o.run_id for o in outcomes} == {run_id}
        standing = await runs.desk.advance(run_id)
        assert (standing.status, standing.lines) == (RunStatus.FINISHED, {"settled": 4})

    async def test_allows_the_contract_to_move_a_token_once(self, runs: Runs) -> None:
        books = runs.books
        await runs.started(*AMOUNTS, asset="USD")
        batch_id = await on_the_wire(books)
        sent = await books.transactions(batch_id)
        assert sent[0].kind == ChainTransactionKind.TOKEN_APPROVAL
        assert sent[0].destination == DISPERSE
        await mined(books, batch_id)
        books.chain.allowances[TOKEN] = 2**256 - 1
        await runs.start(await runs.upload(AMOUNTS, asset="USD"), key="again")
        kinds = {row.kind for row in await books.transactions(await on_the_wire(books))}
        assert kinds == {ChainTransactionKind.PAYOUT}

    async def test_pays_the_others_back_where_a_recipient_fails(self, runs: Runs) -> None:
        books = runs.books
        run_id = await runs.started(100, 200, 300)
        failing = (await runs.lines(run_id))[1]
        books.chain.swallows.add(failing.destination)
        batch_id = await on_the_wire(books)
        await mined(books, batch_id)
        lines = await runs.lines(run_id)
        assert [line.status for line in lines] == ["settled", "refunded", "settled"]
        assert lines[1].reason_code == "recipient_failed"
        assert await books.money() == (HOT_MINOR - 400 - 2 * FEE_MINOR, 0)
        assert await books.balance(chart.SUSPENSE) == 0
        assert (await runs.desk.advance(run_id)).status == RunStatus.FINISHED

    async def test_that_reverts_pays_everybody_back(self, runs: Runs) -> None:
        books = runs.books
        run_id = await runs.started(100, 200, 300)
        batch_id = await on_the_wire(books)
        books.chain.reverts.add("")
        await mined(books, batch_id)
        assert {line.status for line in await runs.lines(run_id)} == {PayoutStatus.REFUNDED}
        assert await books.money() == (HOT_MINOR, 0)

    async def test_takes_single_payouts_along(self, runs: Runs) -> None:
        books = runs.books
        await books.freeze(amount_minor=50)
        await runs.started(100, 200)
        (row,) = await books.transactions(await on_the_wire(books))
        assert (row.amount_minor, row.disperse_address) == (350, DISPERSE)


class TestAtTheSameTime:
    async def test_are_signed_while_others_of_the_run_are_allocated(self, runs: Runs) -> None:
        books = runs.books
        await books.execute("UPDATE chain SET batch_size = 1, outputs_max = 2")
        run_id = await runs.started(*AMOUNTS)
        first, second = [await books.claim() for _ in range(2)]
        for batch_id in (first, second):
            await books.runner.prepare(batch_id)
        assert await books.log.allocate(first)
        with after_first_look(
            books.signer_database, "hold", lambda: in_a_thread(allocated(books, second))
        ):
            outcome = await books.signer.sign(first)
        assert (outcome.signed, outcome.refused) == (1, 0)
        assert [line.is_captured for line in await runs.lines(run_id)] == [True] * 4
        assert (await books.signer.sign(second)).signed == 1
        for batch_id in (first, second):
            await books.runner.broadcast(batch_id)
        await mined(books, first)
        await mined(books, second)

    async def test_are_settled_though_the_watcher_confirms_meanwhile(self, runs: Runs) -> None:
        """What is confirmed while others of its batch are posted is not forgotten with it."""
        books = runs.books
        run_id = await runs.started(*AMOUNTS)
        batch_id = await on_the_wire(books)
        books.chain.mine(3)
        await books.watch.watch_once()
        late = (await books.transactions(batch_id))[-1]
        statement = "UPDATE chain_transaction SET status = '{}' WHERE id = '{}'"
        await books.execute(statement.format(ChainTransactionStatus.MINED, late.id))
        confirm = statement.format(ChainTransactionStatus.CONFIRMED, late.id)
        with after_first_look(
            books.worker, "chain_transaction", lambda: in_a_thread(executed(books, confirm))
        ):
            outcome = await books.log.settle(batch_id)
        assert not outcome.is_done
        assert (await books.log.settle(batch_id)).is_done
        assert (await runs.desk.advance(run_id)).lines == {"settled": 4}


@contextmanager
def after_first_look(database: Database, table: str, act: Callable[[], None]) -> Iterator[None]:
    """Do something in another transaction right after this one's first look at a table."""
    seen: list[str] = []

    def look(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if f"FROM {table} " in statement.replace("\n", " ") + " " and not seen:
            seen.append(statement)
            act()

    event.listen(database.engine.sync_engine, "after_cursor_execute", look)
    try:
        yield
    finally:
        event.remove(database.engine.sync_engine, "after_cursor_execute", look)
    assert seen, f"nobody looked at {table}"


async def allocated(books: Books, batch_id: str) -> None:
    """Allocate a batch as another process does."""
    database = Database(books.worker.engine.url.render_as_string(hide_password=False))
    assert await PostgresOutgoingLog(database, books.clock).allocate(batch_id)
    await database.close()


async def executed(books: Books, statement: str) -> None:
    """Run SQL as the superuser, on a connection of its own."""
    database = Database(books.owner.engine.url.render_as_string(hide_password=False))
    async with database.statement() as connection:
        await connection.exec_driver_sql(statement)
    await database.close()


def in_a_thread(work: Coroutine[None, None, None]) -> None:
    """Return when this is done, and committed, elsewhere."""
    thread = Thread(target=asyncio.run, args=(work,))
    thread.start()
    thread.join()


class TestGivenUp:
    async def test_lines_keep_their_money_in_flight_and_are_paid_later(self, runs: Runs) -> None:
        """The signer refuses, so each is tried again alone: nothing is captured twice."""
        books = runs.books
        run_id = await runs.started(100, 200, 300)
        batch_id = await books.claim()
        await books.runner.prepare(batch_id)
        await books.log.allocate(batch_id)
        await books.execute("UPDATE chain SET max_fee_ceiling_minor = 1")
        assert (await books.signer.sign(batch_id)).refused == 1
        await books.log.give_up_refused(batch_id)
        assert {line.status for line in await runs.lines(run_id)} == {PayoutStatus.READY}
        assert await books.in_flight() == 600 + 3 * FEE_MINOR
        await books.execute("UPDATE chain SET max_fee_ceiling_minor = 1000")
        await books.signer.sign(batch_id)
        await books.runner.broadcast(batch_id)
        again = await on_the_wire(books)
        assert len(await books.transactions(again)) == 3
        await mined(books, again)
        assert (await runs.desk.advance(run_id)).lines == {"settled": 3}
        assert await books.in_flight() == 0

    async def test_lines_can_be_cancelled_or_refunded_from_there(self, runs: Runs) -> None:
        books = runs.books
        run_id = await runs.started(100, 200, 300)
        batch_id = await books.claim()
        await books.runner.prepare(batch_id)
        await books.log.allocate(batch_id)
        first, *_ = await runs.lines(run_id)
        await books.log.refund(OperatorAction(first.id, "op"))
        standing = await runs.cancel(run_id)
        assert standing.lines == {"refunded": 1, "cancelled": 2}
        assert standing.status == RunStatus.FINISHED
        assert await books.money() == (HOT_MINOR, 0)
        assert await books.in_flight() == 0


class TestSigner:
    """It believes nobody: what a taken-over worker writes is not signed."""

    async def refused(self, runs: Runs, run_id: str, *statements: str) -> None:
        books = runs.books
        batch_id = await books.claim()
        await books.runner.prepare(batch_id)
        await books.log.allocate(batch_id)
        await books.tamper(*(s.format(run=run_id, batch=batch_id) for s in statements))
        outcome = await books.signer.sign(batch_id)
        assert (outcome.signed, outcome.refused) == (0, 1)
        (row,) = await books.transactions(batch_id)
        assert row.status == ChainTransactionStatus.ALLOCATED

    @pytest.mark.parametrize(
        "statement",
        [
            "UPDATE payout SET is_captured = false WHERE run_id = '{run}' AND line_number = 2",
            "UPDATE payout SET destination = '0x' || repeat('11', 20) WHERE line_number = 2",
            "UPDATE payout SET user_id = 'u2' WHERE line_number = 2",
            "UPDATE hold SET captured_minor = captured_minor - 1",
            "UPDATE hold SET amount_minor = amount_minor + 1",
            "UPDATE payout SET amount_minor = 99 WHERE line_number = 2",
            "UPDATE payout SET fee_minor = fee_minor + 1 WHERE line_number = 2",
            "UPDATE payout SET run_id = NULL, line_number = NULL WHERE line_number = 2",
            "UPDATE payout_run SET total_minor = total_minor - 1",
            "UPDATE payout_run SET line_count = 2",
            "UPDATE payout_run SET status = 'draft'",
            "UPDATE run_decision SET decision = 'reject'",
            "UPDATE run_decision SET line_numbers = ARRAY[2, 3]",
            "DELETE FROM run_decision WHERE approver_id = 'a1'",
            "UPDATE app_user SET roles = '{{}}' WHERE id = 'a1'",
            "UPDATE chain_transaction SET disperse_address = '0x' || repeat('22', 20)",
            "UPDATE chain_transaction SET amount_minor = 601",
        ],
    )
    async def test_refuses(self, tampered: Runs, statement: str) -> None:
        runs = tampered
        await runs.books.set_policy(
            {"rules": [{"asset": "*", "up_to_minor": None, "approvals": 2}]}
        )
        run_id = await runs.started(100, 200, 300)
        await runs.decide(run_id, "a1")
        await runs.decide(run_id, "a2", lines="2-4")
        await self.refused(runs, run_id, statement)

    async def test_refuses_a_line_whose_money_was_given_back(self, runs: Runs) -> None:
        books = runs.books
        run_id = await runs.started(100, 200)
        batch_id = await books.claim()
        await books.runner.prepare(batch_id)
        await books.log.allocate(batch_id)
        first, *_ = await runs.lines(run_id)
        await books.log.refund(OperatorAction(first.id, "op"))
        await books.execute("UPDATE payout SET status = 'ready', chain_transaction_id = NULL")
        again = await books.claim()
        await books.runner.prepare(again)
        await books.log.allocate(again)
        assert (await books.signer.sign(again)).refused == 1

    async def test_signs_what_enough_people_approved_line_by_line(self, runs: Runs) -> None:
        await runs.books.set_policy(
            {"rules": [{"asset": "*", "up_to_minor": None, "approvals": 2}]}
        )
        run_id = await runs.started(100, 200, 300)
        await runs.decide(run_id, "a1", lines="2-3")
        await runs.decide(run_id, "a2", lines="2-3")
        await runs.decide(run_id, "a3", lines="4", kind=DecisionKind.REJECT)
        await mined(runs.books, await on_the_wire(runs.books))
        assert (await runs.desk.advance(run_id)).lines == {"settled": 2, "rejected": 1}
        assert await runs.books.money() == (HOT_MINOR - 300 - 2 * FEE_MINOR, 0)


@contextmanager
def executions(database: Database) -> Iterator[list[str]]:
    """Yield what is executed, a statement once for each row that it is executed for."""
    seen: list[str] = []

    def look(
        _connection: object,
        _cursor: object,
        statement: str,
        parameters: Sequence[object],
        _context: object,
        executemany: bool,  # noqa: FBT001 - SQLAlchemy's
    ) -> None:
        # New rows go in one message whatever their number; others are one each.
        is_many = executemany and not statement.startswith("INSERT")
        seen.extend([statement] * (len(parameters) if is_many else 1))

    event.listen(database.engine.sync_engine, "after_cursor_execute", look)
    try:
        yield seen
    finally:
        event.remove(database.engine.sync_engine, "after_cursor_execute", look)


class TestManyLines:
    COUNT = 60
    STATEMENTS_MAX = 30

    @pytest.mark.parametrize("failure", [None, "recipient", "all"])
    async def test_are_allocated_and_settled_by_few_statements(
        self, runs: Runs, failure: str | None
    ) -> None:
        books = runs.books
        await allow_dispersals(books, outputs_max=self.COUNT)
        await books.execute("UPDATE chain SET batch_size = 1")
        run_id = await runs.started(*[10] * self.COUNT)
        if failure == "recipient":
            books.chain.swallows |= {stranger(n) for n in range(2, 40)}
        if failure == "all":
            books.chain.reverts.add("")
        batch_id = await books.claim()
        await books.runner.prepare(batch_id)
        with executions(books.worker) as allocating:
            assert await books.log.allocate(batch_id)
        assert (await books.signer.sign(batch_id)).signed == 1
        await books.runner.broadcast(batch_id)
        books.chain.mine(3)
        await books.watch.watch_once()
        with executions(books.worker) as settling:
            await books.log.settle(batch_id)

        assert len(allocating) <= self.STATEMENTS_MAX
        assert len(settling) <= self.STATEMENTS_MAX
        failed = {None: 0, "recipient": 38, "all": self.COUNT}[failure]
        standing = await runs.desk.advance(run_id)
        counts = {"settled": self.COUNT - failed, "refunded": failed}
        assert standing.lines == {status: n for status, n in counts.items() if n}
        lines = await runs.lines(run_id)
        assert all(line.is_captured for line in lines)
        assert all(line.network_fee_minor for line in lines)
        assert len({line.updated_at for line in lines}) == 1

    async def test_in_as_many_transactions_are_settled_by_few_statements(self, runs: Runs) -> None:
        books = runs.books
        await books.execute(
            "UPDATE chain SET disperse_address = NULL, outputs_max = 1, batch_size = 60"
        )
        run_id = await runs.started(*[10] * self.COUNT)
        batch_id = await on_the_wire(books)
        books.chain.mine(3)
        await books.watch.watch_once()
        with executions(books.worker) as settling:
            assert (await books.log.settle(batch_id)).is_done

        assert len(settling) <= self.STATEMENTS_MAX
        assert (await runs.desk.advance(run_id)).lines == {"settled": self.COUNT}
        again = await books.log.settle(batch_id)
        assert again.is_done
