from collections.abc import Sequence
from typing import Any, cast

import pytest

from chains.evm.errors import NodeError
from chains.evm.gas import estimates
from chains.json_rpc import Call, Rpc
from domain.errors import ChainUnavailableError, InsufficientGasFundsError
from domain.ports import GasEstimate, Transfer

WALLET = "0x00000000000000000000000000000000000000A1"
TOKEN = "0x00000000000000000000000000000000000000d4"
COIN_TRANSFER = Transfer(WALLET, TOKEN, 1, None)
TOKEN_TRANSFER = Transfer(WALLET, WALLET, 1, TOKEN)


class ScriptedRpc:
    """Answers the same to every call on a block tag."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.asked: list[str] = []

    async def batch(self, calls: Sequence[Call]) -> list[Any]:
        self.asked += [params[1] for _, params in calls]
        return [self.answers[params[1]] for _, params in calls]


async def estimate(rpc: ScriptedRpc, transfer: Transfer = TOKEN_TRANSFER) -> GasEstimate:
    (answer,) = await estimates(cast("Rpc", rpc), [transfer])
    return answer


class TestLimits:
    @pytest.mark.parametrize(
        ("transfer", "estimated", "limit"),
        [
            (COIN_TRANSFER, 21_000, 21_000),
            (COIN_TRANSFER, 30_000, 50_000),
            (TOKEN_TRANSFER, 40_000, 60_000),
            (TOKEN_TRANSFER, 100_001, 125_002),
        ],
    )
    async def test_have_a_margin_where_code_runs(
        self, transfer: Transfer, estimated: int, limit: int
    ) -> None:
        rpc = ScriptedRpc(pending=hex(estimated))

        assert await estimate(rpc, transfer) == GasEstimate(limit)


class TestRefusals:
    @pytest.mark.parametrize("text", ["unknown block", "pending is not supported", "what?"])
    async def test_of_the_pending_block_fall_back_to_the_latest(self, text: str) -> None:
        rpc = ScriptedRpc(pending=NodeError(-32000, text), latest="0xffff")

        assert (await estimate(rpc)).gas_limit is not None
        assert rpc.asked == ["pending", "latest"]

    async def test_by_the_contract_are_answers(self) -> None:
        rpc = ScriptedRpc(pending=NodeError(3, "execution reverted: no"))

        assert await estimate(rpc) == GasEstimate(None, "execution reverted: no")
        assert rpc.asked == ["pending"]

    async def test_for_want_of_coins_are_no_reverts(self) -> None:
        rpc = ScriptedRpc(pending=NodeError(-32000, "insufficient funds for transfer"))

        with pytest.raises(InsufficientGasFundsError):
            await estimate(rpc)

    async def test_nobody_understands_are_no_reverts(self) -> None:
        unclear = NodeError(-32603, "Internal error")

        with pytest.raises(ChainUnavailableError):
            await estimate(ScriptedRpc(pending=unclear, latest=unclear))
