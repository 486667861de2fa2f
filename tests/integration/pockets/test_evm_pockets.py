"""Pockets on a real EVM node: what the books have on them is what lies there."""

import pytest

from domain.payouts import PayoutStatus
from domain.pockets import ALL, Route
from ledger import chart
from models.chain_transactions import ChainTransactionKind
from models.chain_transactions import ChainTransactionStatus as Status
from tests.support.chain_world import DESTINATION
from tests.support.evm import CHAIN_ID
from tests.support.evm_books import CONFIRMATIONS, ETHER, EvmBooks

FEE_MINOR = 10
"""Service fee of a transfer to a pocket, as of a payout."""


@pytest.fixture
def books(evm_books: EvmBooks) -> EvmBooks:
    return evm_books


async def credited(books: EvmBooks, asset: str, amount_minor: int, user_id: str = "u1") -> None:
    """Have a user own this much off-chain, in the hot wallet."""
    address = await books.address(user_id)
    if asset == "ETH":
        await books.pay(address, amount_minor)
    else:
        await books.transfer(asset, address, amount_minor)
    await books.mine(CONFIRMATIONS)
    for _ in range(2):
        await books.sweep(is_forced=True)
        await books.mine(CONFIRMATIONS)


async def external(books: EvmBooks, asset: str = "ETH") -> int:
    """Return what the address of a stranger holds."""
    return await books.outlet.balance_minor(
        DESTINATION, contract_address=books.contracts.get(asset)
    )


class TestFunding:
    async def test_moves_coin_into_a_pocket_that_it_makes(self, books: EvmBooks) -> None:
        await credited(books, "ETH", ETHER)
        assert await books.pocket() is None
        transfer = await books.payout(await books.fund(ETHER // 2))
        assert (transfer.status, transfer.route) == (PayoutStatus.SETTLED, Route.FUND)
        pocket = await books.pocket()
        assert pocket is not None
        assert transfer.destination == pocket.address
        assert await books.onchain() == (ETHER // 2, 0)
        assert await books.available() == ETHER // 2 - FEE_MINOR
        assert await books.outlet.balance_minor(pocket.address) == ETHER // 2
        assert len(await books.all_deposits()) == 1, "what we sent ourselves is no deposit"
        await books.assert_books_equal_chain()

    async def test_freezes_at_once_and_credits_when_it_is_deep(self, books: EvmBooks) -> None:
        await credited(books, "ETH", ETHER)
        accepted = await books.ask(Route.FUND, ETHER // 4)
        assert await books.available() == ETHER - ETHER // 4 - FEE_MINOR
        assert await books.balance(chart.held("u1")) == ETHER // 4 + FEE_MINOR
        await books.pocket_desk.make_ready(accepted.payout_id)
        await books.pay_out()
        await books.mine(CONFIRMATIONS - 1)
        assert await books.onchain() == (0, 0)
        await books.mine()
        assert await books.onchain() == (ETHER // 4, 0)
        await books.assert_books_equal_chain()

    async def test_a_second_time_uses_the_same_pocket(self, books: EvmBooks) -> None:
        await credited(books, "ETH", ETHER)
        first = await books.payout(await books.fund(1_000))
        second = await books.payout(await books.fund(2_000))
        assert first.pocket_id == second.pocket_id
        assert await books.onchain() == (3_000, 0)
        await books.assert_books_equal_chain()

    @pytest.mark.parametrize(("asset", "arrived"), [("USD", 50_000), ("FEE", 49_500)])
    async def test_of_a_token_is_what_arrived(
        self, books: EvmBooks, asset: str, arrived: int
    ) -> None:
        await credited(books, asset, 100_000)
        transfer = await books.payout(await books.fund(50_000, asset=asset))
        assert transfer.arrived_booked_minor == arrived
        assert await books.onchain(asset) == (arrived, 0)
        await books.assert_books_equal_chain()

    async def test_is_one_ledger_transaction(self, books: EvmBooks) -> None:
        await credited(books, "ETH", ETHER)
        transfer_id = await books.fund(1_000)
        async with books.owner.transaction() as session:
            connection = await session.connection()
            found = await connection.exec_driver_sql(
                "SELECT a.code, sum(e.amount_minor)::bigint FROM ledger_transaction t"
                " JOIN ledger_entry e ON e.transaction_id = t.id"
                " JOIN ledger_account a ON a.id = e.account_id WHERE t.key = %s"
                " GROUP BY a.code",
                (f"{transfer_id}:settle",),
            )
            entries = {row.code: row.sum for row in found}
        assert entries[chart.onchain("u1", CHAIN_ID)] == 1_000
        assert entries[chart.inflight(CHAIN_ID)] == -1_000 - FEE_MINOR
        assert entries[chart.omnibus_hot(CHAIN_ID)] == 1_000
        assert entries[chart.omnibus_pocket(CHAIN_ID)] == -1_000


class TestArrival:
    async def test_from_anywhere_is_on_the_pocket(self, books: EvmBooks) -> None:
        await credited(books, "ETH", ETHER)
        await books.fund(1_000)
        pocket = await books.pocket()
        assert pocket is not None
        await books.pay(pocket.address, 7)
        await books.transfer("USD", pocket.address, 3)
        await books.mine(CONFIRMATIONS)
        assert await books.onchain() == (1_007, 0)
        assert await books.onchain("USD") == (3, 0)
        assert await books.available() == ETHER - 1_000 - FEE_MINOR
        await books.assert_books_equal_chain()

    async def test_is_never_swept(self, books: EvmBooks) -> None:
        await credited(books, "ETH", ETHER)
        await books.fund(1_000)
        pocket = await books.pocket()
        assert pocket is not None
        await books.pay(pocket.address, ETHER)
        await books.mine(CONFIRMATIONS)
        assert await books.plan(is_forced=True) == []
        assert await books.onchain() == (ETHER + 1_000, 0)

    async def test_that_its_chain_takes_back_is_taken_back(self, books: EvmBooks) -> None:
        await credited(books, "ETH", ETHER)
        await books.fund(1_000)
        pocket = await books.pocket()
        assert pocket is not None
        await books.mine(8)
        await books.pay(pocket.address, ETHER)
        await books.mine(CONFIRMATIONS)
        assert await books.onchain() == (ETHER + 1_000, 0)
        await books.reorg(CONFIRMATIONS)
        await books.mine(CONFIRMATIONS)
        assert await books.onchain() == (1_000, 0)
        assert len(await books.freezes()) == 1
        await books.assert_books_equal_chain()


class TestRedeeming:
    async def test_brings_coin_back_and_the_pocket_pays_the_fee(self, books: EvmBooks) -> None:
        await credited(books, "ETH", ETHER)
        await books.fund(ETHER // 2)
        before = await books.available()
        transfer = await books.payout(await books.spent(Route.REDEEM, ETHER // 4))
        assert transfer.status == PayoutStatus.SETTLED
        assert await books.available() == before + ETHER // 4
        fee_minor = transfer.network_fee_minor or 0
        assert fee_minor > 0
        assert await books.onchain() == (ETHER // 4 - fee_minor, 0)
        assert await books.balance(chart.inflight(CHAIN_ID)) == 0
        await books.assert_books_equal_chain()

    async def test_of_all_leaves_what_the_fee_did_not_take(self, books: EvmBooks) -> None:
        await credited(books, "ETH", ETHER)
        await books.fund(ETHER // 2)
        transfer = await books.payout(await books.spent(Route.REDEEM, ALL))
        most, fee = transfer.gas_max_minor or 0, transfer.network_fee_minor or 0
        assert transfer.amount_minor == ETHER // 2 - most
        assert await books.onchain() == (most - fee, 0)
        await books.assert_books_equal_chain()

    async def test_of_a_token_borrows_the_gas(self, books: EvmBooks) -> None:
        await credited(books, "USD", 100_000)
        await books.fund(50_000, asset="USD")
        transfer_id = await books.spent(Route.REDEEM, 20_000, asset="USD")
        kinds = [row.kind for row in await books.transactions()]
        assert kinds[-2:] == [ChainTransactionKind.GAS_TOPUP, ChainTransactionKind.POCKET_SPEND]
        assert (await books.payout(transfer_id)).status == PayoutStatus.SETTLED
        assert await books.onchain("USD") == (30_000, 0)
        assert await books.onchain("ETH") == (0, 0), "what is lent is not theirs"
        assert await books.balance(chart.pocket_gas(CHAIN_ID, "u1")) > 0
        await books.assert_books_equal_chain()

        # What is left of the loan pays as much of the next one as it can.
        await books.spent(Route.REDEEM, ALL, asset="USD")
        assert await books.onchain("USD") == (0, 0)
        assert await books.available("USD") == 100_000 - FEE_MINOR
        await books.assert_books_equal_chain()

    async def test_of_a_token_pays_with_own_coin_where_there_is_some(self, books: EvmBooks) -> None:
        await credited(books, "USD", 100_000)
        await credited(books, "ETH", ETHER)
        await books.fund(50_000, asset="USD")
        await books.fund(ETHER // 2)
        transfer = await books.payout(await books.spent(Route.REDEEM, 20_000, asset="USD"))
        assert transfer.gas_hold_id is not None
        free_minor, held_minor = await books.onchain()
        assert (free_minor, held_minor) == (ETHER // 2 - (transfer.network_fee_minor or 0), 0)
        await books.assert_books_equal_chain()

    async def test_of_more_than_is_there_is_refused(self, books: EvmBooks) -> None:
        await credited(books, "ETH", ETHER)
        await books.fund(1_000)
        accepted = await books.ask(Route.REDEEM, 1_001)
        assert accepted.reason_code == "insufficient_available_balance"
        assert await books.onchain() == (1_000, 0)

    async def test_without_a_pocket_is_refused(self, books: EvmBooks) -> None:
        accepted = await books.ask(Route.REDEEM, 1_001)
        assert accepted.reason_code == "insufficient_available_balance"


class TestSending:
    async def test_pays_a_stranger_from_the_pocket(self, books: EvmBooks) -> None:
        await credited(books, "ETH", ETHER)
        await books.fund(ETHER // 2)
        before = await external(books)
        transfer = await books.payout(
            await books.spent(Route.SEND, ETHER // 4, destination=DESTINATION)
        )
        assert transfer.status == PayoutStatus.SETTLED
        assert await external(books) - before == ETHER // 4
        await books.assert_books_equal_chain()

    async def test_two_of_one_balance_are_one(self, books: EvmBooks) -> None:
        await credited(books, "ETH", ETHER)
        await books.fund(ETHER // 2)
        first = await books.ask(Route.SEND, ETHER // 3, destination=DESTINATION)
        second = await books.ask(Route.SEND, ETHER // 3, destination=DESTINATION)
        assert first.status == PayoutStatus.READY
        assert second.reason_code == "insufficient_available_balance"

    async def test_two_of_one_pocket_leave_in_turn(self, books: EvmBooks) -> None:
        await credited(books, "ETH", ETHER)
        await books.fund(ETHER // 2)
        first = await books.ask(Route.SEND, ETHER // 8, destination=DESTINATION)
        second = await books.ask(Route.SEND, ETHER // 8, destination=DESTINATION)
        assert (await books.spend(first.payout_id)).status == PayoutStatus.BATCHED
        waiting = await books.spender.advance(second.payout_id)
        assert (waiting.status, len(waiting.batches)) == (PayoutStatus.READY, 1)
        await books.mine(CONFIRMATIONS)
        assert (await books.spend(second.payout_id)).status == PayoutStatus.BATCHED
        await books.mine(CONFIRMATIONS)
        assert (await books.payout(second.payout_id)).status == PayoutStatus.SETTLED
        await books.assert_books_equal_chain()

    async def test_of_a_token_that_refuses_is_refunded(self, books: EvmBooks) -> None:
        await credited(books, "PAU", 100_000)
        await credited(books, "ETH", ETHER)
        await books.fund(50_000, asset="PAU")
        await books.fund(ETHER // 2)
        is_paused = True
        await books.mined(books.call("PAU", "set_paused(bool)", is_paused))
        accepted = await books.ask(Route.SEND, 10_000, asset="PAU", destination=DESTINATION)
        await books.spender.advance(accepted.payout_id)
        transfer = await books.payout(accepted.payout_id)
        rows = [r for r in await books.transactions() if r.id == transfer.chain_transaction_id]
        await books.runner.prepare(rows[0].batch_id)
        assert await books.log.allocate(rows[0].batch_id)
        transfer = await books.payout(accepted.payout_id)
        assert (transfer.status, transfer.reason_code) == (PayoutStatus.REFUNDED, "would_revert")
        assert await books.onchain("PAU") == (50_000, 0)
        assert await books.onchain() == (ETHER // 2, 0)
        await books.assert_books_equal_chain()

    async def test_that_reverts_on_the_chain_costs_its_user_the_fee(self, books: EvmBooks) -> None:
        await credited(books, "PAU", 100_000)
        await credited(books, "ETH", ETHER)
        await books.fund(50_000, asset="PAU")
        await books.fund(ETHER // 2)
        accepted = await books.ask(Route.SEND, 10_000, asset="PAU", destination=DESTINATION)
        await books.spend(accepted.payout_id)
        await books.world.rpc("anvil_setCode", books.contracts["PAU"], "0xfe")
        await books.mine(CONFIRMATIONS)
        transfer = await books.payout(accepted.payout_id)
        assert transfer.status == PayoutStatus.REFUNDED
        free_minor, held_minor = await books.onchain()
        assert (free_minor, held_minor) == (ETHER // 2 - (transfer.network_fee_minor or 0), 0)
        assert await books.onchain("PAU") == (50_000, 0)
        assert await books.balance(chart.inflight(CHAIN_ID)) == 0
        assert await books.balance(chart.inflight(CHAIN_ID), "PAU") == 0


class TestReorg:
    async def test_before_it_settles_changes_nothing(self, books: EvmBooks) -> None:
        await credited(books, "ETH", ETHER)
        await books.fund(ETHER // 2)
        await books.mine(8)
        accepted = await books.ask(Route.SEND, ETHER // 4, destination=DESTINATION)
        await books.spend(accepted.payout_id)
        await books.mine(1)
        await books.reorg(1)
        await books.look()
        rows = await books.transactions()
        assert rows[-1].status == Status.BROADCAST
        books.wait(11)
        await books.look()
        await books.mine(CONFIRMATIONS)
        assert (await books.payout(accepted.payout_id)).status == PayoutStatus.SETTLED
        await books.assert_books_equal_chain()

    @pytest.mark.parametrize("route", [Route.REDEEM, Route.SEND])
    async def test_after_it_settled_is_mined_again_at_another_fee(
        self, books: EvmBooks, route: Route
    ) -> None:
        await credited(books, "ETH", ETHER)
        await books.fund(ETHER // 2)
        await books.mine(8)
        destination = DESTINATION if route == Route.SEND else None
        transfer_id = await books.spent(route, ETHER // 4, destination=destination)
        settled = await books.payout(transfer_id)
        await books.reorg(CONFIRMATIONS)
        await books.look()
        books.wait(11)
        await books.look()
        # Below what was offered, so that it is mined, and the block takes more of the offer.
        await books.world.rpc("anvil_setNextBlockBaseFeePerGas", hex(10**7))
        await books.mine(CONFIRMATIONS)
        again = await books.payout(transfer_id)
        assert again.status == PayoutStatus.SETTLED
        assert again.network_fee_minor != settled.network_fee_minor
        await books.assert_books_equal_chain()

    async def test_after_funding_settled_is_mined_again(self, books: EvmBooks) -> None:
        await credited(books, "ETH", ETHER)
        await books.mine(8)
        await books.fund(ETHER // 2)
        await books.reorg(CONFIRMATIONS)
        await books.look()
        books.wait(11)
        await books.look()
        await books.mine(CONFIRMATIONS)
        assert await books.onchain() == (ETHER // 2, 0)
        assert len(await books.all_deposits()) == 1
        await books.assert_books_equal_chain()
