"""The API's role alone moves nobody's money: the database wants the word of a data key for it."""

import hashlib
import hmac
import json
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy.exc import DBAPIError, ProgrammingError

from domain.errors import PermitRefusedError
from domain.ids import TRANSFER, new_id
from identity.permits import Permit, Permits
from infra.keyring import Keyring
from ledger import rules
from models.transfers import Transfer
from tests.support.identity import KEYRING, Person
from tests.support.senders import FUNDS_MINOR, Street
from transfers.posting import make, permit_content

MAKE = "SELECT transfer_make(%s::jsonb, %s::jsonb, %s, %s)"


def drawn_up(street: Street, sender: Person, recipient: Person, **changed: Any) -> Transfer:
    now = street.clock.now()
    said: dict[str, Any] = {
        "id": new_id(TRANSFER),
        "user_id": sender.id,
        "recipient_id": recipient.id,
        "principal": sender.id,
        "idempotency_key": new_id("key"),
        "request_hash": "hash",
        "asset": "ETH",
        "amount_minor": 5,
        "second_factor": "totp",
        "status": "completed",
        "created_at": now,
        "updated_at": now,
    }
    return Transfer(**said | changed)


async def count_limit(street: Street, transfer: Transfer) -> None:
    await street.execute(
        "INSERT INTO limit_usage (key, user_id, operation, asset, amount_minor, times, resource_id,"
        " at, recorded_at) VALUES (%s, %s, 'send', %s, %s, 1, %s, now(), now())",
        transfer.id,
        transfer.user_id,
        transfer.asset,
        transfer.amount_minor,
        transfer.id,
        database=street.api,
    )


async def attempt(street: Street, transfer: Transfer, permit: Permit, **posting: Any) -> str | None:
    """Call the function as the API's role; return the code of its refusal."""
    entries = rules.user_transfer(
        transfer_id=transfer.id,
        sender_id=transfer.user_id,
        recipient_id=transfer.recipient_id,
        asset=transfer.asset,
        amount_minor=transfer.amount_minor,
        at=transfer.created_at,
    ).as_json()
    asked = (transfer.model_dump_json(), json.dumps(entries | posting), permit.key_id, permit.mac)
    try:
        await street.execute(MAKE, *asked, database=street.api)
    except DBAPIError as error:
        cause: Any = error.orig
        return str(cause.diag.message_detail)
    return None


class TestPermit:
    async def test_is_good_for_the_very_transfer_alone(self, street: Street) -> None:
        ada, bob, eve = [await street.person(name) for name in ("ada", "bob", "eve")]
        permits = street.identity.permits
        await permits.register()
        transfer = drawn_up(street, ada, bob)
        await count_limit(street, transfer)
        good = permits.issue(*permit_content(transfer))
        forged = replace(good, mac=bytes(32))
        changes: list[dict[str, Any]] = [
            {"recipient_id": eve.id},
            {"user_id": eve.id},
            {"amount_minor": 6},
            {"asset": "USD"},
            {"id": new_id(TRANSFER)},
            {"request_hash": "other"},
            {"second_factor": "step_up"},
            {"money_request_id": new_id("mrq")},
        ]

        refused = [await attempt(street, drawn_up(street, ada, bob), forged)]
        for change in changes:
            said = transfer.model_dump() | change
            refused.append(await attempt(street, Transfer(**said), good))

        assert refused == ["permit_refused"] * (len(changes) + 1)
        assert await street.available(ada) == FUNDS_MINOR
        assert await attempt(street, transfer, good) is None
        assert await street.available(ada) == FUNDS_MINOR - 5

    async def test_lets_nothing_be_posted_but_the_transfer(self, street: Street) -> None:
        ada, bob = await street.person("ada"), await street.person("bob")
        permits = street.identity.permits
        await permits.register()
        transfer = drawn_up(street, ada, bob)
        await count_limit(street, transfer)
        permit = permits.issue(*permit_content(transfer))
        sides = [f"user:{ada.id}:available", f"user:{bob.id}:available"]
        strays: list[dict[str, Any]] = [
            {"key": "other"},
            {"rule": "deposit"},
            {"resource": None},
            {"reverses": 1},
            {"entries": [[sides[0], "ETH", "-50"], [sides[1], "ETH", "50"]]},
            {"entries": [["capital", "ETH", "-5"], [sides[1], "ETH", "5"]]},
            {"entries": [[sides[0], "ETH", "-5"], [f"user:{bob.id}:held", "ETH", "5"]]},
            {"hold": {"op": "release", "id": "h"}},
            {"more": 1},
        ]

        refused = [await attempt(street, transfer, permit, **stray) for stray in strays]

        assert refused == ["invariant_violated"] * len(strays)
        assert not await street.posted()

    async def test_does_not_do_without_limits(self, street: Street) -> None:
        ada, bob = await street.person("ada"), await street.person("bob")
        permits = street.identity.permits
        await permits.register()
        transfer = drawn_up(street, ada, bob)
        permit = permits.issue(*permit_content(transfer))

        assert await attempt(street, transfer, permit) == "invariant_violated"

    async def test_does_not_do_without_a_second_factor_enrolled(self, street: Street) -> None:
        ada, bob = await street.person("ada"), await street.person("bob")
        await street.identity.second_factors.disable(ada.id)
        permits = street.identity.permits
        await permits.register()
        transfer = drawn_up(street, ada, bob)
        await count_limit(street, transfer)
        permit = permits.issue(*permit_content(transfer))

        assert await attempt(street, transfer, permit) == "second_factor_not_enabled"

    async def test_is_the_hmac_that_everybody_computes(self) -> None:
        key = KEYRING.derived("strongroom permits")["k1"]

        permit = Permits(None, KEYRING).issue("a", "b")  # type: ignore[arg-type]

        assert permit.mac == hmac.new(key, b"a\x1fb", hashlib.sha256).digest()


class TestPermitKey:
    async def test_registers_while_there_is_none(self, street: Street) -> None:
        await street.identity.permits.register()
        await Permits(street.api, KEYRING).register()

        with pytest.raises(PermitRefusedError):
            await Permits(street.api, Keyring({"k2": bytes(32)})).register()

    async def test_of_the_same_name_is_not_replaced(self, street: Street) -> None:
        await street.identity.permits.register()

        with pytest.raises(PermitRefusedError):
            await Permits(street.api, Keyring({"k1": bytes(32)})).register()

    async def test_is_vouched_for_by_an_older_one(self, street: Street) -> None:
        ada, bob = await street.person("ada"), await street.person("bob")
        await street.identity.permits.register()
        rotated = Keyring({"k2": bytes(32), "k1": bytes(range(32))})

        renewed = Permits(street.api, rotated)
        await renewed.register()
        transfer = drawn_up(street, ada, bob)
        await count_limit(street, transfer)
        async with street.api.transaction() as session:
            await make(session, transfer, renewed.issue(*permit_content(transfer)))

        assert await street.available(bob) == FUNDS_MINOR + 5
        # The old one stays good while processes with it run.
        assert (await street.send(ada, bob.id)).status_code == 201

    @pytest.mark.parametrize("what", ["SELECT * FROM permit_key", "DELETE FROM permit_key"])
    async def test_is_out_of_the_role_s_reach(self, street: Street, what: str) -> None:
        with pytest.raises(ProgrammingError, match="permission denied"):
            await street.execute(what, database=street.api)


class TestApiRole:
    @pytest.mark.parametrize(
        "statement",
        [
            "SELECT ledger_post('[]'::jsonb)",
            "INSERT INTO transfer SELECT * FROM transfer",
            "UPDATE transfer SET amount_minor = 1",
            "DELETE FROM transfer",
            "INSERT INTO transfer_event SELECT * FROM transfer_event",
            "UPDATE money_request SET amount_minor = 1",
            "DELETE FROM user_handle",
            "SELECT permit_holds('k1', '', '')",
            "DELETE FROM limit_usage",
        ],
    )
    async def test_writes_no_transfer_by_itself(self, street: Street, statement: str) -> None:
        with pytest.raises(ProgrammingError, match="permission denied"):
            await street.execute(statement, database=street.api)
