"""
A new user's way through every unit, over HTTP alone: ``strongroom demo`` shows it, a test walks it.

Only what comes from outside is not the API's: somebody pays coins to an address, a browser pays by
card, and an operator had made the approver.
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from devnet.asking import approve, call, get, until, verify
from devnet.bootstrap import BTC, BTC_UNIT, CHAIN, ETHER, ETHER_UNIT, ITD, ITD_UNIT, USD
from devnet.bulk import asset_of
from devnet.environments import PUBLISHABLE_KEY
from devnet.errors import StackError
from devnet.funding import send
from devnet.people import ScriptedUser
from devnet.reconcile import on_chain_minor
from devnet.site import Site
from domain.deposits import DepositStatus
from domain.payouts import PayoutStatus
from domain.purchases import PurchaseStatus

CARD_CENTS = 100_00
COINS_MINOR = BTC_UNIT // 100
SENT_MINOR = 50 * ITD_UNIT
RECEIVED_MINOR = ETHER_UNIT
FUNDED_MINOR = ETHER_UNIT // 5
"""So much that the local stack's policy asks one approver."""
REDEEMED_MINOR = ETHER_UNIT // 20
PAID_OUT_MINOR = 3 * ETHER_UNIT // 100

type Place = tuple[str, str | None]
"""An asset, and the chain of the user's own wallet or None for what is owed off-chain."""


@dataclass
class Journey:
    """Who walks, who helps, and what the walk must have left in the user's books."""

    site: Site
    user: ScriptedUser
    friend: ScriptedUser
    approver: ScriptedUser
    expected: dict[Place, list[int]] = field(default_factory=lambda: defaultdict(list))
    """How each operation changed the user's balances, in minor units, one after the other."""
    pocket_address: str = ""
    said: list[str] = field(default_factory=list)
    """What happened, a line each."""

    async def walk(self) -> None:
        """Walk the whole way; an account that is new needs some two minutes of codes."""
        await self.verify_identity()
        await self.buy(USD, CARD_CENTS, pay=self._pay_by_card)
        await self.buy(BTC, COINS_MINOR, pay=self._pay_on_chain)
        await self.send_to_friend()
        await self.receive()
        await self.to_pocket()
        await self.from_pocket()
        await self.pay_out()

    async def verify_identity(self) -> None:
        """Apply for KYC level 1; the approver grants it."""
        await verify(self.user, self.approver, level=1)
        self.said.append(f"{self.approver.name} granted KYC level 1 to {self.user.name}")

    async def buy(
        self, pay_asset: str, pay_minor: int, *, pay: Callable[[dict[str, Any]], Any]
    ) -> dict[str, Any]:
        """Buy ITD at a quote's rate, and see it credited."""
        question = {"pay_asset": pay_asset, "buy_asset": ITD, "side": "pay"}
        quote = await self._post("/v1/quotes", {**question, "amount": str(pay_minor)})
        purchase = await self._post("/v1/purchases", {"quote_id": quote["id"]})
        path = f"/v1/purchases/{purchase['id']}"
        await pay(await until(self.user, path, _is_payable))
        done = await until(self.user, path, lambda p: p["status"] == PurchaseStatus.COMPLETED)
        self.expected[ITD, None].append(int(quote["buy_amount"]))
        self.said.append(
            f"{done['id']}: {quote['buy_amount']} of {ITD} for {pay_minor} of {pay_asset}"
        )
        return done

    async def send_to_friend(self) -> None:
        """Send to the friend's handle; the friend has it at once."""
        handle = f"{self.friend.name}_{self.friend.user_id[-6:]}".lower()
        await call(self.friend, "PUT", "/v1/handles/me", {"handle": handle})
        body = {"to": f"@{handle}", "asset": ITD, "amount": str(SENT_MINOR), "note": "for lunch"}
        transfer = await self._post("/v1/transfers", body, needs_code=True)
        self.expected[ITD, None].append(-SENT_MINOR)
        shown = await get(self.friend, f"/v1/transfers/{transfer['id']}")
        self.said.append(
            f"{transfer['id']}: {shown['amount']} of {ITD} from {self.user.name} to @{handle}"
        )

    async def receive(self) -> None:
        """Be paid Ether at an address of one's own."""
        address = await self._post("/v1/deposit-addresses", {"asset": ETHER, "label": "savings"})
        ether = await asset_of(self.site, ETHER)
        txid = await send(self.site, ether, address["address"], RECEIVED_MINOR)
        await until(self.user, "/v1/deposits", lambda page: _is_credited(page, txid))
        self.expected[ETHER, None].append(RECEIVED_MINOR)
        self.said.append(f"{RECEIVED_MINOR} of {ETHER} credited, from {txid}")

    async def to_pocket(self) -> None:
        """Move Ether to a wallet of one's own on the chain, with an admin's approval."""
        body = {"route": "fund", "asset": ETHER, "amount": str(FUNDED_MINOR)}
        transfer = await self._post("/v1/pocket-transfers", body, needs_code=True)
        held = await self._balance(ETHER)
        if int(held["held"]) != FUNDED_MINOR + int(transfer["fee"]):
            msg = f"The balance does not show the freeze: {held}"
            raise StackError(msg)
        path = f"/v1/pocket-transfers/{transfer['id']}"
        await approve(self.approver, path, {"note": None})
        done = await until(self.user, path, _is_settled)
        self.expected[ETHER, None].append(-FUNDED_MINOR - int(done["fee"]))
        self.expected[ETHER, CHAIN].append(FUNDED_MINOR)
        self.pocket_address = done["destination"]
        self.said.append(
            f"{transfer['id']}: {FUNDED_MINOR} of {ETHER} now at {self.pocket_address}"
        )

    async def from_pocket(self) -> None:
        """Move part of it back; the pocket pays the network."""
        before = await self.on_pocket_minor()
        body = {"route": "redeem", "asset": ETHER, "amount": str(REDEEMED_MINOR)}
        transfer = await self._post("/v1/pocket-transfers", body, needs_code=True)
        path = f"/v1/pocket-transfers/{transfer['id']}"
        done = await until(self.user, path, _is_settled)
        network_fee_minor = before - REDEEMED_MINOR - await self.on_pocket_minor()
        self.expected[ETHER, CHAIN].append(-REDEEMED_MINOR - network_fee_minor)
        self.expected[ETHER, None].append(int(done["arrived"]))
        self.said.append(f"{transfer['id']}: back; the network took {network_fee_minor} of {ETHER}")

    async def pay_out(self) -> None:
        """Pay somebody on the chain from the off-chain balance."""
        destination = _stranger(self.user)
        body = {"asset": ETHER, "amount": str(PAID_OUT_MINOR), "destination": destination}
        payout = await self._post("/v1/payouts", body, needs_code=True)
        path = f"/v1/payouts/{payout['id']}"
        done = await until(self.user, path, _is_settled)
        self.expected[ETHER, None].append(-PAID_OUT_MINOR - int(done["fee"]))
        self.said.append(f"{payout['id']}: {PAID_OUT_MINOR} of {ETHER} to {destination}")

    async def on_pocket_minor(self) -> int:
        """Return what the chain itself has at the pocket's address."""
        ether = await asset_of(self.site, ETHER)
        return await on_chain_minor(self.site, ether, [self.pocket_address])

    async def _pay_by_card(self, purchase: dict[str, Any]) -> None:
        """Do what the gateway's script does in a browser."""
        secret = str(purchase["card"]["client_secret"])
        intent_id = secret.partition("_secret_")[0]
        async with httpx.AsyncClient(base_url=self.site.stripe_url, trust_env=False) as browser:
            answer = await browser.post(
                f"/v1/payment_intents/{intent_id}/confirm",
                data={"client_secret": secret, "payment_method": "pm_card_visa"},
                headers={"Authorization": f"Bearer {PUBLISHABLE_KEY}"},
            )
            answer.raise_for_status()

    async def _pay_on_chain(self, purchase: dict[str, Any]) -> None:
        pay_minor = int(purchase["pay_amount"])
        await send(
            self.site, await asset_of(self.site, BTC), purchase["pay_at"]["address"], pay_minor
        )

    async def _balance(self, asset: str) -> dict[str, Any]:
        wallet = await get(self.user, "/v1/wallets")
        return next(dict(b) for b in wallet["balances"] if b["asset"] == asset)

    async def _post(self, path: str, body: object, *, needs_code: bool = False) -> dict[str, Any]:
        return await call(self.user, "POST", path, body, needs_code=needs_code)


def _is_payable(purchase: dict[str, Any]) -> bool:
    card = purchase["card"]
    return purchase["pay_at"] is not None or (card is not None and card["client_secret"])


def _is_settled(payout: dict[str, Any]) -> bool:
    return bool(payout["status"] == PayoutStatus.SETTLED)


def _is_credited(page: dict[str, Any], txid: str) -> bool:
    return any(
        deposit["txid"] == txid and deposit["status"] == DepositStatus.CREDITED
        for deposit in page["items"]
    )


def _stranger(user: ScriptedUser) -> str:
    return str(to_checksum_address(keccak(text=f"paid by {user.user_id}")[:20]))
