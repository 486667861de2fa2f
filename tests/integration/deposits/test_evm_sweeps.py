"""Sweeps on a real EVM node: deposits end in the hot wallet, once, and pay for themselves."""

import asyncio

import pytest
from sqlalchemy.exc import ProgrammingError

from domain.deposits import DepositStatus
from ledger import chart
from models.chain_transactions import ChainTransaction, ChainTransactionKind
from models.chain_transactions import ChainTransactionStatus as Status
from outgoing import own_batches
from sweeps import accounts
from sweeps.accounts import AccountSweeper
from tests.support.chain_world import DESTINATION
from tests.support.evm import CHAIN_ID
from tests.support.evm_books import CONFIRMATIONS, ETHER, GWEI, EvmBooks, Sent

SWEEP, TOPUP = ChainTransactionKind.SWEEP, ChainTransactionKind.GAS_TOPUP


@pytest.fixture
def books(evm_books: EvmBooks) -> EvmBooks:
    return evm_books


async def credited(books: EvmBooks, asset: str, *amounts_minor: int, address: str = "") -> str:
    """Have deposits of these amounts credited at one address, and return it."""
    address = address or await books.address()
    for amount_minor in amounts_minor:
        if asset == "ETH":
            await books.pay(address, amount_minor)
        else:
            await books.transfer(asset, address, amount_minor)
    await books.mine(CONFIRMATIONS)
    return address


async def of_kind(books: EvmBooks, kind: str) -> list[ChainTransaction]:
    return [row for row in await books.transactions() if row.kind == kind]


async def swept(books: EvmBooks, asset: str, *amounts_minor: int) -> str:
    """Have deposits swept to the end; return their address."""
    address = await credited(books, asset, *amounts_minor)
    for _ in range(2 if asset != "ETH" else 1):
        await books.sweep(is_forced=True)
        await books.mine(CONFIRMATIONS)
    assert [row.status for row in await of_kind(books, SWEEP)] == [Status.CONFIRMED]
    return address


class TestNative:
    async def test_is_collected_and_pays_others(self, books: EvmBooks) -> None:
        await credited(books, "ETH", ETHER, ETHER)
        (batch_id,) = await books.sweep()
        assert await books.plan() == [batch_id]
        await books.mine(CONFIRMATIONS)
        assert await books.plan() == []
        (row,) = await books.transactions()
        hot_minor, deposit_minor = await books.omnibus()
        assert hot_minor == 5 * ETHER + row.amount_minor
        assert 0 < deposit_minor < ETHER // 1_000
        assert all(d.swept_by == row.id for d in await books.all_deposits())
        assert await books.available() == 2 * ETHER
        await books.assert_books_equal_chain()

        await books.freeze(DESTINATION, ETHER)
        await books.pay_out()
        await books.mine(CONFIRMATIONS)
        await books.assert_books_equal_chain()

    async def test_of_several_addresses_are_as_many_transactions(self, books: EvmBooks) -> None:
        for _ in range(3):
            await credited(books, "ETH", ETHER)
        assert len(await books.sweep()) == 3
        await books.mine(CONFIRMATIONS)
        assert {row.status for row in await books.transactions()} == {Status.CONFIRMED}
        await books.assert_books_equal_chain()

    async def test_waits_until_it_is_credited(self, books: EvmBooks) -> None:
        await books.pay(await books.address(), ETHER)
        await books.mine(CONFIRMATIONS - 1)
        assert await books.plan(is_forced=True) == []
        await books.mine()
        assert len(await books.plan(is_forced=True)) == 1

    async def test_that_is_little_is_left_until_it_is_told(self, books: EvmBooks) -> None:
        address = await credited(books, "ETH", ETHER // 20)
        assert await books.plan() == []
        await credited(books, "ETH", ETHER // 20, address=address)
        assert len(await books.plan()) == 1

    async def test_that_is_little_is_swept_by_force(self, books: EvmBooks) -> None:
        await credited(books, "ETH", ETHER // 20)
        assert len(await books.plan(is_forced=True)) == 1

    async def test_never_pays_more_than_its_share_in_fees(self, books: EvmBooks) -> None:
        await credited(books, "ETH", ETHER)
        await books.execute("UPDATE chain SET sweep_fee_max_bps = 1")
        await books.world.rpc("anvil_setNextBlockBaseFeePerGas", hex(100 * GWEI))
        await books.mine()
        assert await books.plan(is_forced=True) == []
        await books.execute("UPDATE chain SET sweep_fee_max_bps = 200")
        assert len(await books.plan(is_forced=True)) == 1

    async def test_leaves_what_pays_for_a_replacement(self, books: EvmBooks) -> None:
        await credited(books, "ETH", ETHER)
        (batch_id,) = await books.sweep()
        books.wait(61)
        assert await books.runner.plan_bumps(batch_id) == 1
        await books.signer.sign(batch_id)
        await books.runner.broadcast(batch_id)
        await books.mine(CONFIRMATIONS)
        (row,) = await books.transactions()
        assert row.status == Status.CONFIRMED
        await books.assert_books_equal_chain()

    async def test_a_second_time_takes_the_next_nonce(self, books: EvmBooks) -> None:
        address = await credited(books, "ETH", ETHER)
        for nonce in range(3):
            await books.sweep()
            await books.mine(CONFIRMATIONS)
            assert await books.outlet.account_nonce(address) == nonce + 1
            await credited(books, "ETH", ETHER, address=address)
        rows = await of_kind(books, SWEEP)
        assert [row.account_nonce for row in rows] == [0, 1, 2]
        await books.assert_books_equal_chain()

    async def test_is_no_deposit_of_its_own(self, books: EvmBooks) -> None:
        await swept(books, "ETH", ETHER)
        assert len(await books.all_deposits()) == 1

    async def test_that_fails_to_be_worth_it_hides_nobody_else(
        self, books: EvmBooks, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Anybody may leave crumbs at as many addresses as they like."""
        monkeypatch.setattr(accounts, "ADDRESSES_PER_ROUND", 2)
        await books.execute("UPDATE asset SET sweep_min_minor = 1")
        await books.world.rpc("anvil_setNextBlockBaseFeePerGas", hex(5 * GWEI))
        for _ in range(3):
            await credited(books, "ETH", 10**15)
        await credited(books, "ETH", ETHER)
        (row,) = await sweeps_after_plan(books)
        assert row.amount_minor > ETHER // 2


async def sweeps_after_plan(books: EvmBooks) -> list[ChainTransaction]:
    await books.plan()
    return await of_kind(books, SWEEP)


class TestToken:
    async def test_gets_gas_first_and_waits_until_that_is_confirmed(self, books: EvmBooks) -> None:
        address = await credited(books, "USD", 40_000, 30_000)
        (topup_batch,) = await books.sweep()
        (topup,) = await books.transactions()
        assert (topup.kind, topup.destination, topup.asset) == (TOPUP, address, "ETH")
        for _ in range(CONFIRMATIONS - 1):
            await books.mine()
            assert await books.plan() == [topup_batch]
        await books.mine()
        await books.assert_books_equal_chain()

        (sweep_batch,) = await books.sweep()
        assert sweep_batch != topup_batch
        await books.mine(CONFIRMATIONS)
        assert await books.plan() == []
        assert await books.omnibus("USD") == (70_000, 0)
        assert await books.available("USD") == 70_000
        assert await books.balance(chart.SUSPENSE) == 0
        assert len(await books.all_deposits()) == 2, "gas is no deposit"
        await books.assert_books_equal_chain()

    async def test_whose_gas_grew_dear_meanwhile_gets_more(self, books: EvmBooks) -> None:
        await credited(books, "USD", 70_000)
        await books.sweep()
        await books.mine(CONFIRMATIONS)
        (batch_id,) = await books.plan()
        await books.world.rpc("anvil_setNextBlockBaseFeePerGas", hex(50 * GWEI))
        await books.mine()
        await books.drive(batch_id)
        await books.mine(CONFIRMATIONS)
        for _ in range(2):
            await books.sweep()
            await books.mine(CONFIRMATIONS)
        statuses = {row.status for row in await of_kind(books, SWEEP)}
        assert statuses == {Status.ABANDONED, Status.CONFIRMED}
        assert await books.omnibus("USD") == (70_000, 0)
        await books.assert_books_equal_chain()

    async def test_uses_coin_that_lies_there(self, books: EvmBooks) -> None:
        address = await credited(books, "ETH", ETHER)
        await credited(books, "USD", 70_000, address=address)
        await books.sweep()
        await books.mine(CONFIRMATIONS)
        await books.sweep()
        await books.mine(CONFIRMATIONS)
        assert [row.asset for row in await books.transactions()] == ["USD", "ETH"]
        assert {row.status for row in await books.transactions()} == {Status.CONFIRMED}
        await books.assert_books_equal_chain()

    async def test_of_several_kinds_all_arrive(self, books: EvmBooks) -> None:
        address = await books.address()
        for asset in ("USD", "NRT", "FEE", "ETH"):
            await credited(books, asset, ETHER if asset == "ETH" else 70_000, address=address)
        for _ in range(5):
            await books.sweep()
            await books.mine(CONFIRMATIONS)
        for asset, amount_minor in (("USD", 70_000), ("NRT", 70_000)):
            assert await books.omnibus(asset) == (amount_minor, 0)
        await books.assert_books_equal_chain()

    async def test_that_charges_arrives_for_less_and_that_is_a_cost(self, books: EvmBooks) -> None:
        await swept(books, "FEE", 100_000)
        # 100,000 lost 1% on its way in and 1% of the rest on its way to the hot wallet.
        assert await books.omnibus("FEE") == (98_010, 0)
        assert await books.available("FEE") == 99_000
        assert await books.balance(chart.network_fees(CHAIN_ID), "FEE") == -990
        assert await books.balance(chart.SUSPENSE, "FEE") == 0
        await books.assert_books_equal_chain()

    async def test_that_is_paused_is_left_and_looked_at_again(self, books: EvmBooks) -> None:
        await credited(books, "PAU", 70_000)
        await credited(books, "USD", 70_000)
        is_paused = True
        await books.mined(books.call("PAU", "set_paused(bool)", is_paused))
        for _ in range(2):
            await books.sweep()
            await books.mine(CONFIRMATIONS)
        assert await books.omnibus("USD") == (70_000, 0)
        assert await books.omnibus("PAU") == (0, 70_000)
        await books.mined(books.call("PAU", "set_paused(bool)", not is_paused))
        for _ in range(2):
            await books.sweep()
            await books.mine(CONFIRMATIONS)
        assert await books.omnibus("PAU") == (70_000, 0)
        await books.assert_books_equal_chain()

    async def test_that_costs_more_than_it_may_waits(self, books: EvmBooks) -> None:
        await credited(books, "USD", 70_000)
        await books.execute("UPDATE asset SET sweep_fee_max_minor = 1 WHERE code = 'USD'")
        assert await books.plan(is_forced=True) == []

    async def test_that_needs_more_gas_than_the_signer_gives_waits(
        self, books: EvmBooks, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Asked for again and again, each refusal would cost a filler of the hot wallet's nonce."""
        await credited(books, "USD", 70_000)
        monkeypatch.setattr(own_batches, "TOPUP_GAS_MAX", 0)
        assert await books.plan(is_forced=True) == []

    async def test_that_reverts_on_chain_is_swept_again(self, books: EvmBooks) -> None:
        address = await credited(books, "PAU", 70_000)
        await books.sweep()
        await books.mine(CONFIRMATIONS)
        await books.sweep()
        # It was planned while the token moved, and is mined after it was paused.
        is_paused = True
        await books.world.rpc("anvil_dropAllTransactions")
        await books.mined(books.call("PAU", "set_paused(bool)", is_paused))
        books.wait(11)
        await books.look()
        await books.mine(CONFIRMATIONS)
        (failed,) = await of_kind(books, SWEEP)
        assert failed.status == Status.REVERTED
        (deposit,) = await books.all_deposits()
        assert deposit.swept_by is None
        assert await books.omnibus("PAU") == (0, 70_000)
        await books.assert_books_equal_chain()

        await books.mined(books.call("PAU", "set_paused(bool)", not is_paused))
        for _ in range(2):
            await books.sweep()
            await books.mine(CONFIRMATIONS)
        assert await books.omnibus("PAU") == (70_000, 0)
        assert await books.outlet.account_nonce(address) == 2
        await books.assert_books_equal_chain()


class TestPlanners:
    async def test_two_at_once_sweep_once(self, books: EvmBooks) -> None:
        for _ in range(3):
            await credited(books, "ETH", ETHER)
            await credited(books, "USD", 70_000)
        planners = [AccountSweeper(books.worker, books.outlet, books.clock) for _ in range(4)]
        for _ in range(2):
            books.wait(1)
            plans = await asyncio.gather(*(p.plan(is_forced=True) for p in planners))
            for batch_id in sorted({batch for plan in plans for batch in plan.batches}):
                await books.drive(batch_id)
            await books.mine(CONFIRMATIONS)
        assert len(await of_kind(books, TOPUP)) == 3
        assert len(await of_kind(books, SWEEP)) == 6
        assert await books.omnibus("USD") == (210_000, 0)
        await books.assert_books_equal_chain()


class TestReorg:
    async def test_of_a_sweep_mines_it_again(self, books: EvmBooks) -> None:
        await swept(books, "ETH", ETHER)
        await books.reorg(CONFIRMATIONS)
        books.wait(11)
        await books.look()
        (row,) = await of_kind(books, SWEEP)
        assert row.status == Status.BROADCAST
        await books.mine(CONFIRMATIONS)
        (row,) = await of_kind(books, SWEEP)
        assert row.status == Status.CONFIRMED
        await books.assert_books_equal_chain()

    async def test_of_a_swept_token_deposit_undoes_the_sweep_in_the_books(
        self, books: EvmBooks
    ) -> None:
        """The sweep is mined again and reverts: nothing is there, and the books say so."""
        address = await books.address()
        await books.pay(address, ETHER)
        await books.transfer("USD", address, 70_000)
        await books.mine(CONFIRMATIONS)
        (coin,) = [d for d in await books.all_deposits() if d.asset == "ETH"]
        await books.sweep()
        await books.mine(CONFIRMATIONS)
        assert await books.omnibus("USD") == (70_000, 0)
        raw = await raw_of(books, coin.txid)
        await books.reorg(2 * CONFIRMATIONS, [[raw]])
        books.wait(11)
        await books.look()
        await books.mine(CONFIRMATIONS)
        (row,) = await of_kind(books, SWEEP)
        assert row.status == Status.REVERTED
        assert await books.available("USD") == 0
        assert await books.omnibus("USD") == (0, 0)
        assert await books.balance(chart.SUSPENSE, "USD") == 0
        await books.assert_books_equal_chain()

        await credited(books, "USD", 90_000, address=address)
        await books.sweep()
        await books.mine(CONFIRMATIONS)
        assert await books.omnibus("USD") == (90_000, 0)
        await books.assert_books_equal_chain()

    async def test_of_a_failed_sweep_that_now_succeeds_is_booked(self, books: EvmBooks) -> None:
        address = await credited(books, "PAU", 70_000)
        await books.sweep()
        await books.mine(CONFIRMATIONS)
        await books.sweep()
        is_paused = True
        await books.world.rpc("anvil_dropAllTransactions")
        await books.mined(books.call("PAU", "set_paused(bool)", is_paused))
        books.wait(11)
        await books.look()
        await books.mine(CONFIRMATIONS)
        assert await books.omnibus("PAU") == (0, 70_000)
        # In the other fork nobody has paused it.
        await books.reorg(CONFIRMATIONS + 1)
        books.wait(11)
        await books.look()
        await books.mine(CONFIRMATIONS)
        (row,) = await of_kind(books, SWEEP)
        assert row.status == Status.CONFIRMED
        assert await books.omnibus("PAU") == (70_000, 0)
        assert await books.balance(chart.SUSPENSE, "PAU") == 0
        await books.assert_books_equal_chain()

        await credited(books, "PAU", 30_000, address=address)
        await books.sweep(is_forced=True)
        await books.mine(CONFIRMATIONS)
        await books.sweep(is_forced=True)
        await books.mine(CONFIRMATIONS)
        assert await books.omnibus("PAU") == (100_000, 0)
        await books.assert_books_equal_chain()

    async def test_of_a_swept_coin_deposit_leaves_the_sweep_on_its_way(
        self, books: EvmBooks
    ) -> None:
        """
        Nothing is there to pay it, so no node takes it; the two accounts differ, their sum does
        not, until coin comes to the address or an operator looks into it.
        """
        address = await swept(books, "ETH", ETHER)
        await books.reorg(2 * CONFIRMATIONS)
        books.wait(11)
        await books.look()
        await books.mine(CONFIRMATIONS)
        (row,) = await of_kind(books, SWEEP)
        assert row.status == Status.BROADCAST
        assert await books.statuses() == [DepositStatus.REVERSED]
        assert await books.available() == 0
        assert len(await books.freezes()) == 1
        assert sum(await books.omnibus()) == sum(await books.on_chain()) - (
            row.network_fee_minor or 0
        )

        await books.pay(address, ETHER)
        books.wait(11)
        await books.mine()
        books.wait(11)
        await books.look()
        await books.mine(CONFIRMATIONS)
        assert await books.available() == ETHER
        await books.assert_books_equal_chain()

    async def test_of_a_top_up_holds_the_sweep_back(self, books: EvmBooks) -> None:
        await credited(books, "USD", 70_000)
        (topup,) = await books.sweep()
        await books.mine(CONFIRMATIONS - 1)
        await books.reorg(CONFIRMATIONS - 1)
        books.wait(11)
        await books.look()
        assert await books.plan() == [topup]
        await books.mine(CONFIRMATIONS)
        (sweep,) = await books.sweep()
        assert sweep != topup
        await books.mine(CONFIRMATIONS)
        assert await books.omnibus("USD") == (70_000, 0)
        assert len(await of_kind(books, TOPUP)) == 1
        await books.assert_books_equal_chain()


class TestSigner:
    """Whoever may write our tables still cannot have money of ours sent to a stranger."""

    @pytest.mark.parametrize(
        "change",
        [
            f"destination = '{DESTINATION}'",
            f"wallet_address = '{DESTINATION}'",
            "kind = 'gas_topup'",
            "kind = 'payout'",
            "kind = 'fee_child'",
            "gas_limit = 1000001",
        ],
    )
    async def test_refuses_a_sweep_that_is_none(self, books: EvmBooks, change: str) -> None:
        await credited(books, "ETH", ETHER)
        batch_id = await self.allocated(books)
        await books.execute(f"UPDATE chain_transaction SET {change}")  # noqa: S608
        assert (await books.signer.sign(batch_id)).refused == 1

    @pytest.mark.parametrize(
        "change",
        [
            f"destination = '{DESTINATION}'",
            "destination = wallet_address",
            "kind = 'sweep'",
            "kind = 'payout'",
            "asset = 'USD'",
            f"amount_minor = 300000 * {200 * GWEI} + 1",
        ],
    )
    async def test_refuses_a_top_up_that_is_none(self, books: EvmBooks, change: str) -> None:
        await credited(books, "USD", 70_000)
        batch_id = await self.allocated(books)
        await books.execute(f"UPDATE chain_transaction SET {change}")  # noqa: S608
        assert (await books.signer.sign(batch_id)).refused == 1

    async def test_refuses_an_address_that_is_only_said_to_be_ours(self, books: EvmBooks) -> None:
        await credited(books, "USD", 70_000)
        batch_id = await self.allocated(books)
        # The database would not let it: somebody is taken to have got round that.
        await books.execute("ALTER TABLE chain_address DISABLE TRIGGER USER")
        await books.execute("UPDATE chain_address SET address = %s", DESTINATION)
        await books.execute("UPDATE chain_transaction SET destination = %s", DESTINATION)
        assert (await books.signer.sign(batch_id)).refused == 1

    @pytest.mark.parametrize("role", ["worker", "api"])
    async def test_alone_says_which_wallet_is_hot(self, books: EvmBooks, role: str) -> None:
        database = books.worker if role == "worker" else books.api
        async with database.statement() as connection:
            with pytest.raises(ProgrammingError, match="permission denied"):
                await connection.exec_driver_sql(
                    "UPDATE blockchain_wallet SET address = %s", (DESTINATION,)
                )

    async def test_whose_refusal_lets_the_deposits_be_swept_again(self, books: EvmBooks) -> None:
        address = await credited(books, "ETH", ETHER)
        batch_id = await self.allocated(books)
        await books.execute("UPDATE chain_transaction SET destination = %s", DESTINATION)
        await books.signer.sign(batch_id)
        assert await books.log.give_up_refused(batch_id) == 1
        await books.signer.sign(batch_id)
        await books.runner.broadcast(batch_id)
        (deposit,) = await books.all_deposits()
        assert deposit.swept_by is None
        await books.mine(CONFIRMATIONS)
        await books.assert_books_equal_chain()
        await books.sweep()
        await books.mine(CONFIRMATIONS)
        assert await books.outlet.account_nonce(address) == 2
        await books.assert_books_equal_chain()

    async def allocated(self, books: EvmBooks) -> str:
        (batch_id,) = await books.plan(is_forced=True)
        await books.runner.prepare(batch_id)
        assert await books.log.allocate(batch_id)
        return batch_id


async def raw_of(books: EvmBooks, txid: str) -> Sent:
    return Sent(txid, await books.world.rpc("eth_getRawTransactionByHash", txid))
