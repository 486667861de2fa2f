"""The contract of ``domain.ports.ChainOutlet`` on UTXO chains, for every kind of node."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import override

import pytest

from chains.utxo.outlet import CoinOutlet
from domain.coins import Coin, CoinOutput, KeyPosition, UnsignedCoinAttempt
from domain.errors import (
    ChainUnavailableError,
    FeeTooLowError,
    NodeRejectedError,
    NonceTooLowError,
    ValidationError,
)
from domain.hd import DerivedAddress, derive_address
from domain.ports import BroadcastOutcome, SignedAttempt
from domain.scanning import Incoming, Outpoint
from domain.utxo.networks import BITCOIN, Network
from domain.utxo.psbt import ColdAccount, signed_attempt, unsigned_psbt
from domain.utxo.scripts import address_of, output_script
from domain.utxo.sizes import dust_minor, fee_minor, transaction_vbytes
from signing.hd import account_xpub, fingerprint
from signing.utxo import sign_coins
from tests.support.outlet_contract import NodeContract, OutletContract, Payment
from tests.support.utxo_nodes import COIN_SAT, Key, RegtestNode
from tests.support.utxo_nodes import Coin as KeyCoin

OP_RETURN_SCRIPT = bytes.fromhex("6a0474657374")


@dataclass
class CoinWorld:
    """A UTXO chain, and an account of one's own that a seed opens."""

    node: RegtestNode
    seed: bytes = field(default_factory=lambda: secrets.token_bytes(32))

    def __post_init__(self) -> None:
        self.network: Network = self.node.network
        self.outlet = CoinOutlet(self.network.chain_id, [self.node.url])
        self.account = ColdAccount(
            account_xpub(self.seed, self.network.chain_id), bytes.fromhex(fingerprint(self.seed))
        )

    async def mine(self, count: int = 1) -> list[str]:
        return await self.node.mine(count)

    async def reorg(self, depth: int) -> list[str]:
        return await self.node.reorg(depth)

    def derived(self, index: int, branch: int = 0) -> DerivedAddress:
        position = KeyPosition(branch, index)
        return derive_address(self.network.chain_id, self.account.xpub, position)

    async def coins(self, *amounts_minor: int) -> tuple[Coin, ...]:
        """Give the account confirmed coins, each to the next address."""
        txids = [
            await self.node.fund(self.derived(index).address, amount_minor)
            for index, amount_minor in enumerate(amounts_minor)
        ]
        await self.mine()
        # The treasury's payment comes first, its change behind.
        return tuple(
            Coin(Outpoint(txid, 0), amount_minor, KeyPosition(0, index))
            for index, (txid, amount_minor) in enumerate(zip(txids, amounts_minor, strict=True))
        )

    def attempt(
        self, coins: Sequence[Coin], *, rate: int, addresses: Sequence[str] = (), share: int = 1
    ) -> UnsignedCoinAttempt:
        """
        Spend coins at a rate per 1,000 vB: one ``share``-th to each address, the rest to change.

        Another ``share`` is another transaction with the same coins, and the same rate.
        """
        change = self.derived(0, 1).address
        paid = list(addresses) or [self.node.fresh_address()]
        scripts = [output_script(each, self.network) for each in [*paid, change]]
        fee = fee_minor(transaction_vbytes(len(coins), scripts), rate)
        total_minor = sum(coin.amount_minor for coin in coins)
        each_minor = total_minor // (2 * len(paid) * share)
        left_minor = total_minor - fee - each_minor * len(paid)
        outputs = (
            *(CoinOutput(each, each_minor) for each in paid),
            CoinOutput(change, left_minor),
        )
        return UnsignedCoinAttempt(self.network.chain_id, tuple(coins), outputs)

    async def signed(
        self, coins: Sequence[Coin], *, share: int = 1, rate: int | None = None
    ) -> SignedAttempt:
        """Sign a spend at this rate, or at the present one."""
        offered = rate if rate is not None else (await self.outlet.quote_fee()).max_fee_minor
        return sign_coins(self.attempt(coins, rate=offered, share=share), self.seed)


class CoinOutletContract(OutletContract[CoinWorld], NodeContract[CoinWorld]):
    """Subclass it and give a fixture ``world``."""

    other_chain_id = BITCOIN.chain_id

    @override
    async def payment(self, world: CoinWorld, amount_minor: int) -> Payment:
        source, destination = Key(), Key()
        coin = await world.node.fund_key(source, amount_minor + 2_000)
        raw = bytes.fromhex(source.spend([coin], [(destination.script, amount_minor)]))
        txid = (await world.node.rpc("decoderawtransaction", raw.hex()))["txid"]
        return Payment(raw, txid, destination.script, amount_minor)

    @override
    def url(self, world: CoinWorld) -> str:
        return world.node.url

    @override
    def open(
        self, world: CoinWorld, urls: Sequence[str], *, chain_id: str | None = None
    ) -> CoinOutlet:
        return CoinOutlet(chain_id or world.network.chain_id, urls)

    async def test_finalizes_nothing(self, world: CoinWorld) -> None:
        assert (await world.outlet.head()).finalized_height is None

    async def test_finds_a_derived_address_by_its_script(self, world: CoinWorld) -> None:
        (coin,) = await world.coins(70_000)
        tip = (await world.outlet.head()).height
        (block,) = await world.outlet.scan(tip, tip)
        found = [each for each in block.incoming if each.lookup_key == world.derived(0).lookup_key]

        assert found == [
            Incoming(coin.outpoint.txid, "vout:0", world.derived(0).lookup_key, 70_000)
        ]

    async def test_tells_what_a_block_spends(self, world: CoinWorld) -> None:
        coins = await world.coins(70_000, 80_000)
        signed = await world.signed(coins)
        await world.outlet.broadcast(signed.raw)
        await world.mine()
        tip = (await world.outlet.head()).height
        (block,) = await world.outlet.scan(tip, tip)

        assert set(block.spent) == {(coin.outpoint, signed.txid) for coin in coins}

    async def test_marks_what_miners_earn(self, world: CoinWorld) -> None:
        key = Key()
        await world.node.mine(1, key.address(world.network))
        tip = (await world.outlet.head()).height
        (block,) = await world.outlet.scan(tip, tip)

        (earned,) = [each for each in block.incoming if each.lookup_key == key.script]
        assert earned.is_coinbase
        assert earned.txid == block.txids[0]
        assert block.spent == ()

    async def test_leaves_out_what_nobody_can_spend(self, world: CoinWorld) -> None:
        key = Key()
        coin = await world.node.fund_key(key, 90_000)
        raw = key.spend([coin], [(OP_RETURN_SCRIPT, 0), (key.script, 80_000)])
        txid = await world.node.send(raw)
        await world.mine()
        tip = (await world.outlet.head()).height
        (block,) = await world.outlet.scan(tip, tip)

        found = [each.position for each in block.incoming if each.txid == txid]
        assert found == ["vout:1"]
        assert OP_RETURN_SCRIPT not in {each.lookup_key for each in block.incoming}

    async def test_shows_what_is_in_the_pool_until_it_is_mined(self, world: CoinWorld) -> None:
        before = (await world.outlet.pending(frozenset())).txids
        first = await self.payment(world, 60_000)
        second = await self.payment(world, 61_000)
        for paid in (first, second):
            await world.outlet.broadcast(paid.raw)
        view = await world.outlet.pending(before | {second.txid})

        assert {first.txid, second.txid} <= view.txids
        assert [
            (each.txid, each.lookup_key, each.amount_minor, each.position) for each in view.incoming
        ] == [(first.txid, first.lookup_key, 60_000, "vout:0")]
        await world.mine()
        assert {first.txid, second.txid}.isdisjoint((await world.outlet.pending(before)).txids)

    async def test_shows_a_payment_that_depends_on_another_in_the_pool(
        self, world: CoinWorld
    ) -> None:
        key = Key()
        coin = await world.node.fund_key(key, 90_000)
        parent = await world.node.send(key.move(coin))
        child = await world.node.send(key.move(KeyCoin(parent, 0, 89_000)))
        view = await world.outlet.pending(frozenset())

        amounts = {each.txid: each.amount_minor for each in view.incoming}
        assert (amounts[parent], amounts[child]) == (89_000, 88_000)
        await world.mine()

    async def test_spends_many_coins_to_every_kind_of_address(self, world: CoinWorld) -> None:
        coins = await world.coins(*(100_000 + n for n in range(20)))
        scripts = [
            b"\x00\x14" + b"\x01" * 20,
            b"\x00\x20" + b"\x02" * 32,
            b"\xa9\x14" + b"\x03" * 20 + b"\x87",
            b"\x76\xa9\x14" + b"\x04" * 20 + b"\x88\xac",
        ]
        addresses = [address_of(script, world.network) for script in scripts]
        attempt = world.attempt(coins, rate=2_000, addresses=addresses)
        signed = sign_coins(attempt, world.seed)

        assert await world.outlet.broadcast(signed.raw) is BroadcastOutcome.ACCEPTED
        entry = await world.node.rpc("getmempoolentry", signed.txid)
        assert round(entry["fees"]["base"] * COIN_SAT) == attempt.fee_minor
        assert 2_000 <= attempt.fee_minor * 1_000 / entry["vsize"] < 2_000 * 1.02
        await world.node.confirm(signed.txid)

    async def test_takes_what_a_cold_wallet_signed(self, world: CoinWorld) -> None:
        attempt = world.attempt(await world.coins(70_000, 80_000), rate=3_000)
        psbt = unsigned_psbt(attempt, world.account)
        signed = signed_attempt(attempt, world.account, cold_wallet(psbt, world.seed))

        assert await world.outlet.broadcast(signed.raw) is BroadcastOutcome.ACCEPTED
        assert signed.txid == sign_coins(attempt, world.seed).txid
        await world.node.confirm(signed.txid)

    async def test_says_that_another_attempt_with_the_same_coins_holds_the_place(
        self, world: CoinWorld
    ) -> None:
        coins = await world.coins(90_000)
        first = await world.signed(coins, rate=3_000)
        second = await world.signed(coins, rate=3_000, share=2)
        await world.outlet.broadcast(first.raw)

        assert await world.outlet.broadcast(second.raw) is BroadcastOutcome.REPLACED
        await world.node.confirm(first.txid)
        with pytest.raises(NonceTooLowError):
            await world.outlet.broadcast(second.raw)

    async def test_offers_a_replacement_that_nodes_take_if_they_take_any(
        self, world: CoinWorld
    ) -> None:
        coins = await world.coins(200_000)
        quote = await world.outlet.quote_fee()
        raised = world.outlet.replacement_fee(previous=quote, quote=quote)
        first = await world.signed(coins, rate=quote.max_fee_minor)
        second = await world.signed(coins, rate=raised.max_fee_minor)
        await world.outlet.broadcast(first.raw)
        outcome = await world.outlet.broadcast(second.raw)

        if not world.node.has_replacement:
            assert outcome is BroadcastOutcome.REPLACED
            await world.node.confirm(first.txid)
            return
        assert outcome is BroadcastOutcome.ACCEPTED
        assert await world.outlet.broadcast(first.raw) is BroadcastOutcome.REPLACED
        await world.node.confirm(second.txid)
        with pytest.raises(NonceTooLowError):
            await world.outlet.broadcast(first.raw)

    async def test_knows_what_is_mined_and_spent_since(self, world: CoinWorld) -> None:
        key = Key()
        coin = await world.node.fund_key(key, 90_000)
        raw = key.move(coin)
        txid = await world.node.send(raw)
        await world.node.confirm(txid)
        await world.node.confirm(await world.node.send(key.move(KeyCoin(txid, 0, 89_000))))

        assert await world.outlet.broadcast(bytes.fromhex(raw)) is BroadcastOutcome.ALREADY_KNOWN

    async def test_puts_back_into_the_pool_what_a_reorg_took_out(self, world: CoinWorld) -> None:
        paid = await self.payment(world, 60_000)
        await world.outlet.broadcast(paid.raw)
        await world.node.confirm(paid.txid)
        await world.node.reorg(1, is_remining=False)

        assert await world.outlet.broadcast(paid.raw) in (
            BroadcastOutcome.ACCEPTED,
            BroadcastOutcome.ALREADY_KNOWN,
        )
        assert paid.txid in (await world.outlet.pending(frozenset())).txids
        await world.node.confirm(paid.txid)

    async def test_does_not_know_what_a_double_spend_took_out(self, world: CoinWorld) -> None:
        key = Key()
        coin = await world.node.fund_key(key, 90_000)
        raw = key.move(coin)
        txid = await world.node.send(raw)
        await world.node.confirm(txid)
        await world.node.reorg(1, drop=[txid], instead=[key.move(coin, fee_sat=7_000)])

        with pytest.raises(NonceTooLowError):
            await world.outlet.broadcast(bytes.fromhex(raw))

    async def test_refuses_coins_that_never_were(self, world: CoinWorld) -> None:
        stranger = Coin(Outpoint("11" * 32, 0), 90_000, KeyPosition(0, 0))
        with pytest.raises(NonceTooLowError):
            await world.outlet.broadcast((await world.signed([stranger])).raw)

    async def test_refuses_a_fee_that_the_pool_does_not_take(self, world: CoinWorld) -> None:
        coins = await world.coins(90_000)
        with pytest.raises(FeeTooLowError):
            await world.outlet.broadcast((await world.signed(coins, rate=10)).raw)

    async def test_refuses_a_signature_by_another_key(self, world: CoinWorld) -> None:
        (coin,) = await world.coins(90_000)
        wrong = Coin(coin.outpoint, coin.amount_minor, KeyPosition(0, 99))
        with pytest.raises(NodeRejectedError):
            await world.outlet.broadcast((await world.signed([wrong])).raw)

    async def test_refuses_an_output_below_dust_and_takes_the_least_above(
        self, world: CoinWorld
    ) -> None:
        key = Key()
        least = dust_minor(key.script, world.network)
        coin = await world.node.fund_key(key, 90_000)
        raws = [
            bytes.fromhex(key.spend([coin], [(key.script, amount), (key.script, 50_000)]))
            for amount in (least - 1, least)
        ]
        with pytest.raises(NodeRejectedError):
            await world.outlet.broadcast(raws[0])
        assert await world.outlet.broadcast(raws[1]) is BroadcastOutcome.ACCEPTED
        await world.mine()

    @pytest.mark.parametrize("raw", [b"", b"\x02", b"\xff" * 200])
    async def test_refuses_what_is_no_transaction(self, world: CoinWorld, raw: bytes) -> None:
        with pytest.raises(NodeRejectedError):
            await world.outlet.broadcast(raw)

    async def test_waits_for_what_a_miner_earned_to_mature(self, world: CoinWorld) -> None:
        key = Key()
        await world.node.mine(1, key.address(world.network))
        tip = (await world.outlet.head()).height
        (block,) = await world.outlet.scan(tip, tip)
        (earned,) = [each for each in block.incoming if each.lookup_key == key.script]
        coin = KeyCoin(earned.txid, int(earned.position.partition(":")[2]), earned.amount_minor)
        with pytest.raises(ChainUnavailableError):
            await world.outlet.broadcast(bytes.fromhex(key.move(coin)))

    async def test_leaves_the_ceiling_of_fees_to_us(self, world: CoinWorld) -> None:
        coins = await world.coins(COIN_SAT)
        signed = await world.signed(coins, rate=50_000_000)

        assert await world.outlet.broadcast(signed.raw) is BroadcastOutcome.ACCEPTED
        await world.mine()

    async def test_adds_up_the_coins_of_an_address(self, world: CoinWorld) -> None:
        address = world.derived(5).address
        assert await world.outlet.balance_minor(address) == 0
        for amount_minor in (60_001, 70_002):
            await world.node.fund(address, amount_minor)
        await world.mine()

        assert await world.outlet.balance_minor(address) == 130_003

    async def test_has_no_tokens(self, world: CoinWorld) -> None:
        with pytest.raises(ValidationError):
            await world.outlet.balance_minor(world.derived(0).address, contract_address="0x0")


def cold_wallet(psbt: bytes, seed: bytes) -> bytes:
    """Sign as a device that has the seed, and a library of its own, would."""
    from embit.bip32 import HDKey  # noqa: PLC0415 - nothing else here is to use them
    from embit.psbt import PSBT  # noqa: PLC0415

    parsed = PSBT.parse(psbt)
    assert parsed.sign_with(HDKey.from_seed(seed)) == len(parsed.inputs)
    return bytes(parsed.serialize())
