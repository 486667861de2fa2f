"""What a worker's role may not do, even while the signer is in the middle of its work."""

import asyncio

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlmodel import select

from domain.coins import KeyPosition
from domain.hd import derive_address
from models.chain_transactions import ChainAttempt, ChainTransaction
from models.deposits import ChainAddress, HdAccount, Utxo
from sweeps.coins import CoinSweeper
from tests.support.coin_books import UNIT, CoinBooks


@pytest.fixture
async def books(coin_books: CoinBooks) -> CoinBooks:
    await coin_books.top_up(UNIT, UNIT // 2, UNIT // 4)
    await coin_books.give("u1", UNIT)
    return coin_books


async def allocated(books: CoinBooks) -> str:
    await books.freeze(books.node.fresh_address(), 200_000)
    batch_id = await books.claim()
    await books.runner.prepare(batch_id)
    assert await books.log.allocate(batch_id)
    return batch_id


@pytest.mark.parametrize("utxo_node", ["development"], indirect=True)
class TestWorkerRole:
    @pytest.mark.parametrize(
        "statement",
        [
            "UPDATE utxo SET locked_by = NULL WHERE locked_by IS NOT NULL",
            "UPDATE payout SET chain_transaction_id = NULL",
        ],
    )
    async def test_waits_for_the_signer_and_is_refused(
        self, books: CoinBooks, statement: str
    ) -> None:
        await allocated(books)
        async with books.signer_database.transaction() as signing:
            await signing.execute(text("SELECT id FROM chain_transaction FOR UPDATE"))
            await signing.execute(
                text("UPDATE chain_attempt SET raw = '\\x00', txid = '00', signed_at = now()")
            )

            async def tamper() -> None:
                async with books.worker.transaction() as session:
                    await session.execute(text(statement))

            tampering = asyncio.create_task(tamper())
            done, _ = await asyncio.wait([tampering], timeout=0.5)
            assert not done, "it did not wait for the signer"
        with pytest.raises(DBAPIError, match="signed"):
            await tampering

    async def test_cannot_write_one_coin_twice(self, books: CoinBooks) -> None:
        coin = (await books.coins())[0]
        with pytest.raises(IntegrityError, match="utxo_outpoint"):
            async with books.worker.transaction() as session:
                session.add(
                    Utxo(
                        chain_id=coin.chain_id,
                        txid=coin.txid.upper(),
                        output_index=coin.output_index,
                        address_id=coin.address_id,
                        amount_minor=1,
                        is_hot=True,
                    )
                )

    async def test_cannot_have_another_wallet_pay(self, books: CoinBooks) -> None:
        batch_id = await allocated(books)
        async with books.worker.transaction() as session:
            await session.execute(text("UPDATE chain_transaction SET wallet_address = 'nobody'"))
        outcome = await books.signer.sign(batch_id)
        assert (outcome.signed, outcome.refused) == (0, 1)

    async def test_cannot_have_the_hot_wallet_swept_into_fees(
        self, books: CoinBooks, caplog: pytest.LogCaptureFixture
    ) -> None:
        await books.node.fund(await books.address(), UNIT // 8)
        await books.mine(2)
        sweeper = CoinSweeper(books.worker, books.outlet, books.clock)
        (batch_id,) = (await sweeper.plan(is_forced=True)).batches
        async with books.worker.transaction() as session:
            (coin,) = await session.exec(select(Utxo).where(Utxo.amount_minor == UNIT))
            (row,) = await session.exec(select(ChainTransaction))
            (attempt,) = await session.exec(select(ChainAttempt))
            coin.locked_by, coin.is_hot = row.id, False
            row.amount_minor += UNIT - 1_000
            attempt.fee_minor = (attempt.fee_minor or 0) + 1_000
        assert (await books.signer.sign(batch_id)).refused == 1
        assert "sweeps the hot wallet" in caplog.text


@pytest.mark.parametrize("utxo_node", ["development"], indirect=True)
class TestApiRole:
    def change_address(self, account: HdAccount, *, branch: int) -> ChainAddress:
        derived = derive_address(account.chain_id, account.xpub, KeyPosition(1, 1))
        return ChainAddress(
            id="adr_squatted",
            chain_id=account.chain_id,
            address=derived.address,
            lookup_key=derived.lookup_key,
            branch=branch,
            index=1,
        )

    async def account(self, books: CoinBooks) -> HdAccount:
        async with books.owner.transaction() as session:
            return await session.get_one(HdAccount, books.chain_id)

    async def test_cannot_write_an_address_of_our_own(self, books: CoinBooks) -> None:
        address = self.change_address(await self.account(books), branch=1)
        with pytest.raises(DBAPIError, match="permission denied"):
            async with books.api.transaction() as session:
                session.add(address)

    async def test_cannot_jam_allocation_with_the_next_one_as_handed_out(
        self, books: CoinBooks
    ) -> None:
        account = await self.account(books)
        assert account.next_internal_index == 1
        async with books.api.transaction() as session:
            session.add(self.change_address(account, branch=0))
        destination = books.node.fresh_address()
        await books.freeze(destination, 100_000)
        batch_id = await books.broadcast()
        await books.mine(2)
        assert (await books.log.settle(batch_id)).is_done
        assert await books.node.balance(destination) == 100_000
        await books.assert_books_equal_chain()

    async def test_cannot_have_strangers_payments_credited(self, books: CoinBooks) -> None:
        stranger = books.node.fresh_address()
        ours = await books.address()
        script = (await books.node.rpc("validateaddress", stranger))["scriptPubKey"]
        async with books.owner.transaction() as session:
            await session.execute(
                text("UPDATE chain_address SET lookup_key = :key WHERE address = :ours"),
                {"key": bytes.fromhex(script), "ours": ours},
            )
        await books.node.fund(stranger, 70_000)
        await books.mine(3)
        assert await books.all_deposits() == []


@pytest.mark.parametrize("utxo_node", ["development"], indirect=True)
class TestShortage:
    async def test_sends_back_what_got_no_coins_and_pays_the_rest(self, books: CoinBooks) -> None:
        await books.execute("UPDATE chain SET outputs_max = 1")
        for amount_minor in (UNIT // 5 * 4, UNIT // 10 * 9):
            await books.give("u1", UNIT)
            await books.freeze(books.node.fresh_address(), amount_minor)
        batch_id = await books.broadcast()
        assert sorted(p.status for p in await books.payouts()) == ["batched", "ready"]
        await books.mine(2)
        assert (await books.log.settle(batch_id)).is_done
