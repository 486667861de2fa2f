"""Chains as the watcher sees them, and rescans."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from api.schemas.base import Answer, StrictModel, UserIdText, id_pattern
from domain.ids import RESCAN
from models.chain_transactions import ChainHead
from models.deposits import Rescan
from models.wallets import Asset, Chain, Finality

CHAIN_ID_PATTERN = r"^[a-z0-9]{3,8}:[-_a-zA-Z0-9]{1,32}$"
"""CAIP-2."""

HEIGHT_MAX = 2**31 - 1

ChainIdText = Annotated[str, Field(pattern=CHAIN_ID_PATTERN, examples=["eip155:1"])]
RescanIdText = Annotated[
    str, Field(pattern=id_pattern(RESCAN), examples=["rsc_01JD3ZQ6V9K3E8M5T2R7W4X1YB"])
]
Height = Annotated[int, Field(ge=0, le=HEIGHT_MAX, strict=True)]

FeeUnit = Literal["wei per gas", "satoshi per 1000 virtual bytes", "minor unit per transaction"]
_FEE_UNITS: Mapping[str, FeeUnit] = {
    "evm": "wei per gas",
    "utxo": "satoshi per 1000 virtual bytes",
    "jobcoin": "minor unit per transaction",
}


class ReorgView(Answer):
    """Blocks that we had read and that left the chain."""

    at: datetime
    depth: int = Field(description="How many blocks left.")


class FeeRateView(Answer):
    """What a transaction of ours would offer now."""

    amount: str
    unit: FeeUnit


class TierView(Answer):
    """How deep deposits up to an amount must lie."""

    up_to: str | None = Field(description="Minor units; null: any amount.")
    confirmations: int


class AssetTiersView(Answer):
    """The tiers of one asset, smallest first; amounts above all of them follow the chain."""

    asset: str
    tiers: list[TierView]


class ConfirmationsView(Answer):
    """When something on the chain counts."""

    finality: Finality
    minimum: int = Field(description="Confirmations, where no tier says otherwise.")
    tiers: list[AssetTiersView] = Field(description="Of the assets that have any.")


class ChainStateView(Answer):
    """A chain and what was last seen of it; all heights are null before the first look."""

    id: ChainIdText
    name: str
    family: str
    native_asset: str
    height: int | None = Field(description="How far we have read.")
    tip_height: int | None = Field(description="The node's own tip.")
    lag_blocks: int | None = Field(description="Blocks that the node has and we have not read.")
    finalized_height: int | None
    seen_at: datetime | None
    last_reorg: ReorgView | None
    fee_rate: FeeRateView | None
    confirmations: ConfirmationsView
    open_rescans: int


class ChainList(Answer):
    """Every chain; there is no paging, a catalog is short."""

    items: list[ChainStateView]


class RescanBody(StrictModel):
    """Blocks to read again, both ends included."""

    from_height: Height
    to_height: Height


class RescanView(Answer):
    """A rescan and how far it got."""

    id: RescanIdText
    chain_id: ChainIdText
    from_height: int
    to_height: int
    next_height: int = Field(description="The first block that was not read again yet.")
    blocks_total: int
    blocks_done: int
    found: int = Field(description="Deposits that were not known before.")
    requested_by: UserIdText
    created_at: datetime
    finished_at: datetime | None


def chain_state_view(
    chain: Chain,
    head: ChainHead | None,
    *,
    assets: Sequence[Asset],
    open_rescans: Mapping[str, int],
) -> ChainStateView:
    """Return a chain as the API shows it; ``assets`` may be those of every chain."""
    return ChainStateView(
        id=chain.id,
        name=chain.name,
        family=chain.family,
        native_asset=chain.native_asset,
        height=head and head.height,
        tip_height=head and head.tip_height,
        lag_blocks=lag_blocks(head),
        finalized_height=head and head.finalized_height,
        seen_at=head and head.seen_at,
        last_reorg=_reorg(head),
        fee_rate=fee_rate_view(chain, head),
        confirmations=ConfirmationsView(
            finality=Finality(chain.finality),
            minimum=chain.confirmations_min,
            tiers=[_tiers(a) for a in assets if a.chain_id == chain.id and a.deposit_tiers],
        ),
        open_rescans=open_rescans.get(chain.id, 0),
    )


def lag_blocks(head: ChainHead | None) -> int | None:
    """Return how many blocks of the node we have not read; None while that is not known."""
    if head is None or head.tip_height is None:
        return None
    return max(0, head.tip_height - head.height)


def rescan_view(rescan: Rescan) -> RescanView:
    """Return a rescan as the API shows it."""
    return RescanView(
        id=rescan.id,
        chain_id=rescan.chain_id,
        from_height=rescan.from_height,
        to_height=rescan.to_height,
        next_height=rescan.next_height,
        blocks_total=rescan.to_height - rescan.from_height + 1,
        blocks_done=rescan.next_height - rescan.from_height,
        found=rescan.found,
        requested_by=rescan.requested_by,
        created_at=rescan.created_at,
        finished_at=rescan.finished_at,
    )


def _reorg(head: ChainHead | None) -> ReorgView | None:
    if head is None or head.reorg_at is None:
        return None
    return ReorgView(at=head.reorg_at, depth=head.reorg_depth or 0)


def fee_rate_view(chain: Chain, head: ChainHead | None) -> FeeRateView | None:
    """Return what the chain asked for when it was last seen."""
    if head is None or head.fee_rate_minor is None:
        return None
    return FeeRateView(amount=str(head.fee_rate_minor), unit=_FEE_UNITS[chain.family])


def _tiers(asset: Asset) -> AssetTiersView:
    return AssetTiersView(
        asset=asset.code,
        tiers=[
            TierView(
                up_to=None if tier["up_to_minor"] is None else str(tier["up_to_minor"]),
                confirmations=tier["confirmations"],
            )
            for tier in asset.deposit_tiers
        ],
    )
