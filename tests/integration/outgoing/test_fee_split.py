"""Who bears what of a shared transaction's fee, on the rows and in the books."""

import pytest

from ledger import chart
from tests.support.books import CHAIN, Books
from tests.support.runs import allow_dispersals

CHILD = """
    INSERT INTO chain_transaction
    SELECT (jsonb_populate_record(t, '{{"id": "ctx_child", "kind": "fee_child", "amount_minor": 0,
        "account_nonce": null, "disperse_address": null, "txid": null, "status": "confirmed",
        "network_fee_minor": 100, "fee_booked_minor": 0, "outflow_minor": 0,
        "outflow_booked_minor": 0, "settled_at": null, "settlements": 0}}')).*
    FROM chain_transaction t WHERE t.id = '{parent}';
    UPDATE chain_transaction SET parent_id = '{parent}' WHERE id = 'ctx_child'
"""
"""What carries its parent along (CPFP), as the watcher leaves it once it is deep enough."""


@pytest.fixture(autouse=True)
async def funds(books: Books) -> None:
    await allow_dispersals(books)
    for user_id in ("u1", "u2"):
        await books.deposit(user_id, "ETH", 100_000)


async def caused_by(books: Books, user_id: str) -> int:
    return -await books.balance(chart.customer_network_fees(CHAIN, user_id))


async def on_the_wire(books: Books) -> str:
    batch_id = await books.claim()
    await books.runner.prepare(batch_id)
    await books.log.allocate(batch_id)
    assert (await books.signer.sign(batch_id)).refused == 0
    await books.runner.broadcast(batch_id)
    return batch_id


async def settled(books: Books, batch_id: str) -> None:
    books.chain.mine(3)
    await books.watch.watch_once()
    await books.log.settle(batch_id)


class TestFeeSplit:
    async def test_is_by_customer_and_exact(self, books: Books) -> None:
        for user_id in ("u1", "u1", "u2"):
            await books.freeze(user_id=user_id)
        books.chain.gas_price_minor = 10
        batch_id = await on_the_wire(books)
        (row,) = await books.transactions(batch_id)
        (attempt,) = await books.attempts(row.id)
        expected = [p.network_fee_estimate_minor or 0 for p in await books.payouts()]
        assert sum(expected) == (row.gas_limit or 0) * attempt.max_fee_minor
        assert max(expected) - min(expected) <= 1

        await settled(books, batch_id)
        (row,) = await books.transactions(batch_id)
        payouts = await books.payouts()
        assert sum(p.network_fee_minor or 0 for p in payouts) == row.network_fee_minor
        for user_id in ("u1", "u2"):
            own = sum(p.network_fee_minor or 0 for p in payouts if p.user_id == user_id)
            assert await caused_by(books, user_id) == own > 0
        assert await books.balance(chart.network_fees(CHAIN)) == 0
        await books.assert_sound()

    async def test_follows_a_reorg_that_changes_the_fee(self, books: Books) -> None:
        for user_id in ("u1", "u1", "u2"):
            await books.freeze(user_id=user_id)
        batch_id = await on_the_wire(books)
        await settled(books, batch_id)
        (before,) = await books.transactions(batch_id)
        for blocks, price_minor in ((3, 23), (4, 4)):
            books.chain.rollback(blocks)
            books.chain.gas_price_minor = price_minor
            books.chain.mine(blocks + 1)
            await books.watch.watch_once()
            await books.log.settle(batch_id)
            (row,) = await books.transactions(batch_id)
            assert row.network_fee_minor != before.network_fee_minor
            parts = [p.network_fee_minor or 0 for p in await books.payouts()]
            assert sum(parts) == row.network_fee_minor
            total_minor = await caused_by(books, "u1") + await caused_by(books, "u2")
            assert total_minor == row.network_fee_minor
            assert await books.balance(chart.network_fees(CHAIN)) == 0
            before = row
        await books.assert_sound()

    async def test_of_what_serves_no_payout_is_nobodys(self, books: Books) -> None:
        await books.freeze()
        batch_id = await books.claim()
        await books.runner.prepare(batch_id)
        await books.log.allocate(batch_id)
        await books.execute("UPDATE chain SET max_fee_ceiling_minor = 1")
        assert (await books.signer.sign(batch_id)).refused == 1
        await books.log.give_up_refused(batch_id)
        await books.execute("UPDATE chain SET max_fee_ceiling_minor = 1000")
        await books.signer.sign(batch_id)
        await books.runner.broadcast(batch_id)
        await settled(books, batch_id)
        fillers = [r for r in await books.transactions(batch_id) if r.network_fee_minor]
        assert -await books.balance(chart.network_fees(CHAIN)) == fillers[0].network_fee_minor
        assert await caused_by(books, "u1") == 0

    async def test_of_a_child_is_borne_by_whom_its_parent_pays(self, books: Books) -> None:
        for user_id in ("u1", "u1", "u2"):
            await books.freeze(user_id=user_id)
        batch_id = await on_the_wire(books)
        await settled(books, batch_id)
        (parent,) = await books.transactions(batch_id)
        await books.execute(CHILD.format(parent=parent.id))
        for child_minor in (100, 31, 0):
            await books.execute(
                f"UPDATE chain_transaction SET network_fee_minor = {child_minor}"  # noqa: S608
                " WHERE id = 'ctx_child'"
            )
            await books.log.settle(batch_id)
            total_minor = (parent.network_fee_minor or 0) + child_minor
            payouts = await books.payouts()
            assert sum(p.network_fee_minor or 0 for p in payouts) == total_minor
            for user_id in ("u1", "u2"):
                own = sum(p.network_fee_minor or 0 for p in payouts if p.user_id == user_id)
                assert await caused_by(books, user_id) == own
            assert await books.balance(chart.network_fees(CHAIN)) == 0
        await books.assert_sound()

    async def test_of_parent_and_child_at_once_is_exact(self, books: Books) -> None:
        for user_id in ("u1", "u2", "u2"):
            await books.freeze(user_id=user_id)
        batch_id = await on_the_wire(books)
        (parent,) = await books.transactions(batch_id)
        await books.execute(CHILD.format(parent=parent.id))
        await settled(books, batch_id)
        (parent,) = [r for r in await books.transactions(batch_id) if r.parent_id is None]
        parts = [p.network_fee_minor or 0 for p in await books.payouts()]
        assert sum(parts) == (parent.network_fee_minor or 0) + 100
        assert await caused_by(books, "u1") + await caused_by(books, "u2") == sum(parts)
        books.chain.rollback(3)
        books.chain.gas_price_minor = 23
        books.chain.mine(4)
        await books.watch.watch_once()
        await books.log.settle(batch_id)
        (again,) = [r for r in await books.transactions(batch_id) if r.parent_id is None]
        assert again.network_fee_minor != parent.network_fee_minor
        parts = [p.network_fee_minor or 0 for p in await books.payouts()]
        assert sum(parts) == (again.network_fee_minor or 0) + 100
        assert await caused_by(books, "u1") + await caused_by(books, "u2") == sum(parts)
        await books.assert_sound()
