"""The judges of the storm: whatever they are there to find, they find."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, override

import pytest

from devnet.bootstrap import BTC, ETHER, TOKEN, USD
from devnet.people import ScriptedUser
from devnet.ports import Ports
from devnet.site import Site
from domain.payouts import PayoutStatus
from domain.pockets import Route
from ledger import chart
from tests.faults.bank import OPENING_MINOR, Asked, Bank
from tests.faults.findings import Findings
from tests.faults.holders import Balances, Holders, Moved
from tests.faults.listeners import Endpoint, Listeners, Told
from tests.faults.shoppers import Bought, Shoppers
from tests.faults.tills import Standing

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ANN: Any = SimpleNamespace(user_id="ann")


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    stack: Any = SimpleNamespace(site=Site(state_dir=tmp_path, ports=Ports()))
    return Bank(stack, name="storm")


def counts(found: Findings) -> tuple[int, int, int]:
    return found.duplicates, found.lost, found.unbalanced


@dataclass
class FakeStripe:
    """What is left of every payment, and of all of them."""

    kept: int = 100
    balance: int = 100

    async def kept_minor(self, intent_id: str) -> int:
        del intent_id
        return self.kept

    async def balance_minor(self, currency: str) -> int:
        del currency
        return self.balance


class JudgedShoppers(Shoppers):
    """Ann bought 990 for 100 cents by card, and as much with 1,000 tokens."""

    def __init__(self, bank: Bank) -> None:
        super().__init__(bank)
        self.server = FakeStripe()
        self.stripe: Any = self.server
        self.people: list[ScriptedUser] = [ANN]
        self.bought = [
            Bought("pur_1", "ann", USD, 100, 990, NOW, intent_id="pi_1"),
            Bought("pur_2", "ann", TOKEN, 1_000, 990, NOW, address="0x1"),
        ]
        self.books = Standing(
            credited_minor={"pur_1": 990, "pur_2": 990},
            paid_minor={"0x1": 1_500},
            held_minor={"ann": 1_980},
            issued_minor=1_980,
            at_gateway_minor=100,
            clearing_minor=[("purchases:clearing:stripe USD", 0)],
            reused_quotes=[],
            open_events=0,
        )

    @override
    async def _standing(self) -> Standing:
        return self.books


class TestShoppers:
    async def test_find_nothing_where_all_is_right(self, bank: Bank) -> None:
        shoppers = JudgedShoppers(bank)
        assert (await shoppers.findings()).is_clean
        assert await shoppers.are_done()

    @pytest.mark.parametrize(
        ("change", "expected"),
        [
            ({"credited_minor": {"pur_1": 990}}, (0, 1, 0)),
            ({"credited_minor": {"pur_1": 990, "pur_2": 1_485}}, (1, 0, 0)),
            ({"paid_minor": {"0x1": 500}}, (1, 0, 1)),
            ({"held_minor": {"ann": 1_981}, "issued_minor": 1_981}, (0, 0, 1)),
            ({"issued_minor": 1_979}, (0, 0, 1)),
            ({"at_gateway_minor": 99}, (0, 0, 1)),
            ({"clearing_minor": [("purchases:clearing:stripe USD", 3)]}, (0, 0, 1)),
            ({"reused_quotes": [("quo_1", 2)]}, (1, 0, 0)),
            ({"open_events": 1}, (0, 1, 0)),
        ],
    )
    async def test_find_what_the_books_have_wrong(
        self, bank: Bank, change: dict[str, Any], expected: tuple[int, int, int]
    ) -> None:
        shoppers = JudgedShoppers(bank)
        shoppers.books = replace(shoppers.books, **change)
        assert counts(await shoppers.findings()) == expected

    async def test_find_a_clawback_that_was_missed(self, bank: Bank) -> None:
        shoppers = JudgedShoppers(bank)
        shoppers.server.kept = shoppers.server.balance = 0
        assert counts(await shoppers.findings()) == (1, 0, 2)
        assert not await shoppers.are_done()


def moved(route: Route, minor: int, **changes: Any) -> Moved:
    arrived_minor = 0 if route == Route.SEND else minor
    fee_minor = 1 if route == Route.FUND else 0
    row = Moved(
        f"ptr_{route}",
        "ann",
        TOKEN,
        "eip155:31337",
        route,
        PayoutStatus.SETTLED,
        minor,
        fee_minor,
        minor,
        arrived_minor,
        0,
        pays_gas=False,
    )
    return replace(row, **changes)


class JudgedHolders(Holders):
    """Ann has funded 50, redeemed 20 and sent 10 tokens."""

    def __init__(self, bank: Bank) -> None:
        super().__init__(bank)
        self.people: list[ScriptedUser] = [ANN]
        self.moved = [moved(Route.FUND, 50), moved(Route.REDEEM, 20), moved(Route.SEND, 10)]
        self.asked = [Asked(m.transfer_id, TOKEN, m.amount_minor, "0x1") for m in self.moved]
        self.balances: Balances = {
            (chart.available("ann"), asset): minor for asset, minor in OPENING_MINOR.items()
        }
        self.balances[chart.available("ann"), TOKEN] += -50 - 1 + 20
        self.balances[chart.onchain("ann", "eip155:31337"), TOKEN] = 20
        self.at_chain = {TOKEN: 20, ETHER: 0, BTC: 0}

    @override
    async def _read(self) -> tuple[list[Moved], list[tuple[str, str, str]], Balances]:
        return self.moved, [("ann", "eip155:31337", "0xpocket")], self.balances

    @override
    async def _held_on_chain(self, asset: str, address: str) -> int:
        assert address == "0xpocket"
        return self.at_chain[asset]


class TestHolders:
    async def test_find_nothing_where_all_is_right(self, bank: Bank) -> None:
        assert (await JudgedHolders(bank).findings()).is_clean

    @pytest.mark.parametrize(
        ("place", "change", "expected"),
        [
            (0, {"status": PayoutStatus.READY}, (0, 1, 0)),
            (0, {"arrived_minor": 100}, (0, 0, 1)),
            (1, {"arrived_minor": 0}, (0, 0, 1)),
            (2, {"left_minor": 20}, (0, 0, 1)),
            (1, {"transfer_id": "ptr_strange"}, (1, 1, 0)),
        ],
    )
    async def test_find_what_rows_have_wrong(
        self, bank: Bank, place: int, change: dict[str, Any], expected: tuple[int, int, int]
    ) -> None:
        holders = JudgedHolders(bank)
        holders.moved[place] = replace(holders.moved[place], **change)
        assert counts(await holders.findings()) == expected

    @pytest.mark.parametrize(
        "account", [chart.available("ann"), chart.held("ann"), chart.onchain("ann", "eip155:31337")]
    )
    async def test_find_what_the_books_have_wrong(self, bank: Bank, account: str) -> None:
        holders = JudgedHolders(bank)
        holders.balances[account, TOKEN] = holders.balances.get((account, TOKEN), 0) + 1
        assert counts(await holders.findings()) == (0, 0, 1)

    async def test_find_a_pocket_that_has_less_than_the_books(self, bank: Bank) -> None:
        holders = JudgedHolders(bank)
        holders.at_chain[TOKEN] -= 1
        assert counts(await holders.findings()) == (0, 0, 1)


class JudgedListeners(Listeners):
    """Ann listens to purchases, and was told of one."""

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self.endpoints = [Endpoint("ann", "/hook/0", ("purchase.*",))]
        self.hall.heard["/hook/0"] = {"evt_1"}
        self.told = [
            Told("evt_1", "ann", "purchase.credited", NOW),
            Told("evt_2", "ann", "payout.settled", NOW),
            Told("evt_3", "bob", "purchase.credited", NOW),
        ]
        self.given_up = 0

    @override
    async def _told(self) -> tuple[Sequence[Told], int]:
        return self.told, self.given_up


class TestListeners:
    async def test_find_nothing_where_all_is_right(self, bank: Bank) -> None:
        assert (await JudgedListeners(bank.stack.site).findings()).is_clean

    async def test_find_an_event_that_never_came(self, bank: Bank) -> None:
        listeners = JudgedListeners(bank.stack.site)
        listeners.hall.heard.clear()
        assert counts(await listeners.findings()) == (0, 1, 0)

    @pytest.mark.parametrize("event_id", ["evt_2", "evt_3", "evt_invented"])
    async def test_find_what_should_not_have_come(self, bank: Bank, event_id: str) -> None:
        listeners = JudgedListeners(bank.stack.site)
        listeners.hall.heard["/hook/0"].add(event_id)
        assert counts(await listeners.findings()) == (1, 0, 0)

    async def test_find_bad_signatures_and_what_was_given_up(self, bank: Bank) -> None:
        listeners = JudgedListeners(bank.stack.site)
        listeners.hall.unsigned.append("no good signature")
        listeners.given_up = 2
        assert counts(await listeners.findings()) == (0, 1, 1)
