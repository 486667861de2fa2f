"""A provider's word on the lines of runs: before they are held, and before they are signed."""

from collections.abc import AsyncIterator, Collection, Mapping
from datetime import timedelta
from typing import override

import pytest

from domain.errors import ChainUnavailableError, ScreeningUnavailableError
from domain.payouts import PayoutStatus
from domain.ports import Screened, ScreeningVerdict
from domain.runs import RunAcceptance, RunStart, RunStatus
from domain.screening import ANSWER_GOOD_FOR, SIGNED_WITHIN
from models.runs import AddressScreening
from outgoing.account_planner import AccountPlanner
from outgoing.runner import PostgresChainRunner
from payouts.desk import PostgresPayoutDesk
from payouts.explain import explain as explain_payout
from payouts.queries import payout_detail
from payouts.screening import ASKED_AT_ONCE, PostgresScreener, put_entry
from runs.desk import PostgresRunDesk
from runs.explain import explain
from runs.queries import run_detail
from tests.support.books import CHAIN, Books
from tests.support.runs import FIRST_LINE, Runs, allow_dispersals, stranger

FUNDS_MINOR = 1_000_000
AMOUNTS = (100, 200, 300)


class Provider:
    """Denies what it is told to, can be silent, and remembers what it was asked."""

    def __init__(self) -> None:
        self.denied: set[str] = set()
        self.asked: list[list[str]] = []
        self.answers_left: int | None = None

    async def screen(self, chain_id: str, addresses: Collection[str]) -> Mapping[str, Screened]:
        assert chain_id == CHAIN
        self.asked.append(list(addresses))
        if self.answers_left is not None:
            if self.answers_left == 0:
                raise ChainUnavailableError
            self.answers_left -= 1
        return {
            a: Screened(
                ScreeningVerdict.DENY if a in self.denied else ScreeningVerdict.ALLOW, "said so"
            )
            for a in addresses
        }

    @property
    def asked_count(self) -> int:
        return sum(len(piece) for piece in self.asked)


class Screening(Runs):
    """Runs whose lines a provider is asked about."""

    def __init__(self, books: Books) -> None:
        super().__init__(books)
        self.provider = Provider()
        self.screener = PostgresScreener(books.worker, self.provider, clock=books.clock)
        self.desk = PostgresRunDesk(books.worker, books.clock, self.screener)
        self.payout_desk = PostgresPayoutDesk(books.worker, books.clock, self.screener)
        self.runner = self.runner_with(self.screener)

    def runner_with(self, screener: PostgresScreener | None) -> PostgresChainRunner:
        books = self.books
        planner = AccountPlanner(books.worker, books.chain, books.clock)
        return PostgresChainRunner(
            books.worker, books.chain, planner, books.clock, screener=screener
        )

    @override
    async def allocated(self) -> str:
        batch_id = await self.books.claim()
        await self.runner.prepare(batch_id)
        assert await self.books.log.allocate(batch_id)
        return batch_id

    async def say(self, address: str, verdict: ScreeningVerdict) -> None:
        entry = AddressScreening(
            chain_id=CHAIN, address=address, verdict=verdict, reason="list", created_by="a1"
        )
        async with self.books.owner.transaction() as session:
            await put_entry(session, entry, clock=self.books.clock)

    async def sentence(self, run_id: str) -> str:
        async with self.books.worker.transaction() as session:
            detail = await run_detail(session, run_id, user_id="u1")
            return (await explain(session, detail, now=self.books.clock.now())).sentence


@pytest.fixture
async def runs(books: Books) -> AsyncIterator[Screening]:
    await books.deposit("u1", "ETH", FUNDS_MINOR)
    await allow_dispersals(books)
    yield Screening(books)
    await books.assert_sound()


class TestStart:
    async def test_asks_about_every_line_in_pieces_and_once(self, runs: Screening) -> None:
        count = ASKED_AT_ONCE + 1
        run_id = await runs.upload([100] * count)
        assert (await runs.start(run_id)).status == RunStatus.PAYING
        assert [len(piece) for piece in runs.provider.asked] == [ASKED_AT_ONCE, 1]
        again = await runs.start(await runs.upload([100] * count), key="other")
        assert again.status == RunStatus.PAYING
        assert runs.provider.asked_count == count

    async def test_of_a_run_with_a_denied_line_is_refused_and_names_the_line(
        self, runs: Screening
    ) -> None:
        runs.provider.denied = {stranger(3)}
        run_id = await runs.upload(AMOUNTS)
        refused = await runs.start(run_id)
        assert (refused.status, refused.reason_code) == (RunStatus.DRAFT, "payout_run_state")
        assert "line 3: Screening forbids" in (refused.reason or "")
        assert await runs.books.money() == (FUNDS_MINOR, 0)

    async def test_lets_our_own_list_have_the_last_word(self, runs: Screening) -> None:
        runs.provider.denied = {stranger(3)}
        run_id = await runs.upload(AMOUNTS)
        await runs.start(run_id)
        await runs.say(stranger(3), ScreeningVerdict.ALLOW)
        assert (await runs.start(run_id, key="other")).status == RunStatus.PAYING
        await runs.allocated()

    async def test_waits_for_a_silent_provider_and_asks_no_answer_twice(
        self, runs: Screening
    ) -> None:
        runs.provider.answers_left = 1
        run_id = await runs.upload([100] * (2 * ASKED_AT_ONCE))
        with pytest.raises(ChainUnavailableError):
            await runs.start(run_id)
        assert (await runs.run(run_id)).status == RunStatus.DRAFT
        assert await runs.books.money() == (FUNDS_MINOR, 0)
        assert "Chain node unavailable since" in await runs.sentence(run_id)

        runs.provider.answers_left = None
        assert (await runs.start(run_id)).status == RunStatus.PAYING
        assert [len(piece) for piece in runs.provider.asked] == [ASKED_AT_ONCE] * 3
        assert (await runs.run(run_id)).waiting_for is None

    async def test_asks_nobody_about_what_is_refused_in_any_case(self, runs: Screening) -> None:
        run_id = await runs.upload(AMOUNTS)
        await runs.books.execute("UPDATE payout_run SET problem_count = 1")
        await runs.start(run_id)
        started = await runs.upload(AMOUNTS)
        await runs.start(started)
        asked = runs.provider.asked_count
        await runs.books.execute("DELETE FROM screening_answer")
        await runs.start(started)
        assert asked == runs.provider.asked_count == len(AMOUNTS)

    async def test_holds_no_connection_while_the_provider_thinks(self, runs: Screening) -> None:
        books = runs.books
        open_ones: list[int] = []

        class Watching(Provider):
            @override
            async def screen(
                self, chain_id: str, addresses: Collection[str]
            ) -> Mapping[str, Screened]:
                async with books.owner.transaction() as session:
                    connection = await session.connection()
                    found = await connection.exec_driver_sql(
                        "SELECT count(*) FROM pg_stat_activity WHERE usename = 'strongroom_worker'"
                        " AND datname = current_database() AND xact_start IS NOT NULL"
                    )
                    open_ones.append(int(found.scalar_one()))
                return await super().screen(chain_id, addresses)

        screener = PostgresScreener(books.worker, Watching(), clock=books.clock)
        desk = PostgresRunDesk(books.worker, books.clock, screener)
        run_id = await runs.upload(AMOUNTS)
        accepted: RunAcceptance = await desk.start(RunStart(run_id, "u1", "key"))
        assert accepted.status == RunStatus.PAYING
        assert open_ones == [0]


class TestBatch:
    async def test_asks_again_before_the_signature_when_answers_are_old(
        self, runs: Screening
    ) -> None:
        await runs.started(*AMOUNTS)
        batch_id = await runs.books.claim()
        await runs.runner.prepare(batch_id)
        assert runs.provider.asked_count == len(AMOUNTS)
        runs.books.clock.advance(ANSWER_GOOD_FOR + timedelta(seconds=1))
        for _ in range(2):
            await runs.runner.prepare(batch_id)
            assert runs.provider.asked_count == 2 * len(AMOUNTS)

    async def test_leaves_out_a_line_that_is_denied_by_now(self, runs: Screening) -> None:
        run_id = await runs.started(*AMOUNTS)
        runs.provider.denied = {stranger(FIRST_LINE)}
        runs.books.clock.advance(ANSWER_GOOD_FOR + timedelta(seconds=1))
        batch_id = await runs.allocated()
        assert (await runs.books.signer.sign(batch_id)).signed == 1
        denied, *others = await runs.lines(run_id)
        assert denied.status == PayoutStatus.READY
        assert {line.status for line in others} == {PayoutStatus.BATCHED}
        assert await runs.books.log.claim(chain_id=CHAIN, wallet_address="", claim_key="k") is None
        async with runs.books.worker.transaction() as session:
            detail = await payout_detail(session, denied.id, user_id="u1")
            said = await explain_payout(session, detail, now=runs.books.clock.now())
        assert said.waiting_for == "address_denied"

    async def test_waits_for_a_silent_provider_and_says_so(self, runs: Screening) -> None:
        run_id = await runs.started(*AMOUNTS)
        runs.books.clock.advance(ANSWER_GOOD_FOR + timedelta(seconds=1))
        runs.provider.answers_left = 0
        batch_id = await runs.books.claim()
        with pytest.raises(ChainUnavailableError):
            await runs.runner.prepare(batch_id)
        assert "Chain node unavailable" in await runs.sentence(run_id)
        # Unprepared it has no fees, and so gets no place.
        runs.provider.answers_left = None
        await runs.runner.prepare(batch_id)
        assert await runs.books.log.allocate(batch_id)
        assert (await runs.books.signer.sign(batch_id)).signed == 1

    async def test_is_not_signed_on_old_answers(self, runs: Screening) -> None:
        run_id = await runs.started(*AMOUNTS)
        batch_id = await runs.allocated()
        runs.books.clock.advance(SIGNED_WITHIN + timedelta(seconds=1))
        outcome = await runs.books.signer.sign(batch_id)
        assert (outcome.signed, outcome.refused, outcome.waiting) == (0, 0, 1)
        assert (await runs.books.batch(batch_id)).waiting_for == "screening_outdated"

        runs.provider.answers_left = 0
        with pytest.raises(ChainUnavailableError):
            await runs.runner.plan_bumps(batch_id)
        assert (await runs.books.signer.sign(batch_id)).signed == 0

        runs.provider.answers_left = None
        runs.provider.denied = {stranger(FIRST_LINE)}
        await runs.runner.plan_bumps(batch_id)
        assert {line.status for line in await runs.lines(run_id)} == {PayoutStatus.READY}

    async def test_is_signed_once_no_provider_is_asked_any_more(self, runs: Screening) -> None:
        await runs.started(*AMOUNTS)
        batch_id = await runs.allocated()
        runs.books.clock.advance(SIGNED_WITHIN + timedelta(seconds=1))
        await runs.runner_with(None).plan_bumps(batch_id)
        assert (await runs.books.signer.sign(batch_id)).signed == 1

    async def test_replaces_what_is_stuck_also_while_the_provider_is_silent(
        self, runs: Screening
    ) -> None:
        await runs.started(*AMOUNTS)
        batch_id = await runs.allocated()
        assert (await runs.books.signer.sign(batch_id)).signed == 1
        await runs.runner.broadcast(batch_id)
        runs.books.clock.advance(SIGNED_WITHIN + timedelta(seconds=1))
        runs.provider.answers_left = 0
        assert await runs.runner.plan_bumps(batch_id) == 1
        assert (await runs.books.signer.sign(batch_id)).signed == 1


class TestLonePayout:
    async def test_is_asked_about_again_before_its_signature(self, runs: Screening) -> None:
        request = runs.books.request(destination=stranger(9))
        assert (await runs.payout_desk.freeze(request)).status == PayoutStatus.READY
        runs.books.clock.advance(ANSWER_GOOD_FOR + timedelta(seconds=1))
        runs.provider.denied = {stranger(9)}
        batch_id = await runs.books.claim()
        await runs.runner.prepare(batch_id)
        await runs.books.log.allocate(batch_id)
        assert (await runs.books.payout(request.payout_id)).status == PayoutStatus.READY


class TestSigner:
    async def test_knows_what_the_provider_denied(self, runs: Screening) -> None:
        await runs.started(*AMOUNTS)
        batch_id = await runs.allocated()
        await runs.books.execute(
            f"UPDATE screening_answer SET verdict = 'deny' WHERE address = '{stranger(3)}'"  # noqa: S608
        )
        outcome = await runs.books.signer.sign(batch_id)
        assert (outcome.signed, outcome.waiting) == (0, 1)
        await runs.say(stranger(3), ScreeningVerdict.ALLOW)
        assert (await runs.books.signer.sign(batch_id)).signed == 1


async def test_a_provider_that_breaks_counts_as_silent(books: Books) -> None:
    class Broken:
        async def screen(self, chain_id: str, addresses: Collection[str]) -> Mapping[str, Screened]:
            del chain_id, addresses
            msg = "no such host"
            raise OSError(msg)

    screener = PostgresScreener(books.worker, Broken(), clock=books.clock)
    with pytest.raises(ScreeningUnavailableError):
        await screener.screen(CHAIN, [stranger(1)])
