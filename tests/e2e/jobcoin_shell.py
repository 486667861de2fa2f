"""Mixing with ``strongroom jobcoin``, as somebody who is logged in would do it."""

import asyncio
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from cli.context import Context
from devnet.bulk import asset_of
from devnet.mixing import OpenMix, mixers_of
from devnet.people import ScriptedUser
from devnet.rich_minter import RichMinter
from devnet.stack import Stack
from domain.errors import SecondFactorInvalidError
from domain.jobcoin.chain import ASSET as JOB
from domain.mixing.sharding import Ring

ROOT = Path(__file__).parents[2]
POLL_S = 0.2
PATIENCE_S = 60.0


class RefusedError(Exception):
    """A command ended with an error: what it said."""


@dataclass(frozen=True)
class Shell:
    """``strongroom jobcoin`` against a stack's state folder, as a user who is logged in."""

    stack: Stack
    user: ScriptedUser

    def log_in(self) -> None:
        """Keep the user's session as ``strongroom user login`` does."""
        quiet = Console(stderr=True)
        context = Context("", self.user.name, self.state_dir, is_json=True, out=quiet, log=quiet)
        context.store_profile(token=str(self.user.api.token))

    async def run(self, *words: str, lines: str = "", code: str = "") -> list[Any]:
        """Return the answers to one command, or to the lines of a shell."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "cli.main", "--state", str(self.state_dir), "--profile", self.user.name),
            *("--json", "jobcoin", *words),
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "STRONGROOM_TOTP_CODE": code},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        said, why = await asyncio.wait_for(process.communicate(lines.encode()), PATIENCE_S)
        if process.returncode:
            raise RefusedError(why.decode())
        return answers_in(said.decode())

    async def run_with_code(self, *words: str) -> list[Any]:
        """Run a command with a one-time code; with another, where that was too old by then."""
        while True:
            code = await asyncio.to_thread(self.user.authenticator.next_code)
            try:
                return await self.run(*words, code=code)
            except RefusedError as refused:
                if SecondFactorInvalidError.code not in str(refused):
                    raise

    @property
    def state_dir(self) -> Path:
        return self.stack.site.state_dir


def answers_in(text: str) -> list[Any]:
    """Return the JSON values that were printed, between the prompts of the shell."""
    decoder, found, place = json.JSONDecoder(), [], text.find("{")
    while place >= 0:
        value, end = decoder.raw_decode(text, place)
        found.append(value)
        place = text.find("{", end)
    return found


async def opened_in_the_shell(stack: Stack, user: ScriptedUser) -> OpenMix:
    """Make keys and coins, and give two of the addresses to a mixer; look where it says to pay."""
    shell = Shell(stack, user)
    shell.log_in()
    lines = "new_address purse\nnew_address one\nnew_address two\nmint purse 20\n\n"
    _, one, two, _ = await shell.run(lines=lines)

    (answer,) = await shell.run_with_code("add-addresses", "one", "two")

    mix = OpenMix.of(user, await asset_of(stack.site, JOB), answer, one["address"], two["address"])
    mixers = [mixer["id"] for mixer in await mixers_of(user, JOB)]
    assert mix.mixer_id == Ring(mixers).mixer_of(mix.deposit_address)
    return mix


async def paid_in_the_shell(stack: Stack, user: ScriptedUser, mix: OpenMix, amount: str) -> None:
    """Pay from the key that was made above, once its coins are in a block."""
    shell, minter = Shell(stack, user), RichMinter.of(stack.site)
    (listed,) = await shell.run("addresses")
    purse = next(each["address"] for each in listed["items"] if each["name"] == "purse")
    async with asyncio.timeout(PATIENCE_S):
        while True:
            if await minter.balance_minor(purse):
                break
            await asyncio.sleep(POLL_S)
    await shell.run("send", "purse", mix.deposit_address, amount)
