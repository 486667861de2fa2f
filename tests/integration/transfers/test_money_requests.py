"""Requests for money: who sees them, who pays them, and that they end once."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.exc import DBAPIError

from domain.ids import new_id
from models.identity import Role
from tests.support.bank import code_of
from tests.support.identity import Person
from tests.support.senders import FUNDS_MINOR, Street, codes


async def pay(street: Street, person: Person, request_id: str, **body: Any) -> Any:
    return await street.money_call(f"/v1/money-requests/{request_id}/payment", person, body)


async def end(street: Street, person: Person, request_id: str, how: str) -> Any:
    return await street.call("POST", f"/v1/money-requests/{request_id}/{how}", person)


class TestAsking:
    async def test_reaches_the_payer_at_once(self, street: Street) -> None:
        ada, bob = await street.named("ada"), await street.named("bob")

        answer = await street.ask(ada, payer="@bob", note="for lunch")

        asked = answer.json()
        assert answer.status_code == 201
        assert asked["link"] == f"strongroom:@ada?asset=ETH&amount=100&request={asked['id']}"
        assert asked["payer"] == {"user_id": bob.id, "handle": "bob"}
        assert asked["status"] == "open"
        assert await street.events(bob) == [("money_request.received", asked["id"])]
        assert (await street.get(f"/v1/money-requests/{asked['id']}", bob)).json() == asked

    async def test_is_made_once_per_key(self, street: Street) -> None:
        ada, bob = await street.person("ada"), await street.person("bob")

        answers = await asyncio.gather(*(street.ask(ada, payer=bob.id, key="k") for _ in range(10)))
        other = await street.ask(ada, payer=bob.id, amount="101", key="k")

        assert len({answer.json()["id"] for answer in answers}) == 1
        assert code_of(other) == "idempotency_key_reused"
        assert len(await street.events(bob)) == 1

    @pytest.mark.parametrize(
        ("changed", "code"),
        [
            ({"payer": "@nobody"}, "recipient_not_found"),
            ({"payer": "@ada"}, "own_transfer"),
            ({"payer": "bob"}, "validation_failed"),
            ({"asset": "DOGE"}, "unknown_asset"),
            ({"amount": "0"}, "invalid_amount"),
            ({"expires_in_s": 59}, "validation_failed"),
            ({"expires_in_s": 90 * 86_400 + 1}, "validation_failed"),
            ({"note": "x" * 201}, "validation_failed"),
        ],
    )
    async def test_is_refused(self, street: Street, changed: dict[str, Any], code: str) -> None:
        ada = await street.named("ada")

        assert code_of(await street.ask(ada, **changed)) == code
        assert (await street.get("/v1/money-requests", ada)).json()["items"] == []

    async def test_is_listed_for_both_sides(self, street: Street) -> None:
        ada, bob = await street.person("ada"), await street.person("bob")
        eve = await street.person("eve", Role.AUDITOR)
        asked = (await street.ask(ada, payer=bob.id)).json()["id"]

        async def ids(person: Person, query: str = "") -> list[str]:
            answer = await street.get(f"/v1/money-requests{query}", person)
            return [item["id"] for item in answer.json()["items"]]

        assert await ids(ada) == await ids(bob) == [asked]
        assert await ids(ada, "?side=sent") == await ids(bob, "?side=received") == [asked]
        assert await ids(ada, "?side=received") == await ids(bob, "?side=sent") == []
        assert await ids(bob, "?status=open") == [asked]
        assert await ids(bob, "?status=paid") == await ids(bob, "?status=expired") == []
        assert await ids(eve) == []
        found = await street.get(f"/v1/money-requests/{asked}", eve)
        assert code_of(found) == "money_request_not_found"

    async def test_by_link_can_be_seen_by_whoever_has_it(self, street: Street) -> None:
        ada, bob = await street.person("ada"), await street.person("bob")
        asked = (await street.ask(ada)).json()

        seen = await street.get(f"/v1/money-requests/{asked['id']}", bob)
        drawn = await street.get(f"/v1/money-requests/{asked['id']}/qr?format=png", bob)

        assert seen.json() == asked
        assert asked["link"].startswith(f"strongroom:{ada.id}?")
        assert drawn.content.startswith(b"\x89PNG")


class TestPayment:
    async def test_fulfils_the_request_and_tells_who_asked(self, street: Street) -> None:
        ada, bob = await street.person("ada"), await street.person("bob")
        asked = (await street.ask(ada, payer=bob.id)).json()["id"]

        answer = await pay(street, bob, asked)

        made = answer.json()
        assert answer.status_code == 201
        assert (made["amount"], made["money_request_id"]) == ("100", asked)
        assert await street.available(ada) == FUNDS_MINOR + 100
        told = [("transfer.received", made["id"]), ("money_request.paid", asked)]
        assert await street.events(ada) == told
        found = (await street.get(f"/v1/money-requests/{asked}", ada)).json()
        assert (found["status"], found["transfer_id"]) == ("paid", made["id"])

    async def test_by_link_is_a_transfer_like_any(self, street: Street) -> None:
        ada, bob, eve = (
            await street.named("ada"),
            await street.named("bob"),
            await street.named("eve"),
        )
        asked = (await street.ask(ada)).json()

        made = await street.send(bob, asked["link"], None, asset=None)
        seen = (await street.get(f"/v1/money-requests/{asked['id']}", eve)).json()
        theirs = (await street.get("/v1/money-requests?side=received", bob)).json()["items"]

        assert made.json()["money_request_id"] == asked["id"]
        assert (seen["status"], seen["payer"], seen["transfer_id"]) == ("paid", None, None)
        assert theirs[0]["payer"] == {"user_id": bob.id, "handle": "bob"}

    async def test_of_an_open_amount_is_what_the_payer_says(self, street: Street) -> None:
        ada, bob = await street.person("ada"), await street.person("bob")
        asked = (await street.ask(ada, payer=bob.id, amount=None)).json()["id"]

        nothing = await pay(street, bob, asked)
        made = await pay(street, bob, asked, amount="7")

        assert code_of(nothing) == "validation_failed"
        assert made.json()["amount"] == "7"

    async def test_is_refused_where_it_is_not_what_was_asked_for(self, street: Street) -> None:
        ada, bob, eve = [await street.person(name) for name in ("ada", "bob", "eve")]
        asked = (await street.ask(ada, payer=bob.id)).json()
        other = asked["link"].replace(ada.id, eve.id)

        assert code_of(await pay(street, bob, asked["id"], amount="99")) == "money_request_mismatch"
        assert code_of(await pay(street, bob, asked["id"], asset="USD")) == "money_request_mismatch"
        assert code_of(await pay(street, eve, asked["id"])) == "money_request_not_found"
        assert code_of(await pay(street, bob, new_id("mrq"))) == "money_request_not_found"
        stray = await street.send(bob, other, None, asset=None)
        assert code_of(stray) == "money_request_not_found"
        assert not await street.transfers()

    async def test_happens_once_with_two_payers_at_once(self, street: Street) -> None:
        ada = await street.person("ada")
        payers = [await street.person(name) for name in ("bob", "eve", "dan", "joe")]
        asked = (await street.ask(ada)).json()["id"]

        outcomes = await asyncio.gather(
            *(street.sent(p, None, None, asset=None, money_request_id=asked) for p in payers * 3)
        )

        assert codes(outcomes) == {"made": 1, "money_request_state": 11}
        assert await street.available(ada) == FUNDS_MINOR + 100
        await street.assert_sound()

    async def test_is_replayed_though_the_request_is_paid(self, street: Street) -> None:
        ada, bob = await street.person("ada"), await street.person("bob")
        asked = (await street.ask(ada, payer=bob.id)).json()["id"]
        path = f"/v1/money-requests/{asked}/payment"

        first = await street.money_call(path, bob, {}, key="k")
        again = await street.money_call(path, bob, {}, key="k")
        another = await street.money_call(path, bob, {}, key="other")

        assert (again.status_code, again.json()) == (201, first.json())
        assert code_of(another) == "money_request_state"

    async def test_leaves_the_request_open_when_money_is_short(self, street: Street) -> None:
        ada, bob = await street.person("ada"), await street.person("bob", funds_minor=0)
        asked = (await street.ask(ada, payer=bob.id)).json()["id"]

        assert code_of(await pay(street, bob, asked)) == "insufficient_available_balance"
        found = (await street.get(f"/v1/money-requests/{asked}", bob)).json()
        assert found["status"] == "open"


class TestEnding:
    async def test_by_the_payer_tells_who_asked(self, street: Street) -> None:
        ada, bob = await street.person("ada"), await street.person("bob")
        asked = (await street.ask(ada, payer=bob.id)).json()["id"]

        answers = [await end(street, bob, asked, "decline") for _ in range(2)]

        assert [answer.json()["status"] for answer in answers] == ["declined"] * 2
        assert await street.events(ada) == [("money_request.declined", asked)]
        assert code_of(await pay(street, bob, asked)) == "money_request_state"
        assert code_of(await end(street, ada, asked, "cancellation")) == "money_request_state"

    async def test_by_who_asked_tells_the_payer(self, street: Street) -> None:
        ada, bob = await street.person("ada"), await street.person("bob")
        asked = (await street.ask(ada, payer=bob.id)).json()["id"]

        answer = await end(street, ada, asked, "cancellation")

        assert answer.json()["status"] == "cancelled"
        assert (await street.events(bob))[-1] == ("money_request.cancelled", asked)
        assert code_of(await pay(street, bob, asked)) == "money_request_state"

    async def test_is_nobody_else_s_to_do(self, street: Street) -> None:
        ada, bob, eve = [await street.person(name) for name in ("ada", "bob", "eve")]
        asked = (await street.ask(ada, payer=bob.id)).json()["id"]
        tried = [(ada, "decline"), (bob, "cancellation"), (eve, "decline"), (eve, "cancellation")]

        found = {code_of(await end(street, person, asked, how)) for person, how in tried}

        assert found == {"money_request_not_found"}

    async def test_comes_with_time(self, street: Street) -> None:
        ada, bob = await street.person("ada"), await street.person("bob")
        asked = (await street.ask(ada, payer=bob.id, expires_in_s=60)).json()["id"]
        street.clock.advance(timedelta(seconds=60))

        found = (await street.get(f"/v1/money-requests/{asked}", bob)).json()
        listed = (await street.get("/v1/money-requests?status=expired", bob)).json()["items"]

        assert found["status"] == "expired"
        assert [item["id"] for item in listed] == [asked]
        assert code_of(await pay(street, bob, asked)) == "money_request_state"
        assert code_of(await end(street, bob, asked, "decline")) == "money_request_state"

    async def test_races_with_payment_and_one_of_them_wins(self, street: Street) -> None:
        ada, bob = await street.person("ada"), await street.person("bob")
        for _ in range(5):
            asked = (await street.ask(ada, payer=bob.id)).json()["id"]
            paid, ended = await asyncio.gather(
                street.sent(bob, None, None, asset=None, money_request_id=asked),
                end(street, ada, asked, "cancellation"),
            )
            was_paid = codes([paid])["made"] == 1
            assert was_paid != (ended.status_code == 200)

    async def test_is_guarded_by_the_database(self, street: Street) -> None:
        ada, bob = await street.person("ada"), await street.person("bob")
        asked = (await street.ask(ada, payer=bob.id)).json()["id"]
        await end(street, bob, asked, "decline")
        other = (await street.ask(ada, payer=bob.id)).json()["id"]
        changed = "UPDATE money_request SET status = %s WHERE id = %s"
        for request_id, status in ((asked, "open"), (asked, "paid"), (other, "paid")):
            with pytest.raises(DBAPIError, match="changes only by ending once"):
                await street.execute(changed, status, request_id, database=street.api)
