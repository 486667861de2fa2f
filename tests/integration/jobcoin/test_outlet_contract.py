"""The Jobcoin outlet keeps the contract of chain outlets on a real node."""

from collections.abc import Sequence
from typing import override

import pytest

from chains.jobcoin.outlet import JobcoinOutlet
from domain.errors import (
    ChainUnavailableError,
    InsufficientGasFundsError,
    NodeRejectedError,
    NonceTooLowError,
    ValidationError,
    WrongChainError,
)
from domain.jobcoin.addresses import account_of
from domain.jobcoin.chain import NONCES_AHEAD_MAX
from domain.ports import BroadcastOutcome, Transfer
from domain.scanning import Incoming
from tests.support.jobcoin import CHAIN_ID, JobcoinWorld, Purse
from tests.support.outlet_contract import NodeContract, OutletContract, Payment

AMOUNT_MINOR = 1_000_000


class TestJobcoinOutlet(OutletContract[JobcoinWorld], NodeContract[JobcoinWorld]):
    least_fee_minor = 0
    other_chain_id = "jobcoin:other"

    @pytest.fixture
    def world(self, jobcoin: JobcoinWorld) -> JobcoinWorld:
        return jobcoin

    @override
    async def payment(self, world: JobcoinWorld, amount_minor: int) -> Payment:
        purse, destination = await world.purse(amount_minor), Purse()
        signed = purse.pay({destination.address: amount_minor})
        key = account_of(destination.address, CHAIN_ID)
        return Payment(signed.raw, signed.txid, key, amount_minor)

    @override
    def url(self, world: JobcoinWorld) -> str:
        return world.url

    @override
    def open(
        self, world: JobcoinWorld, urls: Sequence[str], *, chain_id: str | None = None
    ) -> JobcoinOutlet:
        return JobcoinOutlet(chain_id or CHAIN_ID, urls)

    async def test_finalizes_nothing_and_asks_for_nothing(self, world: JobcoinWorld) -> None:
        quote = await world.outlet.quote_fee()

        assert (await world.outlet.head()).finalized_height is None
        assert (quote.base_fee_minor, quote.max_fee_minor, quote.priority_fee_minor) == (0, 0, 0)
        assert world.outlet.replacement_fee(previous=quote, quote=quote) == quote

    async def test_pays_several_with_one_transaction(self, world: JobcoinWorld) -> None:
        purse = await world.purse(AMOUNT_MINOR)
        others = [Purse().address for _ in range(3)]
        signed = purse.pay({address: n for n, address in enumerate(others, start=1)})
        assert await world.outlet.broadcast(signed.raw) is BroadcastOutcome.ACCEPTED
        await world.mine()
        tip = (await world.outlet.head()).height
        (block,) = await world.outlet.scan(tip, tip)

        assert list(block.incoming) == [
            Incoming(signed.txid, f"out:{n - 1}", account_of(address, CHAIN_ID), n)
            for n, address in enumerate(others, start=1)
        ]
        assert [await world.balance(address) for address in others] == [1, 2, 3]
        assert await world.balance(purse.address) == AMOUNT_MINOR - 6
        assert await world.outlet.account_nonce(purse.address) == 1

    async def test_tells_what_a_mined_transaction_did(self, world: JobcoinWorld) -> None:
        purse, destination = await world.purse(AMOUNT_MINOR), Purse().address
        transfer = Transfer(purse.address, destination, 700, None)
        signed = purse.pay({destination: 700})
        assert await world.outlet.receipt(signed.txid, transfer) is None
        await world.outlet.broadcast(signed.raw)
        assert await world.outlet.receipt(signed.txid, transfer) is None
        header = await world.mine()
        receipt = await world.outlet.receipt(signed.txid, transfer)

        assert receipt is not None
        assert (receipt.block_height, receipt.block_hash) == (header.height, header.hash)
        assert (receipt.succeeded, receipt.network_fee_minor) == (True, 0)
        assert (receipt.outflow_minor, receipt.received_minor) == (700, 700)
        await world.roll_back(1)
        assert await world.outlet.receipt(signed.txid, transfer) is None

    async def test_says_that_another_transaction_has_the_nonce(self, world: JobcoinWorld) -> None:
        purse = await world.purse(AMOUNT_MINOR)
        first, second = (purse.pay({Purse().address: n}) for n in (1, 2))
        await world.outlet.broadcast(first.raw)

        assert await world.outlet.broadcast(second.raw) is BroadcastOutcome.REPLACED
        await world.mine()
        with pytest.raises(NonceTooLowError):
            await world.outlet.broadcast(second.raw)
        assert await world.outlet.broadcast(first.raw) is BroadcastOutcome.ALREADY_KNOWN

    async def test_takes_them_in_any_order_and_mines_them_in_theirs(
        self, world: JobcoinWorld
    ) -> None:
        purse, destination = await world.purse(AMOUNT_MINOR), Purse().address
        signed = [purse.pay({destination: 1}, account_nonce=n) for n in range(4)]
        for each in reversed(signed):
            assert await world.outlet.broadcast(each.raw) is BroadcastOutcome.ACCEPTED
        await world.mine()
        tip = (await world.outlet.head()).height
        (block,) = await world.outlet.scan(tip, tip)

        assert list(block.txids) == [each.txid for each in signed]

    async def test_keeps_what_waits_for_an_earlier_one(self, world: JobcoinWorld) -> None:
        purse, destination = await world.purse(AMOUNT_MINOR), Purse().address
        second = purse.pay({destination: 5}, account_nonce=1)
        await world.outlet.broadcast(second.raw)
        await world.mine(2)
        assert second.txid in (await world.outlet.pending(frozenset())).txids
        await world.outlet.broadcast(purse.pay({destination: 3}).raw)
        await world.mine()

        assert await world.balance(destination) == 8
        assert (await world.outlet.pending(frozenset())).txids == frozenset()

    async def test_takes_no_gap_without_end(self, world: JobcoinWorld) -> None:
        purse = await world.purse(AMOUNT_MINOR)
        far = purse.pay({Purse().address: 1}, account_nonce=NONCES_AHEAD_MAX + 1)
        with pytest.raises(ChainUnavailableError):
            await world.outlet.broadcast(far.raw)

    async def test_refuses_more_than_there_is_with_what_waits(self, world: JobcoinWorld) -> None:
        purse = await world.purse(AMOUNT_MINOR)
        await world.outlet.broadcast(purse.pay({Purse().address: AMOUNT_MINOR}).raw)
        more = purse.pay({Purse().address: 1}, account_nonce=1)
        with pytest.raises(InsufficientGasFundsError):
            await world.outlet.broadcast(more.raw)

    async def test_uses_a_nonce_up_for_nothing(self, world: JobcoinWorld) -> None:
        purse = Purse()
        signed = purse.pay({purse.address: 0})
        assert await world.outlet.broadcast(signed.raw) is BroadcastOutcome.ACCEPTED
        await world.mine()

        assert await world.outlet.account_nonce(purse.address) == 1

    @pytest.mark.parametrize("raw", [b"", b"\x02", b"\xff" * 200], ids=["empty", "short", "noise"])
    async def test_refuses_what_is_no_transaction(self, world: JobcoinWorld, raw: bytes) -> None:
        with pytest.raises(NodeRejectedError):
            await world.outlet.broadcast(raw)

    async def test_refuses_what_another_signed(self, world: JobcoinWorld) -> None:
        signed = (await world.purse(AMOUNT_MINOR)).pay({Purse().address: 1})
        other = Purse().pay({Purse().address: 1})
        with pytest.raises(NodeRejectedError):
            await world.outlet.broadcast(signed.raw[:-64] + other.raw[-64:])

    async def test_refuses_what_is_of_another_network(self, world: JobcoinWorld) -> None:
        stranger = Purse("jobcoin:other")
        with pytest.raises(NodeRejectedError):
            await world.outlet.broadcast(stranger.pay({Purse("jobcoin:other").address: 1}).raw)
        with pytest.raises(WrongChainError):
            JobcoinOutlet("eip155:1", [world.url])

    async def test_has_no_tokens_and_no_contracts(self, world: JobcoinWorld) -> None:
        address = Purse().address
        with pytest.raises(ValidationError):
            await world.outlet.balance_minor(address, contract_address=address)
        assert await world.outlet.code(address) == b""
        spent = await world.outlet.allowance_minor(address, address, contract_address=address)
        assert spent == 0
