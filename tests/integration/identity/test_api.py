from datetime import timedelta

import httpx
import pyotp
import pytest

from identity.services import Identity
from models.identity import Role
from tests.support.clocks import MovableClock
from tests.support.identity import PASSWORD, Person, new_person

KEY_REQUEST = {"name": "shop", "scopes": ["read"]}


@pytest.fixture
async def owner(identity: Identity, clock: MovableClock) -> Person:
    created = await new_person(identity, clock, name="owner", roles=(Role.OWNER,))
    return await created.enrol()


def code_of(answer: httpx.Response) -> str:
    return str(answer.json()["code"])


class TestFirstSteps:
    async def test_lead_from_sign_up_to_a_second_factor(
        self, client: httpx.AsyncClient, clock: MovableClock
    ) -> None:
        credentials = {"email": "Eve@example.org", "password": PASSWORD}
        signed_up = await client.post("/v1/users", json=credentials)
        opened = await client.post("/v1/sessions", json=credentials)
        client.headers["Authorization"] = f"Bearer {opened.json()['token']}"
        enrolment = await client.post("/v1/2fa/enrolment", json={"password": PASSWORD})
        code = pyotp.TOTP(enrolment.json()["secret"]).at(clock.now())
        confirmed = await client.post("/v1/2fa/confirmation", json={"code": code})
        me = await client.get(signed_up.headers["Location"])

        statuses = [a.status_code for a in (signed_up, opened, enrolment, confirmed)]
        assert statuses == [201, 201, 201, 200]
        assert len(confirmed.json()["recovery_codes"]) == 10
        assert me.json() == signed_up.json() | {"second_factor_enabled": True}
        assert me.json()["email"] == "eve@example.org"

    async def test_refuse_enrolment_to_a_thief_without_the_password(
        self, client: httpx.AsyncClient, person: Person
    ) -> None:
        answer = await client.post(
            "/v1/2fa/enrolment", json={"password": "a guess, no more"}, headers=person.headers
        )

        assert (answer.status_code, code_of(answer)) == (401, "invalid_credentials")

    async def test_refuse_an_email_twice(self, client: httpx.AsyncClient, person: Person) -> None:
        answer = await client.post("/v1/users", json={"email": person.email, "password": PASSWORD})

        assert (answer.status_code, code_of(answer)) == (409, "email_taken")

    async def test_throttle_guessing(self, client: httpx.AsyncClient, person: Person) -> None:
        guess = {"email": person.email, "password": "a guess, no more"}
        answers = [await client.post("/v1/sessions", json=guess) for _ in range(6)]

        assert [a.status_code for a in answers] == [401] * 5 + [429]
        assert answers[-1].headers["Retry-After"] == "30"


class TestSessions:
    async def test_are_listed_with_the_current_one_marked(
        self, client: httpx.AsyncClient, identity: Identity, person: Person
    ) -> None:
        other = await identity.sessions.open(person.id)

        first = await client.get("/v1/sessions?limit=1", headers=person.headers)
        cursor = first.json()["next_cursor"]
        second = await client.get(
            "/v1/sessions", params={"limit": 1, "cursor": cursor}, headers=person.headers
        )

        items = first.json()["items"] + second.json()["items"]
        assert [item["is_current"] for item in items] == [False, True]
        assert items[0]["id"] == other.session.id
        assert second.json()["next_cursor"] is None

    async def test_end_one_by_one_or_all(
        self, client: httpx.AsyncClient, identity: Identity, person: Person
    ) -> None:
        one, two = [await identity.sessions.open(person.id) for _ in range(2)]

        gone = await client.delete(f"/v1/sessions/{one.session.id}", headers=person.headers)
        current = await client.delete("/v1/sessions/current", headers=person.headers)
        after = await client.get("/v1/sessions", headers=person.headers)
        everywhere = await client.delete(
            "/v1/sessions", headers={"Authorization": f"Bearer {two.token}"}
        )
        last = await client.get("/v1/sessions", headers={"Authorization": f"Bearer {two.token}"})

        assert [a.status_code for a in (gone, current, everywhere)] == [204, 204, 204]
        assert (code_of(after), code_of(last)) == ("session_invalid", "session_invalid")

    @pytest.mark.parametrize("query", ["cursor=nonsense", "limit=0", "limit=101", "limit=x"])
    async def test_refuse_a_bad_page(
        self, client: httpx.AsyncClient, person: Person, query: str
    ) -> None:
        answer = await client.get(f"/v1/sessions?{query}", headers=person.headers)

        assert code_of(answer) == (
            "invalid_cursor" if query.startswith("cursor") else "validation_failed"
        )

    async def test_refuse_an_id_of_another_kind(
        self, client: httpx.AsyncClient, person: Person
    ) -> None:
        answer = await client.delete(f"/v1/sessions/{person.id}", headers=person.headers)

        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "session_id")


class TestSecondFactorOverHttp:
    async def create_key(
        self, client: httpx.AsyncClient, person: Person, **headers: str
    ) -> httpx.Response:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return await client.post("/v1/api-keys", json=KEY_REQUEST, headers=person.headers | sent)

    async def test_is_asked_for(self, client: httpx.AsyncClient, enrolled: Person) -> None:
        answer = await self.create_key(client, enrolled)

        assert (answer.status_code, code_of(answer)) == (403, "second_factor_required")

    async def test_must_be_enabled_first(self, client: httpx.AsyncClient, person: Person) -> None:
        answer = await self.create_key(client, person)

        assert (answer.status_code, code_of(answer)) == (403, "second_factor_not_enabled")

    async def test_is_taken_as_a_code_once(
        self, client: httpx.AsyncClient, enrolled: Person
    ) -> None:
        code = enrolled.code()
        created = await self.create_key(client, enrolled, TOTP_Code=code)
        reused = await client.post(
            "/v1/api-keys",
            json=KEY_REQUEST | {"name": "another"},
            headers=enrolled.headers | {"TOTP-Code": code},
        )

        assert created.status_code == 201
        assert created.json()["token"].startswith("srk_")
        assert code_of(reused) == "second_factor_invalid"

    async def test_is_not_used_up_by_a_refused_request(
        self, client: httpx.AsyncClient, enrolled: Person
    ) -> None:
        code = enrolled.code()
        refused = await client.post(
            "/v1/api-keys",
            json={"name": "shop", "scopes": ["rule the world"]},
            headers=enrolled.headers | {"TOTP-Code": code},
        )

        assert code_of(refused) == "validation_failed"
        assert (await self.create_key(client, enrolled, TOTP_Code=code)).status_code == 201

    async def test_says_how_long_it_is_locked(
        self, client: httpx.AsyncClient, enrolled: Person
    ) -> None:
        wrong = enrolled.wrong_code()
        answers = [await self.create_key(client, enrolled, TOTP_Code=wrong) for _ in range(6)]

        assert [a.status_code for a in answers] == [403] * 5 + [429]
        assert answers[-1].headers["Retry-After"] == "30"

    async def step_up(
        self, client: httpx.AsyncClient, person: Person, **operation: object
    ) -> httpx.Response:
        request = {"code": person.code(), "method": "POST", "path": "/v1/api-keys"} | operation
        return await client.post("/v1/2fa/step-up", json=request, headers=person.headers)

    async def test_given_ahead_passes_for_the_same_body_in_any_spelling(
        self, client: httpx.AsyncClient, enrolled: Person, clock: MovableClock
    ) -> None:
        stepped = await self.step_up(
            client, enrolled, body=dict(reversed(list(KEY_REQUEST.items())))
        )
        clock.advance(timedelta(minutes=4))

        answer = await self.create_key(client, enrolled, Step_Up_Token=stepped.json()["token"])

        assert (stepped.status_code, answer.status_code) == (201, 201)

    @pytest.mark.parametrize(
        "operation",
        [
            {"body": KEY_REQUEST | {"name": "another"}},
            {"body": None},
            {"body": KEY_REQUEST, "method": "PUT"},
            {"body": KEY_REQUEST, "path": "/v1/payouts"},
            {"body": KEY_REQUEST, "idempotency_key": "k"},
        ],
    )
    async def test_given_ahead_passes_for_nothing_else(
        self, client: httpx.AsyncClient, enrolled: Person, operation: dict[str, object]
    ) -> None:
        stepped = await self.step_up(client, enrolled, **operation)

        answer = await self.create_key(client, enrolled, Step_Up_Token=stepped.json()["token"])

        assert (answer.status_code, code_of(answer)) == (403, "second_factor_invalid")

    async def test_given_ahead_is_bound_to_the_idempotency_key(
        self, client: httpx.AsyncClient, enrolled: Person
    ) -> None:
        stepped = await self.step_up(client, enrolled, body=KEY_REQUEST, idempotency_key="k1")
        token = stepped.json()["token"]

        statuses = [
            (
                await self.create_key(client, enrolled, Step_Up_Token=token, Idempotency_Key=key)
            ).status_code
            for key in ("k1", "k2")
        ]

        assert statuses == [201, 403]

    async def test_is_switched_off_with_a_recovery_code(
        self, client: httpx.AsyncClient, enrolled: Person
    ) -> None:
        headers = enrolled.headers | {"Recovery-Code": enrolled.recovery_codes[0]}
        disabled = await client.delete("/v1/2fa", headers=headers)
        status = await client.get("/v1/2fa", headers=enrolled.headers)
        again = await client.delete("/v1/2fa", headers=headers)

        assert disabled.status_code == 204
        assert status.json() == {"is_enabled": False, "locked_for_s": 0, "recovery_codes_left": 0}
        assert code_of(again) == "second_factor_not_enabled"

    async def test_is_switched_off_with_a_code(
        self, client: httpx.AsyncClient, enrolled: Person
    ) -> None:
        bare = await client.delete("/v1/2fa", headers=enrolled.headers)
        coded = await client.delete(
            "/v1/2fa", headers=enrolled.headers | {"TOTP-Code": enrolled.code()}
        )

        assert (code_of(bare), coded.status_code) == ("second_factor_required", 204)

    async def test_gives_new_recovery_codes_for_a_code(
        self, client: httpx.AsyncClient, enrolled: Person
    ) -> None:
        answer = await client.post(
            "/v1/2fa/recovery-codes", headers=enrolled.headers | {"TOTP-Code": enrolled.code()}
        )

        assert set(answer.json()["recovery_codes"]).isdisjoint(enrolled.recovery_codes)

    async def test_takes_no_recovery_code_for_an_operation(
        self, client: httpx.AsyncClient, enrolled: Person
    ) -> None:
        answer = await self.create_key(client, enrolled, Recovery_Code=enrolled.recovery_codes[0])

        assert code_of(answer) == "second_factor_required"


class TestApiKeys:
    async def test_read_but_do_not_manage_identity(
        self, client: httpx.AsyncClient, enrolled: Person
    ) -> None:
        created = await client.post(
            "/v1/api-keys",
            json=KEY_REQUEST,
            headers=enrolled.headers | {"TOTP-Code": enrolled.code()},
        )
        key = {"Authorization": f"Bearer {created.json()['token']}"}

        assert (await client.get("/v1/users/me", headers=key)).json()["id"] == enrolled.id
        assert code_of(await client.get("/v1/api-keys", headers=key)) == "scope_missing"

    async def test_never_show_their_secret_again_and_end_at_once(
        self, client: httpx.AsyncClient, enrolled: Person
    ) -> None:
        created = await client.post(
            "/v1/api-keys",
            json=KEY_REQUEST,
            headers=enrolled.headers | {"TOTP-Code": enrolled.code()},
        )
        token, key_id = created.json()["token"], created.json()["key"]["id"]

        revoked = await client.delete(f"/v1/api-keys/{key_id}", headers=enrolled.headers)
        listed = await client.get("/v1/api-keys", headers=enrolled.headers)
        refused = await client.get("/v1/users/me", headers={"Authorization": f"Bearer {token}"})

        assert revoked.status_code == 204
        assert token.partition(".")[2] not in listed.text
        assert listed.json()["items"][0]["revoked_at"] is not None
        assert (refused.status_code, code_of(refused)) == (401, "session_invalid")


class TestAdmins:
    async def test_are_made_by_an_owner_with_a_second_factor(
        self, client: httpx.AsyncClient, owner: Person, person: Person
    ) -> None:
        path, request = f"/v1/admins/{person.id}/roles", {"roles": ["approver"]}
        bare = await client.put(path, json=request, headers=owner.headers)
        coded = await client.put(
            path, json=request, headers=owner.headers | {"TOTP-Code": owner.code()}
        )
        listed = await client.get("/v1/admins", headers=owner.headers)

        assert code_of(bare) == "second_factor_required"
        assert coded.json()["roles"] == ["approver"]
        assert {admin["id"] for admin in listed.json()["items"]} == {owner.id, person.id}

    async def test_keep_an_owner(self, client: httpx.AsyncClient, owner: Person) -> None:
        answer = await client.put(
            f"/v1/admins/{owner.id}/roles",
            json={"roles": []},
            headers=owner.headers | {"TOTP-Code": owner.code()},
        )

        assert (answer.status_code, code_of(answer)) == (409, "last_owner")
