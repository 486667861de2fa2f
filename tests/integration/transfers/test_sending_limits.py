"""What a user may send in a day holds, however many requests come at once."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.exc import ProgrammingError

from domain.errors import StrongroomError
from domain.limits import Operation, parse_limits
from limits.documents import store_limits
from models.transfers import Transfer
from tests.support.bank import code_of
from tests.support.limits import row
from tests.support.senders import FUNDS_MINOR, Street, codes


async def cap(street: Street, **caps: Any) -> None:
    limit = row(operation=Operation.SEND, **caps)
    async with street.owner.transaction() as session:
        await store_limits(session, parse_limits({"limits": [limit]}), by=None)


class TestLimit:
    async def test_caps_the_amount_of_a_day(self, street: Street) -> None:
        ada, bob = await street.person("ada"), await street.person("bob")
        await cap(street, amount_minor="250")

        answers = [await street.send(ada, bob.id) for _ in range(3)]

        assert [answer.status_code for answer in answers] == [201, 201, 409]
        assert code_of(answers[-1]) == "limit_exceeded"
        assert await street.available(bob) == FUNDS_MINOR + 200

    async def test_is_not_used_by_what_is_refused(self, street: Street) -> None:
        ada, bob = await street.person("ada"), await street.person("bob")
        await cap(street, count=1, amount_minor=str(FUNDS_MINOR * 2))

        refused = await street.send(ada, bob.id, str(FUNDS_MINOR + 1))
        taken = await street.send(ada, bob.id)

        assert code_of(refused) == "insufficient_available_balance"
        assert taken.status_code == 201

    async def test_is_there_again_after_a_day(self, street: Street) -> None:
        ada, bob = await street.person("ada"), await street.person("bob")
        await cap(street, count=1)
        await street.send(ada, bob.id)

        early = await street.send(ada, bob.id)
        street.clock.advance(timedelta(hours=24))
        ada.token = (await street.identity.sessions.open(ada.id)).token

        assert code_of(early) == "limit_exceeded"
        assert (await street.send(ada, bob.id)).status_code == 201

    async def test_is_not_passed_by_many_at_once(self, street: Street) -> None:
        ada, bob = await street.person("ada"), await street.person("bob")
        await cap(street, amount_minor="1000", count=40)
        doors = asyncio.Semaphore(20)

        async def send() -> Transfer | StrongroomError:
            async with doors:
                return await street.sent(ada, bob, 30)

        outcomes = await asyncio.gather(*(send() for _ in range(100)))

        assert codes(outcomes) == {"made": 33, "limit_exceeded": 67}
        assert await street.available(bob) == FUNDS_MINOR + 990

    async def test_of_another_operation_is_out_of_the_api_s_reach(self, street: Street) -> None:
        ada = await street.person("ada")
        usage = (
            "INSERT INTO limit_usage (key, user_id, operation, asset, amount_minor, times,"
            " resource_id, at, recorded_at) VALUES ('k', %s, %s, 'ETH', %s, 1, 'r', now(), now())"
        )
        for operation, amount in (("payout", 1), ("send", -1)):
            with pytest.raises(ProgrammingError, match="permission denied"):
                await street.execute(usage, ada.id, operation, amount, database=street.api)
