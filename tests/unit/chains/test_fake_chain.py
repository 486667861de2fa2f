"""The fake keeps the same contract as the EVM outlet."""

import pytest

from domain.errors import BroadcastUnknownError, ChainUnavailableError
from domain.ports import BroadcastOutcome
from tests.support.chain_contract import ChainOutletContract
from tests.support.chain_world import attempt, pay
from tests.support.fake_chain import FakeChain


class TestFakeChain(ChainOutletContract[FakeChain]):
    @pytest.fixture
    def world(self) -> FakeChain:
        return FakeChain()


class TestFaults:
    async def test_loses_the_reply_but_keeps_the_transaction(self) -> None:
        chain = FakeChain()
        transfer = pay(chain)
        signed = await attempt(chain, transfer)
        chain.loses_replies = True
        with pytest.raises(BroadcastUnknownError):
            await chain.broadcast(signed.raw)

        chain.loses_replies = False
        assert await chain.broadcast(signed.raw) is BroadcastOutcome.ALREADY_KNOWN

    async def test_answers_nothing_while_it_is_down(self) -> None:
        chain = FakeChain()
        chain.is_down = True
        with pytest.raises(ChainUnavailableError):
            await chain.head()
