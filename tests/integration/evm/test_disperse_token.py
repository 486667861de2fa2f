"""The disperse contract pays tokens on a real node, odd ones and odd receivers included."""

from collections.abc import Iterator
from enum import IntEnum

import pytest
from eth_abi.abi import encode

from chains.evm.receipts import read_dispersal
from devnet.evm_node import EvmNode
from domain.disperse import (
    Dispersal,
    Payment,
    allowance_data,
    approval_call,
    dispersal_call,
    encode_token,
)
from domain.disperse_gas import Kind, gas_limit_for
from domain.disperse_logs import outcome_of
from domain.errors import InvariantError
from domain.evm_call import EvmCall
from domain.money import UINT256_MAX
from tests.support.disperse import (
    MINTED_MINOR,
    DisperseWorld,
    fresh_address,
    fresh_batch_id,
)


class Behavior(IntEnum):
    """As numbered in ``contracts/OddToken.vy``."""

    RETURNS_NOTHING = 1
    RETURNS_FALSE = 2
    REVERTS = 3
    BURNS_ALL_GAS = 4
    RETURNS_MUCH = 5
    REVERTS_WITH_MUCH = 6
    REENTERS = 7
    TAKES_A_FEE = 8
    LIES_FALSE = 9
    LIES_TRUE = 10
    RETURNS_A_BYTE = 11
    RETURNS_TWO = 12


@pytest.fixture
def world(evm_node: EvmNode) -> Iterator[DisperseWorld]:
    opened = DisperseWorld(evm_node.url)
    yield opened
    opened.close()


@pytest.fixture
def token(world: DisperseWorld) -> str:
    return world.token()


def behaving(world: DisperseWorld, token: str, behavior: Behavior) -> str:
    receiver = fresh_address()
    world.invoke(token, "set_behavior(address,uint256)", receiver, behavior)
    return receiver


def failed_indexes(world: DisperseWorld, dispersal: Dispersal) -> list[int]:
    outcome, _ = world.disperse(dispersal)
    token = dispersal.token_address
    assert world.balances(world.contract, token=token) == [0], "something rests in the contract"
    return [failed.index for failed in outcome.failed]


class TestPayments:
    @pytest.mark.parametrize("name", ["OddToken", "Token"])
    def test_move_from_sender_to_each(self, world: DisperseWorld, name: str) -> None:
        if name == "OddToken":
            token = world.token()
        else:
            token = world.token("Token", encode(["string", "string", "uint8"], ["T", "T", 6]))
        people = [fresh_address() for _ in range(20)]
        amounts = [place + 1 for place in range(20)]

        batch = world.dispersal(*zip(people, amounts, strict=True), token=token)
        assert failed_indexes(world, batch) == []
        assert world.balances(*people, token=token) == amounts
        assert world.balance(world.sender, token) == MINTED_MINOR - sum(amounts)

    def test_may_name_one_receiver_twice_and_the_sender(
        self, world: DisperseWorld, token: str
    ) -> None:
        person = fresh_address()
        batch = world.dispersal((person, 3), (person, 3), (world.sender, 9), token=token)

        assert failed_indexes(world, batch) == []
        assert world.balances(person, world.sender, token=token) == [6, MINTED_MINOR - 6]

    def test_fail_one_by_one_when_the_money_runs_out(
        self, world: DisperseWorld, token: str
    ) -> None:
        people = [fresh_address() for _ in range(3)]
        world.send(approval_call(token, world.contract, amount_minor=15))
        batch = world.dispersal(*((person, 6) for person in people), token=token)

        assert failed_indexes(world, batch) == [2]
        assert world.balances(*people, token=token) == [6, 6, 0]

    def test_need_a_token_with_code(self, world: DisperseWorld) -> None:
        data = encode_token(fresh_batch_id(), fresh_address(), [Payment(fresh_address(), 1)])

        assert world.send(EvmCall(world.contract, 0, data))["status"] == "0x0"

    def test_take_no_coin(self, world: DisperseWorld, token: str) -> None:
        data = encode_token(fresh_batch_id(), token, [Payment(fresh_address(), 1)])

        assert world.send(EvmCall(world.contract, 1, data))["status"] == "0x0"
        assert world.send(EvmCall(world.contract, 0, data))["status"] == "0x1"

    def test_of_zero_are_refused(self, world: DisperseWorld, token: str) -> None:
        data = encode_token(fresh_batch_id(), token, [Payment(fresh_address(), 1)])

        zero = EvmCall(world.contract, 0, data[:-12] + bytes(12))
        assert world.send(zero)["status"] == "0x0"


class TestAllowance:
    def test_is_without_limit_and_can_be_asked_for(self, world: DisperseWorld, token: str) -> None:
        call = {"to": token, "data": "0x" + allowance_data(world.sender, world.contract).hex()}

        assert int(world.rpc("eth_call", call, "latest"), 16) == UINT256_MAX

    def test_serves_nobody_else(self, world: DisperseWorld, token: str) -> None:
        """The sender's allowance is unlimited; a stranger who calls gets nothing of it."""
        thief = fresh_address()
        data = encode_token(fresh_batch_id(), token, [Payment(thief, 100)])

        receipt = world.transact({"to": world.contract, "data": "0x" + data.hex()})
        assert receipt["status"] == "0x1"
        assert world.balances(thief, world.sender, token=token) == [0, MINTED_MINOR]

    def test_serves_no_contract_that_the_sender_calls(
        self, world: DisperseWorld, token: str
    ) -> None:
        """The sender pays a contract, which then calls ours in the very same transaction."""
        thief = world.deploy_named("Reenterer")
        entry = encode_token(fresh_batch_id(), token, [Payment(thief, 100)])
        world.set_entry(thief, entry, is_strict=True)

        assert world.send(EvmCall(thief, 1, b""))["status"] == "0x1"
        assert world.balances(thief, world.sender, token=token) == [0, MINTED_MINOR]


class TestOddTokens:
    @pytest.mark.parametrize(
        "behavior",
        [
            Behavior.RETURNS_FALSE,
            Behavior.REVERTS,
            Behavior.BURNS_ALL_GAS,
            Behavior.REVERTS_WITH_MUCH,
        ],
    )
    def test_refuse_some_and_others_are_paid(
        self, world: DisperseWorld, token: str, behavior: Behavior
    ) -> None:
        refused, paid = behaving(world, token, behavior), fresh_address()
        batch = world.dispersal((refused, 5), (paid, 6), (refused, 7), token=token)

        assert failed_indexes(world, batch) == [0, 2]
        assert world.balances(refused, paid, token=token) == [0, 6]

    @pytest.mark.parametrize("behavior", [Behavior.RETURNS_NOTHING, Behavior.RETURNS_MUCH])
    def test_that_answer_oddly_are_believed(
        self, world: DisperseWorld, token: str, behavior: Behavior
    ) -> None:
        odd, person = behaving(world, token, behavior), fresh_address()

        assert failed_indexes(world, world.dispersal((odd, 5), (person, 6), token=token)) == []
        assert world.balances(odd, person, token=token) == [5, 6]

    @pytest.mark.parametrize("behavior", [Behavior.RETURNS_A_BYTE, Behavior.RETURNS_TWO])
    def test_that_answer_neither_true_nor_nothing_are_not(
        self, world: DisperseWorld, token: str, behavior: Behavior
    ) -> None:
        odd = behaving(world, token, behavior)

        assert failed_indexes(world, world.dispersal((odd, 5), token=token)) == [0]

    def test_charge_the_receiver(self, world: DisperseWorld, token: str) -> None:
        charged = behaving(world, token, Behavior.TAKES_A_FEE)

        assert failed_indexes(world, world.dispersal((charged, 1_000), token=token)) == []
        assert world.balance(charged, token) == 990

    @pytest.mark.parametrize(
        ("behavior", "received_minor"),
        [(Behavior.TAKES_A_FEE, 990), (Behavior.LIES_TRUE, 0), (Behavior.RETURNS_FALSE, 0)],
    )
    def test_are_believed_for_their_logs_alone(
        self, world: DisperseWorld, token: str, behavior: Behavior, received_minor: int
    ) -> None:
        odd, person = behaving(world, token, behavior), fresh_address()
        batch = world.dispersal((odd, 1_000), (person, 6), token=token)

        _, answer = world.disperse(batch)
        receipt = read_dispersal(answer, batch)
        assert receipt is not None
        assert receipt.received_minor == (received_minor, 6)
        assert receipt.outflow_minor == MINTED_MINOR - world.balance(world.sender, token)

    def test_that_deny_what_they_moved_stop_the_reading(
        self, world: DisperseWorld, token: str
    ) -> None:
        liar = behaving(world, token, Behavior.LIES_FALSE)
        batch = world.dispersal((liar, 5), token=token)

        _, answer = world.disperse(batch)
        assert world.balance(liar, token) == 5
        with pytest.raises(InvariantError):
            read_dispersal(answer, batch)

    def test_that_reenter_are_refused_entry(self, world: DisperseWorld, token: str) -> None:
        thief, person = behaving(world, token, Behavior.REENTERS), fresh_address()
        batch = world.dispersal((thief, 5), (person, 6), token=token)
        forged = encode_token(batch.batch_id, token, [Payment(person, 6)])
        world.invoke(token, "set_entry(bytes)", forged)

        assert failed_indexes(world, batch) == []
        assert world.balances(thief, person, token=token) == [5, 6]
        entered = {"to": token, "data": "0xa77f05e9"}
        assert int(world.rpc("eth_call", entered, "latest"), 16) == 0


class TestGas:
    def test_is_enough_when_every_transfer_burns_its_share(
        self, world: DisperseWorld, token: str
    ) -> None:
        burning = behaving(world, token, Behavior.BURNS_ALL_GAS)
        batch = world.dispersal(*((burning, place + 1) for place in range(100)), token=token)

        assert failed_indexes(world, batch) == list(range(100))

    def test_too_little_pays_all_or_nobody(self, world: DisperseWorld, token: str) -> None:
        people = [fresh_address() for _ in range(4)]
        refused = behaving(world, token, Behavior.RETURNS_FALSE)
        batch = [*((person, 10) for person in people[:3]), (refused, 10), (people[3], 10)]
        dispersal = world.dispersal(*batch, token=token)
        call = dispersal_call(dispersal)

        statuses = set()
        for gas in range(60_000, gas_limit_for(5, Kind.TOKEN), 3_000):
            snapshot = world.rpc("evm_snapshot")
            receipt = world.send(call, gas=gas)
            statuses.add(receipt["status"])
            paid = world.balances(*people, token=token)
            if receipt["status"] == "0x1":
                failed = outcome_of(dispersal, receipt["logs"]).failed
                assert ([f.index for f in failed], paid) == ([3], [10] * 4)
            else:
                assert paid == [0] * 4
            world.rpc("evm_revert", snapshot)
        assert statuses == {"0x0", "0x1"}
