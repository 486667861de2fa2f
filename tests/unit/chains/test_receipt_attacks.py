"""A recipient whose payment makes a whole transaction's receipt unreadable."""

import pytest

from domain.disperse import Dispersal, Payment
from tests.unit.chains.test_receipts import (
    COLLECTOR,
    DESTINATION,
    OTHER,
    TOKEN,
    WALLET,
    dispersed,
    log,
    said,
)


@pytest.mark.xfail(strict=True, reason="what a token charges for others is taken for too much")
def test_the_collector_of_a_tokens_charge_may_be_paid_beside_others() -> None:
    """
    A token charges 1% on top (``contracts/SurchargeToken.vy``), and somebody pays its collector.

    ``InvariantError`` then stops the watcher of the whole chain, deposits too, until code changes.
    """
    payments = (Payment(DESTINATION, 1_000), Payment(COLLECTOR, 5))
    batch = Dispersal(b"\x07" * 32, OTHER, WALLET, payments, TOKEN)
    moves = [log(WALLET, DESTINATION, 1_000), log(WALLET, COLLECTOR, 10), log(WALLET, COLLECTOR, 5)]
    receipt = dispersed(batch, *moves, *said(batch))
    assert receipt.outflow_minor == 1_015
    assert receipt.received_minor == (1_000, 5)
