"""What can be uploaded as a run, and that whatever cannot changes nothing."""

import pytest

from domain.ids import PAYOUT, derived_id
from domain.money import UINT256_MAX
from domain.runs import LINES_MAX
from models.identity import Scope
from runs.lines import FAULTS_SHOWN_MAX
from tests.integration.api.run_files import (
    CSV,
    HEADER,
    JSON_LINES,
    Counter,
    address,
    begin,
    csv_of,
    csv_payments,
    json_lines,
)
from tests.support.bank import (
    DESTINATION,
    FEE_MINOR,
    FUNDS_MINOR,
    Bank,
    code_of,
)

GOOD = f"{DESTINATION},ETH,100,,"

GOOD = f"{DESTINATION},ETH,100,,"


class TestUpload:
    async def test_is_a_draft_that_holds_nothing(self, bank: Bank, counter: Counter) -> None:
        content = csv_of([f"{DESTINATION.lower()},ETH,0.0000000000000001,INV-1,thanks"],
                         HEADER.replace("_minor", ""))  # fmt: skip
        answer = await counter.upload(content, name="wages", priority="economy")
        run = answer.json()
        (line,) = await counter.lines(run["id"])

        assert answer.status_code == 201
        assert answer.headers["Location"].endswith(f"/v1/payout-runs/{run['id']}")
        assert run["user_id"] == bank.customer.id
        assert (run["name"], run["priority"], run["status"]) == ("wages", "economy", "draft")
        assert (run["line_count"], run["total"], run["fee_total"]) == (1, "100", str(FEE_MINOR))
        assert (run["problem_count"], run["progress"], run["lines"]) == (0, 0.0, {})
        assert run["check"]["can_start"] is True
        assert (run["check"]["available"], run["check"]["needed"]) == (str(FUNDS_MINOR), "110")
        assert (line["number"], line["destination"]) == (2, DESTINATION)
        assert (line["amount"], line["reference"], line["note"]) == ("100", "INV-1", "thanks")
        assert (line["payout_id"], line["status"]) == (None, None)
        assert await bank.balances() == (FUNDS_MINOR, 0)
        assert (await counter.get(f"/{run['id']}")).json() == run

    async def test_says_the_same_in_both_formats(self, counter: Counter) -> None:
        payments = [
            {"destination": address(n), "asset": "ETH", "amount_minor": "7", "reference": f"r{n}"}
            for n in range(3)
        ]
        columns = "destination,asset,amount_minor,reference"
        rows = (",".join(p.values()) for p in payments)
        by_csv = await counter.draft(csv_of(rows, columns))
        by_json = await counter.draft(json_lines(*payments), media_type=JSON_LINES)
        shared = ("line_count", "total", "fee_total", "asset", "chain_id", "problem_count")
        told = [
            [(x["destination"], x["amount"], x["reference"]) for x in await counter.lines(r["id"])]
            for r in (by_csv, by_json)
        ]

        assert {k: by_csv[k] for k in shared} == {k: by_json[k] for k in shared}
        assert told[0] == told[1]

    async def test_derives_the_payouts_from_run_and_line(
        self, bank: Bank, counter: Counter
    ) -> None:
        run = await counter.draft(csv_payments(1))
        await begin(bank, run["id"])

        (line,) = await counter.lines(run["id"])
        assert line["payout_id"] == derived_id(PAYOUT, run["id"], "2")

    async def test_of_the_same_bytes_is_another_draft(self, counter: Counter) -> None:
        first, again = [await counter.draft(csv_payments(2)) for _ in range(2)]

        assert first["id"] != again["id"]
        assert first["content_sha256"] == again["content_sha256"]

    async def test_is_for_programs_with_the_scope(self, bank: Bank, counter: Counter) -> None:
        refused, allowed = [
            await bank.send("POST", "/v1/api-keys", body={"name": str(scope), "scopes": [scope]})
            for scope in (Scope.READ, Scope.PAYOUTS_WRITE)
        ]
        answers = [
            await counter.client.post(
                "/v1/payout-runs",
                content=csv_payments(1),
                headers={"Authorization": f"Bearer {key.json()['token']}", "Content-Type": CSV},
            )
            for key in (refused, allowed)
        ]

        assert [a.status_code for a in answers] == [403, 201]
        assert code_of(answers[0]) == "scope_missing"


NUMBERED: list[tuple[str, bytes, list[tuple[int, str]]]] = [
    ("zero", csv_of([GOOD, f"{DESTINATION},ETH,0,,"]), [(3, "invalid_amount")]),
    ("negative", csv_of([f"{DESTINATION},ETH,-1,,"]), [(2, "invalid_amount")]),
    ("scientific", csv_of([f"{DESTINATION},ETH,1e3,,"]), [(2, "invalid_amount")]),
    ("79 digits", csv_of([f"{DESTINATION},ETH,{'1' * 79},,"]), [(2, "invalid_amount")]),
    ("2^256", csv_of([f"{DESTINATION},ETH,{UINT256_MAX + 1},,"]), [(2, "invalid_amount")]),
    ("decimals", csv_of([f"{DESTINATION},ETH,0.{'1' * 19}"], "destination,asset,amount"),
     [(2, "invalid_amount")]),
    ("mixed", csv_of([GOOD, f"{DESTINATION},USD,1,,", GOOD, f"{DESTINATION},BTC,1,,"]),
     [(3, "mixed_assets"), (5, "mixed_assets")]),
    ("unknown asset", csv_of([f"{DESTINATION},XXX,1,,"]), [(2, "unknown_asset")]),
    ("formula", csv_of([GOOD, f"{DESTINATION},ETH,1,=1+1,"]), [(3, "formula")]),
    ("formula in a note", csv_of([f'{DESTINATION},ETH,1,,"@SUM(A1)"']), [(2, "formula")]),
    ("formula in an address", csv_of(["+49123,ETH,1,,"]), [(2, "formula")]),
    ("tab", csv_of([f"{DESTINATION},ETH,1,\tx,"]), [(2, "control_character")]),
    ("carriage return", csv_of([f"{DESTINATION},ETH,1,a\rb,"]), [(2, "control_character")]),
    ("NUL", csv_of([GOOD, f"{DESTINATION},ETH,1,a\0b,"]), [(3, "control_character")]),
    ("turned text", csv_of([f"{DESTINATION},ETH,1,a\u202eb,"]), [(2, "control_character")]),
    ("latin-1", csv_of([GOOD]) + b"x,ETH,1,M\xfcller,\n", [(3, "not_utf8")]),
    ("UTF-16", csv_of([GOOD]).decode().encode("utf-16"), [(1, "not_utf8")]),
    ("cut off", csv_of([GOOD]) + "ä".encode()[:1], [(3, "not_utf8")]),
    ("unknown column", csv_of([GOOD], HEADER.replace("note", "fee")), [(1, "invalid_columns")]),
    ("doubled column", csv_of([GOOD], HEADER.replace("note", "asset")), [(1, "invalid_columns")]),
    ("no amount", csv_of(["a,ETH"], "destination,asset"), [(1, "invalid_columns")]),
    ("both amounts", csv_of([GOOD], "destination,asset,amount,amount_minor,note"),
     [(1, "invalid_columns")]),
    ("no asset", csv_of(["a,1"], "destination,amount"), [(1, "invalid_columns")]),
    ("cells", csv_of([GOOD, f"{DESTINATION},ETH,1"]), [(3, "malformed_line")]),
    ("quotes", csv_of([f'"{DESTINATION},ETH,1,,', GOOD]), [(2, "malformed_line")]),
    ("blank", csv_of([GOOD, "", GOOD]), [(3, "blank_line")]),
    ("empty cell", csv_of([",ETH,1,,", f"{DESTINATION},,1,,", f"{DESTINATION},ETH,,,"]),
     [(2, "missing_value"), (3, "missing_value"), (4, "missing_value")]),
    ("long line", csv_of([GOOD, "x" * 5_000, GOOD]), [(3, "line_too_long")]),
    ("long reference", csv_of([f"{DESTINATION},ETH,1,{'x' * 101},"]), [(2, "value_too_long")]),
]  # fmt: skip


BAD_JSON: list[tuple[str, bytes, list[tuple[int, str]]]] = [
    ("number", b'{"destination": "0x1", "asset": "ETH", "amount": 1}\n', [(1, "not_text")]),
    ("null", b'{"destination": "0x1", "asset": "ETH", "amount": null}\n', [(1, "not_text")]),
    ("unknown key", b'{"destination": "0x1", "asset": "ETH", "amount": "1", "to": "2"}',
     [(1, "invalid_columns")]),
    ("doubled key", b'{"destination": "0x1", "asset": "A", "asset": "ETH", "amount": "1"}',
     [(1, "invalid_columns")]),
    ("missing key", b'{"asset": "ETH", "amount": "1"}', [(1, "invalid_columns")]),
    ("array", b"[1]\n{}\n", [(1, "malformed_line"), (2, "invalid_columns")]),
    ("text", b"hello\n", [(1, "malformed_line")]),
    ("deep", b"[" * 4_000 + b"\n", [(1, "malformed_line")]),
    ("NUL", b'{"destination": "\\u0000", "asset": "ETH", "amount": "1"}',
     [(1, "control_character")]),
    ("surrogate", b'{"destination": "\\ud800", "asset": "ETH", "amount": "1"}',
     [(1, "control_character")]),
    ("formula", b'{"destination": "a", "asset": "ETH", "amount": "1", "note": "=A1"}',
     [(1, "formula")]),
    ("tab", b'{"destination": "a", "asset": "ETH", "amount": "1", "note": "\\t=A1"}',
     [(1, "control_character")]),
]  # fmt: skip


class TestUnreadableUpload:
    @pytest.mark.parametrize(
        ("content", "lines"), [case[1:] for case in NUMBERED], ids=[case[0] for case in NUMBERED]
    )
    async def test_is_refused_by_line(
        self, counter: Counter, content: bytes, lines: list[tuple[int, str]]
    ) -> None:
        await self._assert_refused(counter, content, CSV, lines)

    @pytest.mark.parametrize(
        ("content", "lines"), [case[1:] for case in BAD_JSON], ids=[case[0] for case in BAD_JSON]
    )
    async def test_in_json_is_refused_by_line(
        self, counter: Counter, content: bytes, lines: list[tuple[int, str]]
    ) -> None:
        await self._assert_refused(counter, content, JSON_LINES, lines)

    @staticmethod
    async def _assert_refused(
        counter: Counter, content: bytes, media_type: str, lines: list[tuple[int, str]]
    ) -> None:
        before = await counter.row_counts()
        answer = await counter.upload(content, media_type=media_type)
        problem = answer.json()

        assert (answer.status_code, problem["code"]) == (400, "invalid_upload")
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert [(line["line"], line["code"]) for line in problem["lines"]] == lines
        assert problem["lines_total"] == len(lines)
        assert all(line["detail"] for line in problem["lines"])
        assert await counter.row_counts() == before

    @pytest.mark.parametrize(
        ("content", "media_type"),
        [
            (b"", CSV),
            (b"", JSON_LINES),
            (b"\n\n", CSV),
            (b"\xef\xbb\xbf", CSV),
            (HEADER.encode(), CSV),
            (csv_of([]), CSV),
        ],
    )
    async def test_without_payments_is_refused(
        self, counter: Counter, content: bytes, media_type: str
    ) -> None:
        before = await counter.row_counts()
        answer = await counter.upload(content, media_type=media_type)

        assert (answer.status_code, code_of(answer)) == (400, "invalid_upload")
        assert await counter.row_counts() == before

    async def test_names_the_first_hundred_lines_and_counts_the_rest(
        self, counter: Counter
    ) -> None:
        answer = await counter.upload(csv_payments(FAULTS_SHOWN_MAX + 5, amount="0"))
        problem = answer.json()

        assert [line["line"] for line in problem["lines"]] == list(range(2, FAULTS_SHOWN_MAX + 2))
        assert problem["lines_total"] == FAULTS_SHOWN_MAX + 5

    async def test_is_refused_when_the_sum_is_too_large(self, counter: Counter) -> None:
        rows = [f"{address(n)},ETH,{UINT256_MAX // 2},," for n in range(3)]
        before = await counter.row_counts()
        answer = await counter.upload(csv_of(rows))

        assert (answer.status_code, code_of(answer)) == (400, "invalid_upload")
        assert await counter.row_counts() == before

    @pytest.mark.parametrize(
        ("content", "media_type", "headers"),
        [
            (csv_payments(1), "application/json", {}),
            (csv_payments(1), "text/csv; charset=utf-16", {}),
            (csv_payments(1), CSV, {"Content-Encoding": "gzip"}),
            (b"\x1f\x8b\x08\x00" + b"0" * 100, CSV, {}),
            (b"PK\x03\x04" + b"0" * 100, CSV, {}),
        ],
    )
    async def test_is_refused_when_it_is_not_text(
        self, counter: Counter, content: bytes, media_type: str, headers: dict[str, str]
    ) -> None:
        before = await counter.row_counts()
        answer = await counter.upload(content, media_type=media_type, headers=headers)

        assert (answer.status_code, code_of(answer)) == (415, "unsupported_media_type")
        assert await counter.row_counts() == before

    async def test_with_more_lines_than_a_run_may_have_is_refused(self, counter: Counter) -> None:
        before = await counter.row_counts()
        answer = await counter.upload(csv_payments(LINES_MAX + 10))
        problem = answer.json()

        assert [(x["line"], x["code"]) for x in problem["lines"]] == [
            (LINES_MAX + 2, "too_many_lines")
        ]
        assert await counter.row_counts() == before
