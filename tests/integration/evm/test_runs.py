"""Bulk payouts through the disperse contract on a real EVM node."""

import pytest
from eth_utils.address import to_checksum_address

from domain.ids import new_id
from domain.payouts import PayoutStatus
from domain.runs import RunStatus
from ledger import chart, rules
from models.chain_transactions import ChainTransactionKind
from models.payouts import Payout
from runs.desk import PostgresRunDesk
from tests.support.books import FEE_MINOR
from tests.support.disperse import HOSTILE_CODES, fresh_address
from tests.support.evm import CHAIN_ID
from tests.support.evm_books import CONFIRMATIONS, ETHER, EvmBooks
from tests.support.runs import started_run

LINES = 8
OWNED_MINOR = {"ETH": ETHER, "USD": 1_000_000}


@pytest.fixture
async def books(evm_books: EvmBooks) -> EvmBooks:
    """Return books of a user who owns both, on a chain with our contract."""
    address = str(to_checksum_address(await evm_books.world.deploy("Disperse")))
    await evm_books.execute(
        "UPDATE chain SET disperse_address = %s, outputs_max = %s", address, LINES
    )
    await evm_books.mined(evm_books.transfer("USD", evm_books.hot, OWNED_MINOR["USD"]))
    await evm_books.ledger.post(
        rules.deposit(
            txid=new_id("in"),
            user_id="u1",
            chain_id=CHAIN_ID,
            asset="USD",
            amount_minor=OWNED_MINOR["USD"],
            at=evm_books.clock.now(),
        ),
        rules.transfer(
            key=new_id("gift"),
            source=chart.CAPITAL,
            target=chart.available("u1"),
            asset="ETH",
            amount_minor=OWNED_MINOR["ETH"],
            at=evm_books.clock.now(),
        ),
    )
    await evm_books.look()
    return evm_books


async def started(books: EvmBooks, paid: list[tuple[str, int]], *, asset: str = "ETH") -> str:
    return await started_run(books, paid, asset=asset, chain_id=CHAIN_ID, fee_minor=FEE_MINOR)


async def settled(books: EvmBooks) -> None:
    """Bring everything that is ready to its end."""
    batch_id = await books.pay_out()
    await books.mine(CONFIRMATIONS)
    assert (await books.log.settle(batch_id)).is_done


async def balance(books: EvmBooks, address: str, asset: str) -> int:
    contract = books.contracts.get(asset)
    return await books.outlet.balance_minor(address, contract_address=contract)


async def by_destination(books: EvmBooks) -> dict[str, Payout]:
    return {payout.destination: payout for payout in await books.payouts()}


class TestRun:
    @pytest.mark.parametrize("asset", ["ETH", "USD"])
    async def test_pays_every_line_in_one_transaction(self, books: EvmBooks, asset: str) -> None:
        paid = [(fresh_address(), 1_000 + place) for place in range(LINES)]
        run_id = await started(books, paid, asset=asset)
        await settled(books)
        assert [await balance(books, to, asset) for to, _ in paid] == [a for _, a in paid]
        kinds = [row.kind for row in await books.transactions()]
        assert kinds.count(ChainTransactionKind.PAYOUT) == 1
        assert kinds.count(ChainTransactionKind.TOKEN_APPROVAL) == (asset != "ETH")
        standing = await PostgresRunDesk(books.worker, books.clock).advance(run_id)
        assert standing.status == RunStatus.FINISHED
        await books.assert_books_equal_chain()

    async def test_gives_back_what_a_recipient_refuses(self, books: EvmBooks) -> None:
        paid = [(fresh_address(), 1_000 + place) for place in range(LINES)]
        refusing, refused_minor = paid[3]
        await books.world.rpc("anvil_setCode", refusing, "0x" + HOSTILE_CODES["reverts"])
        run_id = await started(books, paid)
        before = await books.available()
        await settled(books)
        lines = await by_destination(books)
        assert lines[refusing].status == PayoutStatus.REFUNDED
        assert lines[refusing].reason_code == "recipient_failed"
        assert await books.available() == before + refused_minor + FEE_MINOR
        others = [pair for pair in paid if pair[0] != refusing]
        assert [await balance(books, to, "ETH") for to, _ in others] == [a for _, a in others]
        standing = await PostgresRunDesk(books.worker, books.clock).advance(run_id)
        assert standing.status == RunStatus.FINISHED
        await books.assert_books_equal_chain()

    async def test_refused_by_one_is_paid_once_after_a_reorg(self, books: EvmBooks) -> None:
        """What a recipient did is told by the block that counts in the end."""
        paid = [(fresh_address(), 1_000 + place) for place in range(LINES)]
        changing, _ = paid[5]
        await books.world.rpc("anvil_setCode", changing, "0x" + HOSTILE_CODES["reverts"])
        await started(books, paid)
        batch_id = await books.pay_out()
        await books.mine()
        await books.reorg(1)
        await books.world.rpc("anvil_setCode", changing, "0x")
        books.wait(11)
        await books.look()
        await books.mine(CONFIRMATIONS)
        assert (await books.log.settle(batch_id)).is_done
        assert {p.status for p in await books.payouts()} == {PayoutStatus.SETTLED}
        assert [await balance(books, to, "ETH") for to, _ in paid] == [a for _, a in paid]
        await books.assert_books_equal_chain()
