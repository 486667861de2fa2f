"""Buyers, by card and by chain: what they paid, and so what they must have in the end."""

import asyncio
import random
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from cli.client import ApiProblem
from devnet.bootstrap import BTC, ETHER, ETHER_UNIT, ITD, TOKEN, TOKEN_UNIT, USD
from devnet.people import ScriptedUser, insist, with_code
from domain.errors import (
    DatabaseUnavailableError,
    QuoteExpiredError,
    QuoteUsedError,
    RateUnavailableError,
)
from gateways.rates.table import current_table, store_table
from infra.database import Database
from tests.faults.bank import Bank
from tests.faults.cards import StripeSide
from tests.faults.findings import Findings
from tests.faults.tills import Standing, look

CARD_FATES = ("kept", "kept", "refunded", "part refunded", "disputed", "won", "lost")
CHAIN_FATES = ("exact", "under", "over", "in parts")
PAID_PERCENT = {"exact": (100,), "under": (60,), "over": (135,), "in parts": (30, 70)}
PRICES = {
    ETHER: ETHER_UNIT // 50,
    TOKEN: 20 * TOKEN_UNIT,
    BTC: 60_000,
    USD: 100,
}
"""What the smallest purchase costs."""

MISCHIEF = (("double", "3"), ("lose", "1"), ("hold", "1"), ("double", "1"))
"""What becomes of the next webhooks of Stripe."""

LATE_WINDOW_S = 60
TWICE_EVERY = 4
"""Every so many purchases are asked for twice at once, with one quote."""

PATIENCE_S = 120.0
POLL_S = 0.3


@dataclass(frozen=True)
class Bought:
    """A purchase, and who pays for it where."""

    purchase_id: str
    user_id: str
    pay_asset: str
    pay_minor: int
    buy_minor: int
    expires_at: datetime
    address: str | None = None
    intent_id: str | None = None


class Shoppers:
    """People who buy ITD while everybody is killed."""

    def __init__(self, bank: Bank) -> None:
        self.bank = bank
        self.stripe = StripeSide(bank.stack.site)
        self.people: list[ScriptedUser] = []
        self.bought: list[Bought] = []
        self.late: list[Bought] = []
        self.twice: list[str] = []
        """What was taken twice with one quote."""
        self._keys = 0

    async def open(self, *, people: int, late: int = 0) -> None:
        """Enlist buyers; and open purchases that are going to be paid when it is too late."""
        self.people = await self.bank.enlist([f"buyer{n}" for n in range(people)])
        await self._set_window(LATE_WINDOW_S)
        for number in range(late):
            self.late.append(await self._take(self._person(number), TOKEN, PRICES[TOKEN]))
        await self._set_window(None)

    async def buy(self, dice: random.Random) -> None:
        """Buy once, by whatever means the dice say."""
        asset = dice.choice([USD, USD, TOKEN, ETHER, BTC])
        user = self._person(dice.randrange(1_000))
        amount_minor = PRICES[asset] * dice.randint(1, 20)
        if asset == USD:
            webhooks = dice.choice(MISCHIEF)
            pause_s = dice.uniform(0.0, 3.0)
            fate = dice.choice(CARD_FATES)
            await self.by_card(user, amount_minor, fate, webhooks=webhooks, pause_s=pause_s)
        else:
            await self.by_chain(user, asset, amount_minor, dice.choice(CHAIN_FATES))

    async def by_chain(
        self, user: ScriptedUser, asset: str, amount_minor: int, fate: str
    ) -> Bought:
        """Pay with coins: exactly, too little, too much, or in parts."""
        bought = await self._take(user, asset, amount_minor)
        for percent in PAID_PERCENT[fate]:
            await self._pay_on_chain(bought, bought.pay_minor * percent // 100)
        return bought

    async def by_card(
        self,
        user: ScriptedUser,
        amount_minor: int,
        fate: str,
        *,
        webhooks: tuple[str, str] = ("double", "0"),
        pause_s: float = 0.0,
    ) -> Bought:
        """Pay with a card, whose bank or holder may take it back, while webhooks go astray."""
        bought = await self._take(user, USD, amount_minor)
        secret = await self._client_secret(user, bought)
        intent_id = await self.stripe.pay(secret)
        paid = replace(bought, intent_id=intent_id)
        self.bought[self.bought.index(bought)] = paid
        await self.stripe.mischief(webhooks[0], times=webhooks[1])
        await asyncio.sleep(pause_s)
        match fate:
            case "refunded":
                await self.stripe.refund(intent_id, bought.pay_minor)
            case "part refunded":
                await self.stripe.refund(intent_id, max(1, bought.pay_minor // 3))
            case "disputed" | "won" | "lost":
                await self.stripe.dispute(intent_id)
            case _:
                pass
        await asyncio.sleep(pause_s)
        if fate in ("won", "lost"):
            await self.stripe.decide(intent_id, fate)
        # The newest comes first.
        await self.stripe.mischief("release")
        return paid

    async def refund(self, bought: Bought, amount_minor: int) -> None:
        """Have our operator give a part back, once it is credited."""
        path = f"/v1/purchases/{bought.purchase_id}/refunds"
        body, operator = {"amount": str(amount_minor)}, self.bank.operator
        await self._until_credited(bought)
        await asyncio.to_thread(
            with_code,
            operator.authenticator,
            lambda code: operator.api.send(
                "POST", path, body, code=code, idempotency_key=bought.purchase_id
            ),
        )

    async def _until_credited(self, bought: Bought) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                with suppress(DatabaseUnavailableError):
                    if (await self._standing()).credited_minor.get(bought.purchase_id):
                        return
                await asyncio.sleep(POLL_S)

    async def pay_late(self) -> None:
        """Pay what has expired."""
        for bought in self.late:
            left_s = (bought.expires_at - datetime.now(UTC)).total_seconds()
            await asyncio.sleep(max(0.0, left_s + 1.0))
            await self._pay_on_chain(bought, bought.pay_minor)

    async def are_done(self) -> bool:
        """Tell whether everybody has what they paid for, and nothing is left to be handled."""
        standing = await self._standing()
        return not standing.open_events and not await self._wrong(standing)

    async def findings(self) -> Findings:
        """Compare what was paid with what was credited, and the books with the gateway."""
        found = Findings()
        standing = await self._standing()
        for bought, note, is_more in await self._wrong(standing):
            text = f"{bought}: {note}"
            found.add(duplicates=[text] if is_more else [], lost=[] if is_more else [text])
        expected = Counter[str]()
        for bought in self.bought:
            expected[bought.user_id] += await self._expected_minor(bought, standing)
        held = {user: minor for user, minor in standing.held_minor.items() if minor}
        if held != {user: minor for user, minor in expected.items() if minor}:
            found.add(unbalanced=[f"buyers hold {held} ITD, and paid for {dict(expected)}"])
        if standing.issued_minor != sum(held.values()):
            note = f"{standing.issued_minor} ITD are issued, {sum(held.values())} are held"
            found.add(unbalanced=[note])
        at_stripe = await self.stripe.balance_minor(USD.lower())
        if standing.at_gateway_minor != at_stripe:
            note = f"books have {standing.at_gateway_minor} at Stripe, which has {at_stripe}"
            found.add(unbalanced=[note])
        waiting = [f"{where} keeps {minor}" for where, minor in standing.clearing_minor if minor]
        taken = [f"{quote} was taken {times} times" for quote, times in standing.reused_quotes]
        unheard = [f"{standing.open_events} events of Stripe were taken to no purchase"]
        found.add(
            duplicates=[*taken, *self.twice],
            lost=unheard if standing.open_events else [],
            unbalanced=waiting,
        )
        return found

    def _person(self, number: int) -> ScriptedUser:
        return self.people[number % len(self.people)]

    async def _take(self, user: ScriptedUser, asset: str, amount_minor: int) -> Bought:
        """Take a quote and buy; a quote that expired during an outage is asked for again."""
        purchase = await self._patiently(user, asset, amount_minor)
        place = purchase["pay_at"]
        bought = Bought(
            purchase["id"],
            user.user_id,
            asset,
            int(purchase["pay_amount"]),
            int(purchase["amount"]),
            address=place["address"] if place else None,
            expires_at=datetime.fromisoformat(purchase["expires_at"]),
        )
        self.bought.append(bought)
        return bought

    async def _patiently(self, user: ScriptedUser, asset: str, amount_minor: int) -> dict[str, Any]:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    return await self._bought(user, asset, amount_minor)
                except ApiProblem as problem:
                    if problem.code not in (QuoteExpiredError.code, RateUnavailableError.code):
                        raise
                    await asyncio.sleep(POLL_S)

    async def _bought(self, user: ScriptedUser, asset: str, amount_minor: int) -> dict[str, Any]:
        body = {
            "pay_asset": asset,
            "buy_asset": ITD,
            "side": "pay",
            "amount": str(amount_minor),
        }
        quote = await _sent(user, "/v1/quotes", body, None)
        self._keys += 1
        keys = [f"{self.bank.name}-buy-{self._keys}"]
        if self._keys % TWICE_EVERY == 0:
            keys.append(f"{keys[0]}-again")
        answers = await asyncio.gather(
            *(_sent(user, "/v1/purchases", {"quote_id": quote["id"]}, key) for key in keys),
            return_exceptions=True,
        )
        accepted = [answer for answer in answers if isinstance(answer, dict)]
        if len(accepted) > 1:
            self.twice.append(f"{quote['id']} was taken by {len(accepted)} purchases at once")
        if accepted:
            return accepted[0]
        # Whoever lost the race says so; the other one says why there is none to be had.
        refusals = [a for a in answers if isinstance(a, BaseException)]
        raise next(
            (r for r in refusals if getattr(r, "code", None) != QuoteUsedError.code), refusals[0]
        )

    async def _client_secret(self, user: ScriptedUser, bought: Bought) -> str:
        path = f"/v1/purchases/{bought.purchase_id}"
        async with asyncio.timeout(PATIENCE_S):
            while True:
                purchase = await asyncio.to_thread(insist, lambda: user.api.get(path))
                if secret := purchase["card"]["client_secret"]:
                    return str(secret)
                await asyncio.sleep(POLL_S)

    async def _pay_on_chain(self, bought: Bought, amount_minor: int) -> None:
        assert bought.address is not None
        await self.bank.depositors.pay_to(
            bought.user_id, bought.pay_asset, amount_minor, bought.address
        )

    async def _standing(self) -> Standing:
        return await look(self.bank.stack.site, [user.user_id for user in self.people])

    async def _expected_minor(self, bought: Bought, standing: Standing) -> int:
        """
        Return what a purchase must have credited: what its quote gives for what was paid.

        The price of what is paid late is fixed, so that the rate is the same then.
        """
        if bought.intent_id is not None:
            paid_minor = await self.stripe.kept_minor(bought.intent_id)
        else:
            paid_minor = standing.paid_minor.get(bought.address or "", 0)
        return min(paid_minor, bought.pay_minor) * bought.buy_minor // bought.pay_minor

    async def _wrong(self, standing: Standing) -> list[tuple[Bought, str, bool]]:
        """Return purchases that have more, or less, than they must."""
        wrong = []
        for bought in self.bought:
            expected = await self._expected_minor(bought, standing)
            credited = standing.credited_minor.get(bought.purchase_id, 0)
            if credited != expected:
                note = f"{credited} credited, {expected} paid for"
                wrong.append((bought, note, credited > expected))
        return wrong

    async def _set_window(self, seconds: int | None) -> None:
        """Change how long a payment on a chain may take, for purchases from now on."""
        database = Database(self.bank.stack.site.database_url())
        try:
            async with database.transaction() as session:
                document = (await current_table(session)).document
                usual = type(document).model_fields["chain_window_s"].default
                changed = document.model_copy(update={"chain_window_s": seconds or usual})
                await store_table(session, changed, by="crash suite")
        finally:
            await database.close()


async def _sent(
    user: ScriptedUser, path: str, body: dict[str, str], key: str | None
) -> dict[str, Any]:
    answer = await asyncio.to_thread(
        insist, lambda: user.api.send("POST", path, body, idempotency_key=key)
    )
    return dict(answer)
