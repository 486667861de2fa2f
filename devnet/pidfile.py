"""
Pid files that cannot lie: each one stays locked for as long as its process, or a child, lives.

The supervisor locks the file and hands the open descriptor down, so the kernel drops the lock when
the last holder is gone. Whoever gets the lock knows that nobody is left; whoever does not can end
the holder, and a number that was given to a stranger meanwhile is never signalled.
"""

import asyncio
import fcntl
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from devnet.errors import StackError

_POLL_S = 0.05
_KILL_WAIT_S = 5.0


@asynccontextmanager
async def claimed(path: Path, *, wait_s: float) -> AsyncIterator[int]:
    """
    Yield the locked file's descriptor, to be inherited by the process that will be started.

    Raises:
        StackError: Somebody held it for longer than ``wait_s``, and would not be killed.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if not await _locked(descriptor, wait_s=wait_s):
            _signal_holder(path, signal.SIGKILL)
            if not await _locked(descriptor, wait_s=_KILL_WAIT_S):
                msg = f"A former process of {path.stem} does not end."
                raise StackError(msg)
        yield descriptor
    finally:
        # Closing is not unlocking: the child's copy keeps the lock.
        os.close(descriptor)


async def end_leftover(path: Path, *, wait_s: float) -> None:
    """End what a former supervisor left behind, gently first; return at once if nothing is left."""
    if is_held(path):
        _signal_holder(path, signal.SIGINT)
        async with claimed(path, wait_s=wait_s):
            pass


def is_held(path: Path) -> bool:
    """Tell whether a process that was started with this pid file still lives."""
    if not path.exists():
        return False
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def record(descriptor: int, pid: int) -> None:
    """Write the pid into the locked file."""
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{pid}\n".encode(), 0)


async def _locked(descriptor: int, *, wait_s: float) -> bool:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + wait_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if loop.time() > deadline:
                return False
            await asyncio.sleep(_POLL_S)
        else:
            return True


def _signal_holder(path: Path, number: signal.Signals) -> None:
    text = path.read_text().strip()
    if text.isdigit() and _holds(int(text), path):
        with suppress(ProcessLookupError):
            os.kill(int(text), number)


def _holds(pid: int, path: Path) -> bool:
    """Tell whether this process has the file open; without /proc, believe the file."""
    if not Path("/proc/self/fd").exists():
        return True
    with suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                if entry.samefile(path):
                    return True
    return False
