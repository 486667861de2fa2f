"""Many requests at once, against a balance that covers a few of them."""

import asyncio
from datetime import timedelta

import httpx

from domain.ids import STEP_UP, new_id
from identity.fingerprints import operation_fingerprint
from identity.tokens import STEP_UP_PREFIX, digest, new_secret
from models.identity import StepUpToken
from tests.support.bank import DESTINATION, FEE_MINOR, Bank, code_of, fund

REQUESTS, COVERED = 200, 10
AMOUNT_MINOR = 90
BODY = {"asset": "ETH", "amount": str(AMOUNT_MINOR), "destination": DESTINATION}


async def step_ups(bank: Bank, user_id: str, keys: list[str]) -> dict[str, str]:
    """Store a second factor given ahead for each request: codes come only every 30 seconds."""
    tokens = {key: STEP_UP_PREFIX + new_secret() for key in keys}
    async with bank.database.transaction() as session:
        session.add_all(
            StepUpToken(
                id=new_id(STEP_UP),
                user_id=user_id,
                token_hash=digest(token),
                fingerprint=operation_fingerprint("POST", "/v1/payouts", BODY, idempotency_key=key),
                expires_at=bank.clock.now() + timedelta(hours=1),
            )
            for key, token in tokens.items()
        )
    return tokens


class TestParallelRequests:
    async def test_are_accepted_as_far_as_the_balance_goes(self, bank: Bank) -> None:
        shop = await bank.person("shop")
        covered_minor = COVERED * (AMOUNT_MINOR + FEE_MINOR)
        await fund(bank.database, shop.id, bank.clock, amount_minor=covered_minor)
        tokens = await step_ups(bank, shop.id, [f"k{n}" for n in range(REQUESTS)])
        gate = asyncio.Semaphore(50)

        async def one(key: str) -> httpx.Response:
            headers = shop.headers | {"Idempotency-Key": key, "Step-Up-Token": tokens[key]}
            async with gate:
                return await bank.client.post("/v1/payouts", json=BODY, headers=headers)

        answers = await asyncio.gather(*(one(key) for key in tokens))

        accepted = [a for a in answers if a.status_code == 202]
        refused = [a for a in answers if a.status_code != 202]
        assert len(accepted) == COVERED
        assert {(a.status_code, code_of(a)) for a in refused} == {
            (409, "insufficient_available_balance")
        }
        assert await bank.balances(shop) == (0, covered_minor)
        assert await bank.broken_promise() is None

    async def test_with_one_key_are_one_payout(self, bank: Bank) -> None:
        bank.clock.advance(timedelta(minutes=5))
        headers = bank.customer.headers | {"Idempotency-Key": "k"}
        headers["TOTP-Code"] = bank.customer.code()
        answers = await asyncio.gather(
            *(bank.client.post("/v1/payouts", json=BODY, headers=headers) for _ in range(10))
        )

        accepted = {a.json()["id"] for a in answers if a.status_code == 202}
        assert len(accepted) == 1
        assert {a.status_code for a in answers} <= {202, 403}
        assert (await bank.balances())[1] == AMOUNT_MINOR + FEE_MINOR
