import pytest
from sqlalchemy.exc import DBAPIError

from ledger import rules
from models.ledger import LedgerTransaction
from tests.support.books import AUTOMATIC, Books

GUARDED = (
    "ledger_transaction",
    "ledger_entry",
    "audit_chain",
    "approval_decision",
    "payout_event",
    "policy",
)

TWO_APPROVALS = {"rules": [{"asset": "*", "approvals": 2}]}


async def filled(books: Books) -> None:
    """Two deposits, three transfers, one decision, one policy beyond the fixture's."""
    await books.set_policy(TWO_APPROVALS)
    await books.deposit("u1", "ETH", 1_000)
    await books.deposit("u2", "ETH", 1_000)
    accepted = await books.freeze(amount_minor=100)
    await books.decide(accepted.payout_id, "a1")
    for n in range(3):
        await books.ledger.post(
            rules.transfer(
                key=f"t{n}",
                source="x",
                target="y",
                asset="ETH",
                amount_minor=n + 1,
                at=books.clock.now(),
            )
        )


@pytest.mark.parametrize("table", GUARDED)
class TestAppendOnlyTable:
    async def test_refuses_changes_even_from_its_owner(self, books: Books, table: str) -> None:
        await filled(books)
        column = {"audit_chain": "sequence", "policy": "version"}.get(table, "id")
        for statement in (
            f"UPDATE {table} SET {column} = {column}",  # noqa: S608
            f"DELETE FROM {table}",  # noqa: S608
            f"TRUNCATE {table} CASCADE",
        ):
            with pytest.raises(DBAPIError, match="append-only"):
                await books.execute(statement)
        assert await books.broken() is None


class TestHashChain:
    async def test_verifies_after_everything_that_happens(self, books: Books) -> None:
        await filled(books)
        await books.set_policy(AUTOMATIC)
        await books.settled(100, 200)
        await books.assert_sound()

    async def test_names_a_changed_entry(self, books: Books) -> None:
        await filled(books)
        await books.tamper(
            "UPDATE ledger_entry SET amount_minor = amount_minor * 2 WHERE transaction_id ="
            " (SELECT id FROM ledger_transaction WHERE key = 't1')"
        )
        assert "ledger t1 was changed" in str(await books.broken())

    async def test_names_a_changed_transaction(self, books: Books) -> None:
        await filled(books)
        await books.tamper("UPDATE ledger_transaction SET resource = 'z' WHERE key = 't2'")
        assert "ledger t2 was changed" in str(await books.broken())

    async def test_names_the_first_of_several(self, books: Books) -> None:
        await filled(books)
        await books.tamper(
            "UPDATE ledger_transaction SET rule = 'z' WHERE key = 't2'",
            "UPDATE ledger_transaction SET rule = 'z' WHERE key = 't0'",
        )
        assert "ledger t0 was changed" in str(await books.broken())

    async def test_names_a_deleted_transaction(self, books: Books) -> None:
        await filled(books)
        await books.tamper(
            "DELETE FROM ledger_entry WHERE transaction_id ="
            " (SELECT id FROM ledger_transaction WHERE key = 't1')",
            "DELETE FROM ledger_transaction WHERE key = 't1'",
        )
        assert "ledger t1 is missing" in str(await books.broken())

    async def test_names_a_changed_decision(self, books: Books) -> None:
        await filled(books)
        await books.tamper("UPDATE approval_decision SET decision = 'reject'")
        assert "decision dec_" in str(await books.broken())
        assert "was changed" in str(await books.broken())

    async def test_is_not_fooled_by_text_moved_between_fields(self, books: Books) -> None:
        await filled(books)
        await books.tamper("UPDATE approval_decision SET second_factor = 'totp|', note = NULL")
        assert "was changed" in str(await books.broken())

    async def test_names_a_changed_policy(self, books: Books) -> None:
        await filled(books)
        await books.tamper("UPDATE policy SET created_by = 'mallory' WHERE version = 2")
        assert "policy 2 was changed" in str(await books.broken())

    async def test_names_rows_that_were_slipped_in(self, books: Books) -> None:
        await filled(books)
        await books.tamper(
            "INSERT INTO approval_decision SELECT 'dec_x', payout_id, 'a2', decision,"
            " policy_version, payout_hash, second_factor, note, decided_at FROM approval_decision"
        )
        assert await books.broken() == "decision dec_x is not in the hash chain"

    async def test_names_a_policy_that_was_slipped_in(self, books: Books) -> None:
        await filled(books)
        await books.tamper(
            "INSERT INTO policy (version, document, created_at) SELECT 99, document, now()"
            " FROM policy LIMIT 1"
        )
        assert await books.broken() == "policy 99 is not in the hash chain"

    async def test_names_a_transaction_that_was_slipped_in(self, books: Books) -> None:
        await filled(books)
        await books.tamper(
            "INSERT INTO ledger_transaction (id, key, rule, content_hash, effective_at,"
            " recorded_at) VALUES (9999, 'evil', 'r', '-', now(), now())"
        )
        assert await books.broken() == "ledger transaction evil is not in the hash chain"

    async def test_names_entries_without_a_transaction(self, books: Books) -> None:
        await filled(books)
        await books.tamper(
            "INSERT INTO ledger_entry (id, transaction_id, account_id, asset, amount_minor,"
            " balance_after_minor, account_version, effective_at)"
            " SELECT 9999, 12345, id, asset, 5, balance_minor + 5, version + 1, now()"
            " FROM ledger_account WHERE code = 'y'",
            "UPDATE ledger_account SET balance_minor = balance_minor + 5, version = version + 1"
            " WHERE code = 'y'",
        )
        assert await books.broken() == "ledger entry 9999 is not in the hash chain"

    async def test_names_a_balance_that_does_not_follow(self, books: Books) -> None:
        await filled(books)
        await books.tamper(
            "UPDATE ledger_account SET balance_minor = balance_minor + 1 WHERE code = 'y'"
        )
        assert await books.broken() == "the balance of y in ETH does not follow from its entries"

    async def test_names_a_link_that_was_cut_out_or_rewritten(self, books: Books) -> None:
        await filled(books)
        await books.tamper("DELETE FROM audit_chain WHERE sequence = 4")
        assert await books.broken() == "link 4 of the hash chain is missing"

    async def test_is_not_healed_by_a_new_link_for_a_changed_row(self, books: Books) -> None:
        await filled(books)
        await books.tamper(
            "UPDATE ledger_transaction SET rule = 'z' WHERE key = 't1'",
            "UPDATE audit_chain SET content_hash = (SELECT c.content_hash FROM"
            " ledger_transaction t, LATERAL ledger_content(t.id, t.id) c WHERE t.key = 't1')"
            " WHERE reference = 't1'",
        )
        assert "of the hash chain was changed (ledger t1)" in str(await books.broken())

    async def test_links_every_transaction_once(self, books: Books) -> None:
        await filled(books)
        async with books.owner.transaction() as session:
            connection = await session.connection()
            found = await connection.exec_driver_sql(
                "SELECT kind, count(*), count(DISTINCT reference) FROM audit_chain GROUP BY kind"
            )
            counts = {kind: numbers for kind, *numbers in map(list, found)}
            transactions = await connection.exec_driver_sql(
                f"SELECT count(*) FROM {LedgerTransaction.__tablename__}"  # noqa: S608
            )
            assert counts["ledger"] == [transactions.scalar()] * 2
        assert counts["decision"] == [1, 1]
        assert counts["policy"] == [3, 3]
