"""Gas limits, by dry runs that a node does in one batch."""

from collections.abc import Sequence
from typing import Any

from chains.evm.errors import NodeError, Verdict
from chains.json_rpc import Rpc
from domain import disperse
from domain.errors import ChainUnavailableError, InsufficientGasFundsError
from domain.evm_calls import evm_call
from domain.ports import GasEstimate, Transfer

PLAIN_TRANSFER_GAS = 21_000
"""A transfer without data to an account without code (Yellow Paper, G_transaction)."""

MARGIN_GAS = 20_000
"""
Least margin for a contract call.

Between dry run and block the destination's balance may fall to zero; writing it anew then costs
17,100 gas more (EIP-2200, EIP-2929). Each wei per gas of the margin must lie in the wallet while
the transaction waits, so it is no larger than that calls for.
"""

DISPERSAL_MARGIN_GAS = 500_000
"""
Room for recipients that turn costly after the dry run, beside as much again as that took.

Each may burn some 50,000. The most that all could burn would have to lie in the wallet for every
transaction that waits; where this is passed nobody is paid, and everybody is refunded.
"""


async def estimates(rpc: Rpc, transfers: Sequence[Transfer]) -> list[GasEstimate]:
    """
    Return a gas limit for each transfer, or the reason why it would revert.

    Raises:
        InsufficientGasFundsError: The wallet cannot pay one of the native amounts.
        ChainUnavailableError: A node answers with something that is neither.
    """
    # The pending block has the next block's timestamp and what the pool will have done before us.
    answers = await _dry_runs(rpc, transfers, "pending")
    unsure = [i for i, answer in enumerate(answers) if _is_unsure(answer)]
    if unsure:
        again = await _dry_runs(rpc, [transfers[i] for i in unsure], "latest")
        for i, answer in zip(unsure, again, strict=True):
            answers[i] = answer
    return [
        _estimate(answer, transfer) for answer, transfer in zip(answers, transfers, strict=True)
    ]


async def _dry_runs(rpc: Rpc, transfers: Sequence[Transfer], block: str) -> list[Any]:
    return await rpc.batch([("eth_estimateGas", [_fields(t), block]) for t in transfers])


def _fields(transfer: Transfer) -> dict[str, str]:
    call = evm_call(transfer)
    return {
        "from": transfer.wallet_address,
        "to": call.to,
        "value": hex(call.value_minor),
        "data": "0x" + call.data.hex(),
    }


def _is_unsure(answer: Any) -> bool:
    """Tell whether the node may only have refused the block tag."""
    return isinstance(answer, NodeError) and answer.verdict in (
        Verdict.BLOCK_UNKNOWN,
        Verdict.UNKNOWN,
    )


def _estimate(answer: Any, transfer: Transfer) -> GasEstimate:
    if not isinstance(answer, NodeError):
        return GasEstimate(_limit(int(answer, 16), transfer))
    if answer.verdict is Verdict.REVERTED:
        return GasEstimate(None, answer.revert_reason)
    # Anything else must not be taken for a revert: payouts are refunded for those.
    if answer.verdict is Verdict.SHORT_OF_FUNDS:
        raise InsufficientGasFundsError
    msg = f"The node does not estimate gas: {answer.text}"
    raise ChainUnavailableError(msg)


def _limit(estimate_gas: int, transfer: Transfer) -> int:
    if transfer.dispersal is not None:
        # Recipients may turn costly until it is mined; with too little gas nobody is paid.
        most = disperse.most_gas(transfer.dispersal)
        return min(most, estimate_gas * 2 + DISPERSAL_MARGIN_GAS)
    if transfer.contract_address is None and estimate_gas == PLAIN_TRANSFER_GAS:
        return PLAIN_TRANSFER_GAS
    return max(-(-estimate_gas * 5 // 4), estimate_gas + MARGIN_GAS)
