"""What the signer agrees to sign of runs, and how much it reads for it."""

from collections.abc import Sequence

import pytest
from sqlalchemy import event

import signing.runs
import signing.signer
from domain.errors import AlreadyDecidedError, InvariantError
from domain.evm_calls import TRANSFER_GAS_MAX
from domain.payouts import DecisionKind, PayoutStatus
from domain.ports import GasEstimate, SignedAttempt, Transfer, UnsignedAttempt
from models.deposits import UserFreeze
from runs.approvals import decisions_on
from tests.support.books import Books
from tests.support.runs import Runs, allow_dispersals

HOT_MINOR = 10_000
ONE_APPROVAL = {"rules": [{"asset": "*", "up_to_minor": None, "approvals": 1}]}


@pytest.fixture
async def runs(books: Books) -> Runs:
    for user_id in ("u1", "u2"):
        await books.deposit(user_id, "ETH", HOT_MINOR)
    await allow_dispersals(books)
    return Runs(books)


class TestSigner:
    async def test_mean_the_same_lines_by_a_rejection_of_the_rest(self, runs: Runs) -> None:
        """Two lines are approved; somebody else rejects "every line that awaits approval"."""
        await runs.books.set_policy(ONE_APPROVAL)
        run_id = await runs.started(100, 200, 300, 400)
        await runs.decide(run_id, "a1", lines="2-3")
        standing = await runs.decide(run_id, "a2", kind=DecisionKind.REJECT)
        assert standing.lines == {"ready": 2, "rejected": 2}
        batch_id = await runs.allocated()
        outcome = await runs.books.signer.sign(batch_id)
        assert (outcome.signed, outcome.refused) == (1, 0)
        with pytest.raises(AlreadyDecidedError):
            await runs.decide(run_id, "a2", kind=DecisionKind.REJECT)
        async with runs.books.owner.transaction() as session:
            decisions = await decisions_on(session, run_id)
        assert [decision.line_numbers for decision in decisions] == [[2, 3], [4, 5]]

    async def test_agree_on_the_gas_of_who_is_left_of_a_dispersal(
        self, runs: Runs, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """u1 is frozen after the batch was planned; u2 shared the transaction and did nothing."""
        books = runs.books

        async def dear(transfers: Sequence[Transfer]) -> list[GasEstimate]:
            return [GasEstimate(TRANSFER_GAS_MAX + 1) for _ in transfers]

        monkeypatch.setattr(books.chain, "estimate_gas", dear)
        await runs.started(100, 200)
        accepted = await books.freeze(user_id="u2", amount_minor=50)
        batch_id = await books.claim()
        await books.runner.prepare(batch_id)
        async with books.owner.transaction() as session:
            session.add(UserFreeze(id="frz_1", user_id="u1", created_at=books.clock.now()))
        assert await books.log.allocate(batch_id)
        (row,) = await books.transactions(batch_id)
        assert (row.amount_minor, row.disperse_address) == (50, None)
        assert (await books.payout(accepted.payout_id)).status == PayoutStatus.BATCHED
        assert (await books.signer.sign(batch_id)).refused == 0

    async def test_read_a_run_once_for_all_decisions_on_it(
        self, runs: Runs, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Also where they are more than are remembered."""
        monkeypatch.setattr(signing.runs, "HASHES_KEPT", 3)
        signing.runs._hashes.clear()
        books, reckoned = runs.books, []
        original = signing.runs._reckoned

        async def counted(*given: object) -> dict[str, str]:
            reckoned.append(given)
            return await original(*given)  # type: ignore[arg-type]

        monkeypatch.setattr(signing.runs, "_reckoned", counted)
        await books.execute("UPDATE chain SET outputs_max = 1")
        await books.set_policy(ONE_APPROVAL)
        run_id = await runs.started(1, 2, 3, 4)
        for number in range(2, 6):
            await runs.decide(run_id, "a1", lines=str(number))
        assert (await books.signer.sign(await runs.allocated())).signed == 4
        assert len(reckoned) == 1
        assert len(signing.runs._hashes) == 3

    async def test_keeps_what_is_signed_when_the_rest_fails(
        self, runs: Runs, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A batch of thousands takes longer than one try of the step may last."""
        monkeypatch.setattr(signing.signer, "SIGNED_AT_ONCE", 2)
        books = runs.books
        await books.execute("UPDATE chain SET outputs_max = 1")
        await runs.started(1, 2, 3, 4, 5)
        batch_id = await runs.allocated()
        works = books.keys.sign

        async def failing(attempt: UnsignedAttempt) -> SignedAttempt:
            if attempt.account_nonce == 3:
                raise InvariantError
            return await works(attempt)

        books.keys.sign = failing  # type: ignore[method-assign]
        with pytest.raises(InvariantError):
            await books.signer.sign(batch_id)
        statuses = [row.status for row in await books.transactions(batch_id)]
        assert statuses == ["signed"] * 2 + ["allocated"] * 3
        books.keys.sign = works  # type: ignore[method-assign]
        assert (await books.signer.sign(batch_id)).signed == 3

    async def test_says_again_what_it_refused_should_the_answer_be_lost(self, runs: Runs) -> None:
        books = runs.books
        await runs.started(1, 2)
        batch_id = await runs.allocated()
        await books.tamper("UPDATE payout SET amount_minor = 3 WHERE line_number = 2")
        for _ in range(2):
            assert (await books.signer.sign(batch_id)).refused == 1

    async def test_add_a_run_up_once_for_each_batch(self, runs: Runs) -> None:
        """
        Each time reads every line of the run, and a batch is signed in one unit of work.

        With 2,000 lines of 100,000 tried again alone that took 143 s; ``NODE_STEP`` allows 120.
        """
        books = runs.books
        await runs.started(1, 2, 3, 4)
        await books.execute("UPDATE payout SET is_alone = true")
        batch_id = await runs.allocated()
        sums: list[str] = []

        def look(_connection: object, _cursor: object, statement: str, *_: object) -> None:
            if "sum(payout.amount_minor + payout.fee_minor)" in statement:
                sums.append(statement)

        engine = books.signer_database.engine.sync_engine
        event.listen(engine, "after_cursor_execute", look)
        assert (await books.signer.sign(batch_id)).signed == 4
        event.remove(engine, "after_cursor_execute", look)
        assert len(sums) == 1

    @pytest.mark.parametrize(
        "statement",
        [
            "UPDATE chain SET outputs_max = 2",
            "UPDATE chain SET disperse_address = '0x' || repeat('22', 20)",
            "UPDATE asset SET enabled = false WHERE code = 'ETH'",
        ],
    )
    async def test_agree_on_replacing_what_is_signed(self, runs: Runs, statement: str) -> None:
        """The bytes are out and pay the same at most once; unreplaced they block the wallet."""
        books = runs.books
        await runs.started(1, 2, 3)
        batch_id = await runs.allocated()
        assert (await books.signer.sign(batch_id)).signed == 1
        await books.runner.broadcast(batch_id)
        await books.execute(statement)
        books.wait(61)
        assert await books.runner.plan_bumps(batch_id) == 1
        outcome = await books.signer.sign(batch_id)
        assert (outcome.signed, outcome.refused) == (1, 0)
