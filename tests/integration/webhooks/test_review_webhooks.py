"""What a reviewer tried on webhooks: receivers that keep everybody else waiting."""

import asyncio

import pytest

import webhooks.desk
from domain.errors import WebhookEndpointBusyError
from domain.webhooks import DeliveryStatus
from tests.support.flows import until
from tests.support.receiver import never
from tests.support.webhook_office import Office


async def hang(office: Office, deliveries: list[str]) -> list[asyncio.Task[object]]:
    """Start deliveries that are never answered, and return once all are on the wire."""
    before = len(office.receiver.received)
    office.receiver.replies = [never] * len(deliveries)
    sending: list[asyncio.Task[object]] = [
        asyncio.create_task(office.attempt(delivery_id)) for delivery_id in deliveries
    ]
    await until(lambda: len(office.receiver.received) == before + len(deliveries))
    return sending


async def told(office: Office, user_id: str, *, endpoints: int) -> list[str]:
    """Return one delivery to each of so many new endpoints of a user."""
    known = set(await office.dispatched())
    for _ in range(endpoints):
        await office.add(user_id=user_id)
    await office.tell("r", user_id=user_id)
    return [each for each in await office.dispatched() if each not in known]


class TestSlowReceivers:
    @pytest.mark.parametrize(
        ("bound", "is_busy_for_others"), [("OF_USER_MAX", False), ("IN_ALL_MAX", True)]
    )
    async def test_of_one_user_keep_so_many_slots_busy(
        self,
        office: Office,
        monkeypatch: pytest.MonkeyPatch,
        bound: str,
        is_busy_for_others: bool,  # noqa: FBT001 - a parameter of the test
    ) -> None:
        monkeypatch.setattr(webhooks.desk, bound, 2)
        *slow, late = await told(office, "u1", endpoints=3)
        (other,) = await told(office, "u2", endpoints=1)
        sending = await hang(office, slow)

        with pytest.raises(WebhookEndpointBusyError):
            await office.attempt(late)
        if is_busy_for_others:
            with pytest.raises(WebhookEndpointBusyError):
                await office.attempt(other)
        else:
            assert (await office.attempt(other)).status == DeliveryStatus.DELIVERED

        for task in sending:
            task.cancel()
        await asyncio.gather(*sending, return_exceptions=True)
        assert (await office.attempt(late)).status == DeliveryStatus.DELIVERED
