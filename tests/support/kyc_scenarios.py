"""Paths of KYC applications through their workflow; see ``tests.support.scenarios``."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

from temporalio.client import WorkflowHandle

from domain.kyc import KycDecisionKind, KycSupply
from tests.support.fake_kyc import APPLICANT
from tests.support.flows import Flow, until

Handles = dict[str, WorkflowHandle[Any, Any]]


async def kyc_approved(flow: Flow) -> Handles:
    """More is asked for, handed in and approved; nothing that it rests on ever expires."""
    application = await flow.apply(2)
    await flow.review(application, KycDecisionKind.REQUEST_INFORMATION)
    application.stored_revision = 2
    await flow.kyc.supply(KycSupply(application.id, 2), user_id=APPLICANT)
    await flow.review(application)
    handle = flow.application(application)
    await handle.result()
    return {"kyc_approved": handle}


async def kyc_rejected(flow: Flow) -> Handles:
    application = await flow.apply()
    await flow.review(application, KycDecisionKind.REJECT)
    handle = flow.application(application)
    await handle.result()
    return {"kyc_rejected": handle}


async def kyc_withdrawn(flow: Flow) -> Handles:
    application = await flow.apply()
    await flow.kyc.withdraw(application.id, user_id=APPLICANT)
    handle = flow.application(application)
    await handle.result()
    return {"kyc_withdrawn": handle}


async def kyc_expired(flow: Flow) -> Handles:
    """Reviewers are reminded twice; nobody decides."""
    application = await flow.apply()
    handle = flow.application(application)
    for count in (1, 2):
        await flow.skip(handle, timedelta(days=1))
        await until(lambda count=count: application.reminders == count)
    await flow.skip(handle, timedelta(days=28))
    await handle.result()
    return {"kyc_expired": handle}


async def kyc_lapsed(flow: Flow) -> Handles:
    """Granted for a hundred days, with a notice before they are over."""
    expiry = flow.books.clock.now() + timedelta(days=100)
    application = await flow.apply(documents_expire_at=expiry)
    handle = flow.application(application)
    await flow.review(application)
    for days in (30, 30, 11):
        await flow.skip(handle, timedelta(days=days))
    await until(lambda: application.reminders == 1)
    await flow.skip(handle, timedelta(days=30))
    await handle.result()
    return {"kyc_lapsed": handle}


async def kyc_revoked(flow: Flow) -> Handles:
    """An owner lowers a level that is watched, and takes one away whose workflow has ended."""
    expiry = flow.books.clock.now() + timedelta(days=100)
    watched = await flow.apply(3, documents_expire_at=expiry)
    await flow.review(watched)
    await flow.downgrade(watched, 1)
    await flow.downgrade(watched, 0)
    first = flow.application(watched)
    await first.result()
    lasting = await flow.apply(2)
    await flow.review(lasting)
    await flow.application(lasting).result()
    await flow.downgrade(lasting, 0)
    again = flow.application(lasting)
    await again.result()
    return {"kyc_revoked": first, "kyc_revoked_later": again}


SCENARIOS: tuple[Callable[[Flow], Awaitable[Handles]], ...] = (
    kyc_approved,
    kyc_rejected,
    kyc_withdrawn,
    kyc_expired,
    kyc_lapsed,
    kyc_revoked,
)
