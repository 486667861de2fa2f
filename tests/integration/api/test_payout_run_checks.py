"""The dry run of a run: what it finds in lines and in the whole."""

from datetime import timedelta

from infra.database import Database
from models.identity import Role
from runs.checks import check_lines
from tests.integration.api.run_files import (
    Counter,
    address,
    change,
    csv_of,
    csv_payments,
)
from tests.support.bank import (
    CHAIN_ID,
    DESTINATION,
    HOT_WALLET,
    PAYOUT_MAX_MINOR,
    TOKEN,
    Bank,
)

GOOD = f"{DESTINATION},ETH,100,,"


class TestDryRun:
    async def test_finds_what_is_wrong_with_each_line(self, bank: Bank, counter: Counter) -> None:
        denied, twice = address(7), address(8)
        boss = await bank.person("boss", Role.OPERATOR)
        await change(
            bank,
            "INSERT INTO address_screening VALUES (:chain, :address, 'deny', 'listed', :by, now())",
            chain=CHAIN_ID,
            address=DESTINATION,
            by=boss.id,
        )
        rows = [
            f"{address(1)},ETH,100,,",
            f"{'0x' + '0' * 40},ETH,100,,",
            "nonsense,ETH,100,,",
            f"{address(2)},ETH,4,,",
            f"{address(2)},ETH,{PAYOUT_MAX_MINOR + 1},,",
            f"{HOT_WALLET},ETH,100,,",
            f"{TOKEN},ETH,100,,",
            f"{twice},ETH,100,a,",
            f"{twice.upper().replace('0X', '0x')},ETH,100,a,",
            f"{twice},ETH,100,b,",
            f"{twice},ETH,101,a,",
            f"{DESTINATION},ETH,100,,",
            f"{denied},ETH,100,,",
        ]
        run = await counter.draft(csv_of(rows))

        assert await counter.problems(run["id"]) == [
            (3, "invalid_address"),
            (4, "invalid_address"),
            (5, "amount_out_of_range"),
            (6, "amount_out_of_range"),
            (7, "forbidden_destination"),
            (8, "forbidden_destination"),
            (10, "duplicate_line"),
            (13, "address_denied"),
        ]
        assert run["problem_count"] == 8
        assert run["check"]["can_start"] is False
        details = {
            x["number"]: x["problem"]["detail"]
            for x in await counter.lines(run["id"], "?only_problems=true")
        }
        assert details[10] == "Line 9 says the same destination, amount and reference."
        assert details[5] == "The least payout is 0.000000000000000005 ETH."
        assert "token" in details[8]
        assert "nonsense" in {x["destination"] for x in await counter.lines(run["id"])}

    async def test_is_the_same_again_as_the_worker(
        self, bank: Bank, counter: Counter, database_url: str
    ) -> None:
        run = await counter.draft(csv_of([GOOD, GOOD, "nonsense,ETH,1000,,"]))
        worker = Database(database_url.replace("postgres@", "strongroom_worker@"))
        async with worker.transaction() as session:
            check = await check_lines(session, run["id"], now=bank.clock.now())
        await worker.close()

        assert [(p.number, p.code) for p in check.line_problems] == await counter.problems(
            run["id"]
        )
        assert check.problem_count == run["problem_count"] == 2
        assert str(check.totals.total_minor) == run["total"]
        assert check.can_start is False

    async def test_sees_what_has_changed_since_the_upload(
        self, bank: Bank, counter: Counter
    ) -> None:
        run = await counter.draft(csv_of([GOOD]))

        async def found() -> tuple[list[str], list[str]]:
            async with bank.database.transaction() as session:
                check = await check_lines(session, run["id"], now=bank.clock.now())
            return [p.code for p in check.line_problems], [p.code for p in check.terms.problems]

        before = await found()
        await change(bank, "UPDATE asset SET payout_min_minor = 101 WHERE code = 'ETH'")
        dearer = await found()
        await change(
            bank, "UPDATE asset SET enabled = false, payout_fee_minor = 11 WHERE code = 'ETH'"
        )
        switched_off = await found()

        assert before == ([], [])
        assert dearer == (["amount_out_of_range"], [])
        assert switched_off == (["amount_out_of_range"], ["unknown_asset", "payout_run_state"])

    async def test_knows_the_address_book_of_who_asks_for_it(
        self, bank: Bank, counter: Counter
    ) -> None:
        rows = [f"{address(n)},ETH,100,," for n in range(3)]
        open_to_all = await counter.draft(csv_of(rows))
        (listed, cooling, _) = [x["destination"] for x in await counter.lines(open_to_all["id"])]
        for entry, destination, offset in (("a", listed, -60), ("b", cooling, 3_600)):
            await change(
                bank,
                "INSERT INTO address_book_entry VALUES"
                " (:id, :user, :chain, :address, 'x', :usable_from, now(), NULL)",
                id=entry,
                user=bank.customer.id,
                chain=CHAIN_ID,
                address=destination,
                usable_from=bank.clock.now() + timedelta(seconds=offset),
            )
        await change(
            bank,
            "INSERT INTO payout_preference VALUES (:user, true, now())",
            user=bank.customer.id,
        )
        book_only = await counter.draft(csv_of(rows))
        await change(
            bank,
            "UPDATE payout_preference SET is_book_only = false, book_only_until = :until",
            until=bank.clock.now() + timedelta(hours=1),
        )
        switched_off = await counter.draft(csv_of(rows))
        await change(
            bank, "UPDATE payout_preference SET book_only_until = now() - interval '1 day'"
        )
        over = await counter.draft(csv_of(rows))

        assert (switched_off["problem_count"], over["problem_count"]) == (2, 0)
        assert open_to_all["problem_count"] == 0
        assert await counter.problems(book_only["id"]) == [
            (3, "destination_cooling_down"),
            (4, "destination_not_in_book"),
        ]

    async def test_says_what_stands_in_the_way_of_the_whole(self, counter: Counter) -> None:
        rows = [f"{address(n)},ETH,20000,," for n in range(4)]
        run = await counter.draft(csv_of(rows))

        assert [p["code"] for p in run["check"]["problems"]] == [
            "insufficient_available_balance",
            "limit_exceeded",
        ]
        assert run["check"]["can_start"] is False
        assert run["check"]["approvals_required"] == 2
        assert run["check"]["network_fee_estimate"] is None

    async def test_estimates_what_the_chain_takes(self, bank: Bank, counter: Counter) -> None:
        await change(
            bank,
            "INSERT INTO chain_head (chain_id, height, fee_rate_minor, seen_at)"
            " VALUES (:chain, 1, 7, now())",
            chain=CHAIN_ID,
        )
        run = await counter.draft(csv_payments(3))

        assert run["check"]["network_fee_estimate"] == str(3 * 21_000 * 7)
