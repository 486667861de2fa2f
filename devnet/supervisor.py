"""
One child process under watch: started, found ready, stopped, killed, started again.

Each child leads its own session, so that Ctrl-C in a terminal reaches the supervisor alone, which
then stops the children in order. If the supervisor itself is killed the kernel tells the children.
"""

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from devnet import pidfile
from devnet.errors import ProcessFailedError

Ready = Callable[[int], Awaitable[bool]]
"""Given the process's pid, tells whether it serves; a refused connection is False, no error."""

_LAUNCH = Path(__file__).with_name("launch.py")
_POLL_S = 0.05
_TICK_S = 1.0
_RETRY_S = 0.5

logger = logging.getLogger(__name__)


class ManagedProcess:
    """A program, how to start it, and how to know that it serves."""

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        log_path: Path,
        pid_path: Path,
        ready: Ready,
        cwd: Path = Path("/"),
        user: str | None = None,
        pre_start: Callable[[], None] | None = None,
        on_tick: Callable[[], object] | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        start_attempts: int = 1,
        start_timeout_s: float = 60.0,
        stop_timeout_s: float = 15.0,
    ) -> None:
        """
        Describe the process; nothing is started yet.

        ``argv[0]`` is a path. ``user`` is whom the program runs as when the supervisor is root.
        ``pre_start`` runs before each start and ``on_tick`` once a second while the process runs,
        both on a thread. ``start_attempts`` counts starts that end before the process is ready.
        """
        self.name = name
        self.argv = tuple(argv)
        self.log_path = log_path
        self.started_at_s = 0.0
        """Monotonic time of the last start."""
        self.stopped = True
        """Nobody wants it to run: not started yet, or stopped on purpose."""
        self._env = dict(env)
        self._pid_path = pid_path
        self._ready = ready
        self._cwd = cwd
        self._user = user
        self._pre_start = pre_start
        self._on_tick = on_tick
        self._stop_signal = stop_signal
        self._start_attempts = start_attempts
        self._start_timeout_s = start_timeout_s
        self._stop_timeout_s = stop_timeout_s
        self._process: asyncio.subprocess.Process | None = None
        self._ticking: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()

    @property
    def pid(self) -> int | None:
        """The pid of the running process, which leads its own process group; None: not running."""
        return self._process.pid if self._process and self.is_alive else None

    @property
    def is_alive(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """
        Start it and return when it serves.

        Raises:
            ProcessFailedError: It ended, or was not ready in time; it does not run then.
        """
        async with self._turn:
            self.stopped = False
            for attempt in range(1, self._start_attempts + 1):
                await self._launch()
                try:
                    await self._until_ready()
                except ProcessFailedError:
                    await self._end()
                    if attempt == self._start_attempts:
                        raise
                    await asyncio.sleep(_RETRY_S)
                except BaseException:
                    await self._end()
                    raise
                else:
                    return

    async def stop(self) -> None:
        """Ask it to end, and kill it when it takes longer than its grace; safe to repeat."""
        async with self._turn:
            self.stopped = True
            await self._end()

    def kill(self) -> None:
        """Send SIGKILL to the process and its group, and return at once, as a power cut would."""
        if self._process is not None and self.is_alive:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def wait(self) -> int:
        """Wait until the process has ended; return its exit status, negative for a signal."""
        if self._process is None:
            return 0
        return await self._process.wait()

    async def restart_until_ready(self) -> None:
        """Start it again, stopping it first unless it was killed; return when it serves."""
        await self.stop()
        await self.start()

    async def _launch(self) -> None:
        async with pidfile.claimed(self._pid_path, wait_s=self._stop_timeout_s) as descriptor:
            if self._pre_start is not None:
                await asyncio.to_thread(self._pre_start)
            with self.log_path.open("ab") as log:
                self._process = await asyncio.create_subprocess_exec(
                    *_launch_argv(self.argv, user=self._user, death_signal=self._stop_signal),
                    env=self._env,
                    cwd=self._cwd,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=asyncio.subprocess.STDOUT,
                    start_new_session=True,
                    pass_fds=(descriptor,),
                )
            pidfile.record(descriptor, self._process.pid)
        self.started_at_s = time.monotonic()
        if self._on_tick is not None:
            self._ticking = asyncio.create_task(self._tick(self._process, self._on_tick))

    async def _until_ready(self) -> None:
        process = self._process
        assert process is not None
        deadline = time.monotonic() + self._start_timeout_s
        while process.returncode is None and not await self._ready(process.pid):
            if time.monotonic() > deadline:
                problem = f"was not ready within {self._start_timeout_s:g} s"
                raise ProcessFailedError(self.name, problem, log_path=self.log_path)
            with suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), _POLL_S)
        if process.returncode is not None:
            problem = f"ended with status {process.returncode} before it was ready"
            raise ProcessFailedError(self.name, problem, log_path=self.log_path)

    async def _end(self) -> None:
        if self._process is not None and self.is_alive:
            _send(self._process.pid, self._stop_signal)
            try:
                await asyncio.wait_for(self._process.wait(), self._stop_timeout_s)
            except TimeoutError:
                logger.warning("%s did not stop within its grace; killing it", self.name)
                self.kill()
                await self._process.wait()
        if self._ticking is not None:
            self._ticking.cancel()
            await asyncio.wait([self._ticking])

    async def _tick(
        self, process: asyncio.subprocess.Process, on_tick: Callable[[], object]
    ) -> None:
        while process.returncode is None:
            await asyncio.sleep(_TICK_S)
            try:
                await asyncio.to_thread(on_tick)
            except Exception:
                # What it keeps is a convenience; the process it belongs to is not at fault.
                logger.exception("the tick of %s failed", self.name)


async def run_to_end(
    name: str,
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    log_path: Path,
    cwd: Path = Path("/"),
    user: str | None = None,
) -> None:
    """
    Run a program that does one thing and ends; it is killed if the caller is cancelled.

    Raises:
        ProcessFailedError: It ended with an error.
    """
    with log_path.open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *_launch_argv(argv, user=user, death_signal=signal.SIGKILL),
            env=env,
            cwd=cwd,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        status = await process.wait()
    except asyncio.CancelledError:
        _send(process.pid, signal.SIGKILL)
        await process.wait()
        raise
    if status:
        raise ProcessFailedError(name, f"ended with status {status}", log_path=log_path)


def _send(pid: int, number: signal.Signals) -> None:
    # Not the process object's own method: that one reaps a child that has just died, and the event
    # loop, which wants to do so itself, then knows no exit status.
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _launch_argv(
    argv: Sequence[str], *, user: str | None, death_signal: signal.Signals
) -> list[str]:
    shim = [sys.executable, "-I", "-S", str(_LAUNCH)]
    return [*shim, str(os.getpid()), str(int(death_signal)), user or "", *argv]
