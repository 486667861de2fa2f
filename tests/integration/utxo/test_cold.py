"""A wallet whose keys are elsewhere: out as a PSBT, back signed, and on its way."""

from collections.abc import AsyncIterator

import pytest
from embit.bip32 import HDKey
from embit.finalizer import finalize_psbt
from embit.psbt import PSBT
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from domain.errors import (
    ConflictError,
    PayoutStateError,
    SignerCeilingError,
    SigningRefusedError,
    ValidationError,
    WalletFrozenError,
)
from domain.payouts import OperatorAction, PayoutStatus
from ledger import chart
from models.chain_transactions import ChainTransactionStatus as Status
from models.deposits import UserFreeze
from models.wallets import SignerCeiling
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


def finished_elsewhere(psbt: bytes, *, less_minor: int = 0) -> str:
    """Return what a device that broadcasts by itself would send, paying somewhat less."""
    parsed = PSBT.parse(psbt)
    parsed.outputs[0].value -= less_minor
    parsed.sign_with(HDKey.from_seed(SEED))
    return str(finalize_psbt(parsed).serialize().hex())


async def exported(books: CoinBooks, destination: str) -> tuple[str, bytes]:
    """Bring a payout to where it was handed out; return its batch and the PSBT."""
    batch_id = await waiting(books, destination)
    (task,) = await desk_of(books).tasks()
    return batch_id, await desk_of(books).export(task.attempt_id)


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


class TestExport:
    """Whoever has an exported transaction can broadcast it at any time, whatever we do."""

    async def test_is_recognized_when_it_was_broadcast_elsewhere(self, books: CoinBooks) -> None:
        destination = books.node.fresh_address()
        batch_id, psbt = await exported(books, destination)
        hot = chart.omnibus_hot(books.chain_id)
        before = await books.balance(hot)
        await books.node.send(finished_elsewhere(psbt))
        await books.mine(1)
        (row,) = await books.transactions()
        assert row.status == Status.MINED
        await books.mine(1)
        assert (await books.log.settle(batch_id)).is_done
        assert [p.status for p in await books.payouts()] == [PayoutStatus.SETTLED]
        assert await books.node.balance(destination) == 100_000
        (attempt,) = await books.attempts()
        assert await books.balance(hot) == before + 100_000 + (attempt.fee_minor or 0)

    async def test_is_mined_again_after_a_reorg(self, books: CoinBooks) -> None:
        destination = books.node.fresh_address()
        batch_id, psbt = await exported(books, destination)
        await books.node.send(finished_elsewhere(psbt))
        await books.mine(1)
        await books.node.reorg(1, is_remining=False)
        await books.look()
        books.wait(61)
        await books.runner.plan_bumps(batch_id)
        await books.signer.sign(batch_id)
        await books.runner.broadcast(batch_id)
        await books.mine(2)
        await books.log.settle(batch_id)
        assert [p.status for p in await books.payouts()] == [PayoutStatus.SETTLED]
        assert await books.node.balance(destination) == 100_000

    async def test_is_not_refunded(self, books: CoinBooks) -> None:
        batch_id, _ = await exported(books, books.node.fresh_address())
        (payout,) = await books.payouts()
        with pytest.raises(PayoutStateError, match="exported"):
            await books.log.refund(OperatorAction(payout.id, "op"))
        with pytest.raises(PayoutStateError):
            await books.log.retry(OperatorAction(payout.id, "op"))
        assert not (await books.log.settle(batch_id)).is_done

    async def test_is_refunded_when_its_coin_is_spent_otherwise(self, books: CoinBooks) -> None:
        before = await books.available()
        batch_id, psbt = await exported(books, books.node.fresh_address())
        await books.node.send(finished_elsewhere(psbt, less_minor=1_000))
        await books.mine(1)
        (payout,) = await books.payouts()
        with pytest.raises(PayoutStateError, match="exported"):
            await books.log.refund(OperatorAction(payout.id, "op"))
        await books.mine(1)
        await books.log.refund(OperatorAction(payout.id, "op"))
        assert await books.available() == before
        assert (await books.log.settle(batch_id)).is_done

    async def test_is_not_given_up_when_the_signer_would_refuse_it_now(
        self, books: CoinBooks
    ) -> None:
        batch_id, psbt = await exported(books, books.node.fresh_address())
        await books.execute("UPDATE asset SET enabled = false")
        outcome = await books.signer.sign(batch_id)
        assert (outcome.refused, outcome.waiting) == (0, 1)
        await books.log.give_up_refused(batch_id)
        (row,) = await books.transactions()
        assert (row.status, row.reason_code) == (Status.ALLOCATED, None)
        (task,) = await desk_of(books).tasks()
        with pytest.raises(SigningRefusedError):
            await desk_of(books).take_back(task.attempt_id, signed_elsewhere(psbt))

    @pytest.mark.parametrize(
        "statement",
        [
            "UPDATE utxo SET locked_by = NULL WHERE locked_by IS NOT NULL",
            "UPDATE payout SET chain_transaction_id = NULL",
            "UPDATE chain_transaction SET amount_minor = 1",
            "UPDATE chain_transaction SET status = 'abandoned'",
            "UPDATE chain_attempt SET fee_minor = 1",
        ],
    )
    async def test_is_sealed_against_the_worker(self, books: CoinBooks, statement: str) -> None:
        await exported(books, books.node.fresh_address())
        with pytest.raises(DBAPIError, match="signed"):
            async with books.worker.transaction() as session:
                await session.execute(text(statement))

    async def test_cannot_be_called_unexported_again(self, books: CoinBooks) -> None:
        await exported(books, books.node.fresh_address())
        for change in ("exported_at = NULL", "txid = NULL"):
            with pytest.raises(DBAPIError, match="signed"):
                async with books.signer_database.transaction() as session:
                    await session.execute(text(f"UPDATE chain_attempt SET {change}"))  # noqa: S608

    async def test_answers_the_same_again(self, books: CoinBooks) -> None:
        _, psbt = await exported(books, books.node.fresh_address())
        (task,) = await desk_of(books).tasks()
        assert task.is_exported
        books.wait(60)
        assert await desk_of(books).export(task.attempt_id) == psbt

    async def test_waits_while_its_customer_is_frozen(self, books: CoinBooks) -> None:
        await waiting(books, books.node.fresh_address())
        desk = desk_of(books)
        (task,) = await desk.tasks()
        async with books.worker.transaction() as session:
            session.add(UserFreeze(id="frz_1", user_id="u1"))
        with pytest.raises(WalletFrozenError):
            await desk.export(task.attempt_id)
        assert [attempt.exported_at for attempt in await books.attempts()] == [None]
        await books.execute("UPDATE user_freeze SET lifted_at = now()")
        assert await desk.export(task.attempt_id)

    async def test_is_not_taken_back_while_its_customer_is_frozen(self, books: CoinBooks) -> None:
        _, psbt = await exported(books, books.node.fresh_address())
        desk = desk_of(books)
        (task,) = await desk.tasks()
        async with books.worker.transaction() as session:
            session.add(UserFreeze(id="frz_1", user_id="u1"))
        with pytest.raises(WalletFrozenError):
            await desk.take_back(task.attempt_id, signed_elsewhere(psbt))

    async def test_keeps_to_the_signers_ceiling(self, books: CoinBooks) -> None:
        await books.top_up(UNIT)
        async with books.owner.transaction() as session:
            session.add(SignerCeiling(address=books.hot, asset="COIN", per_hour_minor=150_000))
        _, psbt = await exported(books, books.node.fresh_address())
        desk = desk_of(books)
        (first,) = await desk.tasks()
        await waiting(books, books.node.fresh_address())
        (second,) = [task for task in await desk.tasks() if not task.is_exported]
        with pytest.raises(SignerCeilingError):
            await desk.export(second.attempt_id)
        await desk.take_back(first.attempt_id, signed_elsewhere(psbt))
        books.wait(3_600)
        assert await desk.export(second.attempt_id)

    async def test_brings_our_own_earlier_transactions_along(self, books: CoinBooks) -> None:
        batch_id, psbt = await exported(books, books.node.fresh_address())
        (task,) = await desk_of(books).tasks()
        first = await desk_of(books).take_back(task.attempt_id, signed_elsewhere(psbt))
        await books.runner.broadcast(batch_id)
        await books.mine(2)
        await books.log.settle(batch_id)
        _, psbt = await exported(books, books.node.fresh_address())
        (scope,) = PSBT.parse(psbt).inputs
        assert scope.non_witness_utxo.txid().hex() == first
