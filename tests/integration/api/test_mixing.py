"""Mixing over HTTP: owners make mixers, users mix, operators hold; each process as its own role."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, override

import httpx
import pytest
from pydantic import SecretStr

import worker
from api.mix_requests import MixRequests
from api.schemas.mixes import MixBody
from api.second_factor import SecondFactorCheck
from api.state import AppState
from domain.deposits import DepositStatus
from domain.ids import DEPOSIT, new_id
from identity.principals import Principal
from infra.database import Database
from infra.keyring import Keyring, generate_key
from infra.notifier import TemporalNotifier
from mixers.check import PostgresMixerChecker
from mixers.desk import PostgresMixDesk
from models.chain_transactions import ChainHead
from models.deposits import ChainDeposit
from models.identity import Role
from models.mixing import Mix
from tests.support.bank import CHAIN_ID, HOT_WALLET, Bank, code_of, served
from tests.support.books import as_role
from tests.support.flows import until
from tests.support.identity import Person
from tests.support.mixing import POLICY, addresses
from wiring.mixing import MixerServing

TERMS = POLICY | {"dole_max_minor": 1_000, "parts_max": 120, "window_s": 3_600}
KEYS = f"mixer-1:{generate_key()}"


@dataclass
class Office:
    """An installation that mixes."""

    bank: Bank
    database: Database
    owner: Person
    operator: Person
    mixer: dict[str, Any]
    state: AppState

    async def open(self, *to: str, **changes: Any) -> httpx.Response:
        self.asked = {"asset": "ETH", "addresses": list(to or addresses(3))} | changes
        return await self.bank.send(
            "POST", "/v1/mixes", body=self.asked, headers={"Idempotency-Key": new_id("key")}
        )

    async def post(self, mix_id: str, what: str, person: Person | None = None) -> httpx.Response:
        body = {"note": "order 17"} if person else None
        return await self.bank.send("POST", f"/v1/mixes/{mix_id}/{what}", person=person, body=body)

    async def get(self, mix_id: str, person: Person | None = None) -> dict[str, Any]:
        return dict((await self.bank.get(f"/v1/mixes/{mix_id}", person)).json())

    async def books(self) -> tuple[object, ...]:
        """Return what the house has, has earned, owes and is off by, and its open mixes."""
        path = f"/v1/mixers/{self.mixer['id']}/books"
        answer = (await self.bank.get(path, self.operator)).json()
        assert answer["misplaced_mixes"] == []
        assert answer["house_address"] == HOT_WALLET
        names = ("house", "fees", "owed", "imbalance", "open_mixes")
        return tuple(answer[name] for name in names)

    async def fund(self, mix_id: str, amount_minor: int) -> None:
        """Let the watcher see a deposit that is deep enough, and its workflow credit it."""
        async with self.bank.database.transaction() as session:
            mix = await session.get_one(Mix, mix_id)
            deposit = ChainDeposit(
                id=new_id(DEPOSIT),
                chain_id=CHAIN_ID,
                address_id=mix.address_id,
                user_id=mix.user_id,
                asset="ETH",
                txid=new_id("tx"),
                position="native",
                amount_minor=amount_minor,
                status=DepositStatus.CONFIRMING,
                confirmations_required=3,
                block_height=90,
                block_hash="b",
                seen_at=self.bank.clock.now(),
            )
            session.add(deposit)
        await TemporalNotifier(self.bank.state.temporal).deposits_moved([deposit.id])


@asynccontextmanager
async def serving_mixers(bank: Bank, database: Database) -> AsyncIterator[None]:
    desk = PostgresMixDesk(
        database, bank.clock, Keyring.parse(KEYS), keep_audit_for=timedelta(days=30)
    )
    serving = MixerServing(
        bank.state.temporal,
        desk,
        worker.payout_steps(worker.Process(bank.state.temporal, database)),
        database,
        worker.sandbox,
        worker.INTERCEPTORS,
        timedelta(seconds=1),
    )
    stop = asyncio.Event()
    running = asyncio.create_task(serving.run(stop))
    try:
        yield
    finally:
        stop.set()
        await running


@pytest.fixture
async def office(bank: Bank, database_url: str) -> AsyncIterator[Office]:
    api = Database(as_role(database_url, "api"))
    workers = Database(as_role(database_url, "worker"))
    async with bank.database.transaction() as session:
        session.add(
            ChainHead(chain_id=CHAIN_ID, height=100, tip_height=100, seen_at=bank.clock.now())
        )
        connection = await session.connection()
        await connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
        await connection.exec_driver_sql(
            "INSERT INTO kyc_level (user_id, level, since) VALUES (%(id)s, 2, now())",
            {"id": bank.customer.id},
        )
    owner = await bank.person("olive", Role.OWNER)
    operator = await bank.person("otto", Role.OPERATOR)
    on = {"mixer_enabled": True, "mixer_keys": SecretStr(KEYS)}
    settings = bank.state.settings.model_copy(update=on)
    state = type(bank.state)(
        settings=settings,
        database=api,
        identity=bank.identity,
        temporal=bank.state.temporal,
        clock=bank.clock,
    )
    async with served(state) as (_, client):
        bank.client = client
        body = {"asset": "ETH", "name": "north", "policy": TERMS}
        made = await bank.send("POST", "/v1/mixers", person=owner, body=body)
        assert made.status_code == 201, made.text
        async with serving_mixers(bank, workers):
            yield Office(bank, workers, owner, operator, dict(made.json()), state)
    await api.close()
    await workers.close()


class _Overtaken(MixRequests):
    """Whose request is sent again, and answered, while it is on its way."""

    def __init__(self, state: AppState, again: Callable[[], Awaitable[object]]) -> None:
        super().__init__(state.database, state.mix_workflows, state.clock, addresses_max=10)
        self._again = again

    @override
    async def _shard(self, asset: str, principal: Principal, key: str) -> tuple[str, str]:
        await self._again()
        return await super()._shard(asset, principal, key)


class TestMix:
    async def test_is_the_same_for_two_tries_at_once(self, office: Office) -> None:
        key, asked = new_id("key"), {"asset": "ETH", "addresses": list(addresses(3))}
        answers = []

        async def again() -> None:
            headers = {"Idempotency-Key": key}
            answers.append(await office.bank.send("POST", "/v1/mixes", body=asked, headers=headers))

        who = office.bank.customer.id
        no_code = SecondFactorCheck(
            office.state.identity.step_ups, Principal(who, who), str, None, None
        )
        mix = await _Overtaken(office.state, again).submit(
            MixBody.model_validate(asked, strict=False),
            idempotency_key=key,
            principal=Principal(who, who),
            second_factor=no_code,
        )
        assert [(answer.status_code, answer.json()["id"]) for answer in answers] == [(202, mix.id)]

    async def test_goes_from_its_deposit_to_its_first_part_and_answers_for_it(
        self, office: Office
    ) -> None:
        opened = await office.open()
        assert opened.status_code == 202, opened.text
        mix = opened.json()
        assert mix["status"] == "awaiting_funds"
        assert opened.headers["Location"].endswith(mix["id"])

        await office.fund(mix["id"], 900)  # below the minimum: on the balance
        await until(lambda: _is(office, mix["id"], lambda m: len(m["deposits"]) == 1))
        assert (await office.get(mix["id"]))["deposits"][0]["reason_code"] == "below_minimum"

        await office.fund(mix["id"], 20_000)
        await until(lambda: _is(office, mix["id"], lambda m: m["status"] == "mixing"))
        found = await office.get(mix["id"])
        assert (found["received"], found["fee"]) == ("20000", "200")
        assert sum(int(dole["amount"]) for dole in found["doles"]) == 19_800
        assert found["hold"] == "review"  # one approver looks at payouts of so much
        assert await office.books() == ("20000", "200", "19800", "0", 1)

        assert (await office.post(mix["id"], "hold/release", office.operator)).status_code == 200
        for what, paused in (("pause", True), ("resumption", False)):
            assert (await office.post(mix["id"], what)).status_code == 200
            assert (await office.get(mix["id"]))["is_paused"] is paused
        office.bank.clock.advance(timedelta(hours=2))
        await TemporalNotifier(office.bank.state.temporal).mixes_moved([mix["id"]])
        await until(lambda: _is(office, mix["id"], lambda m: m["doled"] == "19800"))
        found = await office.get(mix["id"])
        assert {dole["payout_status"] for dole in found["doles"]} == {"ready"}
        assert {dole["address"] for dole in found["doles"]} == set(addresses(3))
        _, held = await office.bank.balances()
        assert held == 19_800
        assert await office.books() == ("200", "200", "0", "0", 1)

        await self._refund_one(office, found["doles"][0])

        trail = (await office.bank.get(f"/v1/mixes/{mix['id']}/audit", office.operator)).json()
        assert [line["what"] for line in trail["items"]][:2] == ["opened", "deposit"]
        checker = PostgresMixerChecker(office.database, office.bank.clock)
        assert await checker.check() == []

    async def _refund_one(self, office: Office, dole: dict[str, Any]) -> None:
        """Nobody but an operator can do anything to a part, and only where it is stuck."""
        path = f"/v1/payouts/{dole['payout_id']}"
        assert code_of(await office.bank.send("POST", f"{path}/cancellation")) == "payout_state"
        denied = f"/v1/screening/{CHAIN_ID}/{dole['address']}"
        body = {"verdict": "deny", "reason": "sanctioned"}
        said = await office.bank.send("PUT", denied, person=office.operator, body=body)
        assert said.status_code == 200, said.text
        answer = await office.bank.send(
            "POST", f"{path}/refunds", person=office.operator, body={"note": None}
        )
        assert answer.json()["status"] == "refunded", answer.text
        _, held = await office.bank.balances()
        assert held == 19_800 - int(dole["amount"])

    async def test_given_up_is_the_balance_again(self, office: Office) -> None:
        before, _ = await office.bank.balances()
        mix = (await office.open()).json()
        await office.fund(mix["id"], 20_000)
        await until(lambda: _is(office, mix["id"], lambda m: m["status"] == "mixing"))
        refused = await office.post(mix["id"], "cancellation")
        assert code_of(refused) == "mix_state"  # it is held for review
        await office.post(mix["id"], "hold/release", office.operator)
        given_up = await office.post(mix["id"], "cancellation")
        assert given_up.json()["status"] == "cancelled", given_up.text
        after, _ = await office.bank.balances()
        assert after - before == 20_000

    async def test_held_is_given_back_by_an_operator(self, office: Office) -> None:
        before, _ = await office.bank.balances()
        mix = (await office.open()).json()
        await office.fund(mix["id"], 20_000)
        await until(lambda: _is(office, mix["id"], lambda m: m["hold"] == "review"))
        path, body = f"/v1/mixes/{mix['id']}/hold/release", {"note": "no", "gives_back": True}
        assert (await office.bank.send("POST", path, body=body)).status_code == 403
        given = await office.bank.send("POST", path, person=office.operator, body=body)
        assert given.json()["status"] == "cancelled", given.text
        after, _ = await office.bank.balances()
        assert after - before == 20_000

    async def test_needs_a_second_factor(self, office: Office) -> None:
        answer = await office.bank.send(
            "POST",
            "/v1/mixes",
            body={"asset": "ETH", "addresses": list(addresses(1))},
            headers={"Idempotency-Key": "k", "TOTP-Code": ""},
        )
        assert code_of(answer) == "second_factor_required"

    async def test_is_not_for_users_below_level_two(self, office: Office) -> None:
        stranger = await office.bank.person("sam")
        answer = await office.bank.send(
            "POST",
            "/v1/mixes",
            person=stranger,
            body={"asset": "ETH", "addresses": list(addresses(1))},
            headers={"Idempotency-Key": "k"},
        )
        assert (answer.status_code, code_of(answer)) == (403, "mixing_not_allowed")

    async def test_is_nobody_elses_business(
        self, office: Office, caplog: pytest.LogCaptureFixture
    ) -> None:
        mix = (await office.open()).json()
        stranger = await office.bank.person("sam")
        for path in (f"/v1/mixes/{mix['id']}", f"/v1/mixes/{mix['id']}/audit"):
            answer = await office.bank.get(path, stranger)
            assert answer.status_code in (403, 404)
        assert (await office.get(mix["id"]))["id"] == mix["id"]
        assert "read the mix" not in caplog.text
        assert (await office.get(mix["id"], office.operator))["id"] == mix["id"]
        assert f"{office.operator.id} read the mix {mix['id']}" in caplog.text
        listed = await office.bank.get("/v1/mixes?scope=all", office.operator)
        assert [item["id"] for item in listed.json()["items"]] == [mix["id"]]

    async def test_tells_its_user_no_more_than_that_it_is_looked_at(self, office: Office) -> None:
        mix = (await office.open()).json()
        assert (await office.post(mix["id"], "hold", office.operator)).status_code == 200
        for person, told in ((office.bank.customer, "review"), (office.operator, "legal")):
            assert (await office.get(mix["id"], person))["hold"] == told
        mine = (await office.bank.get("/v1/mixes")).json()["items"]
        everybodys = (await office.bank.get("/v1/mixes?scope=all", office.operator)).json()["items"]
        assert (mine[0]["hold"], everybodys[0]["hold"]) == ("review", "legal")

    async def test_shows_its_parts_to_no_admin_who_does_not_see_mixes(self, office: Office) -> None:
        mix = (await office.open()).json()
        await office.fund(mix["id"], 5_000)
        await until(lambda: _is(office, mix["id"], lambda m: m["status"] == "mixing"))
        if (await office.get(mix["id"]))["hold"]:
            await office.post(mix["id"], "hold/release", office.operator)
        office.bank.clock.advance(timedelta(hours=2))
        await TemporalNotifier(office.bank.state.temporal).mixes_moved([mix["id"]])
        await until(lambda: _is(office, mix["id"], lambda m: int(m["doled"]) > 0))
        payout_id = (await office.get(mix["id"]))["doles"][0]["payout_id"]

        ones = [f"/v1/payouts/{payout_id}", f"/v1/payouts/{payout_id}/explain"]
        ones.append(f"/v1/transactions/{payout_id}")
        approver = await office.bank.person("anna", Role.APPROVER)
        for person, lists in ((approver, ["payouts"]), (office.owner, ["payouts", "transactions"])):
            for path in ones:
                assert (await office.bank.get(path, person)).status_code == 404, path
            for name in lists:
                listed = await office.bank.get(f"/v1/{name}?scope=all", person)
                assert payout_id not in listed.text
            exported = await office.bank.get("/v1/transactions/export?scope=all", office.owner)
            assert exported.status_code == 200
            assert payout_id not in exported.text
        for person in (office.operator, office.bank.customer):
            for path in ones:
                assert (await office.bank.get(path, person)).status_code == 200, path
        listed = await office.bank.get("/v1/transactions?scope=all", office.operator)
        assert payout_id in listed.text

    async def test_repeated_is_the_same_and_another_is_refused(self, office: Office) -> None:
        headers = {"Idempotency-Key": "k"}
        body = {"asset": "ETH", "addresses": list(addresses(2))}
        first, second = [
            await office.bank.send("POST", "/v1/mixes", body=body, headers=headers)
            for _ in range(2)
        ]
        assert first.json()["id"] == second.json()["id"]
        other = body | {"addresses": list(addresses(2, start=9))}
        answer = await office.bank.send("POST", "/v1/mixes", body=other, headers=headers)
        assert code_of(answer) == "idempotency_key_reused"


class TestMixers:
    async def test_are_listed_drained_and_removed(self, office: Office) -> None:
        listed = (await office.bank.get("/v1/mixers?asset=ETH")).json()["items"]
        assert listed == [office.mixer]
        one = f"/v1/mixers/{office.mixer['id']}"
        for what, status in (("removal", 409), ("draining", 200), ("removal", 200)):
            answer = await office.bank.send("POST", f"{one}/{what}", person=office.owner)
            assert answer.status_code == status, answer.text
        assert code_of(await office.open()) == "no_mixer"

    async def test_contradict_themselves_in_vain(self, office: Office) -> None:
        body = {"asset": "ETH", "name": "x", "policy": TERMS | {"parts_max": 2}}
        answer = await office.bank.send("POST", "/v1/mixers", person=office.owner, body=body)
        assert code_of(answer) == "invalid_mixer_policy"


async def _is(office: Office, mix_id: str, holds: Any) -> bool:
    return bool(holds(await office.get(mix_id)))
