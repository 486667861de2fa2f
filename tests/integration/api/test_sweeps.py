"""Sweeping on demand, and what was swept."""

from typing import Any

from domain.workflow_ids import sweep_workflow_id
from models.chain_transactions import (
    ChainBatch,
    ChainTransaction,
    ChainTransactionKind,
    ChainTransactionStatus,
)
from models.identity import Role
from tests.support.bank import CHAIN_ID, Bank

SWEEPS = f"/v1/chains/{CHAIN_ID}/sweeps"
HOT = "0x8626f6940E2eb28930eFb4CeF49B2d1F2C9C1199"
DEPOSIT = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"


async def add_sweep(bank: Bank, number: int) -> None:
    async with bank.database.transaction() as session:
        batch = ChainBatch(
            id=f"cbt_{number}", claim_key=str(number), chain_id=CHAIN_ID, wallet_address=DEPOSIT
        )
        session.add(batch)
        await session.flush()
        session.add(
            ChainTransaction(
                id=f"ctx_01JD3ZQ6V9K3E8M5T2R7W4X1Y{number}",
                batch_id=batch.id,
                chain_id=CHAIN_ID,
                wallet_address=DEPOSIT,
                kind=ChainTransactionKind.SWEEP,
                asset="ETH",
                destination=HOT,
                amount_minor=10**18 + number,
                status=ChainTransactionStatus.CONFIRMED,
                network_fee_minor=21_000,
                txid="0xabc",
            )
        )


class TestSweepNow:
    async def test_signals_the_chains_workflow(self, bank: Bank) -> None:
        olga = await bank.person("olga", Role.OPERATOR)
        answer = await bank.send("POST", SWEEPS, person=olga)

        assert answer.status_code == 202, answer.text
        assert answer.headers["Location"].endswith(SWEEPS)
        handle = bank.state.temporal.get_workflow_handle(sweep_workflow_id(CHAIN_ID))
        signals = [
            event.workflow_execution_signaled_event_attributes.signal_name
            async for event in handle.fetch_history_events()
            if event.HasField("workflow_execution_signaled_event_attributes")
        ]
        assert signals == ["sweep_now"]
        await handle.terminate("the test is over")

    async def test_of_a_chain_that_is_not_there_is_404(self, bank: Bank) -> None:
        olga = await bank.person("olga", Role.OPERATOR)
        answer = await bank.send("POST", "/v1/chains/eip155:999/sweeps", person=olga)

        assert (answer.status_code, answer.json()["code"]) == (404, "chain_not_found")


class TestSweeps:
    async def test_are_listed_newest_first_page_by_page(self, bank: Bank) -> None:
        olga = await bank.person("olga", Role.OPERATOR)
        for number in range(3):
            await add_sweep(bank, number)
        first: dict[str, Any] = (await bank.get(f"{SWEEPS}?limit=2", olga)).json()
        rest = await bank.get(f"{SWEEPS}?limit=2&cursor={first['next_cursor']}", olga)

        amounts = [s["amount"] for s in (*first["items"], *rest.json()["items"])]
        assert amounts == [str(10**18 + n) for n in (2, 1, 0)]
        assert rest.json()["next_cursor"] is None
        shown = first["items"][0]
        assert (shown["kind"], shown["source"], shown["destination"]) == ("sweep", DEPOSIT, HOT)
        assert shown["network_fee"] == "21000"
