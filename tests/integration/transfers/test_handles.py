"""Handles: whose they are, for how long, and how much may be found out about people."""

import asyncio
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy.exc import DBAPIError

from domain.errors import RecipientNotFoundError, StrongroomError
from domain.transfers import HANDLE_COOLDOWN, HANDLE_KEPT, Recipient
from tests.support.bank import code_of
from tests.support.identity import Person
from tests.support.senders import Street
from transfers.lookups import ALLOWANCE, HIT_COST, MISS_COST, Party, lock_user, look_up


async def choose(street: Street, person: Person, handle: Any) -> httpx.Response:
    return await street.call("PUT", "/v1/handles/me", person, {"handle": handle})


async def pass_time(street: Street, time: timedelta, *people: Person) -> None:
    """Let time pass, and let people log in again."""
    street.clock.advance(time)
    for person in people:
        person.token = (await street.identity.sessions.open(person.id)).token


class TestHandle:
    async def test_is_chosen_and_shown_as_spelt(self, street: Street) -> None:
        ada = await street.person("ada")

        before = await street.get("/v1/handles/me", ada)
        chosen = await choose(street, ada, "Ada_L")

        assert code_of(before) == "handle_not_found"
        assert (chosen.json()["handle"], chosen.json()["link"]) == ("Ada_L", "strongroom:@ada_l")
        assert (await street.get("/v1/handles/me", ada)).json() == chosen.json()

    async def test_is_refused_where_it_is_malformed_or_reserved(self, street: Street) -> None:
        ada = await street.person("ada")
        malformed = ("ab", "x" * 31, "a-b", "@ada", "ad a", "ädä", "\u0430da", "ada\n", "", None, 7)
        reserved = ("Support", "strongroom", "s_u_p_p_o_r_t", "___", f"usr_{'0' * 26}")

        codes = {code_of(await choose(street, ada, handle)) for handle in malformed}
        more = {code_of(await choose(street, ada, handle)) for handle in reserved}

        assert codes == {"validation_failed"}
        assert more == {"invalid_handle"}

    async def test_is_one_user_s_whatever_its_case(self, street: Street) -> None:
        ada, bob = await street.named("ada"), await street.person("bob")

        assert code_of(await choose(street, bob, "ADA")) == "handle_taken"
        assert (await choose(street, ada, "ADA")).json()["handle"] == "ADA"

    async def test_goes_to_one_of_many_who_want_it_at_once(self, street: Street) -> None:
        people = [await street.person(name, funds_minor=0) for name in ("ada", "bob", "eve")]

        answers = await asyncio.gather(*(choose(street, p, "first") for p in people))

        assert sorted(answer.status_code for answer in answers) == [200, 409, 409]

    async def test_is_one_per_user_however_many_they_want_at_once(self, street: Street) -> None:
        ada = await street.person("ada")

        answers = await asyncio.gather(*(choose(street, ada, f"ada{n}") for n in range(5)))

        assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409, 409]

    async def test_changes_after_its_cool_down_alone(self, street: Street) -> None:
        ada = await street.named("ada")

        early = await choose(street, ada, "lovelace")
        await pass_time(street, HANDLE_COOLDOWN, ada)
        late = await choose(street, ada, "lovelace")

        assert code_of(early) == "handle_cooling_down"
        assert late.json()["handle"] == "lovelace"

    async def test_given_up_reaches_nobody_and_is_kept_for_a_year(self, street: Street) -> None:
        ada, bob = await street.named("ada"), await street.person("bob")
        await pass_time(street, HANDLE_COOLDOWN, ada, bob)
        await choose(street, ada, "lovelace")

        astray = await street.send(bob, "@ada")
        await pass_time(street, HANDLE_KEPT - timedelta(minutes=2), bob)
        early = await choose(street, bob, "ada")
        await pass_time(street, timedelta(minutes=2), bob)
        late = await choose(street, bob, "ada")

        assert code_of(astray) == "recipient_not_found"
        assert code_of(early) == "handle_taken"
        assert late.status_code == 200

    async def test_given_up_may_be_taken_back(self, street: Street) -> None:
        ada = await street.named("ada")
        for handle in ("lovelace", "ada"):
            await pass_time(street, HANDLE_COOLDOWN, ada)
            assert (await choose(street, ada, handle)).status_code == 200

    async def test_is_kept_by_the_database_too(self, street: Street) -> None:
        await street.named("ada")
        bob = await street.person("bob")
        stolen = "UPDATE user_handle SET user_id = %s WHERE name = 'ada'"

        with pytest.raises(DBAPIError, match="a handle is kept for a year"):
            await street.execute(stolen, bob.id, database=street.api)

    async def test_has_a_qr_code(self, street: Street) -> None:
        ada = await street.named("ada")

        svg = await street.get("/v1/handles/me/qr?asset=ETH&amount=5", ada)
        png = await street.get("/v1/handles/me/qr?format=png", ada)
        wrong = await street.get("/v1/handles/me/qr?amount=5", ada)

        assert svg.headers["Content-Type"] == "image/svg+xml"
        assert png.content.startswith(b"\x89PNG")
        assert code_of(wrong) == "invalid_payment_link"


class TestLookup:
    async def test_says_no_more_than_a_sender_needs(self, street: Street) -> None:
        ada, bob = await street.named("ada"), await street.person("bob")

        by_handle = await street.get("/v1/handles/@ADA", bob)
        by_id = await street.get(f"/v1/handles/{bob.id}", ada)

        assert by_handle.json() == {"handle": "ada", "masked_name": "a***"}
        assert by_id.json() == {"handle": None, "masked_name": "b***"}

    async def test_does_not_tell_a_disabled_user_from_nobody(self, street: Street) -> None:
        ada, bob = await street.named("ada"), await street.person("bob")
        await street.execute("UPDATE app_user SET disabled_at = now() WHERE id = %s", ada.id)

        answers = [await street.get(f"/v1/handles/{who}", bob) for who in ("@ada", "@nobody")]

        disabled, nobody = [answer.json() | {"instance": ""} for answer in answers]
        assert disabled == nobody

    async def test_is_slowed_down_for_who_guesses(self, street: Street) -> None:
        ada, bob = await street.named("ada"), await street.named("bob")
        misses = ALLOWANCE // MISS_COST

        answers = [await street.get(f"/v1/handles/@guess{n}", bob) for n in range(misses + 1)]

        assert [code_of(a) for a in answers[:-1]] == ["recipient_not_found"] * misses
        assert code_of(answers[-1]) == "lookup_throttled"
        assert int(answers[-1].headers["Retry-After"]) == MISS_COST // timedelta(seconds=1)
        assert code_of(await street.get("/v1/handles/@ada", bob)) == "lookup_throttled"
        assert (await street.get("/v1/handles/@bob", ada)).status_code == 200
        street.clock.advance(MISS_COST)
        assert (await street.get("/v1/handles/@ada", bob)).status_code == 200

    async def test_is_slowed_down_for_guesses_at_once(self, street: Street) -> None:
        bob = await street.person("bob")

        answers = await asyncio.gather(
            *(street.get(f"/v1/handles/@guess{n}", bob) for n in range(30))
        )

        found = [code_of(answer) for answer in answers]
        assert found.count("recipient_not_found") == ALLOWANCE // MISS_COST

    async def test_that_finds_costs_less(self, street: Street) -> None:
        ada, bob = await street.named("ada"), await street.person("bob")
        hits = (ALLOWANCE - MISS_COST) // HIT_COST + 1

        answers = [await street.get("/v1/handles/@ada", bob) for _ in range(hits + 1)]

        assert [a.status_code for a in answers] == [200] * hits + [429]
        assert (await street.send(ada, bob.id)).status_code == 201

    async def test_by_sending_is_slowed_down_as_well(self, street: Street) -> None:
        ada, bob = await street.named("ada"), await street.named("bob")

        async def guess() -> Party | StrongroomError:
            async with street.api.transaction() as session:
                await lock_user(session, bob.id)
                who = Recipient(handle="nobody")
                return await look_up(session, who, by=bob.id, now=street.clock.now())

        for _ in range(ALLOWANCE // MISS_COST - 1):
            assert isinstance(await guess(), RecipientNotFoundError)
        body = {"to": "@nobody", "asset": "ETH", "amount": "1"}
        street.clock.advance(timedelta(seconds=1))
        missed = await street.call("POST", "/v1/transfers", bob, body, key="k", code=bob.code())

        assert code_of(missed) == "recipient_not_found"
        assert isinstance(await guess(), StrongroomError)
        assert code_of(await street.get("/v1/handles/@ada", bob)) == "lookup_throttled"
        assert (await street.send(ada, "@bob")).status_code == 201
