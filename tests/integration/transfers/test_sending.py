"""Sending money to another user: what is moved, what is refused, and that it happens once."""

import asyncio
from datetime import timedelta
from typing import Any

from domain.ids import new_id
from domain.money import UINT256_MAX
from models.identity import Role, Scope
from tests.support.bank import code_of
from tests.support.senders import FUNDS_MINOR, Street


class TestSending:
    async def test_moves_money_by_handle_id_and_link(self, street: Street) -> None:
        ada, bob = await street.named("ada"), await street.named("bob")

        answers = [
            await street.send(ada, "@BOB"),
            await street.send(ada, bob.id),
            await street.send(ada, "strongroom:@bob"),
            await street.send(
                ada, "strongroom:@bob?asset=ETH&amount=100", None, asset=None, note="x"
            ),
        ]

        assert [answer.status_code for answer in answers] == [201] * 4
        assert await street.available(ada) == FUNDS_MINOR - 400
        assert await street.available(bob) == FUNDS_MINOR + 400
        await street.assert_sound()

    async def test_answers_with_both_parties_and_no_fee(self, street: Street) -> None:
        ada, bob = await street.named("ada"), await street.named("bob")

        answer = await street.send(ada, "@bob", note="for lunch")

        made = answer.json()
        assert answer.headers["Location"].endswith(f"/v1/transfers/{made['id']}")
        assert made == {
            "id": made["id"],
            "sender": {"user_id": ada.id, "handle": "ada"},
            "recipient": {"user_id": bob.id, "handle": "bob"},
            "asset": "ETH",
            "amount": "100",
            "fee": "0",
            "note": "for lunch",
            "money_request_id": None,
            "status": "completed",
            "created_at": made["created_at"],
            "history": [{"status": "completed", "detail": None, "at": made["created_at"]}],
        }

    async def test_is_one_ledger_transaction_that_names_it(self, street: Street) -> None:
        ada, bob = await street.person("ada"), await street.person("bob")

        made = (await street.send(ada, bob.id)).json()

        (posted,) = await street.posted()
        assert posted.key == f"{made['id']}:transfer"
        assert posted.resource == made["id"]

    async def test_tells_both_at_once(self, street: Street) -> None:
        ada, bob = await street.person("ada"), await street.person("bob")

        made = (await street.send(ada, bob.id)).json()

        assert await street.events(ada) == [("transfer.sent", made["id"])]
        assert await street.events(bob) == [("transfer.received", made["id"])]

    async def test_moves_all_that_there_is_and_not_one_more(self, street: Street) -> None:
        ada, bob = await street.person("ada"), await street.person("bob")

        too_much = await street.send(ada, bob.id, str(FUNDS_MINOR + 1))
        all_of_it = await street.send(ada, bob.id, str(FUNDS_MINOR))

        assert code_of(too_much) == "insufficient_available_balance"
        assert all_of_it.status_code == 201
        assert await street.available(ada) == 0

    async def test_is_listed_for_both_sides_and_nobody_else(self, street: Street) -> None:
        ada, bob, eve = [await street.person(name) for name in ("ada", "bob", "eve")]
        made = (await street.send(ada, bob.id)).json()["id"]

        async def ids(person: Any, query: str = "") -> list[str]:
            answer = await street.get(f"/v1/transfers{query}", person)
            return [item["id"] for item in answer.json()["items"]]

        assert await ids(ada) == await ids(bob) == [made]
        assert await ids(ada, "?side=sent") == await ids(bob, "?side=received") == [made]
        assert await ids(ada, "?side=received") == await ids(bob, "?side=sent") == []
        assert await ids(ada, "?asset=USD") == []
        assert await ids(eve) == []
        assert code_of(await street.get(f"/v1/transfers/{made}", eve)) == "transfer_not_found"
        assert code_of(await street.get("/v1/transfers?scope=all", eve)) == "role_missing"

    async def test_is_seen_by_staff(self, street: Street) -> None:
        ada, bob = await street.person("ada"), await street.person("bob")
        auditor = await street.person("auditor", Role.AUDITOR)
        made = (await street.send(ada, bob.id)).json()["id"]

        listed = (await street.get("/v1/transfers?scope=all", auditor)).json()["items"]

        assert [item["id"] for item in listed] == [made]
        assert (await street.get(f"/v1/transfers/{made}", auditor)).status_code == 200


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"amount": "0"}, "invalid_amount"),
    ({"amount": str(UINT256_MAX + 1)}, "invalid_amount"),
    ({"amount": "9" * 79}, "validation_failed"),
    ({"amount": "-1"}, "validation_failed"),
    ({"amount": "1.5"}, "validation_failed"),
    ({"amount": 100}, "validation_failed"),
    ({"amount": None}, "validation_failed"),
    ({"amount": str(UINT256_MAX)}, "insufficient_available_balance"),
    ({"asset": "DOGE"}, "unknown_asset"),
    ({"asset": None}, "validation_failed"),
    ({"asset": "USD"}, "insufficient_available_balance"),
    ({"note": "x" * 201}, "validation_failed"),
    ({"note": "\x00"}, "validation_failed"),
    ({"fee": "1"}, "validation_failed"),
    ({"to": "@nobody_there"}, "recipient_not_found"),
    ({"to": "usr_01JD3ZQ6V9K3E8M5T2R7W4X1YB"}, "recipient_not_found"),
    ({"to": "bob"}, "validation_failed"),
    ({"to": "strongroom:bob"}, "invalid_payment_link"),
    ({"to": "strongroom:@bob?amount=1"}, "invalid_payment_link"),
    ({"to": "strongroom:@bob?asset=ETH&amount=99"}, "validation_failed"),
    ({"to": "strongroom:@bob?asset=USD"}, "validation_failed"),
    (
        {"to": "strongroom:@bob?request=mrq_01JD3ZQ6V9K3E8M5T2R7W4X1YB"},
        "money_request_not_found",
    ),
    ({"to": "@ada"}, "own_transfer"),
]


class TestRefusal:
    async def test_leaves_the_books_alone(self, street: Street) -> None:
        ada, bob = await street.named("ada"), await street.named("bob")
        allowed = []
        for changed, code in REFUSED:
            # A while later each time: what is not found uses up what one may look up.
            street.clock.advance(timedelta(minutes=1))
            answer = await street.send(ada, **({"to": "@bob"} | changed))
            if answer.json().get("code") != code:
                allowed.append((changed, code, answer.json()))

        assert allowed == []
        assert await street.available(ada) == await street.available(bob) == FUNDS_MINOR
        assert not await street.transfers()
        assert not await street.posted()
        assert await street.events(ada) == await street.events(bob) == []

    async def test_uses_no_code_up(self, street: Street) -> None:
        ada, bob = await street.person("ada"), await street.person("bob")
        await street.send(ada, bob.id, str(FUNDS_MINOR + 1))

        body = {"to": bob.id, "asset": "ETH", "amount": "100"}
        answer = await street.call(
            "POST", "/v1/transfers", ada, body, key=new_id("key"), code=ada.code()
        )

        assert answer.status_code == 201

    async def test_of_a_frozen_sender_but_not_of_a_frozen_recipient(self, street: Street) -> None:
        ada, bob = await street.person("ada"), await street.person("bob")
        freeze = "INSERT INTO user_freeze (id, user_id, created_at) VALUES ('f', %s, now())"
        await street.execute(freeze, ada.id)

        assert code_of(await street.send(ada, bob.id)) == "wallet_frozen"
        assert (await street.send(bob, ada.id)).status_code == 201

    async def test_of_disabled_users_on_either_side(self, street: Street) -> None:
        ada, bob = await street.named("ada"), await street.named("bob")
        await street.execute("UPDATE app_user SET disabled_at = now() WHERE id = %s", bob.id)

        assert code_of(await street.send(ada, "@bob")) == "recipient_not_found"
        assert code_of(await street.send(ada, bob.id)) == "recipient_not_found"
        assert code_of(await street.send(bob, "@ada")) == "session_invalid"

    async def test_of_a_disabled_asset(self, street: Street) -> None:
        ada, bob = await street.person("ada"), await street.person("bob")
        await street.execute("UPDATE asset SET enabled = false WHERE code = 'ETH'")

        assert code_of(await street.send(ada, bob.id)) == "unknown_asset"

    async def test_of_an_api_key_without_the_scope(self, street: Street) -> None:
        ada, bob = await street.person("ada"), await street.person("bob")
        for scope, code in ((Scope.READ, "scope_missing"), (Scope.PAYOUTS_WRITE, None)):
            issued = await street.identity.api_keys.issue(
                ada.id, name="shop", scopes=[scope], expires_at=None
            )
            headers = {"Authorization": f"Bearer {issued.token}"}
            body = {"to": bob.id, "asset": "ETH", "amount": "1"}
            answer = await street.call(
                "POST",
                "/v1/transfers",
                ada,
                body,
                key=new_id("key"),
                code=ada.code(),
                headers=headers,
            )
            assert answer.json().get("code") == code


class TestSecondFactor:
    async def test_is_asked_for(self, street: Street) -> None:
        ada, bob = await street.person("ada"), await street.person("bob")
        body = {"to": bob.id, "asset": "ETH", "amount": "100"}

        without = await street.call("POST", "/v1/transfers", ada, body, key="k")
        wrong = await street.call(
            "POST", "/v1/transfers", ada, body, key="k", code=ada.wrong_code()
        )

        assert code_of(without) == "second_factor_required"
        assert code_of(wrong) == "second_factor_invalid"
        assert await street.transfers() == []

    async def test_locks_after_wrong_codes_though_nothing_was_sent(self, street: Street) -> None:
        ada, bob = await street.person("ada"), await street.person("bob")
        body = {"to": bob.id, "asset": "ETH", "amount": "100"}

        codes = [
            code_of(
                await street.call(
                    "POST", "/v1/transfers", ada, body, key="k", code=ada.wrong_code()
                )
            )
            for _ in range(6)
        ]

        assert codes == ["second_factor_invalid"] * 5 + ["second_factor_locked"]

    async def test_is_good_for_one_transfer_alone(self, street: Street) -> None:
        ada, bob = await street.person("ada"), await street.person("bob")
        body = {"to": bob.id, "asset": "ETH", "amount": "100"}
        await street.call("POST", "/v1/transfers", ada, body, key="k1", code=ada.code())

        second = await street.call("POST", "/v1/transfers", ada, body, key="k2", code=ada.code())

        assert code_of(second) == "second_factor_invalid"
        assert len(await street.transfers()) == 1

    async def test_is_asked_for_before_anything_is_said(self, street: Street) -> None:
        ada = await street.person("ada")
        body = {"to": "@nobody", "asset": "ETH", "amount": "100"}

        answer = await street.call("POST", "/v1/transfers", ada, body, key="k")

        assert code_of(answer) == "second_factor_required"


class TestIdempotencyKey:
    async def test_replays_the_answer_without_a_new_code(self, street: Street) -> None:
        ada, bob = await street.person("ada"), await street.person("bob")
        first = await street.send(ada, bob.id, key="k")

        body = {"to": bob.id, "asset": "ETH", "amount": "100"}
        again = await street.call("POST", "/v1/transfers", ada, body, key="k")

        assert (again.status_code, again.json()) == (201, first.json())
        assert await street.available(bob) == FUNDS_MINOR + 100

    async def test_is_refused_with_another_body(self, street: Street) -> None:
        ada, bob = await street.person("ada"), await street.person("bob")
        await street.send(ada, bob.id, key="k")

        assert code_of(await street.send(ada, bob.id, "101", key="k")) == "idempotency_key_reused"
        assert await street.available(bob) == FUNDS_MINOR + 100

    async def test_is_required(self, street: Street) -> None:
        ada = await street.person("ada")

        answer = await street.call("POST", "/v1/transfers", ada, {}, code=ada.code())

        assert code_of(answer) == "idempotency_key_missing"

    async def test_may_be_tried_again_after_a_refusal(self, street: Street) -> None:
        ada, bob = await street.person("ada", funds_minor=0), await street.person("bob")
        refused = await street.send(ada, bob.id, key="k")
        await street.send(bob, ada.id, "100")

        again = await street.send(ada, bob.id, key="k")

        assert code_of(refused) == "insufficient_available_balance"
        assert again.status_code == 201

    async def test_makes_one_transfer_of_many_at_once(self, street: Street) -> None:
        ada, bob = await street.person("ada"), await street.person("bob")
        body = {"to": bob.id, "asset": "ETH", "amount": "100"}
        code = ada.code()

        answers = await asyncio.gather(
            *(
                street.call("POST", "/v1/transfers", ada, body, key="k", code=code)
                for _ in range(20)
            )
        )

        assert {answer.status_code for answer in answers} == {201}
        assert len({answer.json()["id"] for answer in answers}) == 1
        assert len(await street.posted()) == 1
        assert await street.available(bob) == FUNDS_MINOR + 100

    async def test_of_two_users_are_two(self, street: Street) -> None:
        ada, bob, eve = [await street.person(name) for name in ("ada", "bob", "eve")]

        first, second = (
            await street.send(ada, eve.id, key="k"),
            await street.send(bob, eve.id, key="k"),
        )

        assert first.json()["id"] != second.json()["id"]
