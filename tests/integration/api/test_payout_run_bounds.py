"""How much may be uploaded, how often, and what it costs everybody else."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Self

from domain.runs import LINES_MAX
from infra.database import Database
from runs.drafts import discard_old
from tests.integration.api.run_files import (
    HEADER,
    Counter,
    address,
    begin,
    change,
    csv_of,
    csv_payments,
    open_counter,
)
from tests.integration.api.sockets import listening
from tests.support.bank import (
    Bank,
    code_of,
)
from tests.support.flows import until


class TestBounds:
    async def test_body_above_the_limit_is_refused_before_all_of_it_came(
        self, bank: Bank, database_url: str
    ) -> None:
        sent = 0

        async def endless() -> AsyncIterator[bytes]:
            nonlocal sent
            yield HEADER.encode() + b"\n"
            while True:
                sent += 1
                yield b"x" * 1_000

        async with open_counter(bank, database_url, upload_bytes_max=100_000) as counter:
            before = await counter.row_counts()
            answer = await counter.upload(endless())
            after = await counter.row_counts()

        assert (answer.status_code, code_of(answer)) == (413, "body_too_large")
        assert sent <= 102
        assert after == before

    async def test_announced_body_above_the_limit_is_refused(
        self, bank: Bank, database_url: str
    ) -> None:
        async with open_counter(bank, database_url, upload_bytes_max=50) as counter:
            answer = await counter.upload(csv_payments(2))

        assert (answer.status_code, code_of(answer)) == (413, "body_too_large")

    async def test_body_may_be_larger_than_others(self, counter: Counter) -> None:
        content = csv_of(f"{address(n)},ETH,100,{'r' * 100},{'n' * 200}" for n in range(4_000))

        assert len(content) > 1024 * 1024
        assert (await counter.draft(content))["line_count"] == 4_000

    async def test_body_that_comes_too_slowly_is_refused(
        self, bank: Bank, database_url: str
    ) -> None:
        async def slow() -> AsyncIterator[bytes]:
            yield HEADER.encode()
            await asyncio.Event().wait()

        brief = timedelta(milliseconds=50)
        async with open_counter(bank, database_url, upload_timeout=brief) as counter:
            answer = await counter.upload(slow())

        assert (answer.status_code, code_of(answer)) == (503, "temporarily_unavailable")

    async def test_body_that_breaks_off_leaves_nothing(self, bank: Bank) -> None:
        async with listening(bank) as address:
            counter = Counter(bank, bank.client)
            before = await counter.row_counts()
            _, writer = await asyncio.open_connection("127.0.0.1", int(address.rpartition(":")[2]))
            head = {
                "Host": "x",
                "Content-Type": "text/csv",
                "Content-Length": "100000",
                **bank.customer.headers,
            }
            lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
            writer.write(f"POST /v1/payout-runs HTTP/1.1\r\n{lines}\r\n".encode())
            writer.write(csv_payments(100))
            await writer.drain()
            await until(lambda: bool(bank.state.upload_slots.users))
            writer.close()
            await until(lambda: not bank.state.upload_slots.users)

        assert await counter.row_counts() == before

    async def test_one_upload_at_a_time_is_read_of_a_user(
        self, bank: Bank, counter: Counter
    ) -> None:
        gate, begun = asyncio.Event(), asyncio.Event()

        async def gated() -> AsyncIterator[bytes]:
            yield csv_payments(1)
            begun.set()
            await gate.wait()

        other = await bank.person("other")
        first = asyncio.create_task(counter.upload(gated()))
        await begun.wait()
        second = await counter.upload(csv_payments(1))
        elsewhere = await counter.upload(csv_payments(1), person=other)
        gate.set()

        assert (await first).status_code == 201
        assert (second.status_code, code_of(second)) == (503, "temporarily_unavailable")
        assert elsewhere.status_code == 201
        assert (await counter.upload(csv_payments(1))).status_code == 201

    async def test_drafts_of_a_user_are_counted(self, bank: Bank, database_url: str) -> None:
        async with open_counter(bank, database_url, run_drafts_max=2) as counter:
            first = await counter.draft(csv_payments(1))
            await counter.draft(csv_payments(1))
            refused = await counter.upload(csv_payments(1))
            discarded = await counter.discard(first["id"])
            again = await counter.upload(csv_payments(1))

        assert (refused.status_code, code_of(refused)) == (409, "conflict")
        assert discarded.status_code == 204
        assert again.status_code == 201

    async def test_drafts_that_nobody_starts_are_deleted_in_time(
        self, bank: Bank, database_url: str
    ) -> None:
        lifetime = timedelta(days=7)
        database = Database(database_url.replace("postgres@", "strongroom_api@"))
        async with open_counter(bank, database_url) as counter:
            old = await counter.draft(csv_payments(3))
            waiting = await counter.draft(csv_payments(1))

            await change(bank, "UPDATE payout_run SET created_at = created_at - interval '8 days'")
            await change(
                bank,
                "UPDATE payout_run SET waiting_for = 'x', waiting_since = now() WHERE id = :run",
                run=waiting["id"],
            )

            begun = await counter.draft(csv_payments(1))
            await begin(bank, begun["id"])
            fresh = await counter.draft(csv_payments(1))
            for expected in (1, 0):
                assert await discard_old(database, bank.clock, kept_for=lifetime) == expected
            runs = (old, waiting, begun, fresh)
            answers = [(await counter.get(f"/{run['id']}")).status_code for run in runs]
        await database.close()

        assert answers == [404, 200, 200, 200]


class TestSize:
    async def test_largest_run_is_stored_soon_in_flat_memory_beside_other_requests(
        self, counter: Counter
    ) -> None:
        """100,000 lines take as much memory as 1,000, and nobody else waits long."""
        await counter.draft(csv_payments(1_000))
        content = csv_payments(LINES_MAX)
        async with Pulse() as pulse:
            run = await counter.draft(content)

        assert (run["line_count"], run["problem_count"]) == (LINES_MAX, 0)
        assert pulse.took_s < 60
        assert pulse.longest_pause_s < 0.25
        # The lines would take 60 MB, and the client in this process may hold the content once more.
        assert pulse.growth_bytes < 20_000_000


class Pulse:
    """Beats in the event loop, and remembers its longest pause and how large the process grew."""

    async def __aenter__(self) -> Self:
        self.longest_pause_s, self.took_s, self.growth_bytes = 0.0, 0.0, 0
        self._began_at, self._began_bytes = time.monotonic(), resident_bytes()
        self._task = asyncio.create_task(self._beat())
        return self

    async def __aexit__(self, *_: object) -> None:
        self.took_s = time.monotonic() - self._began_at
        self._task.cancel()

    async def _beat(self) -> None:
        while True:
            slept_at = time.monotonic()
            await asyncio.sleep(0.001)
            pause_s = time.monotonic() - slept_at - 0.001
            self.longest_pause_s = max(self.longest_pause_s, pause_s)
            self.growth_bytes = max(self.growth_bytes, resident_bytes() - self._began_bytes)


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
