"""The workflow of a mix: a durable timer for each part, over days; held, paused, begun again."""

from collections import Counter
from collections.abc import AsyncIterator

import pytest
from temporalio.client import WorkflowExecutionStatus
from temporalio.testing import WorkflowEnvironment

from domain.errors import MixStateError
from tests.support import mix_flows as scenarios
from tests.support.crashing import CrashAfter
from tests.support.fake_mixer import MIXER_ID, PARTS, FakeMixer
from tests.support.flows import events_of
from tests.support.mix_flows import MIX_SCENARIOS, MixFlow, Scenario, mix_flow_on

CRASHES: dict[str, Scenario] = {
    "mix.open": scenarios.mix_done,
    "mix.advance": scenarios.mix_done,
    "mix.tell": scenarios.mix_done,
    "deposit.advance": scenarios.mix_done,
    "mix.cancel": scenarios.mix_cancelled,
    "mix.pause": scenarios.mix_paused,
    "mix.resume": scenarios.mix_paused,
    "mix.hold": scenarios.mix_held,
    "mix.release_hold": scenarios.mix_held,
}
"""Each activity, and a path that takes it."""

ALL = {"opened": 1, "taken": 1, "released": PARTS}


@pytest.fixture
async def flow(temporal: WorkflowEnvironment) -> AsyncIterator[MixFlow]:
    async with mix_flow_on(temporal, FakeMixer()) as opened:
        yield opened


async def standing_after(environment: WorkflowEnvironment, scenario: Scenario) -> dict[str, object]:
    async with mix_flow_on(environment, FakeMixer()) as flow:
        await scenario(flow)
    return flow.mixer.standing()


class TestPaths:
    @pytest.mark.parametrize(
        ("scenario", "status", "counts"),
        [
            (scenarios.mix_done, "done", ALL),
            (scenarios.mix_settled_later, "done", ALL),
            (scenarios.mix_expired, "expired", {"opened": 1, "expired": 1}),
            (scenarios.mix_cancelled, "cancelled", {"opened": 1, "taken": 1, "cancelled": 1}),
            (scenarios.mix_paused, "done", ALL),
            (scenarios.mix_held, "done", ALL | {"hold lifted": 1}),
            (scenarios.mix_late, "done", ALL | {"expired": 1}),
        ],
        ids=lambda value: getattr(value, "__name__", None),
    )
    async def test_end_as_they_should(
        self, flow: MixFlow, scenario: Scenario, status: str, counts: dict[str, int]
    ) -> None:
        for handle in (await scenario(flow)).values():
            described = await handle.describe()
            assert described.status in (
                WorkflowExecutionStatus.COMPLETED,
                WorkflowExecutionStatus.CONTINUED_AS_NEW,
            )
        assert flow.mixer.standing() == {"statuses": [status], "counts": counts}

    async def test_that_are_refused_open_nothing(self, flow: MixFlow) -> None:
        await scenarios.mix_refused(flow)
        assert flow.mixer.standing() == {"statuses": [], "counts": {}}

    async def test_have_a_durable_timer_for_each_part(self, flow: MixFlow) -> None:
        run = (await scenarios.mix_done(flow))["mix_done"]
        events = Counter(await events_of(run))
        assert events["TIMER_FIRED"] == PARTS
        # One step on the database for each part, and for opening, looking and taking the deposit.
        assert events["MARKER_RECORDED"] == PARTS + 3


class TestCancelling:
    async def test_is_refused_after_the_first_part(self, flow: MixFlow) -> None:
        mix = await flow.open()
        await flow.fund(mix)
        await flow.dole(mix)
        with pytest.raises(MixStateError):
            await flow.api.cancel(mix.id, MIXER_ID)
        assert len(mix.due) == PARTS - 1


class TestCrash:
    def test_is_tried_after_every_activity(self, temporal: WorkflowEnvironment) -> None:
        served = MixFlow(temporal, FakeMixer()).steps().values()
        names = {
            getattr(step, "__temporal_activity_definition").name
            for steps in served
            for step in steps
        }
        # Its end is never waited for: it heartbeats for as long as its workflow lives.
        assert names - {"mixer.check"} == set(CRASHES)

    @pytest.mark.parametrize("name", CRASHES)
    async def test_after_a_step_ends_as_if_nothing_happened(
        self, temporal: WorkflowEnvironment, name: str
    ) -> None:
        crash = CrashAfter(name)
        async with mix_flow_on(temporal, FakeMixer(), crash) as flow:
            await CRASHES[name](flow)
        assert crash.crashes == 1
        assert flow.mixer.standing() == await standing_after(temporal, CRASHES[name])

    @pytest.mark.parametrize("scenario", MIX_SCENARIOS[:-1], ids=lambda s: s.__name__)
    async def test_of_the_worker_at_every_single_step_ends_the_same(
        self, temporal: WorkflowEnvironment, scenario: Scenario
    ) -> None:
        async with mix_flow_on(temporal, FakeMixer(), cached_workflows=0) as flow:
            await scenario(flow)
        assert flow.mixer.standing() == await standing_after(temporal, scenario)


async def test_books_of_mixers_are_compared_again_and_again(flow: MixFlow) -> None:
    await scenarios.mixers_checked(flow)
    assert flow.mixer.checks > 1
