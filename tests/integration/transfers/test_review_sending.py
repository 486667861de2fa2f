"""What a reviewer tried on transfers: what a refusal uses up."""

from domain.ids import new_id
from tests.support.bank import code_of
from tests.support.senders import FUNDS_MINOR, Street


class TestRefusedRecipient:
    async def test_uses_no_code_up(self, street: Street) -> None:
        ada, bob = await street.person("ada"), await street.named("bob")
        mistyped = await street.send(ada, "@bobb")
        code = ada.code()

        body = {"to": "@bob", "asset": "ETH", "amount": "100"}
        answer = await street.call("POST", "/v1/transfers", ada, body, key=new_id("key"), code=code)

        assert code_of(mistyped) == "recipient_not_found"
        assert answer.status_code == 201, answer.text
        assert await street.available(bob) == FUNDS_MINOR + 100

    async def test_still_costs_a_lookup(self, street: Street) -> None:
        ada = await street.person("ada")
        body = {"asset": "ETH", "amount": "1"}
        codes = []
        for number in range(8):
            answer = await street.call(
                "POST",
                "/v1/transfers",
                ada,
                body | {"to": f"@nobody_{number}"},
                key=new_id("key"),
                code=ada.code(),
            )
            codes.append(code_of(answer))

        assert codes[:6] == ["recipient_not_found"] * 6
        assert set(codes[6:]) == {"lookup_throttled"}
