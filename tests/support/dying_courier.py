"""
A worker of the queues ``wallet`` and ``gateways`` that dies by SIGKILL once, at a named moment.

``python -m tests.support.dying_courier MOMENT MARKER``. The marker tells that it has died already:
the next process of this kind behaves. It reads the worker's settings.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import override

import worker
from infra.notifier import TemporalNotifier
from infra.settings import WorkerSettings
from webhooks.desk import PostgresWebhookDesk
from webhooks.sender import Answer, WebhookSender

MOMENTS = ("dispatched", "started", "sent")
"""Deliveries are made; their workflows are started; the receiver has it. Nobody was told so."""


def die_once(moment: str) -> None:
    """Die as in a power cut, if this is the moment, unless it happened before."""
    asked, marker = sys.argv[1], Path(sys.argv[2])
    if moment != asked:
        return
    try:
        marker.touch(exist_ok=False)
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


class DyingDesk(PostgresWebhookDesk):
    @override
    async def dispatch(self) -> int:
        seen = await super().dispatch()
        if seen:
            die_once("dispatched")
        return seen


class DyingNotifier(TemporalNotifier):
    @override
    async def webhooks_due(self, delivery_ids: Sequence[str]) -> None:
        await super().webhooks_due(delivery_ids)
        die_once("started")


class DyingSender(WebhookSender):
    @override
    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        answer = await super().post(url, body, headers)
        die_once("sent")
        return answer


async def main() -> None:
    """Serve until told to stop."""
    for name, dying in (
        ("PostgresWebhookDesk", DyingDesk),
        ("TemporalNotifier", DyingNotifier),
        ("WebhookSender", DyingSender),
    ):
        setattr(worker, name, dying)
    settings = WorkerSettings()
    process = worker.Process(await worker.connected(settings), worker.opened(settings))
    workers = (worker.wallet_worker(process), worker.gateways_worker(process, settings))
    await asyncio.gather(*(serving.run() for serving in workers))


if __name__ == "__main__":
    asyncio.run(main())
