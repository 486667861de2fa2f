"""Deposits as their users and operators see them."""

from datetime import timedelta

import pytest

from domain.deposits import DepositStatus
from domain.ids import new_id
from models.identity import Role
from tests.integration.api.money_in import (
    add_deposit,
    advance,
    as_api_role,
    ask_for_address,
    credited,
    ignored,
    lose,
    place,
    set_head,
)
from tests.support.bank import FUNDS_MINOR, Bank, code_of


async def address_of(bank: Bank, asset: str = "ETH") -> str:
    return str((await ask_for_address(bank, asset)).json()["id"])


class TestDeposit:
    async def test_shows_how_deep_it_lies(self, bank: Bank) -> None:
        deposit_id = await add_deposit(bank, await address_of(bank))
        await set_head(bank, 11)
        seen = (await bank.get(f"/v1/deposits/{deposit_id}")).json()
        await place(bank, deposit_id, 10)
        confirming = (await bank.get(f"/v1/deposits/{deposit_id}")).json()

        assert (seen["status"], seen["confirmations"], seen["block_height"]) == ("seen", 0, None)
        assert (confirming["status"], confirming["block_height"]) == ("confirming", 10)
        assert (confirming["confirmations"], confirming["confirmations_required"]) == (2, 3)
        assert [line["status"] for line in confirming["history"]] == ["seen", "confirming"]
        assert (confirming["amount"], confirming["asset"]) == ("700", "ETH")
        assert confirming["workflow_id"] == f"deposit/{deposit_id}"
        assert confirming["postings"] == []

    async def test_leads_to_its_entry_in_the_statement(self, bank: Bank) -> None:
        deposit_id = await credited(bank)
        shown = (await bank.get(f"/v1/deposits/{deposit_id}")).json()
        (posting,) = shown["postings"]
        (line,) = (await bank.get(posting["statement"])).json()["items"]

        assert shown["status"] == "credited"
        assert (posting["kind"], posting["amount"]) == ("deposit_credit", "700")
        assert (posting["account"], line["resource"]) == ("available", deposit_id)
        assert line["transaction_key"] == posting["transaction_key"]
        assert await bank.balances() == (FUNDS_MINOR + 700, 0)

    async def test_leads_staff_to_nobodys_statement(self, bank: Bank) -> None:
        deposit_id = await credited(bank)
        auditor = await bank.person("auditor", Role.AUDITOR)
        (posting,) = (await bank.get(f"/v1/deposits/{deposit_id}", auditor)).json()["postings"]

        assert posting["statement"] is None

    async def test_shows_that_it_was_taken_back(self, bank: Bank) -> None:
        deposit_id = await credited(bank)
        await lose(bank, deposit_id)
        await advance(bank, deposit_id)
        shown = (await bank.get(f"/v1/deposits/{deposit_id}")).json()

        assert (shown["status"], shown["confirmations"]) == ("reversed", 0)
        assert [p["amount"] for p in shown["postings"]] == ["700", "-700"]
        assert await bank.balances() == (FUNDS_MINOR, 0)

    async def test_of_an_unknown_token_is_shown_without_an_asset(self, bank: Bank) -> None:
        deposit_id = await ignored(bank, await address_of(bank))
        shown = (await bank.get(f"/v1/deposits/{deposit_id}")).json()

        assert (shown["asset"], shown["status"]) == (None, "ignored")
        assert shown["reason_code"] == "unlisted_asset"
        assert shown["contract_address"].startswith("0x")

    @pytest.mark.parametrize("path", ["", "/explain", "/events"])
    async def test_of_somebody_else_is_not_there(self, bank: Bank, path: str) -> None:
        deposit_id = await credited(bank)
        stranger = await bank.person("stranger")
        theirs = await bank.get(f"/v1/deposits/{deposit_id}{path}", stranger)
        missing = await bank.get(f"/v1/deposits/{new_id('dep')}{path}", stranger)

        assert (theirs.status_code, code_of(theirs)) == (404, "deposit_not_found")
        assert theirs.json() | {"instance": ""} == missing.json() | {"instance": ""}

    async def test_is_read_with_the_rights_that_the_api_has(
        self, bank: Bank, database_url: str
    ) -> None:
        deposit_id = await credited(bank)
        ends = ("", "/explain", "/events")
        async with as_api_role(bank, database_url) as client:
            answers = [
                await client.get(f"/v1/deposits/{deposit_id}{end}", headers=bank.customer.headers)
                for end in ends
            ]

        assert [a.status_code for a in answers] == [200, 200, 200]


class TestExplanation:
    async def explained(self, bank: Bank, deposit_id: str) -> tuple[str, str | None]:
        answer = (await bank.get(f"/v1/deposits/{deposit_id}/explain")).json()
        return answer["explanation"], answer["waiting_for"]

    async def test_says_what_it_waits_for(self, bank: Bank) -> None:
        deposit_id = await add_deposit(bank, await address_of(bank))
        seen = await self.explained(bank, deposit_id)
        await set_head(bank, 11)
        await place(bank, deposit_id, 10)
        confirming = await self.explained(bank, deposit_id)
        bank.clock.advance(timedelta(minutes=1))
        silent, waiting_for = await self.explained(bank, deposit_id)

        assert seen == ("Seen, but in no block yet.", "block")
        assert confirming == ("2 of 3 confirmations.", "confirmations")
        assert silent.startswith("Testnet not seen since")
        assert waiting_for == "chain"

    async def test_says_how_it_ended(self, bank: Bank) -> None:
        deposit_id = await credited(bank)
        ended = await self.explained(bank, deposit_id)
        await lose(bank, deposit_id)
        await advance(bank, deposit_id)
        sentence, waiting_for = await self.explained(bank, deposit_id)
        olga = await bank.person("olga", Role.OPERATOR)
        await bank.send("POST", f"/v1/users/{bank.customer.id}/freezes/lift", person=olga)
        lifted = await self.explained(bank, deposit_id)

        assert ended == ("Credited after 3 confirmations.", None)
        assert sentence.endswith("outgoing operations are frozen.")
        assert waiting_for == "operator"
        assert lifted == ("Credited, then removed from the chain and taken back.", None)


class TestList:
    async def test_is_filtered_by_status_and_asset(self, bank: Bank) -> None:
        ether, token = [await address_of(bank, asset) for asset in ("ETH", "USD")]
        ids = [await add_deposit(bank, address) for address in (ether, ether, token)]
        await place(bank, ids[0], 10)

        async def listed(query: str) -> set[str]:
            return {d["id"] for d in (await bank.get(f"/v1/deposits{query}")).json()["items"]}

        assert await listed("") == set(ids)
        assert await listed("?asset=USD") == {ids[2]}
        assert await listed(f"?status={DepositStatus.CONFIRMING}") == {ids[0]}
        assert await listed("?asset=USD&status=confirming") == set()

    async def test_comes_in_pages(self, bank: Bank) -> None:
        address_id = await address_of(bank)
        ids = [await add_deposit(bank, address_id) for _ in range(5)]
        found, path = [], "/v1/deposits?limit=2"
        page = (await bank.get(path)).json()
        while page["next_cursor"]:
            found += [d["id"] for d in page["items"]]
            page = (await bank.get(f"{path}&cursor={page['next_cursor']}")).json()
        found += [d["id"] for d in page["items"]]

        assert found == sorted(ids, reverse=True)

    async def test_of_everybody_is_for_staff(self, bank: Bank) -> None:
        deposit_id = await credited(bank)
        approver = await bank.person("ann", Role.APPROVER)
        operator = await bank.person("olga", Role.OPERATOR)
        refused = await bank.get("/v1/deposits?scope=all", approver)
        everything = await bank.get("/v1/deposits?scope=all", operator)

        assert code_of(refused) == "role_missing"
        assert [d["id"] for d in everything.json()["items"]] == [deposit_id]
        assert (await bank.get("/v1/deposits", operator)).json()["items"] == []
