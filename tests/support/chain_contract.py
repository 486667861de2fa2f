"""The contract of ``domain.ports.AccountOutlet``: the adapter and its fake must both keep it."""

from typing import override

import pytest
from eth_utils.address import to_canonical_address

from domain.errors import (
    FeeTooLowError,
    InsufficientGasFundsError,
    NodeRejectedError,
    NonceTooLowError,
)
from domain.ports import BroadcastOutcome, FeeQuote
from tests.support.chain_world import (
    DESTINATION,
    FUNDED_MINOR,
    MINTED_MINOR,
    ChainWorld,
    TokenKind,
    attempt,
    pay,
)
from tests.support.outlet_contract import OutletContract, Payment

GWEI = 10**9


class ChainOutletContract[World: ChainWorld](OutletContract[World]):
    """Subclass it and give a fixture ``world``."""

    @override
    async def payment(self, world: World, amount_minor: int) -> Payment:
        nonce = await world.outlet.account_nonce(world.wallet)
        signed = await attempt(world, pay(world, amount_minor), account_nonce=nonce)
        return Payment(signed.raw, signed.txid, to_canonical_address(DESTINATION), amount_minor)

    async def test_finalizes_blocks_below_the_tip(self, world: World) -> None:
        await world.mine(4)
        before = await world.outlet.head()
        await world.mine(2)
        after = await world.outlet.head()

        assert before.finalized_height is not None
        assert after.finalized_height == before.finalized_height + 2
        assert after.finalized_height < after.height

    async def test_quotes_a_fee_above_the_base_fee(self, world: World) -> None:
        quote = await world.outlet.quote_fee()

        assert quote.base_fee_minor > 0
        assert quote.priority_fee_minor > 0
        assert quote.max_fee_minor >= quote.base_fee_minor + quote.priority_fee_minor

    async def test_sends_the_native_coin(self, world: World) -> None:
        transfer = pay(world, 12_345)
        paid_before = await world.outlet.balance_minor(DESTINATION)
        signed = await attempt(world, transfer, gas_limit=21_000)

        assert await world.outlet.broadcast(signed.raw) is BroadcastOutcome.ACCEPTED
        assert await world.outlet.receipt(signed.txid, transfer) is None
        assert await world.outlet.account_nonce(world.wallet) == 0
        await world.mine()
        receipt = await world.outlet.receipt(signed.txid, transfer)

        assert receipt is not None
        assert receipt.succeeded
        assert (receipt.outflow_minor, receipt.received_minor) == (12_345, 12_345)
        assert await world.outlet.balance_minor(DESTINATION) == paid_before + 12_345
        left_minor = FUNDED_MINOR - 12_345 - receipt.network_fee_minor
        assert await world.outlet.balance_minor(world.wallet) == left_minor
        assert await world.outlet.account_nonce(world.wallet) == 1
        block = await world.outlet.block(receipt.block_height)
        assert block is not None
        assert block.hash == receipt.block_hash
        assert signed.txid in block.txids

    @pytest.mark.parametrize(
        ("kind", "succeeded", "outflow_minor", "received_minor"),
        [
            (TokenKind.PLAIN, True, 10_000, 10_000),
            (TokenKind.NO_RETURN, True, 10_000, 10_000),
            (TokenKind.FEE, True, 10_000, 9_900),
            (TokenKind.SURCHARGE, True, 10_100, 10_000),
            (TokenKind.REVERTING, False, 0, 0),
            (TokenKind.FALSE, False, 0, 0),
        ],
    )
    async def test_reads_what_a_token_transfer_did(
        self,
        world: World,
        *,
        kind: TokenKind,
        succeeded: bool,
        outflow_minor: int,
        received_minor: int,
    ) -> None:
        contract = await world.token(kind)
        transfer = pay(world, 10_000, contract)
        signed = await attempt(world, transfer)

        assert await world.outlet.broadcast(signed.raw) is BroadcastOutcome.ACCEPTED
        await world.mine()
        receipt = await world.outlet.receipt(signed.txid, transfer)

        assert receipt is not None
        assert receipt.succeeded is succeeded
        assert receipt.outflow_minor == outflow_minor
        assert receipt.received_minor == received_minor
        assert receipt.network_fee_minor > 0
        left = await world.outlet.balance_minor(world.wallet, contract_address=contract)
        assert left == MINTED_MINOR - outflow_minor
        got = await world.outlet.balance_minor(DESTINATION, contract_address=contract)
        assert got == received_minor

    async def test_estimates_a_full_batch_in_order(self, world: World) -> None:
        contract = await world.token(TokenKind.PLAIN)
        coin, token = pay(world), pay(world, contract=contract)
        too_much = pay(world, MINTED_MINOR + 1, contract)
        estimates = await world.outlet.estimate_gas([coin, token, too_much] * 20)

        assert [e.gas_limit for e in estimates[::3]] == [21_000] * 20
        assert all((e.gas_limit or 0) > 40_000 for e in estimates[1::3])
        assert [e.gas_limit for e in estimates[2::3]] == [None] * 20
        assert all("balance too low" in (e.revert_reason or "") for e in estimates[2::3])

    async def test_estimates_enough_gas(self, world: World) -> None:
        contract = await world.token(TokenKind.FEE)
        transfer = pay(world, 10_000, contract)
        (estimate,) = await world.outlet.estimate_gas([transfer])
        assert estimate.gas_limit is not None
        signed = await attempt(world, transfer, gas_limit=estimate.gas_limit)
        await world.outlet.broadcast(signed.raw)
        await world.mine()
        receipt = await world.outlet.receipt(signed.txid, transfer)

        assert receipt is not None
        assert receipt.succeeded

    async def test_passes_a_revert_reason_on(self, world: World) -> None:
        contract = await world.token(TokenKind.REVERTING)
        (estimate,) = await world.outlet.estimate_gas([pay(world, contract=contract)])

        assert estimate.gas_limit is None
        assert "token is paused" in (estimate.revert_reason or "")

    async def test_says_that_the_pool_has_its_bytes(self, world: World) -> None:
        signed = await attempt(world, pay(world))
        await world.outlet.broadcast(signed.raw)

        assert await world.outlet.broadcast(signed.raw) is BroadcastOutcome.ALREADY_KNOWN

    async def test_replaces_an_attempt_by_one_that_pays_more(self, world: World) -> None:
        transfer, quote = pay(world), await world.outlet.quote_fee()
        first = await attempt(world, transfer, fee=quote)
        raised = world.outlet.replacement_fee(previous=quote, quote=quote)
        second = await attempt(world, transfer, fee=raised)
        await world.outlet.broadcast(first.raw)

        assert await world.outlet.broadcast(second.raw) is BroadcastOutcome.ACCEPTED
        await world.mine()
        assert await world.outlet.receipt(first.txid, transfer) is None
        assert await world.outlet.receipt(second.txid, transfer) is not None
        with pytest.raises(NonceTooLowError):
            await world.outlet.broadcast(first.raw)

    async def test_says_that_a_second_attempt_at_the_same_fee_is_replaced(
        self, world: World
    ) -> None:
        quote = await world.outlet.quote_fee()
        first = await attempt(world, pay(world), fee=quote)
        second = await attempt(world, pay(world, 2_000), fee=quote)
        await world.outlet.broadcast(first.raw)

        assert await world.outlet.broadcast(second.raw) is BroadcastOutcome.REPLACED

    async def test_keeps_an_attempt_that_must_wait_for_an_earlier_nonce(self, world: World) -> None:
        transfer = pay(world)
        later = await attempt(world, transfer, account_nonce=1)
        await world.outlet.broadcast(later.raw)
        await world.mine()
        assert await world.outlet.receipt(later.txid, transfer) is None

        await world.outlet.broadcast((await attempt(world, transfer)).raw)
        await world.mine()
        assert await world.outlet.receipt(later.txid, transfer) is not None
        assert await world.outlet.account_nonce(world.wallet) == 2

    async def test_refuses_what_the_wallet_cannot_pay(self, world: World) -> None:
        signed = await attempt(world, pay(world, FUNDED_MINOR))
        with pytest.raises(InsufficientGasFundsError):
            await world.outlet.broadcast(signed.raw)

    async def test_refuses_what_can_never_be_mined(self, world: World) -> None:
        signed = await attempt(world, pay(world), gas_limit=20_999)
        with pytest.raises(NodeRejectedError):
            await world.outlet.broadcast(signed.raw)

    async def test_refuses_a_fee_below_the_base_fee(self, world: World) -> None:
        quote = await world.outlet.quote_fee()
        low = FeeQuote(quote.base_fee_minor, quote.base_fee_minor // 2, 1)
        signed = await attempt(world, pay(world), fee=low)
        with pytest.raises(FeeTooLowError):
            await world.outlet.broadcast(signed.raw)

    async def test_forgets_a_receipt_when_its_block_is_orphaned(self, world: World) -> None:
        transfer = pay(world)
        signed = await attempt(world, transfer)
        await world.outlet.broadcast(signed.raw)
        await world.mine(2)
        before = await world.outlet.receipt(signed.txid, transfer)
        assert before is not None

        await world.reorg(2)
        replaced = await world.outlet.block(before.block_height)
        assert replaced is not None
        assert replaced.hash != before.block_hash
        assert await world.outlet.receipt(signed.txid, transfer) is None
        assert await world.outlet.account_nonce(world.wallet) == 0

        assert await world.outlet.broadcast(signed.raw) is BroadcastOutcome.ACCEPTED
        await world.mine()
        assert await world.outlet.receipt(signed.txid, transfer) is not None

    async def test_raises_both_fees_of_a_replacement(self, world: World) -> None:
        previous = FeeQuote(0, 100 * GWEI, 7)
        raised = world.outlet.replacement_fee(previous=previous, quote=FeeQuote(1, 2, 1))

        assert raised.max_fee_minor * 100 >= previous.max_fee_minor * 110
        assert raised.priority_fee_minor * 100 >= previous.priority_fee_minor * 110
        ample = FeeQuote(1, 900 * GWEI, 9 * GWEI)
        assert world.outlet.replacement_fee(previous=previous, quote=ample) == ample
