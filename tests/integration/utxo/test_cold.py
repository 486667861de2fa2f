"""A wallet whose keys are elsewhere: out as a PSBT, back signed, and on its way."""

from collections.abc import AsyncIterator

import pytest
from embit.bip32 import HDKey
from embit.psbt import PSBT

from domain.errors import ConflictError, ValidationError
from domain.payouts import PayoutStatus
from models.chain_transactions import ChainTransactionStatus as Status
from signing.cold import ColdDesk
from signing.hd import account_xpub, fingerprint
from tests.support.coin_books import UNIT, CoinBooks, new_coin_books
from tests.support.utxo_nodes import RegtestNode

SEED = b"a seed that no signer of ours ever saw".ljust(64, b".")


@pytest.fixture
async def books(database_url: str, kernel_node: RegtestNode) -> AsyncIterator[CoinBooks]:
    books = new_coin_books(database_url, kernel_node)
    try:
        await books.fill_catalog()
        chain_id = kernel_node.network.chain_id
        xpub = account_xpub(SEED, chain_id)
        await desk_of(books).add_account(chain_id, xpub, fingerprint(SEED))
        await books.open_wallet()
        await books.top_up(UNIT)
        await books.give("u1", UNIT // 2)
        yield books
    finally:
        await books.close()


def desk_of(books: CoinBooks) -> ColdDesk:
    return ColdDesk(books.signer_database, books.clock)


def signed_elsewhere(psbt: bytes, seed: bytes = SEED) -> bytes:
    parsed = PSBT.parse(psbt)
    parsed.sign_with(HDKey.from_seed(seed))
    return bytes(parsed.serialize())


async def waiting(books: CoinBooks, destination: str) -> str:
    """Bring a payout to where it waits for its signature."""
    await books.freeze(destination, 100_000)
    batch_id = await books.claim()
    await books.runner.prepare(batch_id)
    assert await books.log.allocate(batch_id)
    outcome = await books.signer.sign(batch_id)
    assert (outcome.signed, outcome.refused, outcome.waiting) == (0, 0, 1)
    return batch_id


class TestColdWallet:
    async def test_pays_when_its_signature_comes_back(self, books: CoinBooks) -> None:
        destination = books.node.fresh_address()
        batch_id = await waiting(books, destination)
        desk = desk_of(books)
        (task,) = await desk.tasks()
        txid = await desk.take_back(
            task.attempt_id, signed_elsewhere(await desk.export(task.attempt_id))
        )
        assert await desk.tasks() == []
        await books.runner.broadcast(batch_id)
        assert await books.node.mempool() == [txid]
        await books.mine(2)
        await books.log.settle(batch_id)
        assert [p.status for p in await books.payouts()] == [PayoutStatus.SETTLED]
        assert await books.node.balance(destination) == 100_000
        await books.assert_books_equal_chain()

    async def test_takes_nothing_back_that_others_signed(self, books: CoinBooks) -> None:
        await waiting(books, books.node.fresh_address())
        desk = desk_of(books)
        (task,) = await desk.tasks()
        psbt = await desk.export(task.attempt_id)
        for wrong in (psbt, signed_elsewhere(psbt, b"another seed".ljust(64, b"."))):
            with pytest.raises(ValidationError):
                await desk.take_back(task.attempt_id, wrong)
        (row,) = await books.transactions()
        assert row.status == Status.ALLOCATED

    async def test_takes_a_signature_back_once(self, books: CoinBooks) -> None:
        await waiting(books, books.node.fresh_address())
        desk = desk_of(books)
        (task,) = await desk.tasks()
        signed = signed_elsewhere(await desk.export(task.attempt_id))
        await desk.take_back(task.attempt_id, signed)
        with pytest.raises(ConflictError):
            await desk.take_back(task.attempt_id, signed)

    async def test_cannot_take_the_place_of_an_account(self, books: CoinBooks) -> None:
        chain_id = books.chain_id
        with pytest.raises(ConflictError):
            await desk_of(books).add_account(chain_id, account_xpub(SEED, chain_id), "00000000")

    @pytest.mark.parametrize("xpub", ["", "xpub", "tpub" + "1" * 107])
    async def test_refuses_what_is_no_account_key(self, books: CoinBooks, xpub: str) -> None:
        with pytest.raises(ValidationError):
            await desk_of(books).add_account(books.chain_id, xpub, "00000000")
