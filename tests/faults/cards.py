"""What cardholders, banks and Stripe's own people do at the stack's Stripe-like server."""

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx

from devnet.environments import PUBLISHABLE_KEY
from devnet.site import Site

PATIENCE_S = 90.0
POLL_S = 0.3
TIMEOUT_S = 10.0
WITHDRAWN = ("needs_response", "under_review", "lost")
"""Disputes whose money is gone, for now or for good."""


class StripeSide:
    """The other side of the gateway, of which our processes only hear."""

    def __init__(self, site: Site) -> None:
        self._key = site.secrets.stripe_api_key
        self._http = httpx.AsyncClient(base_url=site.stripe_url, timeout=TIMEOUT_S, trust_env=False)

    async def pay(self, client_secret: str, card: str = "pm_card_visa") -> str:
        """Pay as a browser does; return the intent's id."""
        intent_id = client_secret.partition("_secret_")[0]
        form = {"client_secret": client_secret, "payment_method": card}
        path = f"/v1/payment_intents/{intent_id}/confirm"
        await self._post(path, form, key=f"pay-{intent_id}", bearer=PUBLISHABLE_KEY)
        return intent_id

    async def refund(self, intent_id: str, amount_minor: int) -> None:
        """Give back a part in the dashboard, once."""
        form = {"payment_intent": intent_id, "amount": str(amount_minor)}
        await self._post("/v1/refunds", form, key=f"refund-{intent_id}")

    async def dispute(self, intent_id: str) -> None:
        """Have the bank take a payment back, once."""
        (charge,) = await self.of("charges", intent_id)
        # These handles have no idempotency keys: look before each try.
        while not await self.of("disputes", intent_id):
            await self._play(f"dispute/{charge['id']}", {})

    async def decide(self, intent_id: str, status: str) -> None:
        """Have a dispute decided, ``won`` or ``lost``."""
        while True:
            (dispute,) = await self.of("disputes", intent_id)
            if dispute["status"] == status:
                return
            await self._play(f"resolve/{dispute['id']}", {"status": status})

    async def mischief(self, kind: str, **form: str) -> None:
        """Have the next webhooks doubled, lost or held back; forgotten when the server dies."""
        await self._play(kind, form)

    async def of(self, kind: str, intent_id: str) -> list[dict[str, Any]]:
        """Return the charges, refunds or disputes of a payment."""
        answer = await self._get(f"/v1/{kind}", payment_intent=intent_id, limit="100")
        return list(answer["data"])

    async def kept_minor(self, intent_id: str) -> int:
        """Return what is left of a payment, as Stripe's own objects say."""
        received = sum(each["amount_captured"] for each in await self.of("charges", intent_id))
        refunds = await self.of("refunds", intent_id)
        refunded = sum(each["amount"] for each in refunds if each["status"] == "succeeded")
        disputes = await self.of("disputes", intent_id)
        withdrawn = sum(each["amount"] for each in disputes if each["status"] in WITHDRAWN)
        return max(0, int(received) - int(refunded) - int(withdrawn))

    async def balance_minor(self, currency: str) -> int:
        """Return what the account has."""
        found = (await self._get("/v1/balance"))["available"]
        return sum(each["amount"] for each in found if each["currency"] == currency)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def _play(self, handle: str, form: Mapping[str, str]) -> None:
        try:
            await self._http.post(f"/_test/{handle}", data=dict(form))
        except httpx.TransportError:
            await asyncio.sleep(POLL_S)

    async def _get(self, path: str, **query: str) -> dict[str, Any]:
        return await self._insist("GET", path, self._key, params=query)

    async def _post(
        self, path: str, form: Mapping[str, str], *, key: str, bearer: str | None = None
    ) -> None:
        more = {"Idempotency-Key": key}
        await self._insist("POST", path, bearer or self._key, headers=more, data=dict(form))

    async def _insist(
        self, method: str, path: str, bearer: str, *, headers: Mapping[str, str] = {}, **sent: Any
    ) -> dict[str, Any]:
        """Repeat until the server answers: it is killed as everybody else is."""
        all_headers = {"Authorization": f"Bearer {bearer}", **headers}
        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    answer = await self._http.request(method, path, headers=all_headers, **sent)
                except httpx.TransportError:
                    await asyncio.sleep(POLL_S)
                    continue
                assert answer.is_success, answer.text
                return dict(answer.json())
