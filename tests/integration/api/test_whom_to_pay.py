"""Screening and address book over HTTP."""

from datetime import timedelta

from models.identity import Role
from tests.support.bank import CHAIN_ID, DESTINATION, Bank, code_of

SCREENED = f"/v1/screening/{CHAIN_ID}/{DESTINATION}"
BOOK = "/v1/address-book"
ENTRY = {"chain_id": CHAIN_ID, "address": DESTINATION.lower(), "name": "exchange"}
OTHER = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"


class TestScreening:
    async def test_denies_and_allows_again(self, bank: Bank) -> None:
        olga = await bank.person("olga", Role.OPERATOR)
        put = await bank.send("PUT", SCREENED, person=olga, body={"reason": "listed"})
        assert (put.status_code, put.json()["verdict"]) == (200, "deny"), put.text
        assert put.json()["created_by"] == olga.id

        refused = await bank.pay()
        assert (refused.status_code, code_of(refused)) == (409, "address_denied")
        assert refused.json()["detail"] == "listed"

        auditor = await bank.person("anna", Role.AUDITOR)
        shown = await bank.get(SCREENED.replace(DESTINATION, DESTINATION.lower()), auditor)
        assert shown.json() == put.json()
        removed = await bank.send("DELETE", SCREENED, person=olga)
        assert removed.status_code == 204
        assert code_of(await bank.get(SCREENED, auditor)) == "screening_not_found"
        assert (await bank.pay()).status_code == 202

    async def test_list_has_pages(self, bank: Bank) -> None:
        olga = await bank.person("olga", Role.OPERATOR)
        for address in (DESTINATION, OTHER):
            path = f"/v1/screening/{CHAIN_ID}/{address}"
            await bank.send("PUT", path, person=olga, body={"reason": "x"})
        first = (await bank.get("/v1/screening?limit=1", olga)).json()
        rest = (await bank.get(f"/v1/screening?cursor={first['next_cursor']}", olga)).json()
        listed = [item["address"] for item in first["items"] + rest["items"]]
        assert listed == sorted([DESTINATION, OTHER])
        assert rest["next_cursor"] is None
        for cursor in ("x", "eA=="):
            answer = await bank.get(f"/v1/screening?cursor={cursor}", olga)
            assert code_of(answer) == "invalid_cursor"

    async def test_refuses_what_is_no_address_or_chain(self, bank: Bank) -> None:
        olga = await bank.person("olga", Role.OPERATOR)
        for path, code in (
            (f"/v1/screening/{CHAIN_ID}/0x12", "invalid_address"),
            (f"/v1/screening/eip155:999/{DESTINATION}", "chain_not_found"),
        ):
            for method in ("GET", "PUT", "DELETE"):
                body = {"reason": "x"} if method == "PUT" else None
                answer = await bank.send(method, path, person=olga, body=body)
                assert code_of(answer) == code


class TestAddressBook:
    async def test_takes_entries_with_a_second_factor(self, bank: Bank) -> None:
        missing = await bank.send("POST", BOOK, body=ENTRY, headers={"TOTP-Code": ""})
        assert code_of(missing) == "second_factor_required"
        added = await bank.send("POST", BOOK, body=ENTRY)
        assert added.status_code == 201, added.text
        entry = added.json()
        assert entry["address"] == DESTINATION
        assert (await bank.get(BOOK)).json()["items"] == [entry]
        again = await bank.send("POST", BOOK, body=ENTRY)
        assert again.json() == entry
        renamed = await bank.send("POST", BOOK, body=ENTRY | {"name": "other"})
        assert code_of(renamed) == "already_in_book"
        removed = await bank.send("DELETE", f"{BOOK}/{entry['id']}")
        assert removed.status_code == 204
        assert (await bank.get(BOOK)).json()["items"] == []

    async def test_cools_down_and_is_switched_off_slowly(self, bank: Bank) -> None:
        preference = f"{BOOK}/preference"
        off = {"book_only": False, "in_force": False, "until": None}
        assert (await bank.get(preference)).json() == off
        on = await bank.send("PUT", preference, body={"book_only": True}, headers={"TOTP-Code": ""})
        assert on.json() == {"book_only": True, "in_force": True, "until": None}
        assert code_of(await bank.pay()) == "destination_not_in_book"
        await bank.send("POST", BOOK, body=ENTRY)
        assert code_of(await bank.pay()) == "destination_cooling_down"

        missing = await bank.send(
            "PUT", preference, body={"book_only": False}, headers={"TOTP-Code": ""}
        )
        assert code_of(missing) == "second_factor_required"
        slowly = (await bank.send("PUT", preference, body={"book_only": False})).json()
        assert (slowly["book_only"], slowly["in_force"]) == (False, True)
        other = await bank.pay(destination=OTHER)
        assert code_of(other) == "destination_not_in_book"
        bank.clock.advance(timedelta(days=1))
        # Sessions are over after a day; the books go by the same clock.
        assert (await bank.get(preference)).status_code in (200, 401)
