"""What a payout would cost on its chain, by priority."""

from typing import Annotated

from fastapi import APIRouter, Query

from api.dependencies import ReadPrincipal, State
from api.problems import SESSION_PROBLEMS, problem_responses
from api.schemas.chains import fee_rate_view
from api.schemas.fees import FeeEstimateView, FeesView
from api.schemas.payouts import AssetText
from domain.errors import InternalAssetError, UnknownAssetError, ValidationError
from domain.payouts import Priority
from models.chain_transactions import ChainHead
from models.wallets import Asset, Chain
from payouts.fee_estimates import estimates

router = APIRouter(prefix="/v1", tags=["payouts"])


@router.get(
    "/fees",
    responses=problem_responses(
        *SESSION_PROBLEMS, UnknownAssetError, InternalAssetError, ValidationError
    ),
)
async def estimate_fees(
    asset: Annotated[AssetText, Query()], principal: ReadPrincipal, state: State
) -> FeesView:
    """Estimate what a payout of this asset costs on its chain now, and whether it would wait."""
    del principal
    async with state.database.transaction() as session:
        found = await session.get(Asset, asset)
        if found is None or not found.enabled:
            msg = f"There is no asset {asset!r}."
            raise UnknownAssetError(msg)
        chain = await session.get_one(Chain, found.home_chain_id)
        head = await session.get(ChainHead, chain.id)
    waits_ms = {
        Priority.ECONOMY: chain.economy_wait_ms,
        Priority.NORMAL: chain.batch_wait_ms,
        Priority.URGENT: 0,
    }
    return FeesView(
        asset=found.code,
        chain_id=chain.id,
        native_asset=chain.native_asset,
        fee_rate=fee_rate_view(chain, head),
        seen_at=head.seen_at if head else None,
        service_fee=str(found.payout_fee_minor),
        estimates=[
            FeeEstimateView.of(estimate, wait_ms=waits_ms[estimate.priority])
            for estimate in estimates(found, chain, head, now=state.clock.now())
        ],
    )
