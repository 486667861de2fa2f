"""Priorities and fees over HTTP."""

from models.chain_transactions import ChainHead
from tests.support.bank import CHAIN_ID, Bank, code_of


class TestPriority:
    async def test_is_normal_unless_given_and_part_of_the_request_only_then(
        self, bank: Bank
    ) -> None:
        first = await bank.pay(key="k")
        assert first.json()["priority"] == "normal"
        assert (await bank.pay(key="k")).json()["id"] == first.json()["id"]
        assert code_of(await bank.pay(key="k", priority="normal")) == "idempotency_key_reused"
        urgent = await bank.pay(priority="urgent")
        assert urgent.json()["priority"] == "urgent"
        assert code_of(await bank.pay(priority="soon")) == "validation_failed"


class TestFees:
    async def test_are_estimated_by_priority(self, bank: Bank) -> None:
        async with bank.database.transaction() as session:
            session.add(
                ChainHead(
                    chain_id=CHAIN_ID,
                    height=1,
                    base_fee_minor=100,
                    fee_rate_minor=210,
                    seen_at=bank.clock.now(),
                )
            )
        answer = (await bank.get("/v1/fees?asset=ETH")).json()
        assert answer["fee_rate"] == {"amount": "210", "unit": "wei per gas"}
        assert [e["priority"] for e in answer["estimates"]] == ["economy", "normal", "urgent"]
        assert {e["network_fee"] for e in answer["estimates"]} == {str(21_000 * 110)}
        assert not any(e["would_wait"] for e in answer["estimates"])

    async def test_of_no_asset_are_refused(self, bank: Bank) -> None:
        assert code_of(await bank.get("/v1/fees?asset=NONE")) == "unknown_asset"
