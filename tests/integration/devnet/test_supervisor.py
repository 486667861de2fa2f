import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from devnet import pidfile
from devnet.errors import ProcessFailedError, StackError
from devnet.supervisor import ManagedProcess, run_to_end

SERVE = """
import pathlib, signal, sys
pathlib.Path(sys.argv[1]).touch()
signal.pause()
"""
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)" + SERVE
FAILS_TWICE = (
    """
import pathlib, sys
marks = pathlib.Path(sys.argv[1]).parent / "marks"
marks.write_text((marks.read_text() if marks.exists() else "") + "x")
if len(marks.read_text()) < 3:
    sys.exit("not yet")
"""
    + SERVE
)

Make = Callable[..., ManagedProcess]


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    """Yield a factory of processes that are ready once they have made the file ``ready``."""
    mark = tmp_path / "ready"

    async def ready(_pid: int) -> bool:
        return mark.exists()

    async with AsyncExitStack() as made:

        def factory(code: str, **options: Any) -> ManagedProcess:
            process = ManagedProcess(
                "child",
                [sys.executable, "-c", code, str(mark)],
                env={},
                log_path=tmp_path / "child.log",
                pid_path=tmp_path / "child.pid",
                ready=ready,
                **{"pre_start": lambda: mark.unlink(missing_ok=True), **options},
            )
            made.push_async_callback(process.stop)
            return process

        yield factory


class TestStart:
    async def test_returns_when_the_process_is_ready(self, make: Make, tmp_path: Path) -> None:
        process = make(SERVE)

        await process.start()

        assert (tmp_path / "ready").exists()
        assert process.is_alive
        assert (tmp_path / "child.pid").read_text() == f"{process.pid}\n"

    async def test_shows_the_log_of_a_process_that_ends(self, make: Make) -> None:
        process = make("raise SystemExit('the disk is full')")

        with pytest.raises(ProcessFailedError, match=r"status 1.*\n.*the disk is full"):
            await process.start()

    async def test_ends_a_process_that_does_not_become_ready(self, make: Make) -> None:
        process = make("import signal; signal.pause()", start_timeout_s=0.3)

        with pytest.raises(ProcessFailedError, match="not ready within"):
            await process.start()
        assert not process.is_alive

    async def test_tries_as_often_as_it_was_told_to(self, make: Make, tmp_path: Path) -> None:
        process = make(FAILS_TWICE, start_attempts=3)

        await process.start()

        assert (tmp_path / "marks").read_text() == "xxx"

    async def test_hands_down_the_given_environment_alone(
        self, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("STRONGROOM_WALLET_KEYS", "secret")
        process = make("import os; print(sorted(os.environ), flush=True)" + SERVE)

        await process.start()

        assert "STRONGROOM" not in (tmp_path / "child.log").read_text()

    async def test_leads_a_session_of_its_own(self, make: Make, tmp_path: Path) -> None:
        process = make("import os; print(os.getsid(0), flush=True)" + SERVE)

        await process.start()

        assert (tmp_path / "child.log").read_text() == f"{process.pid}\n"

    async def test_ticks_while_it_runs(self, make: Make) -> None:
        ticked = asyncio.Event()
        loop = asyncio.get_running_loop()
        process = make(SERVE, on_tick=lambda: loop.call_soon_threadsafe(ticked.set))

        await process.start()

        await asyncio.wait_for(ticked.wait(), 10)


class TestStop:
    async def test_sends_the_signal_that_means_stop(self, make: Make) -> None:
        process = make(SERVE, stop_signal=signal.SIGTERM)
        await process.start()

        await process.stop()

        assert await process.wait() == -signal.SIGTERM
        assert process.pid is None

    async def test_kills_what_does_not_listen(self, make: Make) -> None:
        process = make(STUBBORN, stop_timeout_s=0.3)
        await process.start()

        await process.stop()

        assert await process.wait() == -signal.SIGKILL

    async def test_may_be_repeated(self, make: Make) -> None:
        process = make(SERVE)

        await process.stop()
        await process.start()
        await process.stop()
        await process.stop()

        assert not process.is_alive


class TestKill:
    async def test_ends_the_process_at_once(self, make: Make) -> None:
        process = make(STUBBORN)
        await process.start()

        process.kill()

        assert await process.wait() == -signal.SIGKILL

    async def test_is_followed_by_a_restart_with_another_pid(self, make: Make) -> None:
        process = make(SERVE)
        await process.start()
        former = process.pid

        process.kill()
        await process.restart_until_ready()

        assert process.pid not in (None, former)


class TestPidFile:
    async def test_tells_whether_the_process_lives(self, make: Make, tmp_path: Path) -> None:
        process = make(SERVE)

        await process.start()
        held_while_alive = pidfile.is_held(tmp_path / "child.pid")
        process.kill()
        await process.wait()

        assert held_while_alive
        assert not pidfile.is_held(tmp_path / "child.pid")

    async def test_lets_a_leftover_be_ended(self, make: Make, tmp_path: Path) -> None:
        process = make(SERVE)
        await process.start()

        await pidfile.end_leftover(tmp_path / "child.pid", wait_s=5)

        assert await process.wait() != 0

    async def test_never_leads_to_a_stranger(
        self, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A pid that is in the file but does not hold it belongs to somebody else by now."""
        monkeypatch.setattr(pidfile, "_KILL_WAIT_S", 0.1)
        process = make(SERVE)
        await process.start()
        stale = tmp_path / "stale.pid"
        stale.write_text(f"{process.pid}\n")

        # Held by us, and naming the child, which does not have it open.
        async with pidfile.claimed(stale, wait_s=1):
            with pytest.raises(StackError, match="does not end"):
                await pidfile.end_leftover(stale, wait_s=0.1)

        assert process.is_alive


class TestRunToEnd:
    async def test_raises_what_the_program_said(self, tmp_path: Path) -> None:
        argv = [sys.executable, "-c", "raise SystemExit('no such role')"]

        with pytest.raises(ProcessFailedError, match=r"job ended with status 1.*\n.*no such role"):
            await run_to_end("job", argv, env={}, log_path=tmp_path / "job.log")

    async def test_leaves_nothing_behind_when_cancelled(self, tmp_path: Path) -> None:
        log_path = tmp_path / "job.log"
        argv = [
            sys.executable,
            "-c",
            "import os, signal; print(os.getpid(), flush=True); signal.pause()",
        ]
        job = asyncio.create_task(run_to_end("job", argv, env={}, log_path=log_path))
        pid = int(await asyncio.to_thread(_first_line, log_path))

        job.cancel()
        await asyncio.wait([job])

        assert job.cancelled()
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def _first_line(path: Path) -> str:
    while not (path.exists() and path.read_text().endswith("\n")):
        time.sleep(0.01)
    return path.read_text()
