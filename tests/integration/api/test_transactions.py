"""Operations of every unit in one list, and monthly statements, over HTTP."""

import csv
import io
from typing import Any

import pypdf
import pytest

from models.identity import Role
from tests.integration.api.money_in import advance, credited, lose
from tests.support.bank import DESTINATION, FEE_MINOR, FUNDS_MINOR, Bank, code_of
from transactions import files


async def items(bank: Bank, query: str = "", **more: Any) -> list[dict[str, Any]]:
    answer = await bank.get(f"/v1/transactions{query}", **more)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


class TestList:
    async def test_shows_every_kind_newest_first(self, bank: Bank) -> None:
        deposit_id = await credited(bank)
        payout_id = (await bank.pay("100", note="rent")).json()["id"]
        payout, deposit = await items(bank)

        assert (payout["id"], payout["kind"], payout["direction"]) == (payout_id, "payout", "out")
        assert (payout["amount"], payout["fee"]) == ("100", str(FEE_MINOR))
        assert (payout["counterparty"], payout["note"]) == (DESTINATION, "rent")
        assert (payout["state"], payout["status"]) == ("pending", "ready")
        assert (deposit["id"], deposit["kind"], deposit["state"]) == (deposit_id, "deposit", "done")
        assert (deposit["direction"], deposit["amount"], deposit["fee"]) == ("in", "700", "0")

    async def test_is_filtered(self, bank: Bank) -> None:
        deposit_id = await credited(bank)
        small = (await bank.pay("100", note="50% off_er")).json()["id"]
        await bank.pay(str(FUNDS_MINOR * 2))
        by_query = {
            "?kind=deposit": [deposit_id],
            "?direction=out&state=pending": [small],
            "?asset=USD": [],
            f"?search={small}": [small],
            "?search=50%25 OFF_": [small],
            "?search=%25": [small],
            f"?search={'ab' * 32}": [deposit_id],
            "?until=2000-01-01T00:00:00Z": [],
        }
        found = {query: [item["id"] for item in await items(bank, query)] for query in by_query}

        assert found == by_query
        assert [item["status"] for item in await items(bank, "?state=failed")] == ["refused"]

    async def test_comes_in_pages(self, bank: Bank) -> None:
        paid = [(await bank.pay("100")).json()["id"] for _ in range(3)]
        first = (await bank.get("/v1/transactions?limit=2")).json()
        rest = (await bank.get(f"/v1/transactions?cursor={first['next_cursor']}")).json()

        assert [t["id"] for t in first["items"] + rest["items"]] == paid[::-1]
        assert rest["next_cursor"] is None

    async def test_is_everybodys_own(self, bank: Bank) -> None:
        payout_id = (await bank.pay("100")).json()["id"]
        other, auditor = await bank.person("other"), await bank.person("audit", Role.AUDITOR)

        assert await items(bank, person=other) == []
        assert code_of(await bank.get("/v1/transactions?scope=all", other)) == "role_missing"
        assert code_of(await bank.get(f"/v1/transactions/{payout_id}", other)) == (
            "transaction_not_found"
        )
        assert [t["id"] for t in await items(bank, "?scope=all", person=auditor)] == [payout_id]

    async def test_is_exported_whole(self, bank: Bank) -> None:
        await credited(bank)
        for number in range(3):
            await bank.pay("100", note=f"n{number}")
        answer = await bank.get("/v1/transactions/export?kind=payout")
        rows = list(csv.DictReader(io.StringIO(answer.text)))

        assert answer.headers["content-type"].startswith("text/csv")
        assert [row["note"] for row in rows] == ["n2", "n1", "n0"]
        assert {row["amount_minor"] for row in rows} == {"100"}
        assert "user_id" not in rows[0]


class TestOne:
    async def test_leads_to_books_and_workflow(self, bank: Bank) -> None:
        payout_id = (await bank.pay("100")).json()["id"]
        shown = (await bank.get(f"/v1/transactions/{payout_id}")).json()

        assert [line["status"] for line in shown["history"]] == ["ready"]
        assert {(e["kind"], e["amount"]) for e in shown["ledger"]} == {
            ("payout_freeze", "-110"),
            ("payout_freeze", "110"),
        }
        assert shown["workflow_id"] == f"payout/{payout_id}"
        assert shown["chain_transaction"] is None

    async def test_that_came_from_outside_leads_to_the_chain(self, bank: Bank) -> None:
        deposit_id = await credited(bank)
        shown = (await bank.get(f"/v1/transactions/{deposit_id}")).json()
        auditor = await bank.person("audit", Role.AUDITOR)
        seen = (await bank.get(f"/v1/transactions/{deposit_id}", auditor)).json()

        assert shown["txid"] == "ab" * 32
        assert [entry["amount"] for entry in shown["ledger"]] == ["700"]
        # Staff see our side of it too.
        assert sorted(entry["amount"] for entry in seen["ledger"]) == ["-700", "700"]

    @pytest.mark.parametrize("path", ["pay_nonsense", f"pay_{'0' * 26}", f"xyz_{'0' * 26}"])
    async def test_that_does_not_exist_is_not_found(self, bank: Bank, path: str) -> None:
        answer = await bank.get(f"/v1/transactions/{path}")
        assert code_of(answer) in {"transaction_not_found", "validation_failed"}


class TestStatement:
    async def test_reconciles_with_the_balances(self, bank: Bank) -> None:
        await credited(bank)
        lost = await credited(bank)
        await lose(bank, lost)
        await advance(bank, lost)
        await bank.pay("100")
        month = (await bank.get("/v1/statements")).json()["items"][0]
        (section,) = (await bank.get(f"/v1/statements/{month}")).json()["sections"]

        assert (section["opening"], section["asset"], section["chain_id"]) == ("0", "ETH", None)
        assert int(section["closing"]) == sum(await bank.balances()) == FUNDS_MINOR + 700
        assert int(section["total_in"]) == FUNDS_MINOR + 1_400
        assert section["total_out"] == "700"

    async def test_is_written_line_by_line(self, bank: Bank) -> None:
        deposit_id = await credited(bank)
        month = (await bank.get("/v1/statements")).json()["items"][0]
        answer = await bank.get(f"/v1/statements/{month}/file?format=csv")
        rows = list(csv.DictReader(io.StringIO(answer.text)))

        assert [row["description"] for row in rows] == [
            "Opening balance",
            "Deposit",
            "Deposit",
            "Closing balance",
        ]
        assert rows[-2]["transaction_id"] == deposit_id
        assert rows[-2]["balance_minor"] == rows[-1]["balance_minor"] == str(FUNDS_MINOR + 700)
        amounts = [int(row["amount_minor"]) for row in rows[1:-1]]
        assert int(rows[0]["balance_minor"]) + sum(amounts) == int(rows[-1]["balance_minor"])

    async def test_is_drawn_as_pages(self, bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
        await credited(bank)
        month = (await bank.get("/v1/statements")).json()["items"][0]
        answer = await bank.get(f"/v1/statements/{month}/file")
        text = "".join(p.extract_text() for p in pypdf.PdfReader(io.BytesIO(answer.content)).pages)

        assert answer.headers["content-type"] == "application/pdf"
        for words in ("Statement of account", "ETH, off-chain", "Opening", "Closing balance"):
            assert words in text
        monkeypatch.setattr(files, "PDF_LINES_MAX", 1)
        refused = await bank.get(f"/v1/statements/{month}/file")
        assert code_of(refused) == "statement_too_long"

    async def test_of_somebody_else_needs_a_role(self, bank: Bank) -> None:
        other, auditor = await bank.person("other"), await bank.person("audit", Role.AUDITOR)
        path = f"/v1/statements?user_id={bank.customer.id}"

        assert code_of(await bank.get(path, other)) == "role_missing"
        assert len((await bank.get(path, auditor)).json()["items"]) >= 1

    async def test_of_no_month_is_refused(self, bank: Bank) -> None:
        other = await bank.person("other")
        month = (await bank.get("/v1/statements")).json()["items"][0]

        assert code_of(await bank.get("/v1/statements/2999-01")) == "statement_not_found"
        assert code_of(await bank.get("/v1/statements/2026-13")) == "validation_failed"
        assert code_of(await bank.get(f"/v1/statements/{month}", other)) == "statement_not_found"
        assert (await bank.get("/v1/statements", other)).json()["items"] == []
