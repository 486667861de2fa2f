"""``strongroom jobcoin`` as people use it: a terminal, a prompt, a node that answers."""

import asyncio
import json
import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.jobcoin import MINT_TOKEN, JobcoinWorld

ROOT = Path(__file__).parents[3]
PROMPT = "[blank to quit] > "
PATIENCE_S = 30.0
WITH_TERMINAL = """
import fcntl, os, signal, sys, termios
# Of this session from now on: who types Ctrl-C there interrupts it.
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
# A test that runs in the background ignores it, and so would this.
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv(sys.argv[1], sys.argv[1:])
"""
UP, TAB, INTERRUPT = "\x1b[A", "\t", "\x03"


def command(world: JobcoinWorld, state: Path, *options: str) -> tuple[list[str], dict[str, str]]:
    """Return what runs the command line against a node, and its environment."""
    argv = [sys.executable, "-m", "cli.main", "--state", str(state), *options]
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "200"}
    env |= {"STRONGROOM_JOBCOIN_URL": world.url, "STRONGROOM_JOBCOIN_MINT_TOKEN": MINT_TOKEN}
    return argv, env


class Terminal:
    """A program on a pseudo-terminal, with somebody who types and reads."""

    def __init__(self, argv: list[str], env: dict[str, str]) -> None:
        self._master, slave = pty.openpty()
        self._process = subprocess.Popen(
            [sys.executable, "-c", WITH_TERMINAL, *argv],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=env,
            cwd=ROOT,
            start_new_session=True,
        )
        os.close(slave)
        self.shown = ""
        self._read = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        os.close(self._master)

    def until(self, text: str) -> str:
        """Wait until a text appears, and return what was shown up to it since the last time."""
        deadline = time.monotonic() + PATIENCE_S
        while text not in self.shown[self._read :]:
            assert time.monotonic() < deadline, f"{text!r} did not come: {self.shown!r}"
            ready, _, _ = select.select([self._master], [], [], 0.1)
            if ready:
                self.shown += os.read(self._master, 4096).decode(errors="replace")
        end = self.shown.index(text, self._read) + len(text)
        found, self._read = self.shown[self._read : end], end
        return found

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def ended(self) -> int:
        return self._process.wait(timeout=PATIENCE_S)


def talk(argv: list[str], env: dict[str, str]) -> str:
    """Make keys and move coins, with the keys that terminals know; return what was shown."""
    with Terminal(argv, env) as terminal:
        terminal.until("Welcome to the Jobcoin network!")
        terminal.until(PROMPT)
        for line in ("new_address ada", "new_address bob", "mint ada 20", "balance ada"):
            terminal.type(f"{line}\n")
            terminal.until(PROMPT)
        terminal.type("this is thrown away")
        terminal.until("thrown away")
        terminal.type(INTERRUPT)
        terminal.until(PROMPT)
        terminal.type("get_t" + TAB + "ada\n")
        assert "(mint)" in terminal.until(PROMPT)
        terminal.type(UP + UP + "\n")
        terminal.until("has")
        terminal.until(PROMPT)
        terminal.type("\n")
        assert terminal.ended() == 0
        return terminal.shown


class TestTerminal:
    async def test_talks_until_a_blank_line_and_remembers(
        self, jobcoin: JobcoinWorld, tmp_path: Path
    ) -> None:
        shown = await asyncio.to_thread(talk, *command(jobcoin, tmp_path, "jobcoin"))
        history = (tmp_path / "cli" / "jobcoin-history").read_text().splitlines()

        assert "\x1b[" in shown, "nothing was colored"
        assert history[:2] == ["new_address ada", "new_address bob"]
        assert "get_transactions ada" in history


class TestScript:
    async def test_reads_commands_from_a_file(self, jobcoin: JobcoinWorld, tmp_path: Path) -> None:
        argv, env = command(jobcoin, tmp_path, "jobcoin")
        lines = "new_address ada\nmint ada 3\nnonsense\nstatus\n"
        done = await asyncio.to_thread(
            subprocess.run, argv, env=env, cwd=ROOT, input=lines, capture_output=True, text=True
        )

        assert done.returncode == 0, done.stderr
        assert "ada is tjob1" in done.stdout
        assert "Minted 3 JOB" in done.stdout
        assert "There is no command 'nonsense'" in done.stderr

    async def test_sends_and_lists_in_json(self, jobcoin: JobcoinWorld, tmp_path: Path) -> None:
        async def run(*words: str, status: int = 0) -> subprocess.CompletedProcess[str]:
            argv, env = command(jobcoin, tmp_path, "--json", "jobcoin", *words)
            done = await asyncio.to_thread(
                subprocess.run, argv, env=env, cwd=ROOT, capture_output=True, text=True
            )
            assert done.returncode == status, done.stderr
            return done

        for name in ("ada", "bob"):
            await run("new-address", name)
        await run("mint", "ada", "5", "--reference", "first")
        await run("mint", "ada", "5", "--reference", "first")
        await jobcoin.mine()
        sent = json.loads((await run("send", "ada", "bob", "1.5", "ada", "0.5")).stdout)
        await jobcoin.mine()
        listed = json.loads((await run("get-transactions", "bob")).stdout)["items"]
        held = json.loads((await run("addresses")).stdout)["items"]

        assert [each["txid"] for each in listed] == [sent["txid"]]
        assert [(each["name"], each["balance"]) for each in held] == [
            ("ada", "350000000"),
            ("bob", "150000000"),
        ]
        refused = await run("send", "ada", "bob", "100", status=1)
        assert "insufficient_balance" in refused.stderr
        assert json.loads((await run("status")).stdout)["minted"] == "500000000"

    async def test_says_that_nobody_answers(
        self, jobcoin: JobcoinWorld, tmp_path: Path, unused_tcp_port: int
    ) -> None:
        argv, env = command(jobcoin, tmp_path, "jobcoin", "status")
        env["STRONGROOM_JOBCOIN_URL"] = f"http://127.0.0.1:{unused_tcp_port}"
        done = await asyncio.to_thread(
            subprocess.run, argv, env=env, cwd=ROOT, capture_output=True, text=True
        )

        assert done.returncode == 1
        assert "does not answer" in done.stderr
