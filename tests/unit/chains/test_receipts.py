from typing import Any

import pytest
from eth_abi.abi import encode

from chains.evm.receipts import TRANSFER_TOPIC, read_dispersal, read_receipt
from domain.disperse import Dispersal, Payment
from domain.disperse_logs import DISPERSED_TOPIC, FAILED_TOPIC, DispersalReceipt
from domain.errors import InvariantError
from domain.ports import Receipt, Transfer

WALLET = "0x00000000000000000000000000000000000000A1"
DESTINATION = "0x00000000000000000000000000000000000000b2"
COLLECTOR = "0x00000000000000000000000000000000000000C3"
TOKEN = "0x00000000000000000000000000000000000000d4"
OTHER = "0x00000000000000000000000000000000000000E5"


def log(sender: str, receiver: str, value: int, *, contract: str = TOKEN) -> dict[str, Any]:
    topics = [TRANSFER_TOPIC, *("0x" + "0" * 24 + a[2:].lower() for a in (sender, receiver))]
    return {"address": contract.lower(), "topics": topics, "data": f"0x{value:064x}"}


def answer(*logs: dict[str, Any], status: str = "0x1", **more: Any) -> dict[str, Any]:
    return {
        "transactionHash": "0xaa",
        "blockNumber": "0x10",
        "blockHash": "0xbb",
        "status": status,
        "gasUsed": "0x64",
        "effectiveGasPrice": "0x2",
        "logs": list(logs),
        **more,
    }


def read(
    *logs: dict[str, Any], amount_minor: int = 100, contract: str | None = TOKEN, **more: Any
) -> Receipt:
    transfer = Transfer(WALLET, DESTINATION, amount_minor, contract)
    receipt = read_receipt(answer(*logs, **more), transfer)
    assert receipt is not None
    return receipt


class TestNative:
    def test_moves_its_value(self) -> None:
        assert read(contract=None) == Receipt("0xaa", 16, "0xbb", True, 200, 100, 100)  # noqa: FBT003

    def test_moves_nothing_when_it_failed(self) -> None:
        receipt = read(contract=None, status="0x0")

        assert not receipt.succeeded
        assert (receipt.outflow_minor, receipt.received_minor) == (0, 0)
        assert receipt.network_fee_minor == 200

    def test_to_ourselves_lets_nothing_out(self) -> None:
        filler = Transfer(WALLET, WALLET, 0, None)
        receipt = read_receipt(answer(), filler)

        assert receipt is not None
        assert receipt.succeeded
        assert receipt.outflow_minor == 0

    def test_is_not_mined_without_a_block(self) -> None:
        transfer = Transfer(WALLET, DESTINATION, 1, None)

        assert read_receipt(answer(blockNumber=None), transfer) is None

    def test_counts_a_rollups_data_fee(self) -> None:
        assert read(contract=None, l1Fee="0x5").network_fee_minor == 205


class TestToken:
    def test_counts_what_arrived(self) -> None:
        receipt = read(log(WALLET, DESTINATION, 100))

        assert receipt.succeeded
        assert (receipt.outflow_minor, receipt.received_minor) == (100, 100)

    def test_is_not_believed_without_a_log(self) -> None:
        receipt = read()

        assert not receipt.succeeded
        assert receipt.outflow_minor == 0

    def test_counts_a_charge_from_the_amount(self) -> None:
        receipt = read(log(WALLET, DESTINATION, 99), log(WALLET, COLLECTOR, 1))

        assert receipt.succeeded
        assert (receipt.outflow_minor, receipt.received_minor) == (100, 99)

    def test_counts_a_charge_on_top(self) -> None:
        receipt = read(log(WALLET, DESTINATION, 100), log(WALLET, COLLECTOR, 1))

        assert (receipt.outflow_minor, receipt.received_minor) == (101, 100)

    def test_passes_over_logs_of_other_contracts(self) -> None:
        receipt = read(log(WALLET, DESTINATION, 100, contract=OTHER))

        assert not receipt.succeeded

    def test_passes_over_what_others_moved(self) -> None:
        receipt = read(log(OTHER, DESTINATION, 100), log(DESTINATION, OTHER, 7))

        assert not receipt.succeeded
        assert receipt.outflow_minor == 0

    def test_reports_what_left_although_nothing_arrived(self) -> None:
        receipt = read(log(WALLET, COLLECTOR, 100))

        assert not receipt.succeeded
        assert (receipt.outflow_minor, receipt.received_minor) == (100, 0)

    def test_passes_over_logs_of_another_shape(self) -> None:
        collectible = log(WALLET, DESTINATION, 100)
        collectible["topics"].append("0x" + "0" * 63 + "1")
        collectible["data"] = "0x"
        unindexed = {"address": TOKEN, "topics": [TRANSFER_TOPIC], "data": "0x" + "00" * 96}

        assert not read(collectible, unindexed).succeeded


PAYMENTS = (Payment(DESTINATION, 100), Payment(COLLECTOR, 50), Payment(DESTINATION, 100))
TOKEN_BATCH = Dispersal(b"\x07" * 32, OTHER, WALLET, PAYMENTS, TOKEN)
COIN_BATCH = Dispersal(b"\x07" * 32, OTHER, WALLET, PAYMENTS)


def said(batch: Dispersal, *failed: int) -> list[dict[str, Any]]:
    """Return what the contract logs when these payments failed."""
    topics = ["0x" + batch.batch_id.hex(), "0x" + "0" * 24 + batch.sender[2:].lower()]
    paid = [p.amount_minor for i, p in enumerate(batch.payments) if i not in failed]
    token = batch.token_address or "0x" + "0" * 40
    bodies = [
        (FAILED_TOPIC, [i, int(batch.payments[i].recipient, 16), batch.payments[i].amount_minor])
        for i in failed
    ]
    bodies.append((DISPERSED_TOPIC, [int(token, 16), len(paid), sum(paid)]))
    return [
        {
            "address": batch.contract_address,
            "topics": [topic, *topics],
            "data": "0x" + encode(["uint256"] * 3, words).hex(),
        }
        for topic, words in bodies
    ]


def dispersed(batch: Dispersal, *logs: dict[str, Any], **more: Any) -> DispersalReceipt:
    receipt = read_dispersal(answer(*logs, **more), batch)
    assert receipt is not None
    return receipt


class TestCoinBatch:
    def test_moves_what_did_not_fail(self) -> None:
        receipt = dispersed(COIN_BATCH, *said(COIN_BATCH, 1))

        assert receipt == DispersalReceipt("0xaa", 16, "0xbb", True, 200, 200, (100, 0, 100))  # noqa: FBT003

    def test_moves_nothing_when_the_transaction_failed(self) -> None:
        receipt = dispersed(COIN_BATCH, status="0x0")

        assert not receipt.succeeded
        assert (receipt.outflow_minor, receipt.received_minor) == (0, (0, 0, 0))
        assert receipt.network_fee_minor == 200

    def test_to_ourselves_lets_nothing_out(self) -> None:
        batch = Dispersal(b"\x07" * 32, OTHER, WALLET, (Payment(WALLET, 5), Payment(COLLECTOR, 6)))

        receipt = dispersed(batch, *said(batch))
        assert (receipt.outflow_minor, receipt.received_minor) == (6, (5, 6))

    def test_is_not_mined_without_a_block(self) -> None:
        assert read_dispersal(answer(blockNumber=None), COIN_BATCH) is None

    def test_did_not_reach_the_contract_without_its_word(self) -> None:
        with pytest.raises(InvariantError):
            dispersed(COIN_BATCH)


class TestTokenBatch:
    def test_is_read_from_the_tokens_logs(self) -> None:
        receipt = dispersed(
            TOKEN_BATCH,
            log(WALLET, DESTINATION, 99),
            log(WALLET, COLLECTOR, 50),
            log(WALLET, DESTINATION, 98),
            log(WALLET, OTHER, 3),
            *said(TOKEN_BATCH),
        )

        assert (receipt.outflow_minor, receipt.received_minor) == (250, (99, 50, 98))

    def test_tells_apart_payments_to_one_recipient(self) -> None:
        moves = [log(WALLET, COLLECTOR, 50), log(WALLET, DESTINATION, 100)]

        assert dispersed(TOKEN_BATCH, *moves, *said(TOKEN_BATCH, 0)).received_minor == (0, 50, 100)
        assert dispersed(TOKEN_BATCH, *moves, *said(TOKEN_BATCH, 2)).received_minor == (100, 50, 0)

    def test_did_not_pay_what_was_not_moved(self) -> None:
        receipt = dispersed(TOKEN_BATCH, log(WALLET, COLLECTOR, 50), *said(TOKEN_BATCH))

        assert receipt.succeeded
        assert receipt.received_minor == (0, 50, 0)

    def test_passes_over_what_others_moved(self) -> None:
        moves = [log(OTHER, COLLECTOR, 50), log(WALLET, COLLECTOR, 50, contract=OTHER)]

        assert dispersed(TOKEN_BATCH, *moves, *said(TOKEN_BATCH)).received_minor == (0, 0, 0)

    @pytest.mark.parametrize("failed", [(1,), (0, 1)])
    def test_is_not_taken_when_a_failed_payment_was_moved(self, failed: tuple[int, ...]) -> None:
        moves = [log(WALLET, COLLECTOR, 50), log(WALLET, DESTINATION, 100)]

        with pytest.raises(InvariantError):
            dispersed(TOKEN_BATCH, *moves, *said(TOKEN_BATCH, *failed))

    @pytest.mark.parametrize("values", [(100,), (100, 50, 49)])
    def test_is_not_taken_when_payments_to_one_recipient_do_not_fit(
        self, values: tuple[int, ...]
    ) -> None:
        moves = [log(WALLET, DESTINATION, value) for value in values]

        with pytest.raises(InvariantError):
            dispersed(TOKEN_BATCH, *moves, *said(TOKEN_BATCH))

    @pytest.mark.parametrize("values", [(200,), (100, 100, 100), (100, 101)])
    def test_paid_who_got_all_or_more(self, values: tuple[int, ...]) -> None:
        moves = [log(WALLET, DESTINATION, value) for value in values]

        receipt = dispersed(TOKEN_BATCH, *moves, log(WALLET, COLLECTOR, 50), *said(TOKEN_BATCH))
        assert receipt.received_minor == (100, 50, 100)
        assert receipt.outflow_minor == sum(values) + 50

    def test_did_not_pay_more_than_was_asked_for(self) -> None:
        moves = [log(WALLET, DESTINATION, 101), log(WALLET, DESTINATION, 50)]

        assert dispersed(TOKEN_BATCH, *moves, *said(TOKEN_BATCH)).received_minor == (100, 0, 50)

    def test_may_pay_the_collector_of_the_tokens_charge(self) -> None:
        """It charges 1% on top (``contracts/SurchargeToken.vy``)."""
        payments = (Payment(DESTINATION, 1_000), Payment(COLLECTOR, 5))
        batch = Dispersal(b"\x07" * 32, OTHER, WALLET, payments, TOKEN)
        paid, charge = log(WALLET, DESTINATION, 1_000), log(WALLET, COLLECTOR, 10)

        receipt = dispersed(batch, paid, charge, log(WALLET, COLLECTOR, 5), *said(batch))
        assert receipt.outflow_minor == 1_015
        assert receipt.received_minor == (1_000, 5)
