"""Transfers of pockets that convert: what they cost and give, late or taken back."""

from datetime import timedelta
from fractions import Fraction
from typing import Any

import pytest
from sqlalchemy.exc import DBAPIError

from domain.errors import (
    AmountOutOfRangeError,
    InvalidRateTableError,
    PairNotListedError,
)
from domain.ids import new_id
from domain.payouts import OperatorAction, PayoutStatus
from domain.pockets import Route
from domain.policy import parse_policy
from domain.rate_table import Purpose
from ledger import chart
from models.payouts import Payout
from payouts.policy import store_policy
from tests.support.chain_world import TokenKind
from tests.support.conversions import (
    ITD_MINOR,
    STOCK_MINOR,
    ConvertingBooks,
    conversion_table,
)
from tests.support.evm import CHAIN_ID
from tests.support.evm_books import CONFIRMATIONS, ETHER
from tests.support.purchases import ITD
from transactions.statements import months_of, read_statement, statement_entries

ONE_APPROVER = {"rules": [{"asset": "*", "up_to_minor": None, "approvals": 1}]}


class TestQuote:
    @pytest.mark.parametrize(
        ("pair", "paid_minor", "bought_minor"),
        [
            (("ETH", "ITD"), ETHER, 1_980 * ITD),
            (("ITD", "ETH"), 2_000 * ITD, 99 * ETHER // 100),
            (("USD", "ETH"), 2_000 * 10**6, 99 * ETHER // 100),
            (("ETH", "USD"), ETHER, 1_980 * 10**6),
        ],
    )
    async def test_is_of_a_pair_its_inverse_or_two_in_a_row(
        self, books: ConvertingBooks, pair: tuple[str, str], paid_minor: int, bought_minor: int
    ) -> None:
        quote = await books.quote(*pair, paid_minor)

        assert (quote.purpose, quote.buy_minor, quote.spread_bps) == (
            "conversion",
            bought_minor,
            100,
        )
        back = await books.quote(*pair, quote.buy_minor, side="buy")
        assert (back.pay_minor, back.buy_minor) == (paid_minor, bought_minor)

    async def test_of_what_is_only_bought_is_refused(self, books: ConvertingBooks) -> None:
        pairs = conversion_table()["pairs"]
        await books.set_rates(pairs=[{**pairs[0], "purposes": ["purchase"]}, pairs[1]])
        for pair in (("ETH", "ITD"), ("ITD", "ETH"), ("USD", "ETH")):
            with pytest.raises(PairNotListedError):
                await books.quote(*pair, ETHER)
        bought = await books.quote("ETH", "ITD", ETHER, purpose=Purpose.PURCHASE)
        assert bought.purpose == "purchase"

    async def test_of_what_only_converts_sells_nothing(self, books: ConvertingBooks) -> None:
        with pytest.raises(PairNotListedError):
            await books.quote("USD", "ITD", 10**6, purpose=Purpose.PURCHASE)

    @pytest.mark.parametrize(
        ("pair", "amount_minor", "is_taken"),
        [
            (("ETH", "ITD"), ETHER // 10, True),
            (("ETH", "ITD"), ETHER // 10 - 1, False),
            (("ITD", "ETH"), 2_000 * ITD, True),
            (("ITD", "ETH"), 5_000 * ITD, False),
            (("USD", "ETH"), 100 * 10**6, False),
            (("USD", "ETH"), 5_000 * 10**6, False),
        ],
    )
    async def test_keeps_to_the_bounds_of_each_step(
        self, books: ConvertingBooks, pair: tuple[str, str], amount_minor: int, *, is_taken: bool
    ) -> None:
        pairs = conversion_table()["pairs"]
        bounds = {"pay_min_minor": str(ETHER // 10), "pay_max_minor": str(ETHER)}
        await books.set_rates(pairs=[pairs[0] | bounds, pairs[1]])
        if is_taken:
            await books.quote(*pair, amount_minor)
            return
        with pytest.raises(AmountOutOfRangeError):
            await books.quote(*pair, amount_minor)

    @pytest.mark.parametrize(
        "pair",
        [
            {"pay_asset": "EUR", "buy_asset": "ITD", "purposes": ["purchase", "conversion"]},
            {"pay_asset": "ITD", "buy_asset": "ETH", "purposes": ["purchase"]},
            {"pay_asset": "ITD", "buy_asset": "ITD", "purposes": ["conversion"]},
        ],
    )
    async def test_is_of_what_can_be_owned(
        self, books: ConvertingBooks, pair: dict[str, Any]
    ) -> None:
        with pytest.raises(InvalidRateTableError):
            await books.set_rates(pairs=[{"price": "1", **pair}])


class TestFunding:
    async def test_turns_a_balance_into_another_asset_on_the_pocket(
        self, books: ConvertingBooks
    ) -> None:
        before_minor, _ = await books.onchain()
        transfer, quote = await books.converted(Route.FUND, "ITD", "ETH", 200 * ITD)

        assert (transfer.status, transfer.asset) == (PayoutStatus.SETTLED, "ETH")
        assert transfer.amount_minor == quote.buy_minor == 99 * ETHER // 1_000
        after_minor, held_minor = await books.onchain()
        assert (after_minor - before_minor, held_minor) == (quote.buy_minor, 0)
        # The fee of ten wei is less than the smallest part of an ITD, and is rounded up to that.
        assert await books.available("ITD") == ITD_MINOR - 200 * ITD - 1
        assert await books.balance(chart.SERVICE_FEES, "ITD") == 1
        assert await books.balance(chart.mint("ITD"), "ITD") == -(ITD_MINOR - 200 * ITD)
        assert await books.stock("ETH") == (STOCK_MINOR["ETH"] - quote.buy_minor, 0)
        await books.finish()

    async def test_out_of_another_coin_adds_that_to_the_stock(self, books: ConvertingBooks) -> None:
        owned_minor = await books.available("USD")
        transfer, quote = await books.converted(Route.FUND, "USD", "ETH", 200 * 10**6)

        assert transfer.status == PayoutStatus.SETTLED
        assert await books.available("USD") == owned_minor - 200 * 10**6 - 1
        assert await books.stock("USD") == (STOCK_MINOR["USD"] + 200 * 10**6, 0)
        assert await books.stock("ETH") == (STOCK_MINOR["ETH"] - quote.buy_minor, 0)
        await books.finish()

    async def test_is_one_ledger_transaction_in_both_assets(self, books: ConvertingBooks) -> None:
        transfer, quote = await books.converted(Route.FUND, "ITD", "ETH", 200 * ITD)
        async with books.owner.transaction() as session:
            connection = await session.connection()
            found = await connection.exec_driver_sql(
                "SELECT a.code, a.asset, sum(e.amount_minor)::bigint FROM ledger_transaction t"
                " JOIN ledger_entry e ON e.transaction_id = t.id"
                " JOIN ledger_account a ON a.id = e.account_id WHERE t.key = %s"
                " GROUP BY a.code, a.asset",
                (f"{transfer.id}:settle",),
            )
            entries = {(row.code, row.asset): row.sum for row in found}
        assert entries[chart.onchain("u1", CHAIN_ID), "ETH"] == quote.buy_minor
        assert entries[chart.CONVERSION_RESERVED, "ETH"] == -quote.buy_minor
        assert entries[chart.inflight(CHAIN_ID), "ITD"] == -quote.pay_minor - 1
        assert entries[chart.mint("ITD"), "ITD"] == quote.pay_minor

    async def test_is_held_in_what_is_paid(self, books: ConvertingBooks) -> None:
        quote = await books.quote("ITD", "ETH", 200 * ITD)
        await books.ask_converted(Route.FUND, quote)

        assert await books.balance(chart.held("u1"), "ITD") == 200 * ITD + 1
        assert await books.balance(chart.held("u1"), "ETH") == 0
        assert await books.stock("ETH") == (STOCK_MINOR["ETH"] - quote.buy_minor, quote.buy_minor)


class TestStatement:
    @pytest.mark.parametrize(
        ("route", "pair", "amount_minor"),
        [
            (Route.FUND, ("ITD", "ETH"), 200 * ITD),
            (Route.REDEEM, ("ETH", "ITD"), ETHER // 10),
        ],
    )
    async def test_has_both_sides_of_one_transfer(
        self, books: ConvertingBooks, route: Route, pair: tuple[str, str], amount_minor: int
    ) -> None:
        transfer, quote = await books.converted(route, *pair, amount_minor)
        async with books.api.snapshot() as session:
            month = (await months_of(session, "u1"))[0]
            statement = await read_statement(session, "u1", month)
            lines = [
                line
                async for piece in statement_entries(session, statement)
                for line in piece
                if line.reference == transfer.id
            ]

        by_asset = {line.section.asset: line for line in lines if line.rule == "pocket_settle"}
        got = by_asset[quote.buy_asset]
        assert got.amount_minor == quote.buy_minor
        assert got.transaction is not None
        assert got.transaction.to_asset == quote.buy_asset
        (paid_minor,) = [
            -line.amount_minor
            for line in lines
            if line.section.asset == quote.pay_asset and line.transaction_key.endswith(":dispatch")
        ]
        fee_minor = (await books.conversion(transfer.id)).fee_minor
        assert paid_minor == quote.pay_minor + fee_minor


class TestRedeeming:
    async def test_turns_what_arrives_into_another_asset(self, books: ConvertingBooks) -> None:
        transfer, quote = await books.converted(Route.REDEEM, "ETH", "ITD", ETHER // 10)

        assert (transfer.status, transfer.asset) == (PayoutStatus.SETTLED, "ETH")
        assert await books.available("ITD") == ITD_MINOR + quote.buy_minor
        assert quote.buy_minor == 198 * ITD
        assert await books.stock("ETH") == (STOCK_MINOR["ETH"] + ETHER // 10, 0)
        await books.finish()

    async def test_into_another_coin_is_given_out_of_the_stock(
        self, books: ConvertingBooks
    ) -> None:
        owned_minor = await books.available("USD")
        _, quote = await books.converted(Route.REDEEM, "ETH", "USD", ETHER // 10)

        assert await books.available("USD") == owned_minor + quote.buy_minor
        assert await books.stock("USD") == (STOCK_MINOR["USD"] - quote.buy_minor, 0)
        await books.finish()

    async def test_shares_its_gas_with_no_one(self, books: ConvertingBooks) -> None:
        free_minor, _ = await books.onchain()
        transfer, _ = await books.converted(Route.REDEEM, "ETH", "ITD", ETHER // 10)
        paid_minor = ETHER // 10 + (transfer.network_fee_minor or 0)
        assert await books.onchain() == (free_minor - paid_minor, 0)


class TestLateness:
    async def redeemed_late(self, books: ConvertingBooks, price: str) -> tuple[Any, int]:
        quote = await books.quote("ETH", "ITD", ETHER // 10)
        accepted = await books.ask_converted(Route.REDEEM, quote)
        books.clock.advance(timedelta(hours=2, seconds=1))
        await books.set_price(price)
        await books.to_its_end(accepted.payout_id)
        transfer = await books.payout(accepted.payout_id)
        assert transfer.status == PayoutStatus.SETTLED
        return await books.conversion(accepted.payout_id), quote.buy_minor

    async def test_within_the_tolerance_is_at_the_worse_rate(self, books: ConvertingBooks) -> None:
        row, quoted_minor = await self.redeemed_late(books, "1980")

        assert row.is_converted
        got_minor = await books.available("ITD") - ITD_MINOR
        assert got_minor == Fraction(quoted_minor) * 99 / 100
        await books.finish()

    async def test_within_the_tolerance_is_never_better_than_quoted(
        self, books: ConvertingBooks
    ) -> None:
        row, quoted_minor = await self.redeemed_late(books, "2020")

        assert (row.is_converted, row.rate_numerator) == (True, None)
        assert await books.available("ITD") - ITD_MINOR == quoted_minor
        await books.finish()

    @pytest.mark.parametrize("price", ["1900", "2100"])
    async def test_beyond_it_is_not_converted(self, books: ConvertingBooks, price: str) -> None:
        owned_minor = await books.available()
        row, _ = await self.redeemed_late(books, price)

        assert row.is_converted is False
        assert await books.available("ITD") == ITD_MINOR
        assert await books.available() == owned_minor + ETHER // 10
        assert await books.stock("ETH") == (STOCK_MINOR["ETH"], 0)
        await books.finish()

    async def test_is_decided_once(self, books: ConvertingBooks) -> None:
        row, _ = await self.redeemed_late(books, "1900")
        with pytest.raises(DBAPIError, match="does not change"):
            await books.execute(
                "UPDATE pocket_conversion SET is_converted = true WHERE payout_id = %s",
                row.payout_id,
            )

    async def test_of_an_approval_ends_a_transfer(self, books: ConvertingBooks) -> None:
        async with books.owner.transaction() as session:
            await store_policy(session, parse_policy(ONE_APPROVER), by="owner")
        before = await books.standing()
        quote = await books.quote("ITD", "ETH", 200 * ITD)
        accepted = await books.ask_converted(Route.FUND, quote)

        assert accepted.status == PayoutStatus.AWAITING_APPROVAL
        assert accepted.approval_expires_at == books.clock.now() + timedelta(hours=1)
        books.clock.advance(timedelta(hours=1))
        ended = await books.desk.expire(accepted.payout_id)
        assert ended.status == PayoutStatus.EXPIRED
        assert await books.standing() == before


class TestRelease:
    @pytest.mark.parametrize(
        ("route", "pair"),
        [
            (Route.FUND, ("ITD", "ETH")),
            (Route.FUND, ("USD", "ETH")),
            (Route.REDEEM, ("ETH", "ITD")),
            (Route.REDEEM, ("ETH", "USD")),
        ],
    )
    async def test_before_the_chain_restores_everything_but_the_quote(
        self, books: ConvertingBooks, route: Route, pair: tuple[str, str]
    ) -> None:
        before = await books.standing()
        quote = await books.quote(*pair, 10**8 if route == Route.FUND else ETHER // 10)
        accepted = await books.ask_converted(route, quote)
        assert await books.standing() != before

        await books.desk.cancel(accepted.payout_id)

        assert await books.standing() == before
        again = await books.ask_converted(route, quote)
        assert again.reason_code == "quote_used"
        assert await books.standing() == before

    @pytest.mark.parametrize(("route", "pair"), [(Route.FUND, ("ITD", "ETH"))])
    async def test_in_flight_restores_everything(
        self, books: ConvertingBooks, route: Route, pair: tuple[str, str]
    ) -> None:
        before = await books.standing()
        quote = await books.quote(*pair, 10**8)
        accepted = await books.ask_converted(route, quote)
        await books.pocket_desk.make_ready(accepted.payout_id)
        batch_id = await books.log.claim(
            chain_id=CHAIN_ID, wallet_address=books.hot, claim_key=new_id("claim")
        )
        assert batch_id is not None
        await books.runner.prepare(batch_id)
        assert await books.log.allocate(batch_id)
        assert await books.balance(chart.inflight(CHAIN_ID), "ITD") == 10**8 + 1

        outcome = await books.log.refund(OperatorAction(accepted.payout_id, "operator"))

        assert outcome.status == PayoutStatus.REFUNDED
        assert await books.standing() == before


class TestReorg:
    @pytest.mark.parametrize(
        ("route", "pair"),
        [
            (Route.FUND, ("ITD", "USD")),
            (Route.FUND, ("ETH", "USD")),
            (Route.REDEEM, ("USD", "ITD")),
            (Route.REDEEM, ("USD", "ETH")),
        ],
    )
    async def test_after_it_settled_undoes_both_sides_and_does_them_again(
        self, books: ConvertingBooks, route: Route, pair: tuple[str, str]
    ) -> None:
        before = await books.standing()
        amount_minor = ETHER // 10 if pair[0] == "ETH" else 10**8
        transfer, _ = await books.converted(route, *pair, amount_minor)
        settled = await books.standing()
        fee_minor = (await books.conversion(transfer.id)).fee_minor

        await again(books, transfer, TokenKind.FALSE)
        undone = await books.standing()
        await again(books, transfer, TokenKind.PLAIN)

        # The chain's own fee, and ours, are taken all the same.
        gas = f"{chart.onchain('u1', CHAIN_ID)} ETH"
        before[f"{chart.available('u1')} {pair[0]}"] -= fee_minor
        assert undone | {gas: 0} == before | {gas: 0}
        assert await books.standing() | {gas: 0} == settled | {gas: 0}
        assert await books.count_of("pocket_fix") == 2
        await books.assert_books_equal_chain()

    @pytest.mark.parametrize("buy_asset", ["ITD", "ETH"])
    async def test_that_brings_less_back_buys_less(
        self, books: ConvertingBooks, buy_asset: str
    ) -> None:
        owned_minor = await books.available(buy_asset)
        transfer, quote = await books.converted(Route.REDEEM, "USD", buy_asset, 10**8)
        assert await books.available(buy_asset) == owned_minor + quote.buy_minor
        await again(books, transfer, TokenKind.FEE)

        assert await books.available(buy_asset) == owned_minor + quote.buy_minor * 99 // 100
        await books.assert_books_equal_chain()


async def again(books: ConvertingBooks, transfer: Payout, kind: TokenKind) -> None:
    """Have a reorg mine a transfer's transaction again, with a token that does otherwise."""
    (row,) = [r for r in await books.transactions() if r.id == transfer.chain_transaction_id]
    head = await books.chain.head()
    await books.chain.reorg(head.height - int(row.block_height or 0) + 1)
    books.chain._tokens[books.contracts["USD"]] = kind
    await books.look()
    books.wait(11)
    await books.look()
    await books.mine(2 * CONFIRMATIONS)
