"""Calldata, gas limits and the reading of logs of batches that one contract pays."""

from dataclasses import replace
from typing import Any

import pytest
from eth_abi.abi import encode
from eth_utils.crypto import keccak

from contracts.artifacts import load_artifact
from domain.disperse import (
    AMOUNT_MAX_MINOR,
    PAY_NATIVE_SELECTOR,
    PAY_TOKEN_SELECTOR,
    Dispersal,
    Payment,
    deployment_code,
    dispersal_call,
    encode_native,
    encode_token,
    runtime_code,
)
from domain.disperse_gas import PAYMENTS_MAX, TRANSACTION_GAS_MAX, Kind, gas_limit_for, payments_max
from domain.disperse_logs import (
    DISPERSED_TOPIC,
    FAILED_TOPIC,
    FailedPayment,
    decode_failures,
    outcome_of,
)
from domain.errors import AmountOutOfRangeError, InvalidAddressError, InvariantError

CONTRACT = "0x00000000000000000000000000000000000000D1"
SENDER = "0x00000000000000000000000000000000000000A1"
TOKEN = "0x00000000000000000000000000000000000000d4"
ANNA = "0x00000000000000000000000000000000000000B2"
BERT = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
BATCH_ID = keccak(text="batch")
PAYMENTS = (Payment(ANNA, 100), Payment(BERT, 200), Payment(ANNA, 300))
BATCH = Dispersal(BATCH_ID, CONTRACT, SENDER, PAYMENTS)


def signatures(kind: str) -> dict[str, str]:
    return {
        entry["name"]: f"{entry['name']}({','.join(field['type'] for field in entry['inputs'])})"
        for entry in load_artifact("Disperse").abi
        if entry["type"] == kind
    }


def log(
    topic: str,
    types: list[str],
    values: list[Any],
    *,
    contract: str = CONTRACT,
    batch_id: bytes = BATCH_ID,
    sender: str = SENDER,
) -> dict[str, Any]:
    topics = [topic, "0x" + batch_id.hex(), "0x" + "0" * 24 + sender[2:].lower()]
    return {
        "address": contract.lower(),
        "topics": topics,
        "data": "0x" + encode(types, values).hex(),
    }


def failure(index: int, recipient: str, amount_minor: int, **more: Any) -> dict[str, Any]:
    values = [index, recipient, amount_minor]
    return log(FAILED_TOPIC, ["uint256", "address", "uint256"], values, **more)


def summary(count: int, total_minor: int, *, token: str = "0x" + "0" * 40, **more: Any) -> Any:
    values = [token, count, total_minor]
    return log(DISPERSED_TOPIC, ["address", "uint256", "uint256"], values, **more)


class TestConstants:
    def test_are_those_of_the_contract(self) -> None:
        functions, events = signatures("function"), signatures("event")

        assert keccak(text=functions["pay_native"])[:4] == PAY_NATIVE_SELECTOR
        assert keccak(text=functions["pay_token"])[:4] == PAY_TOKEN_SELECTOR
        assert "0x" + keccak(text=events["PaymentFailed"]).hex() == FAILED_TOPIC
        assert "0x" + keccak(text=events["Dispersed"]).hex() == DISPERSED_TOPIC

    def test_code_that_stands_there_is_part_of_what_is_deployed(self) -> None:
        assert runtime_code() in deployment_code()
        assert len(runtime_code()) > 1_000

    def test_contract_has_no_owner_nor_any_other_function(self) -> None:
        assert set(signatures("function")) == {"pay_native", "pay_token"}


class TestEncode:
    def test_native_is_what_a_library_encodes(self) -> None:
        words = [int(p.recipient, 16) << 96 | p.amount_minor for p in PAYMENTS]
        types = ["bytes32", "uint256", "uint256[]"]

        expected = PAY_NATIVE_SELECTOR + encode(types, [BATCH_ID, 30_000, words])
        assert encode_native(BATCH_ID, PAYMENTS, gas_each=30_000) == expected

    def test_token_is_what_a_library_encodes(self) -> None:
        words = [int(p.recipient, 16) << 96 | p.amount_minor for p in PAYMENTS]
        types = ["bytes32", "uint256", "address", "uint256[]"]

        expected = PAY_TOKEN_SELECTOR + encode(types, [BATCH_ID, 70_000, TOKEN, words])
        assert encode_token(BATCH_ID, TOKEN, PAYMENTS, gas_each=70_000) == expected

    def test_call_carries_the_sum_of_coin(self) -> None:
        call = dispersal_call(BATCH)

        assert (call.to, call.value_minor) == (CONTRACT, 600)
        assert call.data == encode_native(BATCH_ID, PAYMENTS)

    def test_call_for_a_token_carries_no_coin(self) -> None:
        call = dispersal_call(replace(BATCH, token_address=TOKEN))

        assert (call.to, call.value_minor) == (CONTRACT, 0)
        assert call.data == encode_token(BATCH_ID, TOKEN, PAYMENTS)

    def test_takes_the_largest_amount(self) -> None:
        assert encode_native(BATCH_ID, [Payment(BERT, AMOUNT_MAX_MINOR)]).endswith(b"\xff" * 12)

    @pytest.mark.parametrize("amount_minor", [-1, 0, AMOUNT_MAX_MINOR + 1])
    def test_refuses_other_amounts(self, amount_minor: int) -> None:
        with pytest.raises(AmountOutOfRangeError):
            encode_native(BATCH_ID, [Payment(ANNA, amount_minor)])

    def test_refuses_the_zero_address(self) -> None:
        with pytest.raises(InvalidAddressError):
            encode_token(BATCH_ID, TOKEN, [Payment("0x" + "0" * 40, 1)])

    @pytest.mark.parametrize("count", [0, PAYMENTS_MAX + 1])
    def test_refuses_no_payments_and_too_many(self, count: int) -> None:
        with pytest.raises(ValueError, match="payments"):
            encode_native(BATCH_ID, [Payment(ANNA, 1)] * count)

    def test_refuses_a_short_batch_id(self) -> None:
        with pytest.raises(ValueError, match="32 bytes"):
            encode_native(BATCH_ID[1:], PAYMENTS)


class TestDecodeFailures:
    def test_tells_what_failed(self) -> None:
        logs = [failure(1, BERT, 200), summary(2, 400)]

        outcome = decode_failures(logs, CONTRACT, batch_id=BATCH_ID, sender=SENDER)
        assert outcome.failed == (FailedPayment(1, BERT, 200),)
        assert (outcome.paid_count, outcome.paid_minor, outcome.token_address) == (2, 400, None)

    @pytest.mark.parametrize(
        "elsewhere",
        [{"contract": TOKEN}, {"batch_id": keccak(text="another")}, {"sender": BERT}],
    )
    def test_passes_over_what_others_say(self, elsewhere: dict[str, Any]) -> None:
        logs = [failure(0, ANNA, 100, **elsewhere), summary(0, 0, **elsewhere), summary(3, 600)]

        assert outcome_of(BATCH, logs).failed == ()

    @pytest.mark.parametrize("logs", [[], [failure(1, BERT, 200)], [summary(3, 600)] * 2])
    def test_takes_nothing_without_one_summary(self, logs: list[Any]) -> None:
        with pytest.raises(InvariantError, match="summaries"):
            decode_failures(logs, CONTRACT, batch_id=BATCH_ID, sender=SENDER)


class TestOutcome:
    def test_fits_the_batch(self) -> None:
        logs = [failure(0, ANNA, 100), failure(2, ANNA, 300), summary(1, 200)]

        assert [failed.index for failed in outcome_of(BATCH, logs).failed] == [0, 2]

    def test_of_a_token_names_it(self) -> None:
        batch = replace(BATCH, token_address=TOKEN)

        assert outcome_of(batch, [summary(3, 600, token=TOKEN)]).paid_count == 3
        for token in ("0x" + "0" * 40, BERT):
            with pytest.raises(InvariantError):
                outcome_of(batch, [summary(3, 600, token=token)])

    @pytest.mark.parametrize(
        "logs",
        [
            [failure(3, ANNA, 100), summary(2, 500)],
            [failure(0, BERT, 100), summary(2, 500)],
            [failure(0, ANNA, 200), summary(2, 400)],
            [failure(0, ANNA, 100), summary(3, 500)],
            [failure(0, ANNA, 100), summary(2, 600)],
            [failure(0, ANNA, 100), failure(0, ANNA, 100), summary(1, 400)],
            [summary(2, 500)],
        ],
        ids=["no such", "recipient", "amount", "count", "total", "twice", "unreported"],
    )
    def test_is_not_taken_when_it_does_not_fit(self, logs: list[Any]) -> None:
        with pytest.raises(InvariantError):
            outcome_of(BATCH, logs)


class TestGas:
    @pytest.mark.parametrize("kind", Kind)
    def test_of_the_most_payments_fits_a_transaction(self, kind: Kind) -> None:
        most = payments_max(kind)

        assert gas_limit_for(most, kind) <= TRANSACTION_GAS_MAX
        assert gas_limit_for(most + 1, kind) > TRANSACTION_GAS_MAX

    def test_lets_two_hundred_be_paid_in_coin(self) -> None:
        assert payments_max(Kind.NATIVE) >= 200

    def test_bounds_payments_by_the_contract(self) -> None:
        assert payments_max(Kind.NATIVE, gas_each=0, gas_limit=10**9) == PAYMENTS_MAX
        assert payments_max(Kind.TOKEN, gas_limit=10_000) == 0

    @pytest.mark.parametrize("kind", Kind)
    def test_grows_with_the_share(self, kind: Kind) -> None:
        grown = gas_limit_for(10, kind, gas_each=10**6) - gas_limit_for(10, kind, gas_each=10**5)

        assert grown >= 10 * 900_000
