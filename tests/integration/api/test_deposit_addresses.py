"""Addresses that are handed out: to whom, how often, and how they are shown."""

import asyncio
from typing import Any

import httpx
import pytest

from domain.ids import new_id
from models.identity import Role, Scope
from models.wallets import Asset
from tests.integration.api.money_in import add_bitcoin, as_api_role, ask_for_address
from tests.support.bank import CHAIN_ID, TOKEN, Bank, code_of

CHAIN_NUMBER = CHAIN_ID.partition(":")[2]
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


class TestAddress:
    async def test_is_made_and_found_again(self, bank: Bank) -> None:
        answer = await ask_for_address(bank, label="order 1")

        made = answer.json()
        assert answer.status_code == 201
        assert answer.headers["Location"] == (
            f"http://api.example/v1/deposit-addresses/{made['id']}"
        )
        assert (made["asset"], made["label"], made["user_id"]) == (
            "ETH",
            "order 1",
            bank.customer.id,
        )
        assert (await bank.get(f"/v1/deposit-addresses/{made['id']}")).json() == made
        assert (await bank.get("/v1/deposit-addresses")).json()["items"] == [made]

    async def test_says_where_to_pay_by_chain_and_asset(self, bank: Bank) -> None:
        await add_bitcoin(bank)
        ether, token, coin = [
            (await ask_for_address(bank, asset)).json() for asset in ("ETH", "USD", "BTC")
        ]

        assert ether["payment_uri"] == f"ethereum:{ether['address']}@{CHAIN_NUMBER}"
        assert token["payment_uri"] == (
            f"ethereum:{TOKEN}@{CHAIN_NUMBER}/transfer?address={token['address']}"
        )
        assert coin["address"].startswith("bcrt1q")
        assert coin["payment_uri"] == f"bitcoin:{coin['address']}"
        assert coin["deposit_min"] == "500"

    async def test_is_its_own_for_each_key(self, bank: Bank) -> None:
        answers = await asyncio.gather(*(ask_for_address(bank, key=f"k{n}") for n in range(10)))

        assert {a.status_code for a in answers} == {201}
        assert len({a.json()["address"] for a in answers}) == 10

    async def test_is_refused_to_who_has_too_many_on_that_chain(self, bank: Bank) -> None:
        await add_bitcoin(bank)
        for asset in ("ETH", "USD"):
            await ask_for_address(bank, asset, key=f"first {asset}")
        settings = bank.state.settings.model_copy(update={"deposit_addresses_max": 2})
        async with bank.without(settings=settings) as client:

            async def ask(asset: str, key: str) -> httpx.Response:
                headers = bank.customer.headers | {"Idempotency-Key": key}
                body = {"asset": asset}
                return await client.post("/v1/deposit-addresses", json=body, headers=headers)

            one_more = await ask("USD", "second USD")
            the_same = await ask("USD", "first USD")
            elsewhere = await ask("BTC", "first BTC")

        assert (one_more.status_code, code_of(one_more)) == (409, "deposit_address_limit")
        assert (the_same.status_code, elsewhere.status_code) == (201, 201)

    async def test_is_one_for_one_key(self, bank: Bank) -> None:
        answers = await asyncio.gather(*(ask_for_address(bank, key="k") for _ in range(10)))

        assert {a.status_code for a in answers} == {201}
        assert len({a.text for a in answers}) == 1
        assert len((await bank.get("/v1/deposit-addresses")).json()["items"]) == 1

    async def test_is_one_for_one_key_of_each_caller(self, bank: Bank) -> None:
        other = await bank.person("other")
        answers = [await ask_for_address(bank, key="k", person=p) for p in (bank.customer, other)]

        assert [a.status_code for a in answers] == [201, 201]
        assert answers[0].json()["address"] != answers[1].json()["address"]

    @pytest.mark.parametrize("body", [{"asset": "USD"}, {"label": "other"}, {"label": None}])
    async def test_is_refused_when_the_key_was_used_with_another_body(
        self, bank: Bank, body: dict[str, Any]
    ) -> None:
        await ask_for_address(bank, key="k", label="order 1")
        other = await ask_for_address(bank, key="k", **({"label": "order 1"} | body))

        assert (other.status_code, code_of(other)) == (422, "idempotency_key_reused")

    async def test_is_one_even_if_its_key_names_two_chains_at_once(self, bank: Bank) -> None:
        await add_bitcoin(bank)
        assets = ["ETH", "BTC"] * 5
        answers = await asyncio.gather(*(ask_for_address(bank, a, key="k") for a in assets))

        assert sorted(a.status_code for a in answers) == [201] * 5 + [422] * 5
        assert len((await bank.get("/v1/deposit-addresses")).json()["items"]) == 1

    async def test_is_answered_again_after_its_asset_was_disabled(self, bank: Bank) -> None:
        first = await ask_for_address(bank, key="k")
        async with bank.database.transaction() as session:
            (await session.get_one(Asset, "ETH")).enabled = False
        again, fresh = await ask_for_address(bank, key="k"), await ask_for_address(bank)

        assert again.json() == first.json()
        assert (fresh.status_code, code_of(fresh)) == (422, "unknown_asset")

    @pytest.mark.parametrize(
        ("headers", "code"),
        [({"Idempotency-Key": ""}, "idempotency_key_missing"), ({"Authorization": ""}, None)],
    )
    async def test_needs_a_key_and_a_caller(
        self, bank: Bank, headers: dict[str, str], code: str | None
    ) -> None:
        answer = await ask_for_address(bank, headers=headers)

        assert code_of(answer) == (code or "unauthenticated")

    @pytest.mark.parametrize("label", ["", "x" * 101, "nul \x00", 7])
    async def test_is_not_called_what_cannot_be_kept(self, bank: Bank, label: object) -> None:
        answer = await ask_for_address(bank, label=label)

        assert (answer.status_code, code_of(answer)) == (422, "validation_failed")

    async def test_waits_for_the_signer_to_make_the_chains_keys(self, bank: Bank) -> None:
        await add_bitcoin(bank, has_keys=False)
        answer = await ask_for_address(bank, "BTC")

        assert (answer.status_code, code_of(answer)) == (503, "account_not_ready")
        assert int(answer.headers["Retry-After"]) > 0

    async def test_is_made_by_an_api_key_with_the_scope_alone(self, bank: Bank) -> None:
        statuses = {}
        for scope in Scope:
            created = await bank.send(
                "POST", "/v1/api-keys", body={"name": scope, "scopes": [scope]}
            )
            token = {"Authorization": f"Bearer {created.json()['token']}"}
            statuses[scope] = (await ask_for_address(bank, headers=token)).status_code

        assert statuses == {
            Scope.READ: 403,
            Scope.PAYOUTS_WRITE: 403,
            Scope.DEPOSITS_WRITE: 201,
        }

    async def test_needs_no_more_rights_in_the_database_than_the_api_has(
        self, bank: Bank, database_url: str
    ) -> None:
        headers = bank.customer.headers | {"Idempotency-Key": "k"}
        async with as_api_role(bank, database_url) as client:
            made = await client.post(
                "/v1/deposit-addresses", json={"asset": "ETH"}, headers=headers
            )
            path = f"/v1/deposit-addresses/{made.json()['id']}"
            named = await client.patch(path, json={"label": "x"}, headers=headers)
            image = await client.get(f"{path}/qr", headers=headers)

        assert [a.status_code for a in (made, named, image)] == [201, 200, 200]


class TestLabel:
    async def test_is_changed_and_taken_away(self, bank: Bank) -> None:
        path = f"/v1/deposit-addresses/{(await ask_for_address(bank, label='a')).json()['id']}"
        changed = await bank.send("PATCH", path, body={"label": "b"})
        shown = (await bank.get(path)).json()
        removed = await bank.send("PATCH", path, body={"label": None})

        assert changed.status_code == 200
        assert (changed.json(), shown["label"]) == (shown, "b")
        assert removed.json()["label"] is None

    @pytest.mark.parametrize("body", [{}, {"label": "x" * 101}, {"asset": "USD"}, []])
    async def test_is_all_that_can_be_changed(self, bank: Bank, body: object) -> None:
        path = f"/v1/deposit-addresses/{(await ask_for_address(bank)).json()['id']}"
        answer = await bank.send("PATCH", path, body=body)

        assert (answer.status_code, code_of(answer)) == (422, "validation_failed")

    async def test_is_changed_by_its_user_alone(self, bank: Bank) -> None:
        path = f"/v1/deposit-addresses/{(await ask_for_address(bank)).json()['id']}"
        olga = await bank.person("olga", *Role)
        answer = await bank.send("PATCH", path, person=olga, body={"label": "mine"})

        assert (answer.status_code, code_of(answer)) == (404, "deposit_address_not_found")
        assert (await bank.get(path)).json()["label"] is None


class TestReader:
    async def test_sees_their_own_and_staff_sees_all(self, bank: Bank) -> None:
        made = (await ask_for_address(bank)).json()
        stranger = await bank.person("stranger", Role.APPROVER)
        auditor = await bank.person("auditor", Role.AUDITOR)

        for path in (f"/v1/deposit-addresses/{made['id']}{end}" for end in ("", "/qr")):
            theirs = await bank.get(path, stranger)
            missing = await bank.get(path.replace(made["id"], new_id("adr")), stranger)
            assert (theirs.status_code, code_of(theirs)) == (404, "deposit_address_not_found")
            assert theirs.json() | {"instance": ""} == missing.json() | {"instance": ""}
            assert (await bank.get(path, auditor)).status_code == 200
        lists = {
            who.email: await bank.get("/v1/deposit-addresses?scope=all", who)
            for who in (stranger, auditor)
        }
        assert code_of(lists[stranger.email]) == "role_missing"
        assert lists[auditor.email].json()["items"] == [made]
        assert (await bank.get("/v1/deposit-addresses", auditor)).json()["items"] == []

    async def test_pages_through_the_addresses_of_an_asset(self, bank: Bank) -> None:
        made = [(await ask_for_address(bank, a)).json() for a in ("ETH", "USD", "ETH", "ETH")]
        path, found = "/v1/deposit-addresses?asset=ETH&limit=2", []
        page = (await bank.get(path)).json()
        while page["next_cursor"]:
            found += page["items"]
            page = (await bank.get(f"{path}&cursor={page['next_cursor']}")).json()
        found += page["items"]

        wanted = [address for address in made if address["asset"] == "ETH"]
        assert sorted(a["id"] for a in found) == sorted(a["id"] for a in wanted)


class TestQrCode:
    @pytest.mark.parametrize(
        ("query", "accept", "media_type"),
        [
            ("", "*/*", "image/svg+xml"),
            ("", "image/png", "image/png"),
            ("?format=png", "image/svg+xml", "image/png"),
            ("?format=svg", "image/png", "image/svg+xml"),
        ],
    )
    async def test_is_drawn_as_asked(
        self, bank: Bank, query: str, accept: str, media_type: str
    ) -> None:
        made = (await ask_for_address(bank)).json()
        answer = await bank.client.get(
            f"/v1/deposit-addresses/{made['id']}/qr{query}",
            headers=bank.customer.headers | {"Accept": accept},
        )

        assert answer.status_code == 200
        assert answer.headers["Content-Type"] == media_type
        if media_type == "image/png":
            assert answer.content.startswith(PNG_SIGNATURE)
        else:
            assert '<svg xmlns="http://www.w3.org/2000/svg"' in answer.text

    async def test_is_another_for_another_address(self, bank: Bank) -> None:
        ids = [(await ask_for_address(bank)).json()["id"] for _ in range(2)]
        codes = [(await bank.get(f"/v1/deposit-addresses/{i}/qr")).content for i in ids]

        assert codes[0] != codes[1]

    async def test_is_not_drawn_in_any_other_way(self, bank: Bank) -> None:
        made = (await ask_for_address(bank)).json()
        answer = await bank.get(f"/v1/deposit-addresses/{made['id']}/qr?format=gif")

        assert (answer.status_code, code_of(answer)) == (422, "validation_failed")
