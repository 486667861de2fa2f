"""
A worker that dies by SIGKILL once, after an activity's side effect and before its answer.

``python -m tests.faults.crashing_worker --crash-after NAME --marker FILE [--task-queue QUEUE]``.
The marker tells that it has died already: the next process of this kind behaves.
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any, override

from temporalio import activity
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

import worker
from domain.ports import WatchRound
from watcher.watch import PostgresChainWatch

WATCH = "chain.watch"


def die_once(marker: Path) -> None:
    """Die as in a power cut, unless it happened before."""
    try:
        marker.touch(exist_ok=False)
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


class CrashAfter(Interceptor):
    """Dies when the named activity has done its work and not yet said so."""

    def __init__(self, name: str, marker: Path) -> None:
        self.name = name
        self.marker = marker

    @override
    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return _Crashing(next, self)


class _Crashing(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, plan: CrashAfter) -> None:
        super().__init__(next)
        self._plan = plan

    @override
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        result = await super().execute_activity(input)
        if activity.info().activity_type == self._plan.name and result is not False:
            die_once(self._plan.marker)
        return result


def crash_in_watch(marker: Path) -> None:
    """The watch never answers: die when a round of it has written that something moved."""
    watch_once = PostgresChainWatch.watch_once

    async def crashing(self: PostgresChainWatch) -> WatchRound:
        moved = await watch_once(self)
        if moved.batches or moved.deposits:
            die_once(marker)
        return moved

    PostgresChainWatch.watch_once = crashing  # type: ignore[method-assign]


def main() -> None:
    """Take our own options off the command line and serve as the worker does."""
    options = dict(zip(sys.argv[1::2], sys.argv[2::2], strict=True))
    name, marker = options.pop("--crash-after"), Path(options.pop("--marker"))
    sys.argv[1:] = [part for item in options.items() for part in item]
    if name == WATCH:
        crash_in_watch(marker)
    else:
        worker.INTERCEPTORS.append(CrashAfter(name, marker))
    worker.main()


if __name__ == "__main__":
    main()
