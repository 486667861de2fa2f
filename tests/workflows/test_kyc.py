"""The workflow of a KYC application: what it wakes for, what it passes on, when it ends."""

from datetime import timedelta

import pytest
from temporalio.client import WorkflowExecutionStatus

from domain.errors import KycApplicationStateError, OwnRequestError, RoleMissingError
from domain.kyc import KycDecisionKind, KycStatus, KycSupply
from tests.support import kyc_scenarios
from tests.support.fake_kyc import APPLICANT, STRANGER
from tests.support.flows import Flow, events_of, until
from tests.support.temporal import CONTINUE_AS_NEW_AFTER_EVENTS


def statuses(flow: Flow) -> list[KycStatus]:
    return [application.status for application in flow.books.kyc.applications.values()]


class TestApplication:
    async def test_is_in_review_when_it_is_accepted(self, flow: Flow) -> None:
        application = await flow.apply()
        assert application.status == KycStatus.IN_REVIEW
        again = await flow.kyc.accept(application.id, user_id=APPLICANT)
        assert again.status == KycStatus.IN_REVIEW

    async def test_is_granted_after_more_was_handed_in(self, flow: Flow) -> None:
        await kyc_scenarios.kyc_approved(flow)
        assert statuses(flow) == [KycStatus.APPROVED]
        assert flow.books.kyc.changes == [2]

    async def test_ends_with_a_rejection(self, flow: Flow) -> None:
        await kyc_scenarios.kyc_rejected(flow)
        assert statuses(flow) == [KycStatus.REJECTED]
        assert flow.books.kyc.level == 0

    async def test_is_started_by_whoever_comes_first(self, flow: Flow) -> None:
        """It was stored, and the process died before it was started."""
        application = flow.books.kyc.apply()
        standing = await flow.review(application)
        assert (standing.status, standing.level) == (KycStatus.APPROVED, 1)
        await flow.application(application).result()

    async def test_passes_refusals_on(self, flow: Flow) -> None:
        application = await flow.apply()
        with pytest.raises(OwnRequestError):
            await flow.review(application, by=APPLICANT)
        with pytest.raises(RoleMissingError):
            await flow.review(application, by=STRANGER)
        await flow.review(application)
        with pytest.raises(KycApplicationStateError):
            await flow.kyc.withdraw(application.id, user_id=APPLICANT)
        assert statuses(flow) == [KycStatus.APPROVED]


class TestTime:
    async def test_reminds_and_expires(self, flow: Flow) -> None:
        await kyc_scenarios.kyc_expired(flow)
        assert statuses(flow) == [KycStatus.EXPIRED]
        (application,) = flow.books.kyc.applications.values()
        assert application.reminders >= 2

    async def test_reminds_nobody_early(self, flow: Flow) -> None:
        application = await flow.apply()
        handle = flow.application(application)
        await flow.skip(handle, timedelta(hours=23))
        assert application.reminders == 0
        await flow.skip(handle, timedelta(hours=1))
        await until(lambda: application.reminders == 1)

    async def test_expires_where_the_applicant_does_not_answer(self, flow: Flow) -> None:
        application = await flow.apply()
        await flow.review(application, KycDecisionKind.REQUEST_INFORMATION)
        handle = flow.application(application)
        await flow.skip(handle, timedelta(days=15))
        await handle.result()
        assert statuses(flow) == [KycStatus.EXPIRED]

    async def test_lowers_the_level_when_a_document_has_expired(self, flow: Flow) -> None:
        await kyc_scenarios.kyc_lapsed(flow)
        assert statuses(flow) == [KycStatus.LAPSED]
        assert flow.books.kyc.changes == [1, 0]

    async def test_asks_a_slow_database_again_and_again(self, flow: Flow) -> None:
        """By the database's clock nothing is due yet: the workflow asks each minute, no faster."""
        application = await flow.apply()
        handle = flow.application(application)
        await flow.environment.fast_forward(handle, timedelta(days=1, minutes=3))
        assert application.reminders == 0
        assert flow.books.kyc.steps.count("advance") <= 5
        flow.books.clock.advance(timedelta(days=1))
        await flow.environment.fast_forward(handle, timedelta(minutes=2))
        await until(lambda: application.reminders == 1)


class TestDowngrade:
    async def test_reaches_a_watched_application_and_one_that_has_ended(self, flow: Flow) -> None:
        await kyc_scenarios.kyc_revoked(flow)
        assert statuses(flow) == [KycStatus.REVOKED, KycStatus.REVOKED]
        assert flow.books.kyc.changes == [3, 1, 0, 2, 0]


class TestHistory:
    async def test_that_is_long_goes_on_in_another(self, flow: Flow) -> None:
        application = await flow.apply()
        handle = flow.application(application)
        first = (await handle.describe()).run_id
        for count in range(1, CONTINUE_AS_NEW_AFTER_EVENTS):
            kind = KycDecisionKind.REQUEST_INFORMATION
            await flow.review(application, kind)
            application.stored_revision = application.revision + 1
            supply = KycSupply(application.id, application.stored_revision)
            await flow.kyc.supply(supply, user_id=APPLICANT)
            assert application.revision == count + 1
            if (await handle.describe()).run_id != first:
                break
        old = flow.client.get_workflow_handle(handle.id, run_id=first)
        assert (await events_of(old))[-1] == "WORKFLOW_EXECUTION_CONTINUED_AS_NEW"
        await flow.review(application)
        await flow.application(application).result()
        assert statuses(flow) == [KycStatus.APPROVED]
        described = await flow.application(application).describe()
        assert described.status == WorkflowExecutionStatus.COMPLETED
