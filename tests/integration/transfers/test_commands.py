"""``strongroom transfer``, against an API on a socket."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.testing import WorkflowEnvironment
from typer.testing import CliRunner, Result

from cli.main import app
from infra.database import Database
from tests.integration.api.sockets import listening
from tests.support.bank import Bank, open_bank
from tests.support.identity import Person

HUNDRED_WEI = "0.0000000000000001"


@dataclass
class CommandLine:
    """Runs commands as people of the bank."""

    bank: Bank
    address: str
    folder: Path

    async def run(self, person: Person, *arguments: str) -> Result:
        profile = self.folder / "cli" / f"{person.id}.json"
        profile.parent.mkdir(exist_ok=True)
        profile.write_text(json.dumps({"token": person.token}))
        options = ["--api", self.address, "--state", str(self.folder), "--profile", person.id]
        return await asyncio.to_thread(
            CliRunner().invoke, app, [*options, *arguments], env={"COLUMNS": "250"}
        )

    async def text(self, person: Person, *arguments: str) -> str:
        result = await self.run(person, *arguments)
        assert result.exit_code == 0, result.output + str(result.exception)
        return result.stdout

    async def ok(self, person: Person, *arguments: str) -> Any:
        return json.loads(await self.text(person, "--json", *arguments))

    def code(self, person: Person) -> tuple[str, str]:
        self.bank.clock.advance(timedelta(seconds=30))
        return "--code", person.code()


@pytest.fixture
async def line(
    temporal: WorkflowEnvironment, database: Database, tmp_path: Path
) -> AsyncIterator[CommandLine]:
    async with open_bank(temporal.client, database) as bank, listening(bank) as address:
        yield CommandLine(bank, address, tmp_path)


class TestTransfer:
    async def test_is_sent_asked_for_and_listed(self, line: CommandLine) -> None:
        ada, bob = line.bank.customer, await line.bank.person("bob")
        eth = ("--asset", "ETH", "--amount", HUNDRED_WEI)
        assert await line.text(ada, "transfer", "handle", "@ada") == "@ada: strongroom:@ada\n"
        assert (await line.ok(bob, "transfer", "handle", "bob"))["handle"] == "bob"

        sent = [
            await line.ok(
                ada,
                *("transfer", "send", "@bob", *eth, "--note", "for lunch"),
                *("--idempotency-key", "k", *line.code(ada)),
            )
            for _ in range(2)
        ]
        asked = await line.ok(ada, "transfer", "request", "ETH", "--amount", HUNDRED_WEI)
        paid = await line.ok(bob, "transfer", "pay", asked["id"], *line.code(bob))
        transfers = await line.text(ada, "transfer", "list")
        requests = await line.text(ada, "transfer", "requests")

        assert sent[0] == sent[1]
        assert paid["money_request_id"] == asked["id"]
        assert transfers.count(f"{HUNDRED_WEI} ETH") == 2
        assert "@bob" in transfers
        assert "for lunch" in transfers
        assert "paid" in requests

    async def test_by_a_link_needs_no_more(self, line: CommandLine) -> None:
        ada, bob = line.bank.customer, await line.bank.person("bob")
        asked = await line.ok(
            bob, "transfer", "request", "ETH", "--amount", HUNDRED_WEI, "--payer", ada.id
        )

        made = await line.ok(ada, "transfer", "send", asked["link"], *line.code(ada))

        assert made["amount"] == "100"

    async def test_is_refused_in_one_line(self, line: CommandLine) -> None:
        ada = line.bank.customer

        unknown = await line.run(
            ada, "transfer", "send", "@bob", "--asset", "DOGE", "--amount", "1", "--code", "000000"
        )
        vague = await line.run(ada, "transfer", "send", "@bob", "--amount", "1", "--code", "000000")

        assert (unknown.exit_code, vague.exit_code) == (2, 2)
        assert "There is no asset DOGE" in unknown.output
        assert "An amount needs --asset" in vague.output
