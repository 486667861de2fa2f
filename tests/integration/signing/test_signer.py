import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, ProgrammingError

from domain.errors import InvariantError, KeyUnavailableError
from domain.payouts import DecisionKind, OperatorAction, PayoutStatus
from domain.ports import SignedAttempt, SignOutcome, UnsignedAttempt
from models.chain_transactions import ChainTransactionStatus as Status
from models.deposits import UserFreeze
from tests.support.books import HOT, OTHER_DESTINATION, Books

NOBODY = SignOutcome(signed=0, refused=0, waiting=0)
SIGNED = SignOutcome(signed=1, refused=0, waiting=0)
REFUSED = SignOutcome(signed=0, refused=1, waiting=0)
WAITING = SignOutcome(signed=0, refused=0, waiting=1)

COPY_OF_THE_TRANSACTION = (
    (
        "INSERT INTO chain_transaction SELECT 'ctx_copy', batch_id, chain_id, wallet_address,"
        " kind, asset, destination, amount_minor, gas_limit, 77, 'allocated', NULL, NULL,"
        " NULL, NULL, NULL, 0, 0, NULL, NULL, 0, now(), now() FROM chain_transaction"
    ),
    (
        "INSERT INTO chain_attempt (id, chain_transaction_id, sequence, max_fee_minor,"
        " priority_fee_minor, created_at) VALUES ('att_copy', 'ctx_copy', 0, 20, 2, now())"
    ),
)


@pytest.fixture(autouse=True)
async def funds(books: Books) -> None:
    for asset in ("ETH", "USD"):
        await books.deposit("u1", asset, 100_000)


async def approved(books: Books, *approvers: str, needed: int = 2) -> str:
    """Return a batch that awaits its signature, with one payout that these people approved."""
    await books.set_policy({"rules": [{"asset": "*", "approvals": needed}]})
    payout_id = (await books.freeze(amount_minor=100)).payout_id
    for approver in approvers:
        await books.decide(payout_id, approver)
    await books.execute("UPDATE payout SET status = 'ready' WHERE status = 'awaiting_approval'")
    return await prepared(books)


async def prepared(books: Books) -> str:
    batch_id = await books.claim()
    await books.runner.prepare(batch_id)
    await books.log.allocate(batch_id)
    return batch_id


class TestSigner:
    async def test_signs_what_was_approved(self, books: Books) -> None:
        batch_id = await approved(books, "a1", "a2")
        assert await books.signer.sign(batch_id) == SIGNED
        (row,) = await books.transactions(batch_id)
        (attempt,) = await books.attempts(row.id)
        assert row.status == Status.SIGNED
        assert attempt.raw is not None
        assert attempt.signed_at == books.clock.now()

    async def test_signs_what_needs_nobody(self, books: Books) -> None:
        assert await books.signer.sign(await books.allocated(100)) == SIGNED

    async def test_stores_before_anybody_sees(self, books: Books) -> None:
        batch_id = await books.allocated(100)
        await books.signer.sign(batch_id)
        assert books.chain.offered == []

    async def test_never_signs_an_attempt_twice(self, books: Books) -> None:
        batch_id = await books.allocated(100, 200)
        outcomes = await asyncio.gather(*(books.signer.sign(batch_id) for _ in range(6)))
        assert sum(outcome.signed for outcome in outcomes) == 2
        assert await books.signer.sign(batch_id) == NOBODY
        assert [a.account_nonce for a in books.keys.signed] == [0, 1]

    async def test_signs_nothing_before_nonces_are_allocated(self, books: Books) -> None:
        await books.freeze(amount_minor=100)
        batch_id = await books.claim()
        await books.runner.prepare(batch_id)
        assert await books.signer.sign(batch_id) == NOBODY

    async def test_keeps_nothing_of_a_batch_whose_key_fails(self, books: Books) -> None:
        batch_id = await books.allocated(100, 200)
        works = books.keys.sign

        async def failing(attempt: UnsignedAttempt) -> SignedAttempt:
            if attempt.account_nonce == 1:
                raise InvariantError
            return await works(attempt)

        books.keys.sign = failing  # type: ignore[method-assign]
        with pytest.raises(InvariantError):
            await books.signer.sign(batch_id)
        assert {r.status for r in await books.transactions(batch_id)} == {Status.ALLOCATED}
        books.keys.sign = works  # type: ignore[method-assign]
        assert (await books.signer.sign(batch_id)).signed == 2

    async def test_waits_and_says_so_while_a_key_is_missing(self, books: Books) -> None:
        batch_id = await approved(books, "a1", "a2")
        works = books.keys.sign

        async def missing(attempt: UnsignedAttempt) -> SignedAttempt:
            del attempt
            raise KeyUnavailableError

        books.keys.sign = missing  # type: ignore[method-assign]
        assert await books.signer.sign(batch_id) == WAITING
        assert (await books.batch(batch_id)).waiting_for == KeyUnavailableError.code
        books.keys.sign = works  # type: ignore[method-assign]
        assert await books.signer.sign(batch_id) == SIGNED
        assert (await books.batch(batch_id)).waiting_for is None


class TestRefusal:
    async def refuses(self, books: Books, batch_id: str) -> None:
        before = len(books.keys.signed)
        assert await books.signer.sign(batch_id) == REFUSED
        assert len(books.keys.signed) == before
        row = next(r for r in await books.transactions(batch_id) if r.reason_code)
        assert (row.status, row.reason_code) == (Status.ALLOCATED, "signing_refused")

    async def test_meets_what_nobody_approved(self, books: Books) -> None:
        await self.refuses(books, await approved(books))

    async def test_meets_what_too_few_approved(self, books: Books) -> None:
        await self.refuses(books, await approved(books, "a1"))

    async def test_meets_an_approval_of_its_requester(self, books: Books) -> None:
        batch_id = await approved(books, "a1", "a2")
        await books.execute(
            "UPDATE app_user SET roles = '{approver}' WHERE id = 'u2'",
            "UPDATE payout SET user_id = 'a1'",
            "UPDATE hold SET owner = 'a1'",
        )
        await self.refuses(books, batch_id)

    async def test_meets_an_approval_by_somebody_who_is_no_approver(self, books: Books) -> None:
        batch_id = await approved(books, "a1", "a2")
        await books.execute("UPDATE app_user SET roles = '{}' WHERE id = 'a2'")
        await self.refuses(books, batch_id)

    async def test_meets_an_approval_by_somebody_who_was_disabled(self, books: Books) -> None:
        batch_id = await approved(books, "a1", "a2")
        await books.execute("UPDATE app_user SET disabled_at = now() WHERE id = 'a2'")
        await self.refuses(books, batch_id)

    async def test_meets_a_rejection(self, books: Books) -> None:
        batch_id = await approved(books, "a1", "a2", needed=2)
        (payout,) = await books.payouts()
        await books.execute(
            "INSERT INTO approval_decision SELECT 'dec_no', payout_id, 'a3', 'reject',"  # noqa: S608
            " policy_version, payout_hash, 'totp', NULL, decided_at FROM approval_decision"
            f" WHERE payout_id = '{payout.id}' LIMIT 1"
        )
        await self.refuses(books, batch_id)

    @pytest.mark.parametrize(
        "change",
        [
            "amount_minor = 101",
            f"destination = '{OTHER_DESTINATION}'",
            "asset = 'USD'",
        ],
    )
    @pytest.mark.parametrize("tables", [("chain_transaction",), ("payout",)])
    async def test_meets_a_row_that_was_changed(
        self, books: Books, change: str, tables: tuple[str, ...]
    ) -> None:
        batch_id = await books.allocated(100)
        await books.execute(*(f"UPDATE {table} SET {change}" for table in tables))  # noqa: S608
        await self.refuses(books, batch_id)

    @pytest.mark.parametrize(
        "change",
        [
            "amount_minor = 101",
            f"destination = '{OTHER_DESTINATION}'",
            "asset = 'USD'",
        ],
    )
    async def test_meets_an_approved_payout_that_was_changed_everywhere(
        self, books: Books, change: str
    ) -> None:
        batch_id = await approved(books, "a1", "a2")
        await books.execute(
            f"UPDATE chain_transaction SET {change}",  # noqa: S608
            f"UPDATE payout SET {change}",  # noqa: S608
        )
        await self.refuses(books, batch_id)

    async def test_meets_an_amount_that_was_never_captured(self, books: Books) -> None:
        batch_id = await books.allocated(100)
        await books.execute(
            "UPDATE chain_transaction SET amount_minor = 5000",
            "UPDATE payout SET amount_minor = 5000",
        )
        await self.refuses(books, batch_id)

    @pytest.mark.parametrize(
        "status", [PayoutStatus.READY, PayoutStatus.REFUNDED, PayoutStatus.SETTLED]
    )
    async def test_meets_a_payout_that_is_not_in_a_batch(
        self, books: Books, status: PayoutStatus
    ) -> None:
        batch_id = await books.allocated(100)
        await books.execute(f"UPDATE payout SET status = '{status}'")  # noqa: S608
        await self.refuses(books, batch_id)

    async def test_meets_a_transaction_without_a_payout(self, books: Books) -> None:
        batch_id = await books.allocated(100)
        await books.execute("UPDATE payout SET chain_transaction_id = NULL")
        await self.refuses(books, batch_id)

    async def test_meets_a_copy_of_a_payout_that_leans_on_the_same_hold(self, books: Books) -> None:
        batch_id = await books.allocated(100)
        assert await books.signer.sign(batch_id) == SIGNED
        await books.execute(
            *COPY_OF_THE_TRANSACTION,
            "INSERT INTO payout SELECT 'pay_copy', user_id, principal, 'other key', request_hash,"
            " asset, chain_id, amount_minor, fee_minor, destination, note, status, reason_code,"
            " policy_version, approvals_required, approval_expires_at, hold_id, 'ctx_copy',"
            " notified_at, created_at, updated_at FROM payout",
        )
        await self.refuses(books, batch_id)

    async def test_meets_a_fee_above_the_ceiling(self, books: Books) -> None:
        batch_id = await books.allocated(100)
        await books.execute("UPDATE chain_attempt SET max_fee_minor = 1001")
        await self.refuses(books, batch_id)

    @pytest.mark.parametrize("gas", ["0", "1000001", "NULL"])
    async def test_meets_an_absurd_gas_limit(self, books: Books, gas: str) -> None:
        batch_id = await books.allocated(100)
        await books.execute(f"UPDATE chain_transaction SET gas_limit = {gas}")  # noqa: S608
        await self.refuses(books, batch_id)

    async def test_meets_one_of_our_own_wallets(self, books: Books) -> None:
        batch_id = await books.allocated(100)
        await books.execute(
            'INSERT INTO blockchain_wallet (uuid, chain_id, address, pub_key, type, "primary",'
            " next_account_nonce, inserted_at, updated_at) SELECT 'w2', chain_id,"
            " destination, '04', 'cold', false, 0, now(), now() FROM payout"
        )
        await self.refuses(books, batch_id)

    async def test_meets_a_disabled_asset(self, books: Books) -> None:
        batch_id = await books.allocated(100)
        await books.execute("UPDATE asset SET enabled = false")
        await self.refuses(books, batch_id)

    async def test_does_not_stop_the_rest_of_the_batch(self, books: Books) -> None:
        batch_id = await books.allocated(100, 200, 300)
        await books.execute("UPDATE payout SET amount_minor = 1 WHERE amount_minor = 200")
        outcome = await books.signer.sign(batch_id)
        assert outcome == SignOutcome(signed=2, refused=1, waiting=0)

    @pytest.mark.parametrize("change", [f"destination = '{OTHER_DESTINATION}'", "amount_minor = 1"])
    async def test_meets_a_filler_that_pays_somebody(self, books: Books, change: str) -> None:
        batch_id = await books.allocated(100)
        (payout,) = await books.payouts()
        await books.log.refund(OperatorAction(payout.id, "op"))
        await books.execute(
            f"UPDATE chain_transaction SET {change} WHERE kind = 'nonce_filler'"  # noqa: S608
        )
        await self.refuses(books, batch_id)

    async def test_spares_an_honest_filler_and_its_kind_is_checked(self, books: Books) -> None:
        batch_id = await books.allocated(100)
        (payout,) = await books.payouts()
        await books.log.refund(OperatorAction(payout.id, "op"))
        assert await books.signer.sign(batch_id) == SIGNED
        (attempt,) = books.keys.signed
        assert attempt.transfer.destination == HOT
        assert attempt.transfer.amount_minor == 0
        assert attempt.transfer.contract_address is None

    async def test_of_a_replacement_leaves_the_first_attempt_on_its_way(self, books: Books) -> None:
        batch_id = await books.broadcast(100)
        books.wait(61)
        await books.runner.plan_bumps(batch_id)
        await books.execute("UPDATE chain SET max_fee_ceiling_minor = 1")
        assert await books.signer.sign(batch_id) == REFUSED
        (row,) = await books.transactions(batch_id)
        assert (row.status, row.reason_code) == (Status.BROADCAST, None)

    async def test_meets_a_replacement_that_pays_somebody_else_too(self, books: Books) -> None:
        batch_id = await books.broadcast(100)
        books.wait(61)
        await books.runner.plan_bumps(batch_id)
        other = await books.freeze(amount_minor=5)
        (row,) = await books.transactions(batch_id)
        await books.execute(
            f"UPDATE payout SET chain_transaction_id = '{row.id}' WHERE id = '{other.payout_id}'"  # noqa: S608
        )
        assert await books.signer.sign(batch_id) == REFUSED


class TestFrozenCustomer:
    async def frozen(self, books: Books, user_id: str = "u1") -> None:
        async with books.worker.transaction() as session:
            session.add(UserFreeze(id=f"frz_{user_id}", user_id=user_id))

    async def lifted(self, books: Books) -> None:
        await books.execute("UPDATE user_freeze SET lifted_at = now()")

    async def test_is_paid_nothing_until_the_freeze_is_lifted(self, books: Books) -> None:
        batch_id = await books.allocated(100)
        await self.frozen(books)
        assert await books.signer.sign(batch_id) == WAITING
        assert books.keys.signed == []
        assert (await books.batch(batch_id)).waiting_for == "wallet_frozen"
        await self.lifted(books)
        assert await books.signer.sign(batch_id) == SIGNED
        assert (await books.batch(batch_id)).waiting_for is None

    async def test_can_be_refunded_while_the_signer_waits(self, books: Books) -> None:
        batch_id = await books.allocated(100)
        before = await books.money()
        await self.frozen(books)
        await books.signer.sign(batch_id)
        (payout,) = await books.payouts()
        outcome = await books.log.refund(OperatorAction(payout.id, "op"))
        assert outcome.status == PayoutStatus.REFUNDED
        assert (await books.money())[0] == before[0] + 110

    async def test_does_not_keep_later_nonces_waiting(self, books: Books) -> None:
        await books.deposit("u2", "ETH", 1_000)
        await books.freeze(amount_minor=100)
        batch_id = await books.allocated(200, user_id="u2")
        await self.frozen(books)
        assert await books.signer.sign(batch_id) == SignOutcome(signed=1, refused=0, waiting=1)
        await books.runner.broadcast(batch_id)
        await books.runner.plan_bumps(batch_id)
        assert await books.signer.sign(batch_id) == SIGNED
        assert sorted(a.account_nonce for a in books.keys.signed) == [0, 1]
        (waiting,) = [p for p in await books.payouts() if p.user_id == "u1"]
        assert waiting.status == PayoutStatus.READY
        await self.lifted(books)
        again = await prepared(books)
        assert await books.signer.sign(again) == SIGNED
        assert [a.transfer.amount_minor for a in books.keys.signed if a.account_nonce == 2] == [100]
        await books.assert_sound()

    async def test_can_be_refunded_after_it_was_set_aside(self, books: Books) -> None:
        before = await books.money()
        batch_id = await books.allocated(100)
        await self.frozen(books)
        await books.runner.plan_bumps(batch_id)
        (payout,) = await books.payouts()
        assert payout.status == PayoutStatus.READY
        await books.log.refund(OperatorAction(payout.id, "op"))
        assert await books.money() == before
        await books.assert_sound()

    async def test_does_not_stop_the_replacement_of_what_is_on_its_way(self, books: Books) -> None:
        batch_id = await books.broadcast(100)
        await self.frozen(books)
        books.wait(61)
        await books.runner.plan_bumps(batch_id)
        assert await books.signer.sign(batch_id) == SIGNED


class TestSealing:
    """Once bytes exist for an intent, the intent stands: even a worker gone mad pays it once."""

    @pytest.mark.parametrize(
        "change",
        [
            "account_nonce = 99",
            "amount_minor = 99",
            f"destination = '{OTHER_DESTINATION}'",
            "asset = 'USD'",
            "kind = 'nonce_filler'",
        ],
    )
    async def test_keeps_a_signed_transaction_as_it_is(self, books: Books, change: str) -> None:
        batch_id = await books.allocated(100)
        await books.signer.sign(batch_id)
        with pytest.raises(Exception, match="signed"):
            await books.execute(f"UPDATE chain_transaction SET {change}")  # noqa: S608

    @pytest.mark.parametrize(
        "change", ["raw = NULL", "txid = NULL", "signed_at = NULL", "max_fee_minor = 1"]
    )
    async def test_keeps_a_signed_attempt_as_it_is(self, books: Books, change: str) -> None:
        batch_id = await books.allocated(100)
        await books.signer.sign(batch_id)
        with pytest.raises(Exception, match="signed"):
            await books.execute(f"UPDATE chain_attempt SET {change}")  # noqa: S608

    async def test_keeps_a_payout_with_its_signed_transaction(self, books: Books) -> None:
        batch_id = await books.allocated(100)
        await books.signer.sign(batch_id)
        with pytest.raises(Exception, match="signed"):
            await books.execute(
                *COPY_OF_THE_TRANSACTION, "UPDATE payout SET chain_transaction_id = 'ctx_copy'"
            )

    @pytest.mark.parametrize(
        "column", ["raw = '\\x00'", "txid = '0x00'", "signed_at = now()", "exported_at = now()"]
    )
    async def test_lets_the_signer_alone_write_bytes(self, books: Books, column: str) -> None:
        await books.allocated(100)
        with pytest.raises(ProgrammingError, match="permission denied"):
            async with books.worker.transaction() as session:
                await session.execute(text(f"UPDATE chain_attempt SET {column}"))  # noqa: S608

    @pytest.mark.parametrize(
        ("column", "value"),
        [
            ("raw", "'\\x00'"),
            ("txid", "'0x00'"),
            ("signed_at", "now()"),
            ("exported_at", "now()"),
        ],
    )
    async def test_lets_nobody_plan_what_is_signed_already(
        self, books: Books, column: str, value: str
    ) -> None:
        await books.allocated(100)
        with pytest.raises(DBAPIError, match="planned before it is signed"):
            async with books.worker.transaction() as session:
                await session.execute(
                    text(
                        "INSERT INTO chain_attempt (id, chain_transaction_id, sequence,"  # noqa: S608
                        f" max_fee_minor, priority_fee_minor, created_at, {column}) SELECT"
                        f" 'att_new', id, 1, 20, 2, now(), {value} FROM chain_transaction"
                    )
                )

    async def test_keeps_a_signed_transaction_from_being_given_up(self, books: Books) -> None:
        batch_id = await books.allocated(100)
        await books.signer.sign(batch_id)
        with pytest.raises(DBAPIError, match="not given up"):
            async with books.worker.transaction() as session:
                await session.execute(text("UPDATE chain_transaction SET status = 'abandoned'"))

    async def test_keeps_its_rows_from_being_deleted(self, books: Books) -> None:
        batch_id = await books.allocated(100)
        await books.signer.sign(batch_id)
        with pytest.raises(Exception, match="signed"):
            await books.execute("DELETE FROM chain_attempt")


class TestCeiling:
    @pytest.fixture(autouse=True)
    async def ceiling(self, books: Books, funds: None) -> None:
        del funds
        await books.execute(
            "INSERT INTO signer_ceiling SELECT address, 'ETH', 250 FROM blockchain_wallet"
        )

    async def test_signs_what_fits_and_lets_the_rest_wait(self, books: Books) -> None:
        batch_id = await books.allocated(100, 100, 100, 40)
        outcome = await books.signer.sign(batch_id)
        assert (outcome.signed, outcome.refused, outcome.waiting) == (3, 0, 1)
        assert sum(a.transfer.amount_minor for a in books.keys.signed) <= 250
        assert (await books.batch(batch_id)).waiting_for == "signer_ceiling_reached"

    async def test_goes_on_when_the_hour_has_moved(self, books: Books) -> None:
        batch_id = await books.allocated(200)
        await books.signer.sign(batch_id)
        second = await books.allocated(100)
        assert await books.signer.sign(second) == WAITING
        books.clock.advance(timedelta(minutes=59))
        assert await books.signer.sign(second) == WAITING
        books.clock.advance(timedelta(minutes=1))
        assert await books.signer.sign(second) == SIGNED
        assert (await books.batch(second)).waiting_for is None

    async def test_is_not_passed_by_batches_in_parallel(self, books: Books) -> None:
        batches = [await books.allocated(100) for _ in range(6)]
        outcomes = await asyncio.gather(*(books.signer.sign(batch) for batch in batches))
        assert sum(outcome.signed for outcome in outcomes) == 2

    async def test_does_not_count_a_replacement_again(self, books: Books) -> None:
        batch_id = await books.broadcast(200)
        books.wait(61)
        await books.runner.plan_bumps(batch_id)
        assert await books.signer.sign(batch_id) == SIGNED
        assert await books.signer.sign(await books.allocated(50)) == SIGNED

    async def test_counts_each_asset_apart(self, books: Books) -> None:
        assert await books.signer.sign(await books.allocated(1_000, asset="USD")) == SIGNED
        assert await books.signer.sign(await books.allocated(250)) == SIGNED


class TestDecisions:
    async def test_are_not_undone_by_rejecting_late(self, books: Books) -> None:
        batch_id = await approved(books, "a1", "a2")
        (payout,) = await books.payouts()
        with pytest.raises(Exception, match="nothing to decide"):
            await books.decide(payout.id, "a3", DecisionKind.REJECT)
        assert await books.signer.sign(batch_id) == SIGNED
