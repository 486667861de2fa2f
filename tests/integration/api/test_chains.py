"""Chains as the watcher sees them, rescans, freezes, and what metrics say of them."""

from typing import Any

import pytest
from sqlmodel import select

from deposits.rescans import BLOCKS_MAX
from domain.ids import new_id
from models.deposits import Rescan, UserFreeze
from models.identity import Role
from tests.integration.api.money_in import (
    BTC_CHAIN,
    add_bitcoin,
    advance,
    as_api_role,
    credited,
    lose,
    set_head,
)
from tests.support.bank import CHAIN_ID, Bank, code_of
from tests.support.identity import Person

RESCANS = f"/v1/chains/{CHAIN_ID}/rescans"


async def operator(bank: Bank) -> Person:
    return await bank.person("olga", Role.OPERATOR)


async def ask_for_rescan(
    bank: Bank, from_height: Any = 5, to_height: Any = 9, *, chain_id: str = CHAIN_ID, **more: Any
) -> Any:
    return await bank.send(
        "POST",
        f"/v1/chains/{chain_id}/rescans",
        person=await operator(bank),
        body={"from_height": from_height, "to_height": to_height},
        **more,
    )


class TestChain:
    async def test_is_listed_before_it_was_ever_read(self, bank: Bank) -> None:
        (chain,) = (await bank.get("/v1/chains")).json()["items"]

        assert (chain["id"], chain["name"], chain["family"]) == (CHAIN_ID, "Testnet", "evm")
        nothing = ("height", "tip_height", "lag_blocks", "seen_at", "last_reorg", "fee_rate")
        assert {chain[name] for name in nothing} == {None}
        assert chain["confirmations"] == {"finality": "depth", "minimum": 3, "tiers": []}

    async def test_says_how_far_it_was_read_and_what_it_costs(self, bank: Bank) -> None:
        await set_head(
            bank,
            90,
            tip_height=100,
            finalized_height=80,
            fee_rate_minor=10**9,
            reorg_at=bank.clock.now(),
            reorg_depth=2,
        )
        shown = (await bank.get(f"/v1/chains/{CHAIN_ID}")).json()

        assert (shown["height"], shown["tip_height"], shown["lag_blocks"]) == (90, 100, 10)
        assert shown["finalized_height"] == 80
        assert shown["last_reorg"]["depth"] == 2
        assert shown["fee_rate"] == {"amount": str(10**9), "unit": "wei per gas"}
        assert (await bank.get("/v1/chains")).json()["items"] == [shown]

    async def test_says_what_confirmations_its_assets_ask_for(self, bank: Bank) -> None:
        await add_bitcoin(bank)
        await set_head(bank, 7, BTC_CHAIN, fee_rate_minor=2_000)
        shown = (await bank.get(f"/v1/chains/{BTC_CHAIN}")).json()

        assert shown["fee_rate"]["unit"] == "satoshi per 1000 virtual bytes"
        assert shown["lag_blocks"] is None
        assert shown["confirmations"]["minimum"] == 6
        assert shown["confirmations"]["tiers"] == [
            {
                "asset": "BTC",
                "tiers": [
                    {"up_to": "1000", "confirmations": 1},
                    {"up_to": None, "confirmations": 6},
                ],
            }
        ]

    @pytest.mark.parametrize(
        ("chain_id", "refusal"),
        [("eip155:1", (404, "chain_not_found")), ("eip155", (422, "validation_failed"))],
    )
    async def test_that_is_not_in_the_catalog_is_not_there(
        self, bank: Bank, chain_id: str, refusal: tuple[int, str]
    ) -> None:
        answer = await bank.get(f"/v1/chains/{chain_id}")

        assert (answer.status_code, code_of(answer)) == refusal


class TestRescan:
    async def test_is_written_for_the_watcher_and_shows_progress(
        self, bank: Bank, database_url: str
    ) -> None:
        await set_head(bank, 9)
        olga = await operator(bank)
        headers = olga.headers | {"TOTP-Code": olga.code()}
        async with as_api_role(bank, database_url) as client:
            body = {"from_height": 5, "to_height": 9}
            answer = await client.post(RESCANS, json=body, headers=headers)
        made = answer.json()
        async with bank.database.transaction() as session:
            row = (await session.exec(select(Rescan))).one()
            row.next_height, row.found = 8, 1
        shown = (await bank.get(f"{RESCANS}/{made['id']}", olga)).json()
        chain = (await bank.get(f"/v1/chains/{CHAIN_ID}")).json()

        assert answer.status_code == 202
        assert answer.headers["Location"] == f"http://api.example{RESCANS}/{made['id']}"
        assert (made["blocks_done"], made["blocks_total"]) == (0, 5)
        assert (shown["blocks_done"], shown["found"], shown["finished_at"]) == (3, 1, None)
        assert shown["requested_by"] == olga.id
        assert chain["open_rescans"] == 1

    async def test_of_the_same_range_is_the_one_that_is_open(self, bank: Bank) -> None:
        await set_head(bank, 9)
        first, again = [(await ask_for_rescan(bank)).json() for _ in range(2)]
        other = (await ask_for_rescan(bank, 6)).json()
        async with bank.database.transaction() as session:
            (await session.get_one(Rescan, first["id"])).finished_at = bank.clock.now()
        later = (await ask_for_rescan(bank)).json()
        listed = (await bank.get(RESCANS, await operator(bank))).json()["items"]

        assert first == again
        assert len({first["id"], other["id"], later["id"]}) == 3
        assert [r["id"] for r in listed] == [later["id"], other["id"], first["id"]]

    @pytest.mark.parametrize(
        ("from_height", "to_height", "field"),
        [
            (-1, 5, "from_height"),
            (6, 5, "to_height"),
            (0, 2_000_001, "to_height"),
            (0, BLOCKS_MAX, "to_height"),
            (0, 2**31, "to_height"),
            ("1", 5, "from_height"),
            (1.5, 5, "from_height"),
            (None, 5, "from_height"),
            (True, 5, "from_height"),
        ],
    )
    async def test_is_refused_unless_it_is_a_range_that_was_read(
        self, bank: Bank, from_height: Any, to_height: Any, field: str
    ) -> None:
        await set_head(bank, 2_000_000)
        answer = await ask_for_rescan(bank, from_height, to_height)

        assert (answer.status_code, code_of(answer)) == (422, "validation_failed")
        assert [e["field"] for e in answer.json()["errors"]] == [field]

    async def test_may_have_the_largest_size(self, bank: Bank) -> None:
        await set_head(bank, 2_000_000)
        answer = await ask_for_rescan(bank, 1, BLOCKS_MAX)

        assert (answer.status_code, answer.json()["blocks_total"]) == (202, BLOCKS_MAX)

    async def test_of_a_chain_that_was_never_read_is_refused(self, bank: Bank) -> None:
        refused = await ask_for_rescan(bank, 0, 0)
        missing = await ask_for_rescan(bank, 0, 0, chain_id="eip155:1")

        assert (refused.status_code, code_of(refused)) == (422, "validation_failed")
        assert (missing.status_code, code_of(missing)) == (404, "chain_not_found")

    async def test_needs_a_second_factor_which_a_refusal_does_not_use_up(self, bank: Bank) -> None:
        await set_head(bank, 9)
        without = await ask_for_rescan(bank, headers={"TOTP-Code": ""})
        code = {"TOTP-Code": (await operator(bank)).code()}
        refused = await ask_for_rescan(bank, 9, 5, headers=code)
        taken = await ask_for_rescan(bank, headers=code)

        assert code_of(without) == "second_factor_required"
        assert (refused.status_code, taken.status_code) == (422, 202)

    async def test_of_another_chain_is_not_there(self, bank: Bank) -> None:
        await add_bitcoin(bank)
        await set_head(bank, 9)
        made = (await ask_for_rescan(bank)).json()
        olga = await operator(bank)
        elsewhere = await bank.get(f"/v1/chains/{BTC_CHAIN}/rescans/{made['id']}", olga)
        missing = await bank.get(f"{RESCANS}/{new_id('rsc')}", olga)
        nowhere = await bank.get("/v1/chains/eip155:1/rescans", olga)

        assert code_of(elsewhere) == code_of(missing) == "rescan_not_found"
        assert code_of(nowhere) == "chain_not_found"
        assert (await bank.get(f"/v1/chains/{BTC_CHAIN}/rescans", olga)).json()["items"] == []


class TestFreeze:
    async def freeze(self, bank: Bank) -> str:
        """Return the deposit whose loss froze the customer."""
        deposit_id = await credited(bank)
        await lose(bank, deposit_id)
        await advance(bank, deposit_id)
        return deposit_id

    async def test_is_listed_with_its_deposit_and_stops_payouts(self, bank: Bank) -> None:
        deposit_id = await self.freeze(bank)
        (freeze,) = (await bank.get("/v1/freezes", await operator(bank))).json()["items"]
        payout = await bank.pay()

        assert (freeze["user_id"], freeze["deposit_id"]) == (bank.customer.id, deposit_id)
        assert (payout.status_code, code_of(payout)) == (409, "wallet_frozen")

    async def test_is_lifted_by_an_operator_once(self, bank: Bank, database_url: str) -> None:
        await self.freeze(bank)
        olga = await operator(bank)
        path = f"/v1/users/{bank.customer.id}/freezes/lift"
        headers = olga.headers | {"TOTP-Code": olga.code()}
        async with as_api_role(bank, database_url) as client:
            lifted = await client.post(path, headers=headers)
        again = await bank.send("POST", path, person=olga)
        payout = await bank.pay()
        async with bank.database.transaction() as session:
            row = (await session.exec(select(UserFreeze))).one()

        assert (lifted.status_code, lifted.json()["lifted"]) == (200, 1)
        assert again.json()["lifted"] == 0
        assert row.lifted_by == olga.id
        assert (await bank.get("/v1/freezes", olga)).json()["items"] == []
        assert payout.status_code == 202

    async def test_is_not_lifted_without_a_second_factor(self, bank: Bank) -> None:
        await self.freeze(bank)
        olga = await operator(bank)
        path = f"/v1/users/{bank.customer.id}/freezes/lift"
        answer = await bank.send("POST", path, person=olga, headers={"TOTP-Code": ""})

        assert (answer.status_code, code_of(answer)) == (403, "second_factor_required")
        assert len((await bank.get("/v1/freezes", olga)).json()["items"]) == 1

    async def test_is_not_lifted_by_whom_it_freezes(self, bank: Bank) -> None:
        olga = await operator(bank)
        answer = await bank.send("POST", f"/v1/users/{olga.id}/freezes/lift", person=olga)

        assert (answer.status_code, code_of(answer)) == (403, "own_request")


class TestMetrics:
    async def test_count_deposits_lag_reorgs_and_frozen_users(self, bank: Bank) -> None:
        deposit_id = await credited(bank)
        await lose(bank, deposit_id)
        await advance(bank, deposit_id)
        await set_head(bank, 90, tip_height=100, reorg_depth=2, reorg_at=bank.clock.now())
        text = (await bank.client.get("/metrics")).text

        assert 'strongroom_deposits{status="reversed"} 1.0' in text
        assert f'strongroom_chain_lag_blocks{{chain="{CHAIN_ID}"}} 10.0' in text
        assert f'strongroom_chain_reorg_depth{{chain="{CHAIN_ID}"}} 2.0' in text
        assert "strongroom_frozen_users 1.0" in text
