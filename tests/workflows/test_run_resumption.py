"""A bulk payout whose workflow was ended from outside goes on under the same id."""

from tests.support.flows import Flow, until


class TestResumption:
    async def test_goes_on_where_it_was_ended_by_hand(self, flow: Flow) -> None:
        run = await flow.run_of(10, 20)
        await (await flow.execution_of(run)).terminate()
        for _ in range(2):
            await flow.resume_run(run)
        await flow.start_batcher()
        await flow.start_watcher()

        assert (await flow.run(run).result()).lines == {"settled": 2}
        assert flow.books.holds_placed == 1
        assert flow.books.run_steps.count("start") == 2

    async def test_of_a_running_one_only_lets_it_look_again(self, flow: Flow) -> None:
        run = await flow.run_of(10)
        before = (await (await flow.execution_of(run)).describe()).run_id
        looked = flow.books.run_steps.count("advance")
        await flow.resume_run(run)

        await until(lambda: flow.books.run_steps.count("advance") > looked)
        assert (await (await flow.execution_of(run)).describe()).run_id == before
        assert flow.books.run_steps.count("start") == 1
