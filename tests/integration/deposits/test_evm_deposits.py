"""Deposits on a real EVM node: what counts as one, and when it is credited."""

import pytest

from deposits.rescans import RescanRange, request_rescan
from domain.deposits import DepositReason, DepositStatus
from ledger import chart
from tests.support.chain_world import TokenKind
from tests.support.evm import CHAIN_ID
from tests.support.evm_books import CONFIRMATIONS, ETHER, EvmBooks

DEV_COLLECTED = 10


@pytest.fixture
def books(evm_books: EvmBooks) -> EvmBooks:
    return evm_books


async def positions(books: EvmBooks) -> list[str]:
    return sorted(deposit.position for deposit in await books.all_deposits())


class TestNative:
    async def test_is_confirmed_and_credited_once(self, books: EvmBooks) -> None:
        await books.pay(await books.address(), ETHER)
        await books.look()
        assert await books.all_deposits() == []
        for _ in range(CONFIRMATIONS - 1):
            await books.mine()
            assert await books.statuses() == [DepositStatus.CONFIRMING]
            assert await books.available() == 0
        for _ in range(3):
            await books.mine()
            assert await books.statuses() == [DepositStatus.CREDITED]
        assert await books.available() == ETHER
        await books.assert_books_equal_chain()

    async def test_with_calldata_counts_the_same(self, books: EvmBooks) -> None:
        await books.call(await books.address(), "hello(uint256)", 1, coins=ETHER)
        await books.mine(CONFIRMATIONS)
        assert await books.available() == ETHER
        await books.assert_books_equal_chain()

    async def test_to_two_customers_goes_to_each(self, books: EvmBooks) -> None:
        await books.pay(await books.address("u1"), ETHER)
        await books.pay(await books.address("u2"), 2 * ETHER)
        await books.mine(CONFIRMATIONS)
        assert await books.available(user_id="u1") == ETHER
        assert await books.available(user_id="u2") == 2 * ETHER
        await books.assert_books_equal_chain()

    async def test_of_nothing_is_none(self, books: EvmBooks) -> None:
        await books.pay(await books.address(), 0)
        await books.transfer("USD", await books.address(), 0)
        await books.mine(CONFIRMATIONS)
        assert await books.all_deposits() == []

    async def test_that_is_undone_with_its_transaction_is_none(self, books: EvmBooks) -> None:
        splitter = await books.splitter(tokens_minor=50_000)
        failing = "pay_and_fail(address,address,uint256,uint256)"
        usd, address = books.contracts["USD"], await books.address()
        await books.call(splitter, failing, usd, address, ETHER, 9_000, coins=ETHER)
        await books.mine(CONFIRMATIONS)
        assert await books.all_deposits() == []
        await books.assert_books_equal_chain()


class TestToken:
    async def test_is_credited_in_its_own_asset(self, books: EvmBooks) -> None:
        # The address was asked for coin; whatever is listed and arrives there counts.
        await books.transfer("USD", await books.address(asset="ETH"), 70_000)
        await books.mine(CONFIRMATIONS)
        assert (await books.available("USD"), await books.available("ETH")) == (70_000, 0)
        assert await positions(books) == ["log:0"]
        await books.assert_books_equal_chain()

    async def test_is_none_for_an_approval_that_looks_like_one(self, books: EvmBooks) -> None:
        address = await books.address(asset="USD")
        receipt = await books.mined(
            books.call("USD", "approve(address,uint256)", address, 1_000_000)
        )
        assert receipt["logs"], "the approval was not even logged"
        await books.mine(CONFIRMATIONS)
        assert await books.all_deposits() == []
        assert await books.available("USD") == 0

    async def test_is_none_for_a_contract_that_says_false(self, books: EvmBooks) -> None:
        address = await books.address()
        receipt = await books.mined(books.transfer("FLS", address, 70_000))
        assert receipt["status"] == "0x1"
        await books.mine(CONFIRMATIONS)
        assert await books.all_deposits() == []

    async def test_is_none_for_a_transfer_that_reverts(self, books: EvmBooks) -> None:
        receipt = await books.mined(books.transfer("USD", await books.address(), 10**18))
        assert receipt["status"] == "0x0"
        await books.mine(CONFIRMATIONS)
        assert await books.all_deposits() == []

    async def test_without_an_answer_counts(self, books: EvmBooks) -> None:
        await books.transfer("NRT", await books.address(), 70_000)
        await books.mine(CONFIRMATIONS)
        assert await books.available("NRT") == 70_000
        await books.assert_books_equal_chain()

    async def test_that_takes_a_charge_credits_what_arrives(self, books: EvmBooks) -> None:
        await books.transfer("FEE", await books.address(), 70_000)
        await books.mine(CONFIRMATIONS)
        assert await books.available("FEE") == 69_300
        await books.assert_books_equal_chain()

    async def test_that_is_minted_counts(self, books: EvmBooks) -> None:
        await books.call("NRT", "mint(address,uint256)", await books.address(), 70_000)
        await books.mine(CONFIRMATIONS)
        assert await books.available("NRT") == 70_000
        await books.assert_books_equal_chain()

    async def test_that_is_not_listed_is_recorded_and_in_no_book(self, books: EvmBooks) -> None:
        books.contracts["JUNK"] = await books.world.token(TokenKind.PLAIN)
        await books.transfer("JUNK", await books.address(), 70_000)
        found = await books.mine(CONFIRMATIONS)
        (deposit,) = await books.all_deposits()
        assert (deposit.status, deposit.asset) == (DepositStatus.IGNORED, None)
        assert deposit.reason_code == DepositReason.UNLISTED_ASSET
        contract = books.contracts.pop("JUNK")
        assert str(deposit.contract_address).lower() == contract
        assert found.deposits == []
        assert await books.available("USD") == 0
        await books.assert_books_equal_chain()

    async def test_that_is_switched_off_is_nobodys(self, books: EvmBooks) -> None:
        address = await books.address(asset="USD")
        await books.execute("UPDATE asset SET enabled = false WHERE code = 'USD'")
        await books.transfer("USD", address, 70_000)
        await books.mine(CONFIRMATIONS)
        (deposit,) = await books.all_deposits()
        assert deposit.reason_code == DepositReason.ASSET_DISABLED
        assert await books.available("USD") == 0
        assert await books.balance(chart.UNCLAIMED, "USD") == 70_000
        await books.assert_books_equal_chain()


class TestContract:
    async def test_that_pays_twice_in_one_transaction_makes_two(self, books: EvmBooks) -> None:
        splitter = await books.splitter(tokens_minor=50_000)
        address = await books.address()
        pay = "pay_tokens(address,address[],uint256[])"
        await books.call(splitter, pay, books.contracts["USD"], [address] * 2, [7_000, 7_000])
        await books.mine(CONFIRMATIONS)
        assert await positions(books) == ["log:0", "log:1"]
        assert await books.available("USD") == 14_000
        await books.assert_books_equal_chain()

    async def test_that_sends_coin_is_seen_in_the_call_trace(self, books: EvmBooks) -> None:
        splitter = await books.splitter()
        addresses = [await books.address("u1"), await books.address("u2"), await books.address()]
        amounts = [ETHER, 2 * ETHER, ETHER]
        await books.call(splitter, "pay(address[],uint256[])", addresses, amounts, coins=4 * ETHER)
        await books.mine(CONFIRMATIONS)
        assert await positions(books) == ["call:0", "call:1", "call:2"]
        assert await books.available(user_id="u1") == 2 * ETHER
        assert await books.available(user_id="u2") == 2 * ETHER
        await books.assert_books_equal_chain()

    async def test_that_passes_on_plain_coin_is_seen_too(self, books: EvmBooks) -> None:
        splitter, address = await books.splitter(), await books.address()
        await books.mined(books.call(splitter, "name_heir(address)", address))
        await books.call(splitter, "x()", coins=ETHER)
        await books.mine(CONFIRMATIONS)
        assert await positions(books) == ["call:0"]
        assert await books.available() == ETHER
        await books.assert_books_equal_chain()

    async def test_that_passes_on_through_another_has_a_path(self, books: EvmBooks) -> None:
        outer, inner = await books.splitter(), await books.splitter()
        await books.mined(books.call(inner, "name_heir(address)", await books.address()))
        pay = "pay(address[],uint256[])"
        await books.call(outer, pay, [inner, inner], [ETHER, ETHER], coins=2 * ETHER)
        await books.mine(CONFIRMATIONS)
        assert await positions(books) == ["call:0.0", "call:1.0"]
        assert await books.available() == 2 * ETHER
        await books.assert_books_equal_chain()

    async def test_that_sends_coin_and_tokens_makes_one_of_each(self, books: EvmBooks) -> None:
        splitter = await books.splitter(tokens_minor=50_000)
        usd, address = books.contracts["USD"], await books.address()
        both = "pay_both(address,address,uint256,uint256)"
        await books.call(splitter, both, usd, address, ETHER, 7_000, coins=ETHER)
        await books.mine(CONFIRMATIONS)
        assert await positions(books) == ["call:0", "log:0"]
        assert (await books.available(), await books.available("USD")) == (ETHER, 7_000)
        await books.assert_books_equal_chain()

    async def test_whose_inner_call_fails_makes_none(self, books: EvmBooks) -> None:
        splitter = await books.splitter(tokens_minor=50_000)
        usd, address = books.contracts["USD"], await books.address()
        vain = "pay_in_vain(address,address,uint256,uint256)"
        receipt = await books.mined(
            books.call(splitter, vain, usd, address, ETHER, 7_000, coins=ETHER)
        )
        assert receipt["status"] == "0x1"
        await books.mine(CONFIRMATIONS)
        assert await books.all_deposits() == []
        await books.assert_books_equal_chain()

    async def test_that_we_pay_may_pay_a_customer_of_ours(self, books: EvmBooks) -> None:
        """What our own transaction brings about beyond what we meant is a deposit like any."""
        splitter = await books.splitter()
        await books.mined(books.call(splitter, "name_heir(address)", await books.address("u2")))
        await books.pay(await books.address(), 2 * ETHER)
        await books.mine(CONFIRMATIONS)
        await books.freeze(splitter, ETHER)
        await books.pay_out()
        await books.mine(CONFIRMATIONS)
        assert await books.available() == ETHER - 10
        assert await books.available(user_id="u2") == ETHER
        await books.assert_books_equal_chain()


class TestMinimum:
    @pytest.mark.parametrize(("asset", "least"), [("ETH", 10**15), ("USD", 1_000)])
    async def test_is_credited_and_less_is_nobodys(
        self, books: EvmBooks, asset: str, least: int
    ) -> None:
        for amount_minor in (least, least - 1):
            address = await books.address()
            if asset == "ETH":
                await books.pay(address, amount_minor)
            else:
                await books.transfer(asset, address, amount_minor)
        await books.mine(CONFIRMATIONS)
        assert sorted(await books.statuses()) == [DepositStatus.CREDITED, DepositStatus.IGNORED]
        assert await books.available(asset) == least
        assert await books.balance(chart.UNCLAIMED, asset) == least - 1
        await books.assert_books_equal_chain()


TIERS = """UPDATE asset SET deposit_tiers =
    '[{"up_to_minor": "10000", "confirmations": 2}, {"up_to_minor": "50000", "confirmations": 5}]'
    WHERE code = 'USD'"""


class TestDepth:
    @pytest.mark.parametrize(
        ("amount_minor", "confirmations"), [(10_000, 2), (10_001, 5), (50_000, 5), (50_001, 5)]
    )
    async def test_grows_with_the_amount(
        self, books: EvmBooks, amount_minor: int, confirmations: int
    ) -> None:
        await books.execute(TIERS)
        await books.transfer("USD", await books.address(), amount_minor)
        await books.mine(confirmations - 1)
        assert await books.statuses() == [DepositStatus.CONFIRMING]
        await books.mine()
        assert await books.statuses() == [DepositStatus.CREDITED]

    async def test_is_the_finalized_block_where_the_chain_has_one(self, books: EvmBooks) -> None:
        await books.execute("UPDATE chain SET finality = 'finalized', confirmations_min = 1")
        await books.pay(await books.address(), ETHER)
        await books.mine()
        (deposit,) = await books.all_deposits()
        while (head := await books.outlet.head()).finalized_height is not None:
            if head.finalized_height >= (deposit.block_height or 0):
                break
            assert await books.statuses() == [DepositStatus.CONFIRMING]
            assert await books.available() == 0
            await books.mine()
        assert await books.statuses() == [DepositStatus.CREDITED]
        await books.assert_books_equal_chain()


class TestAbsence:
    async def test_of_everybody_loses_nothing(self, books: EvmBooks) -> None:
        splitter = await books.splitter()
        address = await books.address()
        for _ in range(3):
            await books.pay(address, ETHER // 2)
            await books.transfer("USD", address, 9_000)
            await books.world.mine(12)
        await books.call(splitter, "pay(address[],uint256[])", [address], [ETHER], coins=ETHER)
        await books.world.mine(CONFIRMATIONS)
        await books.look(books.new_watch())
        assert await books.available() == ETHER * 5 // 2
        assert await books.available("USD") == 27_000
        await books.assert_books_equal_chain()

    async def test_of_an_address_from_our_books_is_mended_by_a_rescan(
        self, books: EvmBooks
    ) -> None:
        """As after a backup was restored: the chain was read before the address was known."""
        address = await books.address(key="lost")
        await books.execute("DELETE FROM chain_address WHERE address = %s", address)
        await books.execute("UPDATE hd_account SET next_external_index = next_external_index - 1")
        receipt = await books.mined(books.transfer("USD", address, 70_000))
        height = int(receipt["blockNumber"], 16)
        await books.mine(CONFIRMATIONS)
        assert await books.all_deposits() == []

        assert await books.address(key="lost") == address
        wanted = RescanRange(CHAIN_ID, height, height)
        async with books.owner.transaction() as session:
            await request_rescan(session, wanted, by="a1", clock=books.clock)
        await books.look()
        await books.look()
        assert await books.available("USD") == 70_000
        await books.assert_books_equal_chain()
