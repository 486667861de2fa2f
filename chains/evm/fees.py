"""Fees per unit of gas, in wei (EIP-1559). Pure arithmetic on what a node reported."""

from collections.abc import Mapping
from statistics import median_low
from typing import Any

from domain.ports import FeeQuote

HISTORY_BLOCKS = 10
REWARD_PERCENTILE = 50

PRIORITY_FLOOR_MINOR = 100_000_000
"""0.1 gwei: empty blocks report a tip of 0, which block builders and pools ignore."""

BASE_FEE_MARGIN = 2
"""The base fee rises by at most 12.5% per block, so twice it lasts for five full blocks."""


def quote(history: Mapping[str, Any]) -> FeeQuote:
    """Return what to offer, from the answer of ``eth_feeHistory`` at the tip."""
    # The last entry is the base fee of the block to come.
    base_fee_minor = int(history["baseFeePerGas"][-1], 16)
    rewards = history.get("reward") or []
    used = history.get("gasUsedRatio") or [0.0] * len(rewards)
    # The reward of an empty block is 0 by definition and says nothing.
    tips = [int(tip[0], 16) for tip, ratio in zip(rewards, used, strict=False) if ratio > 0]
    priority_minor = max(median_low(tips) if tips else 0, PRIORITY_FLOOR_MINOR)
    return FeeQuote(
        base_fee_minor=base_fee_minor,
        max_fee_minor=BASE_FEE_MARGIN * base_fee_minor + priority_minor,
        priority_fee_minor=priority_minor,
    )


def bumped(fee: FeeQuote, *, previous: FeeQuote) -> FeeQuote:
    """
    Return a fee that nodes take in place of ``previous`` and that is at least ``fee``.

    Pools demand 10% more on both fields; 12.5% rounded up stays above it in every rounding.
    """
    priority_minor = max(fee.priority_fee_minor, _raised(previous.priority_fee_minor))
    max_minor = max(fee.max_fee_minor, _raised(previous.max_fee_minor), priority_minor)
    return FeeQuote(fee.base_fee_minor, max_minor, priority_minor)


def _raised(fee_minor: int) -> int:
    return fee_minor + max(1, -(-fee_minor // 8))
