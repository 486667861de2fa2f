"""The command line against a whole stack."""

import asyncio
import json
import time
from pathlib import Path

import pyotp
import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from cli.context import Context
from cli.main import app
from devnet.stack import Stack

PASSWORD = "correct horse battery staple"
RECIPIENT = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
PATIENCE_S = 60


class CommandLine:
    """Runs commands as one profile of the stack's state folder."""

    def __init__(self, stack: Stack, profile: str) -> None:
        self._options = ["--api", stack.site.api_url, "--state", str(stack.site.state_dir)]
        self._options += ["--profile", profile, "--json"]

    async def run(self, *arguments: str) -> Result:
        return await asyncio.to_thread(
            CliRunner().invoke, app, [*self._options, *arguments], env={"COLUMNS": "200"}
        )

    async def ok(self, *arguments: str) -> dict[str, object]:
        result = await self.run(*arguments)
        assert result.exit_code == 0, result.output + str(result.exception)
        answer: dict[str, object] = json.loads(result.stdout)
        return answer


async def enable_second_factor(stack: Stack, profile: str) -> pyotp.TOTP:
    """Answer the prompt of ``user 2fa enable`` with a code of the secret that it shows."""
    process = await asyncio.create_subprocess_exec(
        ".venv/bin/strongroom",
        *["--api", stack.site.api_url, "--state", str(stack.site.state_dir)],
        *["--profile", profile, "user", "2fa", "enable", "--password", PASSWORD],
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stderr is not None
    line = ""
    while not line.startswith("Secret: "):
        line = (await asyncio.wait_for(process.stderr.readline(), PATIENCE_S)).decode()
        assert line, "the command ended before it showed a secret"
    totp = pyotp.TOTP(line.removeprefix("Secret: ").strip())
    stdout, _ = await asyncio.wait_for(process.communicate(f"{totp.now()}\n".encode()), PATIENCE_S)
    assert process.returncode == 0
    assert b"Recovery codes" in stdout
    return totp


class TestPayoutByCommandLine:
    async def test_settles_and_the_books_verify(self, stack: Stack) -> None:
        line = CommandLine(stack, "walter")
        user = await line.ok("user", "create", "walter@example.org", "--password", PASSWORD)
        totp = await enable_second_factor(stack, "walter")
        await line.ok("fund", "ETH", "3", "--user", str(user["id"]))
        await line.ok("fund", "ETH", "1")
        # The code that enabled the second factor is used up; the next step's is good already.
        code = totp.at(int(time.time()) + 30)

        payout = await line.ok("payout", "create", "ETH", "0.05", RECIPIENT, "--code", code)
        watched = await line.run("payout", "watch", str(payout["id"]))

        assert watched.exit_code == 0, watched.output
        assert json.loads(watched.stdout)["status"] == "settled"
        explanation = await line.ok("payout", "explain", str(payout["id"]))
        assert str(explanation["explanation"]).startswith("Settled in transaction 0x")
        listed = await line.ok("payout", "list")
        assert [p["id"] for p in listed["items"]] == [payout["id"]]  # type: ignore[attr-defined]
        verdict = await line.ok("ledger", "verify")
        assert verdict["broken"] is None
        books = await line.ok("ledger", "balance")
        assert set(books["sums"].values()) == {"0"}  # type: ignore[attr-defined]

    async def test_says_why_a_payout_is_refused(self, stack: Stack) -> None:
        result = await CommandLine(stack, "nobody").run("payout", "list")

        assert result.exit_code == 1

    async def test_reseals_every_wallet_key_under_the_first_key(
        self, stack: Stack, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        line = CommandLine(stack, "keeper")
        new = str((await line.ok("keys", "generate", "wallet-2"))["key"])
        monkeypatch.setenv("STRONGROOM_WALLET_KEYS", f"{new},{stack.site.secrets.wallet_keys}")

        first = await line.ok("keys", "rotate")
        monkeypatch.setenv("STRONGROOM_WALLET_KEYS", f"{stack.site.secrets.wallet_keys},{new}")
        back = await line.ok("keys", "rotate")

        # The keys of the wallets on chains with accounts, and the seed of each of the three chains.
        assert (first["resealed"], back["resealed"]) == (5, 5)

    async def test_shows_help_for_every_command(self) -> None:
        for command in (
            "ledger",
            "keys",
            "cold",
            "freeze",
            "",
            "up",
            "demo",
            "fund",
            "user",
            "admin",
            "payout",
            "deposit",
            "chain",
        ):
            result = CliRunner().invoke(app, [*command.split(), "--help"])
            assert result.exit_code == 0


def test_sessions_are_kept_for_their_owner_alone(tmp_path: Path) -> None:
    context = Context("http://x", "p", tmp_path, is_json=True, out=Console(), log=Console())

    context.store_profile(token="secret")

    assert context.profile_path.stat().st_mode & 0o777 == 0o600
    assert context.load_profile() == {"token": "secret"}
