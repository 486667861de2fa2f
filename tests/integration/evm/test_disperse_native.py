"""The disperse contract pays coin on a real node, among recipients that mean no good."""

from collections.abc import Iterator

import pytest

from devnet.evm_node import EvmNode
from domain.disperse import (
    Dispersal,
    Payment,
    dispersal_call,
    encode_native,
    encode_token,
    runtime_code,
)
from domain.disperse_gas import NATIVE_GAS_EACH, PAYMENTS_MAX, Kind, gas_limit_for, payments_max
from domain.disperse_logs import outcome_of
from domain.evm_call import EvmCall
from tests.support.disperse import (
    GIVES_BACK,
    HOSTILE_CODES,
    ODD_CODES,
    PICKY,
    DisperseWorld,
    fee_minor,
    fresh_address,
    fresh_batch_id,
)


@pytest.fixture
def world(evm_node: EvmNode) -> Iterator[DisperseWorld]:
    opened = DisperseWorld(evm_node.url)
    yield opened
    opened.close()


def failed_indexes(world: DisperseWorld, dispersal: Dispersal) -> list[int]:
    """Pay a batch, check that the money adds up on the chain, and return what failed."""
    before = world.balance(world.sender)
    outcome, receipt = world.disperse(dispersal)
    after, rest = world.balances(world.sender, world.contract)
    to_itself = sum(p.amount_minor for p in dispersal.payments if p.recipient == world.sender)
    assert before - after == outcome.paid_minor + fee_minor(receipt) - to_itself
    assert rest == 0, "something rests in the contract"
    return [failed.index for failed in outcome.failed]


class TestDeployment:
    def test_puts_down_the_code_that_is_compared_with(self, world: DisperseWorld) -> None:
        assert world.rpc("eth_getCode", world.contract, "latest") == "0x" + runtime_code().hex()

    def test_keeps_no_storage(self, world: DisperseWorld) -> None:
        world.disperse(world.dispersal((fresh_address(), 5)))

        assert int(world.rpc("eth_getStorageAt", world.contract, "0x0", "latest"), 16) == 0


class TestPayments:
    def test_pays_each_its_amount(self, world: DisperseWorld) -> None:
        people = [fresh_address() for _ in range(20)]
        amounts = [10**15 + place for place in range(20)]
        batch = world.dispersal(*zip(people, amounts, strict=True))

        assert failed_indexes(world, batch) == []
        assert world.balances(*people) == amounts

    def test_pays_one_recipient_several_times(self, world: DisperseWorld) -> None:
        person = fresh_address()

        assert failed_indexes(world, world.dispersal((person, 3), (person, 3), (person, 4))) == []
        assert world.balance(person) == 10

    def test_pays_the_sender(self, world: DisperseWorld) -> None:
        assert failed_indexes(world, world.dispersal((world.sender, 7))) == []

    def test_fails_to_pay_the_contract_itself(self, world: DisperseWorld) -> None:
        person = fresh_address()

        assert failed_indexes(world, world.dispersal((world.contract, 7), (person, 8))) == [0]
        assert world.balance(person) == 8

    def test_takes_as_many_as_are_allowed(self, world: DisperseWorld) -> None:
        payments = [(fresh_address(), place + 1) for place in range(PAYMENTS_MAX)]
        dispersal = world.dispersal(*payments)

        receipt = world.send(dispersal_call(dispersal), gas=20_000_000)
        assert outcome_of(dispersal, receipt["logs"]).paid_count == PAYMENTS_MAX

    @pytest.mark.parametrize("value_minor", [9, 11])
    def test_refuses_a_value_other_than_the_sum(
        self, world: DisperseWorld, value_minor: int
    ) -> None:
        person = fresh_address()
        data = encode_native(fresh_batch_id(), [Payment(person, 10)])

        assert world.send(EvmCall(world.contract, value_minor, data))["status"] == "0x0"
        assert world.balance(person) == 0

    def test_refuses_a_zero_amount(self, world: DisperseWorld) -> None:
        data = encode_native(fresh_batch_id(), [Payment(fresh_address(), 1)])
        zero = data[:-12] + bytes(12)

        assert world.send(EvmCall(world.contract, 1, data))["status"] == "0x1"
        assert world.send(EvmCall(world.contract, 0, zero))["status"] == "0x0"

    def test_takes_no_coin_without_a_call(self, world: DisperseWorld) -> None:
        assert world.send(EvmCall(world.contract, 1, b""))["status"] == "0x0"


class TestHostileRecipients:
    @pytest.mark.parametrize("name", HOSTILE_CODES)
    def test_that_refuse_do_not_stop_the_others(self, world: DisperseWorld, name: str) -> None:
        hostile = [world.account(HOSTILE_CODES[name]) for _ in range(3)]
        people = [fresh_address() for _ in range(3)]
        pairs = zip(hostile, people, strict=True)
        batch = world.dispersal(*((address, 100) for pair in pairs for address in pair))

        assert failed_indexes(world, batch) == [0, 2, 4]
        assert world.balances(*hostile, *people) == [0] * 3 + [100] * 3

    @pytest.mark.parametrize("name", ODD_CODES)
    def test_that_accept_oddly_are_paid(self, world: DisperseWorld, name: str) -> None:
        odd, person = world.account(ODD_CODES[name]), fresh_address()

        assert failed_indexes(world, world.dispersal((odd, 100), (person, 5))) == []
        assert world.balances(odd, person) == [100, 5]

    def test_take_no_more_gas_than_their_share(self, world: DisperseWorld) -> None:
        people = [(fresh_address(), 1) for _ in range(3)]
        bomb = (world.account(HOSTILE_CODES["reverts_with_much"]), 1)
        world.disperse(world.dispersal(*people))
        _, alone = world.disperse(world.dispersal(*people))
        _, bombed = world.disperse(world.dispersal(*people, bomb))

        extra = int(bombed["gasUsed"], 16) - int(alone["gasUsed"], 16)
        assert NATIVE_GAS_EACH / 2 < extra < NATIVE_GAS_EACH + 20_000

    def test_that_force_coin_on_the_contract_leave_nothing_there(
        self, world: DisperseWorld
    ) -> None:
        forcing, person = world.account(GIVES_BACK), fresh_address()
        before = world.balance(world.sender)

        outcome, receipt = world.disperse(world.dispersal((forcing, 100), (person, 5)))
        after, rest, given = world.balances(world.sender, world.contract, person)
        assert (outcome.failed, rest, given) == ((), 0, 5)
        assert before - after == 5 + fee_minor(receipt)

    def test_can_all_fail_within_the_limit(self, world: DisperseWorld) -> None:
        burner = world.account(HOSTILE_CODES["burns_gas"])
        count = 200
        batch = world.dispersal(*((burner, 1 + place) for place in range(count)))

        assert failed_indexes(world, batch) == list(range(count))
        assert count <= payments_max(Kind.NATIVE)


class TestReentry:
    @pytest.mark.parametrize("is_strict", [False, True])
    def test_is_refused_and_cannot_report_failures(
        self, world: DisperseWorld, *, is_strict: bool
    ) -> None:
        """A recipient knows the batch id: it could claim that others were not paid."""
        thief, person = world.deploy_named("Reenterer"), fresh_address()
        batch = world.dispersal((thief, 100), (person, 200))
        refusing = world.account(HOSTILE_CODES["reverts"])
        forged = encode_native(
            batch.batch_id, [Payment(refusing, 60), Payment(refusing, 40)], gas_each=0
        )
        world.set_entry(thief, forged, coins=100, is_strict=is_strict)

        assert failed_indexes(world, batch) == ([0] if is_strict else [])
        assert world.balances(thief, person) == [0 if is_strict else 100, 200]

    def test_is_refused_by_the_other_function_too(self, world: DisperseWorld) -> None:
        thief, token = world.deploy_named("Reenterer"), world.token()
        batch = world.dispersal((thief, 100))
        entry = encode_token(batch.batch_id, token, [Payment(fresh_address(), 1)], gas_each=0)
        world.set_entry(thief, entry, is_strict=True)

        assert failed_indexes(world, batch) == [0]

    @pytest.mark.parametrize("kind", Kind)
    def test_would_work_outside_of_a_batch(self, world: DisperseWorld, kind: Kind) -> None:
        """So it is the lock that refuses, not the call."""
        caller, person = world.deploy_named("Reenterer"), fresh_address()
        payments = [Payment(person, 100)]
        if kind is Kind.NATIVE:
            entry, coins = encode_native(fresh_batch_id(), payments, gas_each=0), 100
        else:
            entry, coins = encode_token(fresh_batch_id(), world.token(), payments, gas_each=0), 0
        world.set_entry(caller, entry, coins=coins, is_strict=True)

        assert world.send(EvmCall(caller, 100, b""), gas=100_000)["status"] == "0x1"
        assert world.balance(person) == coins


class TestGas:
    def test_too_little_pays_all_or_nobody(self, world: DisperseWorld) -> None:
        """No gas limit makes a recipient fail that would take the payment with its share."""
        picky = [world.account(PICKY) for _ in range(3)]
        refusing = world.account(HOSTILE_CODES["burns_gas"])
        addresses = [picky[0], refusing, *picky[1:]]
        dispersal = world.dispersal(*((address, 10) for address in addresses))
        call = dispersal_call(dispersal)

        statuses = set()
        for gas in range(60_000, gas_limit_for(len(addresses), Kind.NATIVE), 1_500):
            snapshot = world.rpc("evm_snapshot")
            receipt = world.send(call, gas=gas)
            statuses.add(receipt["status"])
            paid = world.balances(*picky)
            if receipt["status"] == "0x1":
                failed = outcome_of(dispersal, receipt["logs"]).failed
                assert ([f.index for f in failed], paid) == ([1], [10] * 3)
            else:
                assert paid == [0] * 3
            world.rpc("evm_revert", snapshot)
        assert statuses == {"0x0", "0x1"}

    def test_of_new_accounts_stays_below_the_limit(self, world: DisperseWorld) -> None:
        batch = world.dispersal(*((fresh_address(), 2**96 // 10**12) for _ in range(100)))
        _, receipt = world.disperse(batch)

        assert int(receipt["gasUsed"], 16) < gas_limit_for(100, Kind.NATIVE)

    def test_share_is_asked_for_only_when_somebody_fails(self, world: DisperseWorld) -> None:
        person = fresh_address()
        data = encode_native(fresh_batch_id(), [Payment(person, 10)], gas_each=10**9)

        assert world.send(EvmCall(world.contract, 10, data), gas=150_000)["status"] == "0x1"
        assert world.balance(person) == 10
