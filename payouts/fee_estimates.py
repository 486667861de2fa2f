"""What a payout would cost us on its chain, at the rate that was last seen there."""

from dataclasses import dataclass
from datetime import datetime

from domain.payouts import Priority
from domain.utxo.bumps import CHANGE_SCRIPT
from domain.utxo.sizes import fee_minor, transaction_vbytes
from models.chain_transactions import ChainHead
from models.wallets import Asset, AssetKind, Chain
from payouts.fee_ceilings import ceiling_minor, is_too_dear, rate_now_minor

TRANSFER_GAS = {AssetKind.NATIVE: 21_000, AssetKind.ERC20: 65_000}
"""A plain transfer (Yellow Paper); a token's, to somebody who had none, takes about as much."""


@dataclass(frozen=True, slots=True)
class FeeEstimate:
    """What a payout of one priority meets now."""

    priority: Priority
    ceiling_minor: int
    """Highest fee rate at which it leaves; units as ``Chain.max_fee_ceiling_minor``."""
    network_fee_minor: int | None
    """Of a chain transaction of its own, in the native asset; less where several share one."""
    would_wait: bool
    """The rate is above its ceiling."""


def estimates(
    asset: Asset, chain: Chain, head: ChainHead | None, *, now: datetime
) -> list[FeeEstimate]:
    """Return an estimate for each priority; where it would wait, at the rate it waits for."""
    return [_estimate(asset, chain, head, priority, now=now) for priority in Priority]


def _estimate(
    asset: Asset, chain: Chain, head: ChainHead | None, priority: Priority, *, now: datetime
) -> FeeEstimate:
    most_minor = ceiling_minor(chain, priority)
    rate_minor = _paid_rate_minor(chain, head, now=now)
    return FeeEstimate(
        priority=priority,
        ceiling_minor=most_minor,
        network_fee_minor=(
            None if rate_minor is None else _cost_minor(asset, chain, min(rate_minor, most_minor))
        ),
        would_wait=is_too_dear(chain, head, priority, now=now),
    )


def _paid_rate_minor(chain: Chain, head: ChainHead | None, *, now: datetime) -> int | None:
    """Return what is paid per unit: on EVM chains less than is offered (EIP-1559)."""
    offered_minor = rate_now_minor(head, now=now)
    if offered_minor is None or chain.family == "utxo" or head is None:
        return offered_minor
    # The offer is twice the base fee and the tip; the block takes the base fee once.
    return max(offered_minor - (head.base_fee_minor or 0), head.base_fee_minor or 0)


def _cost_minor(asset: Asset, chain: Chain, rate_minor: int) -> int:
    if chain.family == "utxo":
        vbytes = transaction_vbytes(1, [CHANGE_SCRIPT, CHANGE_SCRIPT])
        return fee_minor(vbytes, rate_minor)
    return TRANSFER_GAS[AssetKind(asset.kind)] * rate_minor
