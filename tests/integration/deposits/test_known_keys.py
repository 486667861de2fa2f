"""What the watcher remembers of our addresses never hides one from it."""

import pytest

from domain.coins import KeyPosition
from domain.hd import EXTERNAL, INTERNAL, derive_address
from domain.scanning import Incoming, ScannedBlock
from infra.database import Database
from models.deposits import ChainAddress, HdAccount
from tests.support.books import CHAIN, Books
from tests.support.forked_chain import ForkedBooks
from watcher import known_keys, watch
from watcher.known_keys import KnownKeys
from watcher.watch import RUN_BLOCKS_MAX, RUN_KEYS, PostgresChainWatch, next_run_blocks


@pytest.fixture
async def forked(books: Books, monkeypatch: pytest.MonkeyPatch) -> ForkedBooks:
    monkeypatch.setattr(watch, "WORTHWHILE_KEYS", 1)
    opened = ForkedBooks(books)
    await opened.open()
    opened.chain.mine(2)
    return opened


async def key_at(forked: ForkedBooks, index: int, branch: int = EXTERNAL) -> bytes:
    """Return the lookup key that an index has, handed out or not."""
    async with forked.books.owner.transaction() as session:
        account = await session.get_one(HdAccount, CHAIN)
    return derive_address(CHAIN, account.xpub, KeyPosition(branch, index)).lookup_key


def address_row(key: bytes, index: int, branch: int = INTERNAL) -> ChainAddress:
    return ChainAddress(
        id=f"adr_{branch}_{index}",
        chain_id=CHAIN,
        address=f"address {branch} {index}",
        lookup_key=key,
        branch=branch,
        index=index,
    )


async def amounts(forked: ForkedBooks) -> list[int]:
    return sorted(deposit.amount_minor for deposit in await forked.deposits())


class TestAddress:
    async def test_handed_out_while_its_block_was_read_is_found(self, forked: ForkedBooks) -> None:
        known = await forked.address("u1", "key")
        looking = forked.new_watch()
        forked.chain.add([Incoming("0xaa", "native", known.lookup_key, 70)])
        await looking.watch_once()
        scan = forked.chain.scan

        async def handing_out(first: int, last: int) -> list[ScannedBlock]:
            blocks = await scan(first, last)
            forked.chain.scan = scan  # type: ignore[method-assign]
            assert (await forked.address("u2", "key")).index == 1
            return blocks

        forked.chain.scan = handing_out  # type: ignore[method-assign]
        forked.chain.add([Incoming("0xbb", "native", await key_at(forked, 1), 80)])
        await looking.watch_once()
        assert await amounts(forked) == [70, 80]

    async def test_of_a_stranger_with_the_same_ending_is_nobodys(self, forked: ForkedBooks) -> None:
        ours = await forked.address("u1", "key")
        stranger = bytes(17) + ours.lookup_key[-known_keys.TAIL_BYTES :]
        forked.chain.add([Incoming("0xaa", "native", stranger, 70)])
        await forked.new_watch().watch_once()
        assert await amounts(forked) == []

    async def test_of_a_stranger_is_not_even_searched_for(
        self, forked: ForkedBooks, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ours = await forked.address("u1", "key")
        sought: list[set[bytes]] = []
        seen = KnownKeys.maybe_ours

        async def noting(self: KnownKeys, *given: object) -> set[bytes]:
            sought.append(await seen(self, *given))  # type: ignore[arg-type]
            return sought[-1]

        monkeypatch.setattr(KnownKeys, "maybe_ours", noting)
        paid = [Incoming("0xaa", f"log:{n}", bytes([n]) * 20, 1) for n in range(1, 9)]
        forked.chain.add([*paid, Incoming("0xaa", "native", ours.lookup_key, 70)])
        await forked.new_watch().watch_once()
        assert {ours.lookup_key} in sought
        assert await amounts(forked) == [70]


class TestKnownKeys:
    async def test_learns_every_key_page_by_page(
        self, forked: ForkedBooks, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(known_keys, "_PAGE", 2)
        known = KnownKeys(CHAIN)
        keys = [(await forked.address("u1", f"key {n}")).lookup_key for n in range(5)]
        assert await maybe(forked.books.worker, known, keys) == set(keys)

    async def test_learns_one_that_was_committed_after_its_successor(
        self, forked: ForkedBooks
    ) -> None:
        """Nothing but our own code's lock keeps indexes in the order of commits."""
        known = KnownKeys(CHAIN)
        keys = [await key_at(forked, index, INTERNAL) for index in range(4)]
        await store(forked.books.owner, address_row(keys[0], 0))
        async with forked.books.owner.transaction() as slow:
            slow.add(address_row(keys[1], 1))
            await slow.flush()
            await store(forked.books.owner, address_row(keys[2], 2))
            assert await maybe(forked.books.worker, known, keys) == {keys[0], keys[2]}
        await store(forked.books.owner, address_row(keys[3], 3))
        assert await maybe(forked.books.worker, known, keys) == set(keys)

    async def test_takes_keys_shorter_than_what_is_remembered(self, forked: ForkedBooks) -> None:
        known = KnownKeys(CHAIN)
        keys = [b"\x07", b"\x00\x09", bytes(range(20))]
        for index, key in enumerate(keys):
            await store(forked.books.owner, address_row(key, index))
        assert await maybe(forked.books.worker, known, [*keys, b"\x08"]) == set(keys)


async def store(database: Database, row: ChainAddress) -> None:
    async with database.transaction() as session:
        session.add(row)


async def maybe(database: Database, known: KnownKeys, keys: list[bytes]) -> set[bytes]:
    async with database.transaction() as session:
        return await known.maybe_ours(session, keys)


class TestRuns:
    def test_double_while_blocks_are_small(self) -> None:
        assert [next_run_blocks(run(n, keys=1)) for n in (1, 32, RUN_BLOCKS_MAX)] == [
            2,
            64,
            RUN_BLOCKS_MAX,
        ]

    def test_shrink_to_what_fits_and_never_to_nothing(self) -> None:
        assert next_run_blocks(run(32, keys=RUN_KEYS // 8)) == 8
        assert next_run_blocks(run(4, keys=2 * RUN_KEYS)) == 1

    async def test_of_growing_size_leave_no_gap(self, forked: ForkedBooks) -> None:
        address = await forked.address("u1", "key")
        looking: PostgresChainWatch = forked.new_watch()
        await looking.watch_once()
        for amount_minor in range(1, 151):
            txid = f"0x{amount_minor}"
            forked.chain.add([Incoming(txid, "native", address.lookup_key, amount_minor)])
        await looking.watch_once()
        assert await amounts(forked) == list(range(1, 151))
        heights = [height for height, _ in await forked.blocks()]
        assert heights == list(range(len(forked.chain.blocks)))


def run(blocks: int, *, keys: int) -> list[ScannedBlock]:
    paid = tuple(Incoming("0xaa", f"log:{n}", bytes(20), 1) for n in range(keys))
    return [ScannedBlock(n, str(n), str(n - 1), (), paid) for n in range(blocks)]
