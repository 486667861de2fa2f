"""Nodes that are away, wrong, or lose what they were told."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chains.evm.outlet import EvmOutlet
from chains.registry import open_outlet
from devnet.evm_node import EvmNode
from domain.errors import (
    BroadcastUnknownError,
    ChainUnavailableError,
    NonceTooLowError,
    ValidationError,
    WouldRevertError,
    WrongChainError,
)
from domain.ports import BroadcastOutcome
from tests.support.chain_world import DESTINATION, attempt, pay
from tests.support.evm import CHAIN_ID, EvmWorld, free_port, running_node
from tests.support.lossy_proxy import Fault, LossyProxy

SEND = "eth_sendRawTransaction"
LOOK_UP = "eth_getTransactionByHash"


@pytest.fixture
async def proxy(evm_node: EvmNode) -> AsyncIterator[LossyProxy]:
    async with LossyProxy(evm_node.url).serving() as serving:
        yield serving


@pytest.fixture
async def through_proxy(proxy: LossyProxy) -> AsyncIterator[EvmOutlet]:
    outlet = EvmOutlet(CHAIN_ID, [proxy.url], timeout_s=0.5)
    yield outlet
    await outlet.close()


def dead_url() -> str:
    return f"http://127.0.0.1:{free_port()}"


class TestFailover:
    async def test_asks_the_next_node_when_the_first_is_dead(self, evm_world: EvmWorld) -> None:
        outlet = EvmOutlet(CHAIN_ID, [dead_url(), evm_world.url])
        signed = await attempt(evm_world, pay(evm_world))

        assert await outlet.head() == await evm_world.outlet.head()
        assert await outlet.broadcast(signed.raw) is BroadcastOutcome.ACCEPTED
        assert len(await outlet.estimate_gas([pay(evm_world)] * 3)) == 3
        await outlet.close()

    @pytest.mark.parametrize("fault", [Fault.STALL, Fault.SERVER_ERROR, Fault.LOSE_REPLY])
    async def test_asks_the_next_node_when_the_first_fails(
        self, evm_world: EvmWorld, proxy: LossyProxy, fault: Fault
    ) -> None:
        outlet = EvmOutlet(CHAIN_ID, [proxy.url, evm_world.url], timeout_s=0.5)
        proxy.faults["eth_getTransactionCount"] = fault

        assert await outlet.account_nonce(evm_world.wallet) == 0
        asked = len(proxy.seen)
        assert await outlet.account_nonce(evm_world.wallet) == 0
        assert len(proxy.seen) == asked, "a node that just failed is asked first again"
        await outlet.close()

    async def test_says_when_no_node_answers(self, evm_world: EvmWorld) -> None:
        outlet = EvmOutlet(CHAIN_ID, [dead_url(), dead_url()])
        signed = await attempt(evm_world, pay(evm_world))
        with pytest.raises(ChainUnavailableError):
            await outlet.head()
        with pytest.raises(ChainUnavailableError):
            await outlet.broadcast(signed.raw)
        await outlet.close()

    async def test_refuses_a_node_of_another_chain(self, evm_world: EvmWorld) -> None:
        outlet = EvmOutlet("eip155:1", [evm_world.url])
        with pytest.raises(WrongChainError):
            await outlet.head()
        with pytest.raises(WrongChainError):
            await outlet.broadcast(b"\x02")
        await outlet.close()

    async def test_goes_on_when_a_node_comes_back(self, tmp_path: Path) -> None:
        port = free_port()
        outlet = EvmOutlet(CHAIN_ID, [f"http://127.0.0.1:{port}"])
        with running_node(tmp_path, port=port):
            await outlet.head()
        with pytest.raises(ChainUnavailableError):
            await outlet.head()
        with running_node(tmp_path, port=port):
            assert await outlet.block(0) is not None
        await outlet.close()

    async def test_asks_one_by_one_where_batches_are_refused(
        self, evm_world: EvmWorld, proxy: LossyProxy, through_proxy: EvmOutlet
    ) -> None:
        proxy.faults["batch"] = Fault.NO_BATCHES
        estimates = await through_proxy.estimate_gas([pay(evm_world)] * 5)

        assert [e.gas_limit for e in estimates] == [21_000] * 5
        assert proxy.seen.count("eth_estimateGas") == 5


class TestLostBroadcast:
    async def test_finds_a_transaction_whose_answer_was_lost(
        self, evm_world: EvmWorld, proxy: LossyProxy, through_proxy: EvmOutlet
    ) -> None:
        transfer = pay(evm_world)
        signed = await attempt(evm_world, transfer)
        proxy.faults[SEND] = Fault.LOSE_REPLY

        assert await through_proxy.broadcast(signed.raw) is BroadcastOutcome.ALREADY_KNOWN
        await evm_world.mine()
        assert await through_proxy.receipt(signed.txid, transfer) is not None

    @pytest.mark.parametrize("fault", [Fault.LOSE_REQUEST, Fault.STALL])
    async def test_does_not_guess_when_the_request_was_lost(
        self, evm_world: EvmWorld, proxy: LossyProxy, through_proxy: EvmOutlet, fault: Fault
    ) -> None:
        signed = await attempt(evm_world, pay(evm_world))
        proxy.faults[SEND] = fault
        with pytest.raises(BroadcastUnknownError):
            await through_proxy.broadcast(signed.raw)

        proxy.faults.clear()
        assert await through_proxy.broadcast(signed.raw) is BroadcastOutcome.ACCEPTED

    async def test_does_not_guess_when_the_look_up_fails_too(
        self, evm_world: EvmWorld, proxy: LossyProxy, through_proxy: EvmOutlet
    ) -> None:
        signed = await attempt(evm_world, pay(evm_world))
        proxy.faults = {SEND: Fault.LOSE_REPLY, LOOK_UP: Fault.LOSE_REPLY}
        with pytest.raises(BroadcastUnknownError):
            await through_proxy.broadcast(signed.raw)

        proxy.faults.clear()
        assert await through_proxy.broadcast(signed.raw) is BroadcastOutcome.ALREADY_KNOWN

    async def test_hands_the_same_bytes_to_the_next_node(
        self, evm_world: EvmWorld, proxy: LossyProxy
    ) -> None:
        outlet = EvmOutlet(CHAIN_ID, [proxy.url, evm_world.url])
        signed = await attempt(evm_world, pay(evm_world))
        proxy.faults[SEND] = Fault.LOSE_REPLY

        assert await outlet.broadcast(signed.raw) is BroadcastOutcome.ALREADY_KNOWN
        await outlet.close()

    async def test_tells_a_strangers_nonce_from_ours(self, evm_world: EvmWorld) -> None:
        ours = await attempt(evm_world, pay(evm_world, 1))
        strangers = await attempt(evm_world, pay(evm_world, 2))
        await evm_world.outlet.broadcast(strangers.raw)
        await evm_world.mine()

        assert await evm_world.outlet.broadcast(strangers.raw) is BroadcastOutcome.ALREADY_KNOWN
        with pytest.raises(NonceTooLowError):
            await evm_world.outlet.broadcast(ours.raw)


class TestBytes:
    async def test_have_the_txid_that_the_node_computes(self, evm_world: EvmWorld) -> None:
        signed = await attempt(evm_world, pay(evm_world))

        assert await evm_world.rpc(SEND, "0x" + signed.raw.hex()) == signed.txid


class TestBalance:
    async def test_refuses_a_contract_that_is_no_token(self, evm_world: EvmWorld) -> None:
        with pytest.raises(WouldRevertError):
            await evm_world.outlet.balance_minor(evm_world.wallet, contract_address=DESTINATION)


class TestRegistry:
    async def test_opens_an_evm_chain(self, evm_world: EvmWorld) -> None:
        outlet = open_outlet(CHAIN_ID, "evm", [evm_world.url])

        assert outlet.chain_id == CHAIN_ID

    async def test_refuses_an_unknown_family(self) -> None:
        with pytest.raises(ValidationError):
            open_outlet("cosmos:hub", "cosmos", ["http://127.0.0.1:1"])
