"""Pockets over a chain in memory, with workers that may die after any step."""

from typing import Any

from eth_account import Account

from domain.errors import TransientError
from domain.payouts import OPEN_STATUSES, PayoutStatus
from domain.pockets import Route
from domain.policy import parse_policy
from infra.database import Database
from ledger import rules
from models.payouts import Payout
from outgoing.records import OPEN
from payouts.catalog import apply_catalog
from payouts.policy import store_policy
from tests.support.books import AUTOMATIC, as_role, people
from tests.support.chain_world import DESTINATION, TokenKind
from tests.support.clocks import MovableClock
from tests.support.evm import CHAIN_ID
from tests.support.evm_books import CONFIRMATIONS, ETHER, GWEI, PLAIN_GAS, EvmBooks, catalog
from tests.support.fake_chain import FakeChain

STEPS = ("prepare", "allocate", "sign", "broadcast")
ROUNDS = 40
"""So many rounds bring everything to its end, or something is stuck."""


class FakeWorld:
    """What ``EvmBooks`` asks of its world, over a chain in memory."""

    def __init__(self, chain: FakeChain | None = None) -> None:
        self.chain = self.outlet = chain or FakeChain(CHAIN_ID)

    async def mine(self, count: int = 1) -> None:
        await self.chain.mine(count)


class PocketBooks(EvmBooks):
    """Books over a chain in memory, with one user who owns coin and tokens off-chain."""

    def __init__(
        self, url: str, *, chain: FakeChain | None = None, clock: MovableClock | None = None
    ) -> None:
        api, worker, signer = (Database(as_role(url, r)) for r in ("api", "worker", "signer"))
        world: Any = FakeWorld(chain)
        clock = clock or MovableClock()
        super().__init__(Database(url), api, worker, signer, world, clock=clock)
        self.chain: FakeChain = world.chain
        self.dies_after: str | None = None

    async def begin(self) -> None:
        self.contracts = {"USD": await self.chain.token(TokenKind.PLAIN)}
        async with self.owner.transaction() as session:
            await apply_catalog(session, catalog(self.contracts))
            session.add_all(people(self.clock))
        async with self.owner.transaction() as session:
            await store_policy(session, parse_policy(AUTOMATIC), by="owner")
        # Whatever the pocket holds, its gas may be lent.
        await self.execute("UPDATE asset SET sweep_min_minor = 1")
        self.hot = await self.vault.ensure_primary_wallet(CHAIN_ID)
        for asset, contract in (("ETH", None), ("USD", self.contracts["USD"])):
            self.chain.fund(self.hot, 10 * ETHER, contract_address=contract)
            await self.own(asset, 2 * ETHER, user_id="u1")
            await self.own(asset, 8 * ETHER)
        await self.world.mine(12)
        await self.look()
        for asset in ("ETH", "USD"):
            await self.run("fund", asset, ETHER // 2)
        await self.finish()
        # No reorg of what follows reaches below this.
        await self.world.mine(8)
        await self.look()

    async def own(self, asset: str, amount_minor: int, *, user_id: str | None = None) -> None:
        """Book what was put on the hot wallet: a user's, or our own."""
        about: dict[str, Any] = {
            "txid": f"{asset} of {user_id}",
            "chain_id": CHAIN_ID,
            "asset": asset,
            "amount_minor": amount_minor,
            "at": self.clock.now(),
        }
        if user_id is None:
            await self.ledger.post(rules.capital_in(**about))
        else:
            await self.ledger.post(rules.deposit(user_id=user_id, **about))

    async def run(self, name: str, asset: str, value: Any) -> None:
        match name:
            case "fund" | "redeem" | "send":
                to = DESTINATION if name == "send" else None
                await self.ask(Route(name), value, asset=asset, destination=to)
            case "gift":
                await self.gift(value)
            case "die":
                self.dies_after = STEPS[value]
            case "work":
                for _ in range(value):
                    await self.work()
            case _:
                await self.chain.reorg(value)

    async def gift(self, amount_minor: int) -> None:
        """Have a stranger pay the pocket, if there is one."""
        if (pocket := await self.pocket()) is None:
            return
        nonce = await self.chain.account_nonce(self.chain.wallet)
        while (self.chain.wallet, nonce) in self.chain._pool:
            nonce += 1
        fields = {
            "to": pocket.address,
            "value": amount_minor,
            "gas": PLAIN_GAS,
            "type": 2,
            "chainId": int(CHAIN_ID.removeprefix("eip155:")),
            "nonce": nonce,
            "maxFeePerGas": 50 * GWEI,
            "maxPriorityFeePerGas": GWEI,
        }
        signed = Account.sign_transaction(fields, self.chain.private_key)
        await self.chain.broadcast(bytes(signed.raw_transaction))

    async def work(self) -> None:
        """Do what workers do in a while: claim, plan, drive what is open, mine, look."""
        self.wait(61)
        await self.execute("UPDATE user_freeze SET lifted_at = now() WHERE lifted_at IS NULL")
        for payout in await self.payouts():
            if payout.status == PayoutStatus.READY:
                await self.get_going(payout)
        batches = {row.batch_id for row in await self.transactions() if row.status in OPEN}
        for batch_id in sorted(batches):
            await self.drive_on(batch_id)
        await self.mine()

    async def get_going(self, payout: Payout) -> None:
        if payout.route == Route.FUND:
            await self.pocket_desk.make_ready(payout.id)
            key = f"claim {payout.id}"
            await self.log.claim(chain_id=CHAIN_ID, wallet_address=self.hot, claim_key=key)
        else:
            await self.spender.advance(payout.id)

    async def drive_on(self, batch_id: str) -> None:
        """Take a batch through its steps, or die after one of them: it is gone on with later."""
        steps: dict[str, Any] = {
            "prepare": self.runner.prepare,
            "allocate": self.log.allocate,
            "sign": self.signer.sign,
            "broadcast": self.runner.broadcast,
        }
        for name, step in steps.items():
            try:
                await step(batch_id)
            except TransientError:
                return
            if self.dies_after == name:
                self.dies_after = None
                return

    async def finish(self) -> None:
        for _ in range(ROUNDS):
            await self.work()
            rows = await self.transactions()
            is_open = any(row.status in OPEN for row in rows)
            if not is_open and all(p.status not in OPEN_STATUSES for p in await self.payouts()):
                break
        await self.mine(CONFIRMATIONS)
        self.wait(61)
        await self.mine(CONFIRMATIONS)
        payouts = await self.payouts()
        assert {p.status for p in payouts} <= {PayoutStatus.SETTLED, PayoutStatus.REFUSED}
        await self.assert_books_equal_chain()
        assert await self.balance(f"inflight:{CHAIN_ID}") == 0
        assert await self.balance("suspense") == 0
