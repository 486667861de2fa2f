"""Reading runs: lists, lines, reports, events; and discarding drafts."""

import asyncio
import csv
import io
import json
from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from api.run_stream import RunStream
from infra.database import Database
from infra.settings import ApiSettings
from models.identity import Role
from tests.integration.api.run_files import (
    Counter,
    begin,
    change,
    csv_of,
    csv_payments,
)
from tests.integration.api.sockets import QUICK
from tests.support.bank import (
    Bank,
    code_of,
)
from tests.support.flows import until


class TestReading:
    async def test_is_for_the_owner_and_for_staff(self, bank: Bank, counter: Counter) -> None:
        run = await counter.draft(csv_payments(2))
        stranger = await bank.person("stranger")
        auditor = await bank.person("auditor", Role.AUDITOR)
        for path in ("", "/lines", "/report", "/events", "/explain"):
            theirs = await counter.get(f"/{run['id']}{path}", stranger)
            missing = await counter.get(f"/run_{'0' * 26}{path}", stranger)
            assert (theirs.status_code, code_of(theirs)) == (404, "payout_run_not_found")
            assert theirs.json() | {"instance": ""} == missing.json() | {"instance": ""}
        discarded = await counter.discard(run["id"], auditor)
        mine = (await counter.get("", stranger)).json()["items"]
        refused = await counter.get("?scope=all", stranger)
        everybody = (await counter.get("?scope=all", auditor)).json()["items"]

        assert discarded.status_code == 404
        assert mine == []
        assert code_of(refused) == "role_missing"
        assert [r["id"] for r in everybody] == [run["id"]]
        assert (await counter.get(f"/{run['id']}", auditor)).json() == run

    async def test_lists_runs_and_lines_in_pages(self, counter: Counter) -> None:
        runs = [await counter.draft(csv_payments(5)) for _ in range(3)]
        first = (await counter.get("?limit=2&status=draft")).json()
        rest = (await counter.get(f"?limit=2&cursor={first['next_cursor']}")).json()
        numbers, cursor = list[int](), ""
        while True:
            page = (await counter.get(f"/{runs[0]['id']}/lines?limit=2{cursor}")).json()
            numbers += [line["number"] for line in page["items"]]
            if page["next_cursor"] is None:
                break
            cursor = f"&cursor={page['next_cursor']}"
        odd = await counter.get(f"/{runs[0]['id']}/lines?cursor=zzz")

        assert [r["id"] for r in first["items"] + rest["items"]] == [r["id"] for r in runs[::-1]]
        assert rest["next_cursor"] is None
        assert (await counter.get("?status=finished")).json()["items"] == []
        assert numbers == [2, 3, 4, 5, 6]
        assert (odd.status_code, code_of(odd)) == (400, "invalid_cursor")

    async def test_filters_lines_by_status(self, bank: Bank, counter: Counter) -> None:
        run = await counter.draft(csv_payments(3))
        await begin(bank, run["id"])
        await change(
            bank,
            "UPDATE payout SET status = 'settled', network_fee_minor = 9 WHERE line_number = 3",
        )
        settled = await counter.lines(run["id"], "?status=settled")
        shown = (await counter.get(f"/{run['id']}")).json()

        assert [(x["number"], x["network_fee"]) for x in settled] == [(3, "9")]
        assert len(await counter.lines(run["id"], "?status=ready")) == 2
        assert shown["lines"] == {"ready": 2, "settled": 1}
        assert shown["progress"] == pytest.approx(1 / 3)
        assert (shown["status"], shown["check"]) == ("paying", None)

    async def test_explains_where_it_is(self, bank: Bank, counter: Counter) -> None:
        run = await counter.draft(csv_payments(2))
        bad = await counter.draft(csv_of(["nonsense,ETH,100,,"]))

        async def told(run_id: str) -> tuple[str, str | None]:
            answer = (await counter.get(f"/{run_id}/explain")).json()
            return answer["explanation"], answer["waiting_for"]

        draft, broken = await told(run["id"]), await told(bad["id"])
        await begin(bank, run["id"])
        paying = await told(run["id"])
        await change(bank, "UPDATE payout SET status = 'settled'")
        await change(bank, "UPDATE payout_run SET status = 'finished' WHERE status = 'paying'")

        assert draft == ("A draft without problems; start it to pay.", "start")
        assert broken == ("A draft: 1 line has a problem; upload a corrected file.", "upload")
        assert paying == ("0 of 2 lines have ended; 0 on their way, 2 wait for a batch.", "batch")
        assert await told(run["id"]) == ("Finished: 2 settled.", None)


class TestDiscarding:
    async def test_forgets_a_draft_with_its_lines(self, counter: Counter) -> None:
        before = await counter.row_counts()
        run = await counter.draft(csv_payments(10))
        answer = await counter.discard(run["id"])

        assert answer.status_code == 204
        assert await counter.row_counts() == before
        assert (await counter.get(f"/{run['id']}")).status_code == 404

    async def test_is_refused_once_it_was_started(self, bank: Bank, counter: Counter) -> None:
        run = await counter.draft(csv_payments(10))
        await begin(bank, run["id"])
        before = await counter.row_counts()
        answer = await counter.discard(run["id"])

        assert (answer.status_code, code_of(answer)) == (409, "payout_run_state")
        assert await counter.row_counts() == before

    async def test_loses_against_a_start_at_the_same_time(
        self, bank: Bank, counter: Counter
    ) -> None:
        run = await counter.draft(csv_payments(10))
        before = await counter.row_counts()
        async with bank.database.transaction() as session:
            await session.execute(text("UPDATE payout_run SET status = 'paying'"))
            discarding = asyncio.create_task(counter.discard(run["id"]))
            await until(lambda: _is_waiting(bank))
        answer = await discarding

        assert (answer.status_code, code_of(answer)) == (409, "payout_run_state")
        assert await counter.row_counts() == before


async def _is_waiting(bank: Bank) -> bool:
    async with bank.database.statement() as connection:
        found = await connection.execute(text("SELECT count(*) FROM pg_locks WHERE NOT granted"))
        return bool(found.scalar_one())


STARTED = [
    "UPDATE payout_run SET status = 'paying'",
    "UPDATE payout_run_line SET amount_minor = 1",
    "INSERT INTO payout_run_line SELECT run_id, 9, 'pay_x', destination, 1 FROM payout_run_line",
    "DELETE FROM payout_run_line",
    "DELETE FROM payout_run",
    "INSERT INTO run_decision SELECT * FROM run_decision",
]


class TestRole:
    @pytest.mark.parametrize("statement", STARTED)
    async def test_of_the_api_changes_nothing_that_was_started(
        self, bank: Bank, counter: Counter, database_url: str, statement: str
    ) -> None:
        run = await counter.draft(csv_payments(2))
        await begin(bank, run["id"])
        before = await counter.row_counts()
        database = Database(database_url.replace("postgres@", "strongroom_api@"))
        with pytest.raises(DBAPIError) as raised:
            async with database.transaction() as session:
                await session.execute(text(statement))
        await database.close()

        assert getattr(raised.value.orig, "sqlstate", None) in ("42501", "SR009")
        assert await counter.row_counts() == before


class TestReport:
    async def test_has_a_row_for_every_line(self, bank: Bank, counter: Counter) -> None:
        run = await counter.draft(csv_payments(1_203))
        as_draft = await self._rows(counter, run["id"])
        await begin(bank, run["id"])
        await change(
            bank, "UPDATE payout SET status = 'refunded', reason_code = 'x' WHERE line_number = 2"
        )
        rows = await self._rows(counter, run["id"])
        answer = await counter.get(f"/{run['id']}/report?format=json")

        assert [int(row["line"]) for row in rows] == list(range(2, 1_205))
        assert {row["status"] for row in as_draft} == {"draft"}
        assert (rows[0]["status"], rows[0]["reason"]) == ("refunded", "x")
        assert (rows[1]["status"], rows[1]["amount"]) == ("ready", "0.0000000000000001")
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.headers["Content-Disposition"].endswith(f'"{run["id"]}.json"')
        told = [{k: "" if v is None else str(v) for k, v in row.items()} for row in answer.json()]
        assert told == rows

    async def test_never_begins_a_cell_as_a_formula(self, bank: Bank, counter: Counter) -> None:
        run = await counter.draft(csv_payments(1))
        await begin(bank, run["id"])
        # No upload brings such a text in; something else may, one day.
        await change(bank, "ALTER TABLE payout_run_line DISABLE TRIGGER keep_draft")
        await change(bank, "UPDATE payout_run_line SET reference = '=HYPERLINK(1)', note = '-1'")
        answer = await counter.get(f"/{run['id']}/report")
        cells = [cell for row in csv.reader(io.StringIO(answer.text)) for cell in row]

        assert "'=HYPERLINK(1)" in cells
        assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))]

    @staticmethod
    async def _rows(counter: Counter, run_id: str) -> list[dict[str, str]]:
        answer = await counter.get(f"/{run_id}/report")
        assert answer.headers["Content-Type"].startswith("text/csv")
        return list(csv.DictReader(io.StringIO(answer.text)))


class TestEvents:
    async def test_tell_the_counts_until_the_run_is_finished(
        self, bank: Bank, counter: Counter
    ) -> None:
        run = await counter.draft(csv_payments(2))
        stream = RunStream(bank.database, quick(bank))
        events = stream.events(run["id"], user_id=bank.customer.id, last=None)
        chunks = [await anext(events), await anext(events)]
        await begin(bank, run["id"])
        chunks.append(await anext(events))
        await change(bank, "UPDATE payout SET status = 'settled'")
        chunks.append(await anext(events))
        await change(bank, "UPDATE payout_run SET status = 'finished'")
        chunks += [chunk async for chunk in events]

        told = [json.loads(chunk.partition("data: ")[2]) for chunk in chunks[1:]]
        assert chunks[0].startswith("retry: ")
        assert [(e["status"], e["ended"], e["is_final"]) for e in told] == [
            ("draft", 0, False),
            ("paying", 0, False),
            ("paying", 2, False),
            ("finished", 2, True),
        ]
        assert (told[-1]["progress"], told[-1]["lines"]) == (1.0, {"settled": 2})

    async def test_are_not_told_twice_to_who_comes_back(self, bank: Bank, counter: Counter) -> None:
        run = await counter.draft(csv_payments(2))
        stream = RunStream(bank.database, quick(bank))
        first = stream.events(run["id"], user_id=None, last=None)
        event_id = [await anext(first), await anext(first)][1].partition("\n")[0]
        await first.aclose()
        again = stream.events(run["id"], user_id=None, last=event_id.removeprefix("id: "))
        await anext(again)
        waiting = asyncio.ensure_future(anext(again))
        await begin(bank, run["id"])

        assert '"paying"' in await waiting

    async def test_end_with_a_draft_that_is_discarded(self, bank: Bank, counter: Counter) -> None:
        run = await counter.draft(csv_payments(2))
        events = RunStream(bank.database, quick(bank)).events(run["id"], user_id=None, last=None)
        told = [await anext(events), await anext(events)]
        await counter.discard(run["id"])

        assert [*told, *[chunk async for chunk in events]] == told

    async def test_wait_for_a_database_that_is_away(self, bank: Bank) -> None:
        gone = Database("postgresql://nobody@127.0.0.1:1/none")
        stream = RunStream(gone, quick(bank), heartbeat=timedelta(milliseconds=1))
        events = stream.events("run_1", user_id=None, last=None)
        chunks = [await anext(events) for _ in range(3)]
        await events.aclose()

        assert chunks[1:] == [": still here\n\n"] * 2

    async def test_come_over_http(self, bank: Bank, counter: Counter) -> None:
        run = await counter.draft(csv_payments(2))
        await begin(bank, run["id"])
        await change(bank, "UPDATE payout_run SET status = 'finished'")
        answer = await counter.get(f"/{run['id']}/events")

        assert answer.headers["Content-Type"].startswith("text/event-stream")
        assert '"is_final":true' in answer.text
        assert bank.state.stream_slots.taken == 0


def quick(bank: Bank) -> ApiSettings:
    return bank.state.settings.model_copy(update=QUICK)
