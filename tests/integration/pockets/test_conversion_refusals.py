"""Transfers of pockets that convert: what users, the stock, the signer and the database refuse."""

import asyncio
import json
from typing import Any

import pytest
from sqlalchemy.exc import DBAPIError
from typer.testing import CliRunner

from cli.main import app
from domain.errors import (
    ConversionStockError,
    QuoteMismatchError,
)
from domain.ids import new_id
from domain.payouts import PayoutStatus
from domain.pockets import Route
from domain.ports import SignOutcome
from domain.purchases import PurchaseRequest, PurchaseStatus
from domain.rate_table import Purpose
from ledger import chart
from models.payouts import PocketConversion
from purchases.desk import PostgresPurchaseDesk
from signing.conversions import RESERVED
from tests.support.conversions import (
    ITD_MINOR,
    STOCK_MINOR,
    Begun,
    ConvertingBooks,
)
from tests.support.evm import CHAIN_ID
from tests.support.evm_books import ETHER
from tests.support.postgres import PostgresServer, fresh_database
from tests.support.purchases import ITD


class TestRefusal:
    @pytest.mark.parametrize(
        ("changes", "code"),
        [
            ({"quote_id": None}, "conversion_unavailable"),
            ({"amount": 200 * ITD + 1}, "quote_mismatch"),
            ({"amount": 200 * ITD - 1}, "quote_mismatch"),
            ({"to_asset": "USD"}, "quote_mismatch"),
            ({"to_asset": None}, "quote_mismatch"),
            ({"asset": "USD"}, "quote_mismatch"),
            ({"quote_id": "quo_nobody"}, "quote_not_found"),
            ({"user_id": "u2"}, "quote_not_found"),
        ],
    )
    async def test_of_what_is_not_exactly_the_quote_changes_nothing(
        self, books: ConvertingBooks, changes: dict[str, Any], code: str
    ) -> None:
        before = await books.standing()
        quote = await books.quote("ITD", "ETH", 200 * ITD)

        accepted = await books.ask_converted(Route.FUND, quote, **changes)

        assert (accepted.status, accepted.reason_code) == (PayoutStatus.REFUSED, code)
        assert await books.standing() == before
        assert (await books.ask_converted(Route.FUND, quote)).status == PayoutStatus.READY

    async def test_of_the_other_direction(self, books: ConvertingBooks) -> None:
        quote = await books.quote("ITD", "ETH", 200 * ITD)
        accepted = await books.ask_converted(Route.REDEEM, quote)
        assert accepted.reason_code in {"internal_asset", "unknown_asset"}

    async def test_of_a_quote_for_a_purchase(self, books: ConvertingBooks) -> None:
        quote = await books.quote("ETH", "ITD", ETHER // 10, purpose=Purpose.PURCHASE)
        accepted = await books.ask_converted(Route.REDEEM, quote)
        assert accepted.reason_code == "quote_mismatch"

    async def test_of_an_expired_quote_is_remembered(self, books: ConvertingBooks) -> None:
        quote = await books.quote("ITD", "ETH", 200 * ITD)
        books.wait(61)
        for _ in range(2):
            accepted = await books.ask_converted(Route.FUND, quote, key="k")
            assert accepted.reason_code == "quote_expired"

    async def test_of_more_than_is_owned_leaves_the_quote(self, books: ConvertingBooks) -> None:
        before = await books.standing()
        quote = await books.quote("ITD", "ETH", ITD_MINOR // 10)
        await books.execute("UPDATE asset SET payout_fee_minor = 9 * 10^18 WHERE code = 'ETH'")
        accepted = await books.ask_converted(Route.FUND, quote)

        assert accepted.reason_code == "insufficient_available_balance"
        assert await books.standing() == before
        await books.execute("UPDATE asset SET payout_fee_minor = 0 WHERE code = 'ETH'")
        assert (await books.ask_converted(Route.FUND, quote)).status == PayoutStatus.READY

    async def test_of_a_purchase_with_a_quote_for_a_conversion(
        self, books: ConvertingBooks
    ) -> None:
        quote = await books.quote("ETH", "ITD", ETHER // 10)
        desk = PostgresPurchaseDesk(books.worker, books.clock)
        request = PurchaseRequest("pur_1", "u1", "u1", "k", "hash", quote.id)
        accepted = await desk.open(request)
        assert (accepted.status, accepted.reason_code) == (
            PurchaseStatus.REFUSED,
            QuoteMismatchError.code,
        )


class TestStock:
    async def test_that_is_short_is_refused(self, books: ConvertingBooks) -> None:
        await books.set_aside("ETH", -STOCK_MINOR["ETH"])
        before = await books.standing()
        quote = await books.quote("ITD", "ETH", 200 * ITD)
        for _ in range(2):
            accepted = await books.ask_converted(Route.FUND, quote, key="k")
            assert accepted.reason_code == "conversion_stock_short"
        assert await books.standing() == before

        await books.set_aside("ETH", quote.buy_minor)
        assert (await books.ask_converted(Route.FUND, quote)).status == PayoutStatus.READY
        assert await books.stock("ETH") == (0, quote.buy_minor)

    async def test_is_promised_once_to_many_who_ask_at_once(self, books: ConvertingBooks) -> None:
        quotes = [await books.quote("ITD", "ETH", 100 * ITD) for _ in range(6)]
        left_minor = quotes[0].buy_minor * 5 // 2
        await books.set_aside("ETH", left_minor - STOCK_MINOR["ETH"])

        answers = await asyncio.gather(*(books.ask_converted(Route.FUND, q) for q in quotes))

        codes = sorted(str(answer.reason_code) for answer in answers)
        assert codes == ["None"] * 2 + ["conversion_stock_short"] * 4
        reserved_minor = 2 * quotes[0].buy_minor
        assert await books.stock("ETH") == (left_minor - reserved_minor, reserved_minor)

    async def test_a_quote_is_taken_once_by_many_who_ask_at_once(
        self, books: ConvertingBooks
    ) -> None:
        quote = await books.quote("ITD", "ETH", 100 * ITD)
        answers = await asyncio.gather(*(books.ask_converted(Route.FUND, quote) for _ in range(5)))
        codes = sorted(str(answer.reason_code) for answer in answers)
        assert codes == ["None"] + ["quote_used"] * 4
        assert await books.balance(chart.held("u1"), "ITD") == 100 * ITD + 1

    async def test_is_never_more_than_is_ours(self, books: ConvertingBooks) -> None:
        capital_minor = await books.balance(chart.CAPITAL)
        with pytest.raises(ConversionStockError):
            await books.set_aside("ETH", capital_minor + 1)
        with pytest.raises(ConversionStockError):
            await books.set_aside("ETH", -STOCK_MINOR["ETH"] - 1)
        assert await books.stock("ETH") == (STOCK_MINOR["ETH"], 0)

    async def test_is_set_aside_once_for_a_key(self, books: ConvertingBooks) -> None:
        for _ in range(2):
            assert await books.set_aside("ETH", 5, key="k") == STOCK_MINOR["ETH"] + 5

    async def test_is_set_aside_by_command(
        self, postgres_server: PostgresServer, begun: Begun
    ) -> None:
        with fresh_database(postgres_server, template=begun.database) as url:
            environment = {"STRONGROOM_MIGRATION_DATABASE_URL": url}
            said = []
            for command in (
                ["ETH", "0.5", "--key", "k"],
                ["ETH", "0.5", "--key", "k"],
                ["ETH", "2.5", "--back"],
                ["ETH", "5"],
                ["DOGE", "1"],
            ):
                line = ["--json", "ledger", "stock", *command]
                said.append(await asyncio.to_thread(CliRunner().invoke, app, line, env=environment))
        assert [r.exit_code for r in said] == [0, 0, 0, 0, 1]
        stocks = [json.loads(r.stdout)["stock"] for r in said[:4]]
        assert stocks == ["2.5", "2.5", "0", "5"]

    async def test_does_not_fall_below_zero(self, books: ConvertingBooks) -> None:
        with pytest.raises(DBAPIError):
            await books.execute(
                "UPDATE ledger_account SET balance_minor = -1 WHERE code = %s",
                chart.CONVERSION_STOCK,
            )


async def allocated(books: ConvertingBooks) -> tuple[str, str]:
    """Bring a transfer that converts to where it awaits signing; return it and its batch."""
    quote = await books.quote("ITD", "ETH", 200 * ITD)
    accepted = await books.ask_converted(Route.FUND, quote)
    await books.pocket_desk.make_ready(accepted.payout_id)
    batch_id = await books.log.claim(
        chain_id=CHAIN_ID, wallet_address=books.hot, claim_key=new_id("claim")
    )
    assert batch_id is not None
    await books.runner.prepare(batch_id)
    assert await books.log.allocate(batch_id)
    return accepted.payout_id, batch_id


class TestSigner:
    async def test_pays_against_the_hold_and_the_promise(self, books: ConvertingBooks) -> None:
        _, batch_id = await allocated(books)
        assert await books.signer.sign(batch_id) == SignOutcome(signed=1, refused=0, waiting=0)

    async def test_names_the_account_as_the_ledger_does(self) -> None:
        assert chart.CONVERSION_RESERVED == RESERVED

    @pytest.mark.parametrize(
        "changed",
        [
            "UPDATE quote SET pay_minor = pay_minor + 1",
            "UPDATE quote SET buy_minor = buy_minor - 1",
            "UPDATE quote SET user_id = 'u2'",
            "UPDATE quote SET purpose = 'purchase'",
            "UPDATE quote SET pay_asset = 'USD'",
            "UPDATE pocket_conversion SET fee_minor = 0",
            "DELETE FROM pocket_conversion",
            "UPDATE payout SET quote_id = NULL",
            "UPDATE hold SET asset = 'ETH'",
            "UPDATE ledger_account SET code = 'capital:x' WHERE code = 'conversions:reserved'",
        ],
    )
    async def test_refuses_what_is_not_backed(self, books: ConvertingBooks, changed: str) -> None:
        transfer_id, batch_id = await allocated(books)
        of_it = f" WHERE id = '{transfer_id}'" if changed.startswith("UPDATE payout") else ""
        async with books.owner.transaction() as session:
            connection = await session.connection()
            await connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
            await connection.exec_driver_sql(changed + of_it)
        outcome = await books.signer.sign(batch_id)
        assert (outcome.signed, outcome.refused) == (0, 1)


class TestDatabase:
    async def test_takes_no_conversion_that_its_quote_does_not_say(
        self, books: ConvertingBooks
    ) -> None:
        quote = await books.quote("ITD", "ETH", 200 * ITD)
        accepted = await books.ask(Route.FUND, quote.buy_minor)
        row = PocketConversion(
            payout_id=accepted.payout_id,
            quote_id=quote.id,
            fee_minor=0,
            settle_until=books.clock.now(),
            late_tolerance_bps=0,
            created_at=books.clock.now(),
        )
        with pytest.raises(DBAPIError, match="what its quote says"):
            async with books.worker.transaction() as session:
                session.add(row)

    async def test_keeps_the_quote_of_a_transfer(self, books: ConvertingBooks) -> None:
        quote = await books.quote("ITD", "ETH", 200 * ITD)
        await books.ask_converted(Route.FUND, quote)
        with pytest.raises(DBAPIError):
            await books.execute("UPDATE payout SET quote_id = NULL WHERE quote_id IS NOT NULL")
