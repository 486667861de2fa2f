"""The commands about money in, against an API on a socket."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from cli.main import app
from models.identity import Role
from tests.integration.api.money_in import (
    add_deposit,
    advance,
    ask_for_address,
    credited,
    ignored,
    lose,
    place,
    set_head,
)
from tests.integration.api.sockets import QUICK, listening
from tests.integration.api.test_kyc import applied
from tests.support.bank import CHAIN_ID, DESTINATION, Bank
from tests.support.flows import until
from tests.support.identity import Person


@dataclass
class CommandLine:
    """Runs commands as people of the bank."""

    bank: Bank
    address: str
    folder: Path

    async def run(
        self, *arguments: str, person: Person | None = None, as_json: bool = True
    ) -> Result:
        caller = person or self.bank.customer
        profile = self.folder / "cli" / f"{caller.id}.json"
        profile.parent.mkdir(exist_ok=True)
        profile.write_text(json.dumps({"token": caller.token}))
        options = ["--api", self.address, "--state", str(self.folder), "--profile", caller.id]
        options += ["--json"] if as_json else []
        runner = CliRunner()
        return await asyncio.to_thread(
            runner.invoke, app, [*options, *arguments], env={"COLUMNS": "200"}
        )

    async def text(self, *arguments: str, person: Person | None = None) -> str:
        result = await self.run(*arguments, person=person, as_json=False)
        assert result.exit_code == 0, result.output + str(result.exception)
        return result.stdout

    async def ok(self, *arguments: str, person: Person | None = None) -> Any:
        result = await self.run(*arguments, person=person)
        assert result.exit_code == 0, result.output + str(result.exception)
        return json.loads(result.stdout)

    def code(self, person: Person) -> str:
        self.bank.clock.advance(timedelta(seconds=30))
        return person.code()


@pytest.fixture
async def line(bank: Bank, tmp_path: Path) -> AsyncIterator[CommandLine]:
    async with listening(bank, **QUICK) as address:
        yield CommandLine(bank, address, tmp_path)


class TestDeposit:
    async def test_address_is_handed_out_once_for_a_key(self, line: CommandLine) -> None:
        command = ["deposit", "address", "--asset", "ETH", "--label", "order 1"]
        first, again = [await line.ok(*command, "--idempotency-key", "k") for _ in range(2)]
        other = await line.ok(*command)
        listed = await line.ok("deposit", "addresses", "--asset", "ETH")

        assert first == again
        assert first["label"] == "order 1"
        assert {a["id"] for a in listed["items"]} == {first["id"], other["id"]}

    async def test_address_is_drawn_for_people(self, line: CommandLine) -> None:
        result = await line.run("deposit", "address", "--asset", "ETH", "--qr", as_json=False)
        table = await line.text("deposit", "addresses")

        address, uri, _ = result.stdout.splitlines()
        assert uri.startswith(f"ethereum:{address}@")
        assert "\N{FULL BLOCK}" in result.stderr or "\N{LOWER HALF BLOCK}" in result.stderr
        assert address in table

    async def test_is_listed_shown_and_explained(self, line: CommandLine) -> None:
        deposit_id = await credited(line.bank, amount_minor=15 * 10**17)
        address = (await ask_for_address(line.bank)).json()
        await ignored(line.bank, address["id"])

        table = await line.text("deposit", "list")
        assert "1.5 ETH" in table
        assert "700 of 0x1111" in table
        listed = await line.ok("deposit", "list", "--status", "credited")
        assert [d["id"] for d in listed["items"]] == [deposit_id]
        assert (await line.ok("deposit", "show", deposit_id))["status"] == "credited"
        assert await line.text("deposit", "explain", deposit_id) == (
            "Credited after 3 confirmations.\n"
        )

    async def test_is_watched_to_its_end(self, line: CommandLine) -> None:
        address = (await ask_for_address(line.bank)).json()
        deposit_id = await add_deposit(line.bank, address["id"])
        await set_head(line.bank, 12)
        watching = asyncio.create_task(line.run("deposit", "watch", deposit_id))
        await until(lambda: line.bank.state.stream_slots.taken == 1)
        await place(line.bank, deposit_id, 10)
        await advance(line.bank, deposit_id)
        result = await watching

        assert result.exit_code == 0, result.output + str(result.exception)
        assert json.loads(result.stdout)["status"] == "credited"
        await until(lambda: line.bank.state.stream_slots.taken == 0)

    async def test_that_was_lost_ends_the_watch_with_1(self, line: CommandLine) -> None:
        deposit_id = await credited(line.bank)
        await lose(line.bank, deposit_id)
        await advance(line.bank, deposit_id)
        result = await line.run("deposit", "watch", deposit_id)

        assert result.exit_code == 1
        assert json.loads(result.stdout)["status"] == "reversed"

    async def test_that_is_not_there_is_not_waited_for(self, line: CommandLine) -> None:
        result = await line.run("deposit", "watch", "dep_" + "0" * 26)

        assert result.exit_code == 1
        assert "deposit_not_found" in str(result.exception)


class TestChain:
    async def test_is_listed_and_shown(self, line: CommandLine) -> None:
        never = await line.text("chain", "list")
        await set_head(
            line.bank, 9, tip_height=12, fee_rate_minor=7, reorg_at=line.bank.clock.now()
        )
        status = await line.text("chain", "status", CHAIN_ID)

        assert "never" in never
        assert "read to block 9 of 12" in status
        assert "fee rate 7 wei per gas" in status
        assert (await line.ok("chain", "list"))["items"] == [
            await line.ok("chain", "status", CHAIN_ID)
        ]

    async def test_is_read_again_for_an_operator(self, line: CommandLine) -> None:
        await set_head(line.bank, 9)
        olga = await line.bank.person("olga", Role.OPERATOR)
        command = ["chain", "rescan", CHAIN_ID, "5", "9", "--code", line.code(olga)]
        rescan = await line.ok(*command, person=olga)

        assert (rescan["blocks_total"], rescan["finished_at"]) == (5, None)
        assert "1 open rescans" in await line.text("chain", "status", CHAIN_ID)


class TestFreeze:
    async def test_is_listed_and_lifted(self, line: CommandLine) -> None:
        deposit_id = await credited(line.bank)
        await lose(line.bank, deposit_id)
        await advance(line.bank, deposit_id)
        olga = await line.bank.person("olga", Role.OPERATOR)
        user_id = line.bank.customer.id
        table = await line.text("freeze", "list", person=olga)
        lifted = await line.ok("freeze", "lift", user_id, "--code", line.code(olga), person=olga)

        assert user_id in table
        assert lifted["lifted"] == 1
        assert (await line.ok("freeze", "list", person=olga))["items"] == []


class TestWhomToPay:
    async def test_screening_is_kept_by_operators(self, line: CommandLine) -> None:
        olga = await line.bank.person("olga", Role.OPERATOR)
        command = ["screening", "add", CHAIN_ID, DESTINATION, "--reason", "listed"]
        added = await line.ok(*command, "--code", line.code(olga), person=olga)
        assert added["verdict"] == "deny"
        assert DESTINATION in await line.text("screening", "list", person=olga)
        await line.ok(
            "screening", "remove", CHAIN_ID, DESTINATION, "--code", line.code(olga), person=olga
        )
        assert (await line.ok("screening", "list", person=olga))["items"] == []

    async def test_book_is_the_customers_own(self, line: CommandLine) -> None:
        customer = line.bank.customer
        code = ["--code", line.code(customer)]
        entry = await line.ok("book", "add", CHAIN_ID, DESTINATION, "exchange", *code)
        assert "exchange" in await line.text("book", "list")
        assert (await line.ok("book", "only"))["in_force"]
        code = ["--code", line.code(customer)]
        assert "until" in await line.text("book", "only", "--off", *code)
        await line.ok("book", "remove", entry["id"])
        assert (await line.ok("book", "list"))["items"] == []


class TestFees:
    async def test_are_shown_by_priority(self, line: CommandLine) -> None:
        shown = await line.text("payout", "fees", "ETH")
        assert "not known" in shown
        assert "urgent" in shown
        code = line.code(line.bank.customer)
        asked = ["payout", "create", "ETH", "0.0000000000000001", DESTINATION]
        created = await line.ok(*asked, "--priority", "economy", "--code", code)
        assert created["priority"] == "economy"


class TestKyc:
    async def test_is_reviewed_by_approvers(self, line: CommandLine, tmp_path: Path) -> None:
        rita = await line.bank.person("rita", Role.APPROVER)
        olive = await line.bank.person("olive", Role.OWNER)
        limits = tmp_path / "limits.json"
        row = {"level": 1, "operation": "payout", "asset": "ETH", "window": "24h", "count": 7}
        limits.write_text(json.dumps({"limits": [row]}))
        await line.ok("limits", "set", str(limits), "--code", line.code(olive), person=olive)
        assert "payout" in await line.text("limits", "show", person=olive)

        asked = await applied(line.bank)
        assert asked in await line.text("kyc", "list", "--status", "in_review", person=rita)
        assert asked in await line.text("kyc", "list", "--mine")
        shown = await line.text("kyc", "show", asked, person=rita)
        assert "Ada Lovelace" in shown
        assert "passport.pdf" in shown
        decided = ["--revision", "1", "--code"]
        note = ["--note", "Please hand in another one."]
        command = ["kyc", "ask", asked, *note, *decided, line.code(rita)]
        assert (await line.ok(*command, person=rita))["status"] == "information_requested"
        await line.bank.send("POST", f"/v1/kyc/applications/{asked}/withdrawal")
        rejected = await applied(line.bank)
        command = ["kyc", "reject", rejected, *note, *decided, line.code(rita)]
        assert (await line.ok(*command, person=rita))["status"] == "rejected"
        granted = await applied(line.bank)
        command = ["kyc", "approve", granted, *decided, line.code(rita)]
        assert (await line.ok(*command, person=rita))["level"] == 1

        table = await line.text("kyc", "level")
        assert "level 1" in table
        assert "0 of 7" in table
        user_id = line.bank.customer.id
        command = ["kyc", "downgrade", user_id, "--reason", "x", "--code", line.code(olive)]
        assert (await line.ok(*command, person=olive))["level"] == 0
        assert "level 0" in await line.text("kyc", "level", user_id, person=rita)
