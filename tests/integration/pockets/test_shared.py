"""Pockets that share a chain transaction with payouts, through our contract on a real EVM node."""

import pytest
from eth_utils.address import to_checksum_address

from domain.ids import new_id
from domain.payouts import PayoutStatus
from domain.pockets import Route
from ledger import chart, rules
from tests.support.chain_world import DESTINATION
from tests.support.evm_books import CONFIRMATIONS, ETHER, EvmBooks


@pytest.fixture
async def books(evm_books: EvmBooks) -> EvmBooks:
    """Return books of two users with coin, on a chain with our contract."""
    address = str(to_checksum_address(await evm_books.world.deploy("Disperse")))
    await evm_books.execute("UPDATE chain SET disperse_address = %s, outputs_max = 8", address)
    for user_id in ("u1", "u2"):
        await evm_books.ledger.post(
            rules.transfer(
                key=new_id("gift"),
                source=chart.CAPITAL,
                target=chart.available(user_id),
                asset="ETH",
                amount_minor=ETHER,
                at=evm_books.clock.now(),
            )
        )
    await evm_books.look()
    return evm_books


async def ready(books: EvmBooks, amount_minor: int, user_id: str) -> None:
    accepted = await books.ask(Route.FUND, amount_minor, user_id=user_id)
    await books.pocket_desk.make_ready(accepted.payout_id)


async def test_are_credited_once_each_and_not_as_deposits(books: EvmBooks) -> None:
    for amount_minor, user_id in ((1_000, "u1"), (1_000, "u1"), (2_000, "u2")):
        await ready(books, amount_minor, user_id)
    await books.freeze(DESTINATION, 3_000)
    await books.pay_out()
    await books.mine(CONFIRMATIONS)
    (row,) = await books.transactions()
    assert row.disperse_address is not None
    assert {p.status for p in await books.payouts()} == {PayoutStatus.SETTLED}
    assert await books.onchain() == (2_000, 0)
    assert await books.onchain(user_id="u2") == (2_000, 0)
    assert await books.all_deposits() == []
    await books.assert_books_equal_chain()


async def test_are_mined_again_after_a_reorg(books: EvmBooks) -> None:
    await books.mine(8)
    await ready(books, 1_000, "u1")
    await ready(books, 2_000, "u2")
    await books.pay_out()
    await books.mine(CONFIRMATIONS)
    await books.reorg(CONFIRMATIONS)
    await books.look()
    books.wait(11)
    await books.look()
    await books.mine(CONFIRMATIONS)
    assert await books.onchain() == (1_000, 0)
    assert await books.onchain(user_id="u2") == (2_000, 0)
    assert await books.all_deposits() == []
    assert await books.balance(chart.SUSPENSE) == 0
    await books.assert_books_equal_chain()
