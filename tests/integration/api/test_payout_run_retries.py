"""Paying a failed line of a run again over HTTP, by a payout workflow of its own."""

from datetime import timedelta

import httpx
import pytest

from models.identity import Role
from tests.integration.api.run_files import Counter, begin, csv_payments
from tests.support.bank import FUNDS_MINOR, Bank, code_of
from tests.support.identity import Person


async def retry(
    counter: Counter, run_id: str, number: int, *, key: str = "k", person: Person | None = None
) -> httpx.Response:
    caller = person or counter.bank.customer
    counter.bank.clock.advance(timedelta(seconds=30))
    headers = caller.headers | {"TOTP-Code": caller.code(), "Idempotency-Key": key}
    path = f"/v1/payout-runs/{run_id}/lines/{number}/retries"
    return await counter.client.post(path, headers=headers)


@pytest.fixture
async def run_id(bank: Bank, counter: Counter) -> str:
    """Return a run whose lines were given back."""
    run = await counter.draft(csv_payments(3))
    await begin(bank, run["id"], status="refunded")
    return str(run["id"])


class TestRetry:
    async def test_makes_one_payout_of_the_same(
        self, bank: Bank, counter: Counter, run_id: str
    ) -> None:
        (line, *_) = (await counter.get(f"/{run_id}/lines")).json()["items"]
        first = await retry(counter, run_id, 2)
        again = await retry(counter, run_id, 2)
        other = await retry(counter, run_id, 2, key="other")
        shown = (await counter.get(f"/{run_id}/lines")).json()["items"]
        report = (await counter.get(f"/{run_id}/report?format=json")).json()

        assert (first.status_code, again.status_code) == (202, 202)
        made = first.json()
        assert made["id"] == again.json()["id"] == first.headers["Location"].rpartition("/")[2]
        assert (made["amount"], made["destination"]) == (line["amount"], line["destination"])
        assert (other.status_code, code_of(other)) == (409, "payout_state")
        assert [x["retried_by"] for x in shown] == [made["id"], None, None]
        assert [x["retried_by"] for x in report] == [made["id"], None, None]
        held = int(made["amount"]) + int(made["fee"])
        assert await bank.balances() == (FUNDS_MINOR - held, held)

    async def test_is_for_the_runs_own_user_and_for_lines_that_are_there(
        self, counter: Counter, run_id: str
    ) -> None:
        ann = await counter.bank.person("ann", *Role)
        foreign = await retry(counter, run_id, 2, person=ann)
        beyond = await retry(counter, run_id, 9)
        draft = await retry(counter, (await counter.draft(csv_payments(3)))["id"], 2)

        assert (foreign.status_code, code_of(foreign)) == (404, "payout_run_not_found")
        for answer in (beyond, draft):
            assert (answer.status_code, code_of(answer)) == (404, "payout_not_found")

    async def test_is_refused_for_a_line_that_is_on_its_way(
        self, bank: Bank, counter: Counter
    ) -> None:
        run = await counter.draft(csv_payments(3))
        await begin(bank, run["id"], status="batched")
        answer = await retry(counter, run["id"], 2)

        assert (answer.status_code, code_of(answer)) == (409, "payout_state")
