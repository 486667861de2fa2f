"""``strongroom up``: the whole stack in the foreground until Ctrl-C or SIGTERM."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from devnet import status
from devnet.errors import StackError
from devnet.ports import Ports
from devnet.services import Service
from devnet.site import DEFAULT_STATE_DIR
from devnet.stack import ALL_SERVICES, Stack
from domain.errors import StrongroomError
from infra.processes import stop_on_signals


@dataclass(frozen=True, kw_only=True)
class UpOptions:
    """What the command line chooses."""

    state_dir: Path = DEFAULT_STATE_DIR
    ports: Ports = field(default_factory=Ports)
    workers: tuple[str | None, ...] = (None,)
    block_time_s: str | None = "3"
    log_level: str = "INFO"
    mixing: bool = False
    services: frozenset[Service] = ALL_SERVICES
    prepare: Callable[[Stack], Awaitable[None]] | None = None
    """See ``Stack``; fills the catalog before the workers start."""
    code_dir: Path | None = None


async def run_up(options: UpOptions, *, console: Console | None = None) -> int:
    """
    Run the stack until told to stop; return the exit status: 0 when it was stopped in order.

    A second Ctrl-C while it stops does nothing: each process has its own short grace.
    """
    out = console or Console()
    stack = Stack(
        options.state_dir,
        ports=options.ports,
        services=options.services,
        workers=options.workers,
        block_time_s=options.block_time_s,
        prepare=options.prepare,
        code_dir=options.code_dir,
        log_level=options.log_level,
        mixing=options.mixing,
    )
    stop = asyncio.create_task(stop_on_signals().wait())
    try:
        return await _serve(stack, options, stop, out)
    finally:
        stop.cancel()
        await stack.down(_lines(out))


async def _serve(stack: Stack, options: UpOptions, stop: asyncio.Task[bool], out: Console) -> int:
    starting = asyncio.create_task(stack.up(_lines(out)))
    if not await _finished(starting, unless=stop):
        return 0
    try:
        starting.result()
    except (StackError, StrongroomError) as error:
        out.print(f"{error.code}: {error}", style="red", markup=False, highlight=False)
        return 1
    out.print(status.table(stack.site, options.services))
    out.print("Everything is up. Ctrl-C stops it; the state stays.")
    supervising = asyncio.create_task(stack.supervise(_lines(out)))
    if await _finished(supervising, unless=stop):
        supervising.result()
    return 0


async def _finished(task: asyncio.Task[None], *, unless: asyncio.Task[bool]) -> bool:
    """Wait for a task; when told to stop first, cancel it, wait for its clean-up, return False."""
    await asyncio.wait([task, unless], return_when=asyncio.FIRST_COMPLETED)
    if not unless.done():
        return True
    task.cancel()
    await asyncio.wait([task])
    return False


def _lines(out: Console) -> Callable[[str], None]:
    return lambda line: out.print(f"  {line}", markup=False, highlight=False)
