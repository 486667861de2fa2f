"""Files of payments, and what becomes of them at a bank whose API has its own role's rights."""

import dataclasses
import json
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from sqlalchemy import text

from infra.database import Database
from tests.support.bank import Bank, served
from tests.support.identity import Person, identity_for_tests

CSV, JSON_LINES = "text/csv", "application/x-ndjson"
HEADER = "destination,asset,amount_minor,reference,note"
TABLES = ("payout_run", "payout_run_line", "payout", "hold", "ledger_transaction")


def address(number: int) -> str:
    """Return an address that nobody holds, without a checksum."""
    return f"0x{number + 1:040x}"


def csv_of(rows: Iterable[str], header: str = HEADER) -> bytes:
    return "\n".join([header, *rows, ""]).encode()


def csv_payments(count: int, *, amount: str = "100") -> bytes:
    return csv_of(f"{address(n)},ETH,{amount},ref {n},note {n}" for n in range(count))


def json_lines(*payments: Mapping[str, Any]) -> bytes:
    return "".join(json.dumps(payment) + "\n" for payment in payments).encode()


@dataclass
class Counter:
    """Where files are handed in."""

    bank: Bank
    client: httpx.AsyncClient

    async def upload(
        self,
        content: bytes | AsyncIterator[bytes],
        *,
        media_type: str = CSV,
        person: Person | None = None,
        headers: Mapping[str, str] | None = None,
        **query: str,
    ) -> httpx.Response:
        who = (person or self.bank.customer).headers
        return await self.client.post(
            "/v1/payout-runs",
            content=content,
            params=query,
            headers={**who, "Content-Type": media_type, **(headers or {})},
        )

    async def draft(self, content: bytes, **options: Any) -> dict[str, Any]:
        answer = await self.upload(content, **options)
        assert answer.status_code == 201, answer.text
        run: dict[str, Any] = answer.json()
        return run

    async def get(self, path: str, person: Person | None = None) -> httpx.Response:
        headers = (person or self.bank.customer).headers
        return await self.client.get(f"/v1/payout-runs{path}", headers=headers)

    async def discard(self, run_id: str, person: Person | None = None) -> httpx.Response:
        headers = (person or self.bank.customer).headers
        return await self.client.delete(f"/v1/payout-runs/{run_id}", headers=headers)

    async def lines(self, run_id: str, query: str = "") -> list[dict[str, Any]]:
        answer = await self.get(f"/{run_id}/lines{query}")
        items: list[dict[str, Any]] = answer.json()["items"]
        return items

    async def problems(self, run_id: str) -> list[tuple[int, str]]:
        found = await self.lines(run_id, "?only_problems=true")
        return [(line["number"], line["problem"]["code"]) for line in found]

    async def row_counts(self) -> dict[str, int]:
        async with self.bank.database.transaction() as session:
            return {
                table: (await session.execute(text(f"SELECT count(*) FROM {table}"))).scalar_one()  # noqa: S608
                for table in TABLES
            }


@asynccontextmanager
async def open_counter(bank: Bank, database_url: str, **changes: Any) -> AsyncIterator[Counter]:
    """Yield a counter of a bank whose API may do in the database what its role may, and no more."""
    database = Database(database_url.replace("postgres@", "strongroom_api@"))
    state = dataclasses.replace(
        bank.state,
        database=database,
        identity=identity_for_tests(database, bank.clock),
        settings=bank.state.settings.model_copy(update=changes),
    )
    try:
        async with served(state) as (_, client):
            yield Counter(bank, client)
    finally:
        await database.close()


async def begin(bank: Bank, run_id: str, *, status: str = "ready") -> None:
    """Let a run be started, as the worker does it: its lines are payouts now."""
    async with bank.database.transaction() as session:
        await session.execute(
            text(
                "INSERT INTO payout (id, user_id, principal, idempotency_key, request_hash, asset,"
                " chain_id, amount_minor, fee_minor, destination, note, status, approvals_required,"
                " is_alone, run_id, line_number, is_captured, created_at, updated_at)"
                " SELECT l.payout_id, r.user_id, r.principal, l.payout_id, '', r.asset, r.chain_id,"
                " l.amount_minor, 10, l.destination, l.note, :status, 0, false, r.id, l.number,"
                " false, now(), now()"
                " FROM payout_run_line l JOIN payout_run r ON r.id = l.run_id WHERE r.id = :run"
            ),
            {"run": run_id, "status": status},
        )
        await session.execute(
            text(
                "UPDATE payout_run SET status = 'paying', idempotency_key = 'k', content_hash = '',"
                " started_at = now(), hold_id = 'hld_1' WHERE id = :run"
            ),
            {"run": run_id},
        )


async def change(bank: Bank, statement: str, **values: Any) -> None:
    async with bank.database.transaction() as session:
        await session.execute(text(statement), values)
