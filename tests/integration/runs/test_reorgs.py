"""What the chain says of a run's transactions, and says otherwise after a reorg."""

import logging

import pytest
from sqlmodel import col, select

from domain.errors import InvariantError
from domain.ports import Receipt, Transfer
from ledger import chart
from models.chain_transactions import UNCLEAR_RECEIPT, ChainTransactionStatus
from models.ledger import LedgerAccount, LedgerEntry
from tests.support.books import Books
from tests.support.runs import Runs, allow_dispersals

HOT_MINOR = 10_000


@pytest.fixture
async def runs(books: Books) -> Runs:
    for user_id in ("u1", "u2"):
        await books.deposit(user_id, "ETH", HOT_MINOR)
    await allow_dispersals(books)
    return Runs(books)


async def suspense_postings(books: Books) -> list[int]:
    """Return what was posted to suspense, sorted."""
    async with books.owner.transaction() as session:
        found = await session.exec(
            select(LedgerEntry.amount_minor)
            .join(LedgerAccount, col(LedgerAccount.id) == col(LedgerEntry.account_id))
            .where(LedgerAccount.code == chart.SUSPENSE)
        )
        return sorted(int(amount_minor) for amount_minor in found)


class TestReorg:
    async def test_that_changes_who_failed_is_noticed(
        self, runs: Runs, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Mined again, the other of two equal lines fails: one is paid twice, one not at all."""
        books = runs.books
        run_id = await runs.started(100, 100)
        first, second = await runs.lines(run_id)
        books.chain.swallows.add(first.destination)
        batch_id = await runs.allocated()
        await books.signer.sign(batch_id)
        await books.runner.broadcast(batch_id)
        books.chain.mine(3)
        await books.watch.watch_once()
        await books.log.settle(batch_id)
        assert [line.status for line in await runs.lines(run_id)] == ["refunded", "settled"]
        books.chain.rollback(3)
        books.chain.swallows = {second.destination}
        await books.watch.watch_once()
        books.chain.mine(4)
        with caplog.at_level(logging.ERROR):
            await books.watch.watch_once()
            await books.log.settle(batch_id)
        (row,) = await books.transactions(batch_id)
        assert row.status == ChainTransactionStatus.CONFIRMED
        assert row.failed_places == [sorted([first.id, second.id]).index(second.id)]
        told = [record.getMessage() for record in caplog.records if record.levelname == "CRITICAL"]
        assert len(told) == 1
        assert f"pay {first.id}, which were refunded, and not {second.id}" in told[0]
        # Gross: net they cancel each other out.
        assert await books.balance(chart.SUSPENSE) == 0
        assert await suspense_postings(books) == [-100, 100]
        assert (await books.log.settle(batch_id)).is_done
        assert len(await suspense_postings(books)) == 2
        assert await books.omnibus() == 2 * HOT_MINOR - 100 - (row.network_fee_minor or 0)
        await books.assert_sound()


class TestStrangeReceipt:
    async def test_keeps_nobody_else_waiting_and_is_read_again(
        self, runs: Runs, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A recipient can bring one about: see ``chains.evm.receipts``."""
        books, read = runs.books, runs.books.chain.receipt

        async def strange(txid: str, transfer: Transfer) -> Receipt | None:
            if transfer.dispersal is not None:
                raise InvariantError
            return await read(txid, transfer)

        monkeypatch.setattr(books.chain, "receipt", strange)
        run_id = await runs.started(1, 2, 3)
        shared = await runs.allocated()
        await books.freeze(user_id="u2", amount_minor=50)
        single = await runs.allocated()
        for batch_id in (shared, single):
            await books.signer.sign(batch_id)
            await books.runner.broadcast(batch_id)
        books.chain.mine(3)
        await books.watch.watch_once()
        assert [record.levelname for record in caplog.records] == ["CRITICAL"]
        (row,) = await books.transactions(single)
        assert row.status == ChainTransactionStatus.CONFIRMED
        assert not (await books.log.settle(shared)).is_done
        (row,) = await books.transactions(shared)
        assert (row.status, row.reason_code) == ("mined", UNCLEAR_RECEIPT)
        assert {line.status for line in await runs.lines(run_id)} == {"batched"}
        monkeypatch.setattr(books.chain, "receipt", read)
        books.wait(601)
        await books.watch.watch_once()
        assert (await books.log.settle(shared)).is_done
        assert {line.status for line in await runs.lines(run_id)} == {"settled"}
        await books.assert_sound()

    async def test_is_forgotten_with_its_block(
        self, runs: Runs, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        books, read = runs.books, runs.books.chain.receipt

        async def strange(*_: object) -> Receipt | None:
            raise InvariantError

        monkeypatch.setattr(books.chain, "receipt", strange)
        await runs.started(1, 2, 3)
        batch_id = await runs.allocated()
        await books.signer.sign(batch_id)
        await books.runner.broadcast(batch_id)
        books.chain.mine(3)
        await books.watch.watch_once()
        monkeypatch.setattr(books.chain, "receipt", read)
        books.chain.rollback(3)
        books.chain.mine(4)
        await books.watch.watch_once()
        assert (await books.log.settle(batch_id)).is_done
        (row,) = await books.transactions(batch_id)
        assert (row.status, row.reason_code) == (ChainTransactionStatus.CONFIRMED, None)
