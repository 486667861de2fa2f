"""The commands of bulk payouts, against an API on a socket."""

import asyncio
import csv
import io
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from cli.main import app
from tests.integration.api.run_files import begin, change, csv_of, csv_payments
from tests.integration.api.sockets import QUICK, listening
from tests.support.bank import Bank


@dataclass
class CommandLine:
    """Runs commands as the bank's customer."""

    bank: Bank
    address: str
    folder: Path

    async def run(self, *arguments: str, as_json: bool = True) -> Result:
        profile = self.folder / "cli" / "default.json"
        profile.parent.mkdir(exist_ok=True)
        profile.write_text(json.dumps({"token": self.bank.customer.token}))
        options = ["--api", self.address, "--state", str(self.folder)]
        options += ["--json"] if as_json else []
        return await asyncio.to_thread(
            CliRunner().invoke, app, [*options, "run", *arguments], env={"COLUMNS": "200"}
        )

    async def upload(self, content: bytes, name: str = "wages.csv") -> tuple[Any, Result]:
        path = self.folder / name
        path.write_bytes(content)
        result = await self.run("upload", str(path))
        return json.loads(result.stdout), result


@pytest.fixture
async def line(bank: Bank, tmp_path: Path) -> AsyncIterator[CommandLine]:
    async with listening(bank, **QUICK) as address:
        yield CommandLine(bank, address, tmp_path)


class TestUpload:
    async def test_shows_the_dry_run(self, line: CommandLine) -> None:
        run, result = await line.upload(csv_payments(250))
        listed = json.loads((await line.run("list")).stdout)["items"]
        shown = json.loads((await line.run("lines", run["id"], "--limit", "120")).stdout)["items"]
        table = await line.run("lines", run["id"], as_json=False)

        assert result.exit_code == 0
        assert run["name"] == "wages.csv"
        assert [r["id"] for r in listed] == [run["id"]]
        assert [x["number"] for x in shown] == list(range(2, 122))
        assert "0.0000000000000001" in table.stdout

    async def test_of_what_cannot_start_fails(self, line: CommandLine) -> None:
        run, result = await line.upload(csv_of(["nowhere,ETH,100,,", "nobody,ETH,100,,"]))
        found = await line.run("lines", run["id"], "--problems", "--limit", "1", as_json=False)
        text = await line.run("upload", str(line.folder / "wages.csv"), as_json=False)

        assert (result.exit_code, text.exit_code) == (1, 1)
        assert "2 lines have problems" in text.stdout
        assert "nowhere" in found.stdout
        assert "nobody" not in found.stdout

    async def test_of_another_kind_of_file_is_refused(self, line: CommandLine) -> None:
        path = line.folder / "wages.xlsx"
        path.write_bytes(b"PK")

        assert (await line.run("upload", str(path))).exit_code == 2


class TestFollowing:
    async def test_ends_with_the_run(self, bank: Bank, line: CommandLine) -> None:
        run, _ = await line.upload(csv_payments(3))
        await begin(bank, run["id"])
        watching = asyncio.create_task(line.run("watch", run["id"], as_json=False))
        await change(bank, "UPDATE payout SET status = 'settled'")
        await change(bank, "UPDATE payout_run SET status = 'finished'")
        watched = await watching
        await change(bank, "UPDATE payout SET status = 'refunded' WHERE line_number = 2")
        with_a_loss = await line.run("watch", run["id"])

        assert watched.exit_code == 0, watched.output
        assert "finished: 3 settled" in watched.stdout
        assert with_a_loss.exit_code == 1

    async def test_report_goes_to_a_file_or_to_stdout(self, line: CommandLine) -> None:
        run, _ = await line.upload(csv_payments(3))
        path = line.folder / "report.csv"
        written = await line.run("report", run["id"], "--output", str(path))
        printed = await line.run("report", run["id"], "--format", "json")

        assert (written.exit_code, printed.exit_code) == (0, 0)
        assert [row["line"] for row in csv.DictReader(io.StringIO(path.read_text()))] == list("234")
        assert [row["line"] for row in json.loads(printed.stdout)] == [2, 3, 4]

    async def test_discards_a_draft(self, line: CommandLine) -> None:
        run, _ = await line.upload(csv_payments(3))
        discarded = await line.run("discard", run["id"])
        shown = await line.run("show", run["id"])

        assert discarded.exit_code == 0
        assert shown.exit_code == 1
