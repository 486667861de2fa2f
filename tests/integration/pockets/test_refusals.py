"""What the signer and the database refuse to do with a pocket, whoever wrote the rows."""

import asyncio
from typing import Any

import pytest
from sqlalchemy.exc import DBAPIError
from sqlmodel import col, select

from domain.errors import SigningRefusedError
from domain.ids import new_id
from domain.payouts import OperatorAction, PayoutStatus
from domain.pockets import Route
from domain.ports import SignOutcome
from ledger import chart, rules
from models.chain_transactions import ChainAttempt, ChainTransaction
from models.deposits import ChainAddress
from pockets.wallets import ensure_pocket
from signing.checks import check_intent
from signing.runs import runs_paid_by
from tests.support.chain_world import DESTINATION
from tests.support.evm import CHAIN_ID
from tests.support.evm_books import ETHER, EvmBooks


@pytest.fixture
async def books(evm_books: EvmBooks) -> EvmBooks:
    """Return books of a user with something on a pocket."""
    await evm_books.ledger.post(
        rules.transfer(
            key=new_id("gift"),
            source=chart.CAPITAL,
            target=chart.available("u1"),
            asset="ETH",
            amount_minor=ETHER,
            at=evm_books.clock.now(),
        )
    )
    await evm_books.fund(ETHER // 2)
    return evm_books


async def allocated(books: EvmBooks, route: Route = Route.SEND) -> tuple[str, str]:
    """Bring a transfer from the pocket to where it awaits signing; return it and its batch."""
    destination = DESTINATION if route == Route.SEND else None
    accepted = await books.ask(route, ETHER // 8, destination=destination)
    standing = await books.spender.advance(accepted.payout_id)
    (batch_id,) = standing.batches
    await books.runner.prepare(batch_id)
    assert await books.log.allocate(batch_id)
    return accepted.payout_id, batch_id


async def tamper(books: EvmBooks, *statements: str) -> None:
    """Change rows as somebody who has switched every trigger off."""
    async with books.owner.transaction() as session:
        connection = await session.connection()
        await connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
        for statement in statements:
            await connection.exec_driver_sql(statement)


async def why_refused(books: EvmBooks, batch_id: str) -> str:
    """Return the signer's own reason, without consequences."""
    async with books.signer_database.transaction() as session:
        row = (
            await session.exec(
                select(ChainTransaction).where(ChainTransaction.batch_id == batch_id)
            )
        ).one()
        attempt = (
            await session.exec(
                select(ChainAttempt).where(col(ChainAttempt.chain_transaction_id) == row.id)
            )
        ).one()
        runs = await runs_paid_by(session, [row])
        with pytest.raises(SigningRefusedError) as refusal:
            await check_intent(session, row, attempt, runs=runs)
        return refusal.value.detail


class TestSigner:
    async def test_signs_what_its_user_asked_for(self, books: EvmBooks) -> None:
        _, batch_id = await allocated(books)
        assert await books.signer.sign(batch_id) == SignOutcome(signed=1, refused=0, waiting=0)

    @pytest.mark.parametrize(
        ("changed", "reason"),
        [
            ("DELETE FROM approval_decision", "its user did not authorize it"),
            (
                "UPDATE approval_decision SET payout_hash = 'x'",
                "its user authorized something else",
            ),
            (
                "UPDATE payout SET destination = '0x90F7' WHERE route = 'send'",
                "another destination",
            ),
            (
                "UPDATE payout SET amount_minor = amount_minor + 1 WHERE route = 'send'",
                "another amount",
            ),
            ("UPDATE payout SET user_id = 'u2' WHERE route = 'send'", "somebody else's pocket"),
            (
                "UPDATE chain_address SET user_id = 'u2' WHERE purpose = 'pocket'",
                "somebody else's pocket",
            ),
            (
                "UPDATE chain_address SET purpose = 'deposit' WHERE purpose = 'pocket'",
                "somebody else's pocket",
            ),
            ("UPDATE hold SET pocket = NULL", "its money is not in flight"),
            ("UPDATE hold SET owner = 'u2'", "its money is not in flight"),
            (
                "UPDATE chain_attempt SET max_fee_minor = max_fee_minor * 10 WHERE raw IS NULL",
                "costs more than was set aside",
            ),
            ("UPDATE payout SET route = 'fund' WHERE route = 'send'", "a fund from a pocket"),
        ],
    )
    async def test_refuses_what_was_changed(
        self, books: EvmBooks, changed: str, reason: str
    ) -> None:
        _, batch_id = await allocated(books)
        await tamper(books, changed)
        assert await why_refused(books, batch_id) == reason
        outcome = await books.signer.sign(batch_id)
        assert (outcome.signed, outcome.refused) == (0, 1)

    async def test_refuses_to_redeem_to_anywhere_but_the_hot_wallet(self, books: EvmBooks) -> None:
        _, batch_id = await allocated(books, Route.REDEEM)
        await tamper(
            books,
            "UPDATE payout SET destination = '0x90F7' WHERE route = 'redeem'",
            "UPDATE chain_transaction SET destination = '0x90F7' WHERE kind = 'pocket_spend'",
        )
        assert await why_refused(books, batch_id) == "not the hot wallet"

    async def test_refuses_to_sweep_a_pocket(self, books: EvmBooks) -> None:
        _, batch_id = await allocated(books, Route.REDEEM)
        await tamper(
            books, "UPDATE chain_transaction SET kind = 'sweep' WHERE status = 'allocated'"
        )
        assert await why_refused(books, batch_id) == "sweeps a user's own pocket"

    async def test_refuses_to_fund_another_pocket(self, books: EvmBooks) -> None:
        accepted = await books.ask(Route.FUND, 1_000)
        await books.pocket_desk.make_ready(accepted.payout_id)
        async with books.worker.transaction() as session:
            other = await ensure_pocket(session, "u2", CHAIN_ID, clock=books.clock)
        batch_id = await books.log.claim(
            chain_id=CHAIN_ID, wallet_address=books.hot, claim_key=new_id("claim")
        )
        assert batch_id is not None
        await books.runner.prepare(batch_id)
        assert await books.log.allocate(batch_id)
        theirs = f"SET destination = '{other.address}' WHERE destination <> ''"
        await tamper(books, f"UPDATE payout {theirs}", f"UPDATE chain_transaction {theirs}")
        assert await why_refused(books, batch_id) == "pays another pocket"

    async def test_of_a_refused_transfer_the_money_is_given_back_by_an_operator(
        self, books: EvmBooks
    ) -> None:
        transfer_id, batch_id = await allocated(books)
        await tamper(books, "UPDATE approval_decision SET payout_hash = 'x'")
        await books.signer.sign(batch_id)
        await books.log.give_up_refused(batch_id)
        await books.signer.sign(batch_id)
        await books.runner.broadcast(batch_id)
        outcome = await books.log.refund(OperatorAction(transfer_id, "operator"))
        assert outcome.status == PayoutStatus.REFUNDED
        await books.mine(3)
        assert await books.onchain() == (ETHER // 2, 0)
        # The filler's fee is ours, although the pocket paid it.
        await books.assert_books_equal_chain()
        again = await books.payout(await books.spent(Route.SEND, 1_000, destination=DESTINATION))
        assert again.status == PayoutStatus.SETTLED
        await books.assert_books_equal_chain()


class TestDatabase:
    async def test_lets_the_api_make_a_pocket(self, books: EvmBooks) -> None:
        async with books.api.transaction() as session:
            made = await ensure_pocket(session, "u2", CHAIN_ID, clock=books.clock)
        async with books.worker.transaction() as session:
            again = await ensure_pocket(session, "u2", CHAIN_ID, clock=books.clock)
        assert (made.id, made.address) == (again.id, again.address)

    @pytest.mark.parametrize(
        "change",
        [
            "UPDATE chain_address SET user_id = 'u2' WHERE purpose = 'pocket'",
            "UPDATE chain_address SET purpose = 'deposit' WHERE purpose = 'pocket'",
            "UPDATE payout SET route = 'payout' WHERE route = 'fund'",
            "UPDATE payout SET pocket_id = NULL WHERE route = 'fund'",
        ],
    )
    async def test_keeps_what_a_pocket_is(self, books: EvmBooks, change: str) -> None:
        with pytest.raises(DBAPIError):
            await books.execute(change)

    async def test_has_one_pocket_for_many_who_ask_at_once(self, books: EvmBooks) -> None:
        async def ask() -> ChainAddress:
            async with books.api.transaction() as session:
                return await ensure_pocket(session, "u2", CHAIN_ID, clock=books.clock)

        made: list[Any] = await asyncio.gather(*(ask() for _ in range(5)))
        assert len({row.address for row in made}) == 1
