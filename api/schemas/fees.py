"""Network fees as the API speaks of them."""

from datetime import datetime

from pydantic import Field

from api.schemas.base import Answer
from api.schemas.chains import FeeRateView
from domain.payouts import Priority
from payouts.fee_estimates import FeeEstimate


class FeeEstimateView(Answer):
    """What a payout of one priority meets now."""

    priority: Priority
    ceiling: str = Field(description="Highest fee rate at which it leaves, in the rate's unit.")
    network_fee: str | None = Field(
        description="Of a chain transaction of its own, in minor units of the native asset; paid"
        " by us, and less where several payouts share one. Null: nobody has looked lately."
    )
    would_wait: bool = Field(description="The chain asks for more than the ceiling now.")
    waits_for_company_ms: int

    @classmethod
    def of(cls, estimate: FeeEstimate, *, wait_ms: int) -> "FeeEstimateView":
        """Return an estimate as the API shows it."""
        fee_minor = estimate.network_fee_minor
        return cls(
            priority=estimate.priority,
            ceiling=str(estimate.ceiling_minor),
            network_fee=None if fee_minor is None else str(fee_minor),
            would_wait=estimate.would_wait,
            waits_for_company_ms=wait_ms,
        )


class FeesView(Answer):
    """What paying an asset out would cost us now."""

    asset: str
    chain_id: str
    native_asset: str
    fee_rate: FeeRateView | None
    seen_at: datetime | None
    service_fee: str = Field(description="What the customer pays for each payout, in the asset.")
    estimates: list[FeeEstimateView]
