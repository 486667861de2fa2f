"""A watcher that was given up for dead goes on beside its successor: nothing is lost by it."""

import pytest

from deposits.rescans import RescanRange, request_rescan
from domain.ports import Block
from domain.scanning import Incoming, ScannedBlock
from models.wallets import Chain
from tests.support.books import CHAIN, Books
from tests.support.forked_chain import ForkedBooks, ForkedChain
from watcher.watch import LAG_PATIENCE, PostgresChainWatch


@pytest.fixture
async def forked(books: Books) -> ForkedBooks:
    opened = ForkedBooks(books)
    await opened.open()
    opened.chain.mine(2)
    return opened


async def look(forked: ForkedBooks, watch: PostgresChainWatch) -> None:
    found = await watch.watch_once()
    for deposit_id in found.deposits:
        await forked.desk.advance(deposit_id)
    await watch.mark_notified(found.deposits)


def canonical(chain: ForkedChain) -> list[tuple[int, str]]:
    return [(block.height, block.hash) for block in chain.blocks]


class TestSlowWatcher:
    async def test_adds_no_blocks_to_what_was_taken_back_meanwhile(
        self, forked: ForkedBooks
    ) -> None:
        """Its blocks are of a fork that is left and comes back: a gap would stay below them."""
        chain, slow, quick = forked.chain, forked.new_watch(), forked.new_watch()
        address = await forked.address("u1", "key")
        chain.add([Incoming("0xaa", "native", address.lookup_key, 70)])
        chain.mine(1)
        await look(forked, slow)
        chain.mine(2)
        whole, held = list(chain.blocks), dict(chain.arrivals)
        read_run = slow._read_run

        async def overtaken(of: Chain, blocks: list[ScannedBlock]) -> bool:
            chain.take_back(4)
            await look(forked, quick)
            forked.books.wait(LAG_PATIENCE.total_seconds() + 1)
            await look(forked, quick)
            assert (await forked.blocks())[-1][0] == 2
            chain.blocks, chain.arrivals = whole, held
            return await read_run(of, blocks)

        slow._read_run = overtaken  # type: ignore[assignment,method-assign]
        await look(forked, slow)
        forked.books.wait(11)
        for _ in range(2):
            await look(forked, quick)
        assert await forked.blocks() == canonical(chain)
        assert await forked.books.money() == (70, 0)

    async def test_takes_back_nothing_of_the_new_fork(self, forked: ForkedBooks) -> None:
        chain, slow, quick = forked.chain, forked.new_watch(), forked.new_watch()
        chain.mine(3)
        await look(forked, slow)
        chain.take_back(1)
        chain.mine(2)
        asked, calls = chain.block, 0

        async def overtaken(height: int) -> Block | None:
            nonlocal calls
            calls += 1
            if calls == 1:
                await look(forked, quick)
            return await asked(height)

        chain.block = overtaken  # type: ignore[method-assign]
        await look(forked, slow)
        assert calls > 1
        assert await forked.blocks() == canonical(chain)

    async def test_forgets_nothing_that_is_being_read_again(self, forked: ForkedBooks) -> None:
        """It has read to its tip; that its successor has just taken blocks back is news to it."""
        chain, slow, quick = forked.chain, forked.new_watch(), forked.new_watch()
        address = await forked.address("u1", "key")
        chain.add([Incoming("0xaa", "native", address.lookup_key, 70)])
        chain.mine(2)
        await look(forked, slow)
        assert await forked.books.money() == (70, 0)
        read_blocks, confirm = slow._read_blocks, quick._read_blocks

        async def dies(_head: object) -> int:
            raise ConnectionError

        async def overtaken(head: object) -> int:
            height = await read_blocks(head)  # type: ignore[arg-type]
            gone = chain.take_back(3)
            chain.add(gone)
            chain.mine(3)
            quick._read_blocks = dies  # type: ignore[method-assign, assignment]
            with pytest.raises(ConnectionError):
                await look(forked, quick)
            return height

        slow._read_blocks = overtaken  # type: ignore[method-assign]
        await look(forked, slow)
        quick._read_blocks = confirm  # type: ignore[method-assign]
        await look(forked, quick)
        (deposit,) = await forked.deposits()
        assert (deposit.status, deposit.credits) == ("credited", 1)
        assert await forked.books.money() == (70, 0)


class TestRescan:
    async def test_records_nothing_of_blocks_that_are_taken_back_meanwhile(
        self, forked: ForkedBooks
    ) -> None:
        """What is on no fork that the cursor holds, no reorg would ever take back."""
        chain, slow, quick = forked.chain, forked.new_watch(), forked.new_watch()
        chain.mine(3)
        await look(forked, slow)
        address = await forked.address("u1", "key")
        chain.arrivals[4] = [Incoming("0xaa", "native", address.lookup_key, 70)]
        async with forked.books.owner.transaction() as session:
            wanted = RescanRange(CHAIN, 3, 5)
            await request_rescan(session, wanted, by="a1", clock=forked.books.clock)
        scan = chain.scan

        async def overtaken(first: int, last: int) -> list[ScannedBlock]:
            blocks = await scan(first, last)
            chain.scan = scan  # type: ignore[method-assign]
            chain.take_back(3)
            await look(forked, quick)
            forked.books.wait(LAG_PATIENCE.total_seconds() + 1)
            quick._rescanner = slow._rescanner
            await quick._drop_orphans(await chain.head())
            return blocks

        chain.scan = overtaken  # type: ignore[method-assign]
        await look(forked, slow)
        assert await forked.deposits() == []
        chain.mine(6)
        await look(forked, slow)
        assert await forked.books.money() == (0, 0)
        assert await forked.blocks() == canonical(chain)
