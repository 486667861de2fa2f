"""The commands about pockets, quotes, rates, purchases and webhooks, against an API on a socket."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ledger import rules
from ledger.service import Ledger
from models.identity import Role
from tests.integration.api.sockets import listening
from tests.integration.api.test_command_line import CommandLine
from tests.support.bank import CHAIN_ID, DESTINATION, Bank
from tests.support.converting_bank import ITD_PER_WEI, TABLE, let_convert

HUNDRED_WEI = "0.0000000000000001"
FIVE_THOUSAND_WEI = "0.000000000000005"
PUBLIC = "https://shop.example/hook"


@pytest.fixture
async def line(bank: Bank, tmp_path: Path) -> AsyncIterator[CommandLine]:
    await let_convert(bank)
    async with listening(bank) as address:
        yield CommandLine(bank, address, tmp_path)


def code(line: CommandLine) -> tuple[str, str]:
    return "--code", line.code(line.bank.customer)


async def fill(line: CommandLine, pocket: dict[str, Any]) -> None:
    """Have somebody pay the customer's pocket."""
    posting = rules.deposit_credit(
        deposit_id="dep_1",
        credit=1,
        target=f"user:{pocket['user_id']}:onchain:{CHAIN_ID}",
        chain_id=CHAIN_ID,
        asset="ETH",
        amount_minor=10**17,
        at=line.bank.clock.now(),
        is_pocket=True,
    )
    await Ledger(line.bank.database).post(posting)


class TestPocket:
    async def test_is_made_filled_and_listed(self, line: CommandLine) -> None:
        made = await line.ok("pocket", "create", CHAIN_ID)
        await fill(line, made)
        table = await line.text("pocket", "list")

        assert made["address"] in table
        assert "0.1 ETH" in table
        assert (await line.ok("pocket", "list"))["items"][0]["id"] == made["id"]

    async def test_is_funded_once_for_a_key(self, line: CommandLine) -> None:
        command = ["pocket", "fund", "ETH", HUNDRED_WEI, "--note", "mine", "--priority", "urgent"]
        made = [await line.ok(*command, "--idempotency-key", "k", *code(line)) for _ in range(2)]
        transfer_id = made[0]["id"]
        table = await line.text("pocket", "transfers", "--route", "fund")

        assert made[0]["id"] == made[1]["id"]
        assert (made[0]["amount"], made[0]["note"]) == ("100", "mine")
        assert f"{HUNDRED_WEI} ETH" in table
        assert (await line.ok("pocket", "show", transfer_id))["id"] == transfer_id
        assert (await line.ok("pocket", "transfers", "--route", "send"))["items"] == []

    async def test_converts_by_a_quote_alone(self, line: CommandLine) -> None:
        proof = code(line)
        price = format(100 * ITD_PER_WEI / 10**6, "f")
        quote = await line.ok("quote", "ask", "ITD", "ETH", price, "--for", "conversion")
        made = await line.ok("pocket", "fund", "--quote", quote["id"], *proof)
        table = await line.text("pocket", "transfers")

        assert made["conversion"]["quote_id"] == quote["id"]
        assert (made["asset"], made["to_asset"]) == ("ITD", "ETH")
        assert "0.2 ITD" in table
        assert f"{HUNDRED_WEI} ETH" in table

    async def test_is_redeemed_sent_from_and_explained(self, line: CommandLine) -> None:
        await fill(line, await line.ok("pocket", "create", CHAIN_ID))
        order = ["pocket", "send", "ETH", FIVE_THOUSAND_WEI, DESTINATION]
        sent = await line.ok(*order, *code(line))
        back = await line.ok("pocket", "redeem", "ETH", "all", *code(line))

        assert (back["route"], back["status"]) == ("redeem", "ready")
        assert (sent["route"], sent["destination"]) == ("send", DESTINATION)
        assert "approval" in await line.text("pocket", "explain", sent["id"])
        cancelled = await line.text("pocket", "cancel", sent["id"], *code(line))
        assert cancelled == f"{sent['id']} is cancelled.\n"

    @pytest.mark.parametrize(("what", "status"), [("approve", "ready"), ("reject", "rejected")])
    async def test_is_decided_on_by_approvers(
        self, line: CommandLine, what: str, status: str
    ) -> None:
        made = await line.ok("pocket", "fund", "ETH", FIVE_THOUSAND_WEI, *code(line))
        ann = await line.bank.person("ann", Role.APPROVER)
        decision = ["pocket", what, made["id"], "--code", line.code(ann), "--note", "seen"]
        assert made["status"] == "awaiting_approval"
        assert (await line.ok(*decision, person=ann))["status"] == status

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["ETH"], "Give an asset and an amount"),
            ([], "Give an asset and an amount"),
            (["ETH", "1", "--quote", "quo_1"], "Give an asset and an amount"),
            (["DOGE", "1"], "There is no asset DOGE"),
        ],
    )
    async def test_asks_for_exactly_one_of_sum_and_quote(
        self, line: CommandLine, arguments: list[str], words: str
    ) -> None:
        result = await line.run("pocket", "fund", *arguments, "--code", "000000")
        assert result.exit_code == 2
        assert words in result.output


class TestRates:
    async def test_are_written_by_owners_and_shown(self, line: CommandLine, tmp_path: Path) -> None:
        olive = await line.bank.person("olive", Role.OWNER)
        file = tmp_path / "rates.json"
        file.write_text(json.dumps(TABLE | {"quote_s": 30}))
        said = await line.text("rates", "set", str(file), "--code", line.code(olive), person=olive)
        table = await line.text("rates", "show")

        version = (await line.ok("rates", "show"))["version"]
        assert said == f"Rates version {version} are in force.\n"
        assert "purchase, conversion" in table
        assert "2000" in table

    async def test_of_the_market_are_not_to_be_had_without_sources(
        self, line: CommandLine, tmp_path: Path
    ) -> None:
        olive = await line.bank.person("olive", Role.OWNER)
        file = tmp_path / "rates.json"
        pair = {"pay_asset": "ETH", "buy_asset": "ITD", "symbol": "ETH-USD"}
        file.write_text(json.dumps({"pairs": [pair]}))
        await line.ok("rates", "set", str(file), "--code", line.code(olive), person=olive)
        assert "not to be had" in await line.text("rates", "show")


class TestBeforeRates:
    async def test_there_is_nothing_to_show(self, bank: Bank, tmp_path: Path) -> None:
        async with listening(bank) as address:
            line = CommandLine(bank, address, tmp_path)
            assert await line.text("rates", "show") == "There is no table of rates yet.\n"


class TestPurchase:
    async def test_is_quoted_made_and_given_up(self, line: CommandLine) -> None:
        said = await line.text("quote", "ask", "ETH", "ITD", "0.2", "--side", "buy")
        quote_id = said.split(":")[0]
        made = [
            await line.ok("purchase", "create", quote_id, "--idempotency-key", "k")
            for _ in range(2)
        ]
        purchase_id = made[0]["id"]

        assert f"{HUNDRED_WEI} ETH for 0.2 ITD" in said
        assert quote_id in await line.text("quote", "list")
        assert (await line.ok("quote", "show", quote_id))["buy_amount"] == "200000"
        assert made[0] == made[1]
        assert (await line.ok("purchase", "show", purchase_id))["pay_at"] is not None
        assert "0.2 ITD" in await line.text("purchase", "list")
        assert (await line.ok("purchase", "list", "--status", "expired"))["items"] == []
        ended = await line.text("purchase", "cancel", purchase_id)
        assert ended == f"{purchase_id} is cancelled.\n"

    async def test_says_where_to_pay(self, line: CommandLine) -> None:
        coins = await line.ok("quote", "ask", "ETH", "ITD", "0.000000000001")
        cards = await line.ok("quote", "ask", "EUR", "ITD", "10")
        by_chain = await line.text("purchase", "create", coins["id"])
        by_card = await line.text("purchase", "create", cards["id"])

        assert "Pay 0.000000000001 ETH to 0x" in by_chain
        assert "paid by card" in by_card

    async def test_that_nothing_was_paid_for_is_not_refunded(self, line: CommandLine) -> None:
        quote = await line.ok("quote", "ask", "ETH", "ITD", "0.000000000001")
        made = await line.ok("purchase", "create", quote["id"])
        olga = await line.bank.person("olga", Role.OPERATOR)
        proof = ["--code", line.code(olga)]
        command = ["purchase", "refund", made["id"], "0.000000000001", *proof]
        result = await line.run(*command, person=olga)
        assert result.exit_code == 1
        assert "purchase_state" in str(result.exception)


class TestWebhook:
    async def test_lives_by_commands(self, line: CommandLine) -> None:
        command = ["webhook", "create", PUBLIC, "--type", "payout.*", "--type", "deposit.credited"]
        issued = await line.ok(*command, "--description", "shop", *code(line))
        endpoint_id = issued["endpoint"]["id"]

        assert issued["secret"].startswith("whsec_")
        assert issued["endpoint"]["types"] == ["payout.*", "deposit.credited"]
        assert (await line.ok("webhook", "show", endpoint_id)) == issued["endpoint"]
        assert PUBLIC in await line.text("webhook", "list")
        rotated = await line.text("webhook", "rotate", endpoint_id, "--overlap-s", "0", *code(line))
        assert rotated.startswith(f"{endpoint_id}\nwhsec_")
        assert issued["secret"] not in rotated
        await line.ok("webhook", "disable", endpoint_id)
        assert "disabled" in await line.text("webhook", "list")
        assert (await line.ok("webhook", "enable", endpoint_id))["is_enabled"]
        await line.ok("webhook", "delete", endpoint_id)
        assert (await line.ok("webhook", "list"))["items"] == []

    async def test_is_pinged_and_its_deliveries_are_sent_again(self, line: CommandLine) -> None:
        issued = await line.ok("webhook", "create", PUBLIC, *code(line))
        endpoint_id = issued["endpoint"]["id"]
        pinged = await line.ok("webhook", "ping", endpoint_id)
        again = await line.ok("webhook", "redeliver", endpoint_id, pinged["id"])
        table = await line.text("webhook", "deliveries", endpoint_id)

        assert issued["endpoint"]["types"] == ["*"]
        assert again["redelivery_of"] == pinged["id"]
        assert pinged["id"] in table
        assert again["id"] in table
        shown = await line.ok("webhook", "delivery", endpoint_id, pinged["id"])
        assert shown["attempts"] == []
