"""What a reviewer tried on queries: text that PostgreSQL cannot store."""

from models.identity import Role
from tests.support.bank import code_of
from tests.support.senders import Street

QUERIES = (
    "/v1/events?type=%00",
    "/v1/events?cursor=%00",
    "/v1/transactions?search=%00",
    "/v1/transactions?asset=%00",
    "/v1/transactions?group_id=%00",
    "/v1/transfers?asset=%00",
    "/v1/purchases?asset=%00",
    "/v1/statements?user_id=%00",
    "/v1/handles/@%00",
)


async def test_is_refused_as_what_it_is(street: Street) -> None:
    ada = await street.person("ada", Role.OWNER)
    refused = {path: code_of(await street.get(path, ada)) for path in QUERIES}
    assert set(refused.values()) == {"validation_failed"}, refused
