"""Pockets, and transfers to and from them, as the API speaks of them."""

from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from api.schemas.base import Answer, StrictModel, UserIdText, id_pattern
from api.schemas.payouts import (
    DESTINATION_EXAMPLE,
    AmountText,
    ApprovalsView,
    AssetText,
    ChainView,
    EventView,
    payout_parts,
)
from api.schemas.rates import QuoteIdText, RateView
from domain.conversions import Redeemed
from domain.ids import POCKET, POCKET_TRANSFER
from domain.payouts import PayoutStatus, Priority
from domain.pockets import Route, shown_destination
from models.payouts import Payout
from payouts.conversions import Conversion
from payouts.queries import PayoutDetail
from pockets.queries import PocketTransfer
from pockets.wallets import Pocket

PocketIdText = Annotated[
    str, Field(pattern=id_pattern(POCKET), examples=["pkt_01JD3ZQ6V9K3E8M5T2R7W4X1YB"])
]
TransferIdText = Annotated[
    str, Field(pattern=id_pattern(POCKET_TRANSFER), examples=["ptr_01JD3ZQ6V9K3E8M5T2R7W4X1YB"])
]
AmountOrAll = Annotated[
    str,
    Field(
        pattern=r"^([0-9]{1,78}|all)$",
        description=(
            "Minor units as a decimal string; `all`, from a pocket, is what it holds of the asset"
            " less what is set aside for the network's fee."
        ),
        examples=["150000000000000000"],
    ),
]
ChainIdText = Annotated[
    str,
    Field(
        pattern=r"^[a-z0-9]{3,8}:[-_a-zA-Z0-9]{1,32}$", description="CAIP-2.", examples=["eip155:1"]
    ),
]


class PocketBody(StrictModel):
    """A request for a pocket on a chain."""

    chain_id: ChainIdText


class PocketTransferBody(StrictModel):
    """A request to move money to or from one's own pocket."""

    route: Route = Field(
        description="`fund`: off-chain to the pocket. `redeem`: back. `send`: from the pocket to"
        " an external address.",
    )
    asset: AssetText = Field(description="What leaves.")
    to_asset: AssetText | None = Field(
        default=None, description="What arrives; left out: the same. Another needs a quote."
    )
    quote_id: QuoteIdText | None = Field(
        default=None,
        description="A quote for a `conversion` of exactly this: `asset`, `amount`, `to_asset`.",
    )
    amount: AmountOrAll
    destination: str | None = Field(
        default=None, min_length=1, max_length=128, examples=[DESTINATION_EXAMPLE]
    )
    note: str | None = Field(default=None, max_length=200)
    priority: Priority = Priority.NORMAL

    @model_validator(mode="after")
    def _check_route(self) -> Self:
        if self.route == Route.PAYOUT:
            msg = "A payout from the off-chain balance is asked for at /v1/payouts."
            raise ValueError(msg)
        if (self.destination is None) == (self.route == Route.SEND):
            msg = "A destination belongs to a `send`, and to nothing else."
            raise ValueError(msg)
        if self.amount == "all" and (self.quote_id or not self.route.spends_pocket):
            msg = "`all` is for what leaves a pocket, without a quote."
            raise ValueError(msg)
        if self.quote_id is not None and not self.route.may_convert:
            msg = "A quote belongs to a `fund` or a `redeem`."
            raise ValueError(msg)
        return self


class PocketBalanceView(Answer):
    """One asset on a pocket, by the books."""

    asset: str
    available: AmountText
    held: AmountText = Field(description="Frozen for what is on its way.")


class PocketView(Answer):
    """A user's own wallet on a chain."""

    id: PocketIdText
    user_id: UserIdText
    chain_id: str
    chain_name: str
    address: str = Field(description="Whatever listed asset arrives here is the pocket's.")
    balances: list[PocketBalanceView]
    created_at: datetime


class PocketList(Answer):
    """All pockets of a user: at most one on each chain."""

    items: list[PocketView]


class ConversionView(Answer):
    """What a transfer converts on its way."""

    quote_id: QuoteIdText
    rate: RateView
    pay_amount: AmountText = Field(description="What is paid, of `asset`.")
    buy_amount: AmountText = Field(description="What it buys, of `to_asset`.")
    got: str = Field(description="What the user has of `to_asset`, once the books have it.")
    unconverted: str = Field(description="What came back and stayed what it was, of `asset`.")
    settle_until: datetime | None = Field(
        description="Until this what comes back is converted at the rate; null: refused."
    )


class PocketTransferView(Answer):
    """A transfer in a list."""

    id: TransferIdText
    user_id: UserIdText
    route: Route
    asset: str = Field(description="What leaves.")
    to_asset: str = Field(description="What arrives.")
    chain_id: str
    amount: AmountText
    fee: str = Field(description="Service fee in minor units of `asset`, held with the amount.")
    arrived: str = Field(
        description="What got to where it goes, once the books have it; of what the chain moves."
    )
    conversion: ConversionView | None
    pocket_id: PocketIdText | None
    destination: str | None
    note: str | None
    status: PayoutStatus
    reason_code: str | None
    approvals_required: int
    created_at: datetime
    updated_at: datetime


class PocketTransferDetailView(PocketTransferView):
    """A transfer with everything about it."""

    approvals: ApprovalsView
    chain: ChainView | None
    network_fee_most: str | None = Field(
        description="From a pocket: the most that the network may take, in the native asset."
    )
    network_fee_paid_by: str | None = Field(
        description="From a pocket: `pocket`, or `us` where the coin for it is lent."
    )
    history: list[EventView]
    workflow_id: str
    workflow_url: str | None


class PocketTransferExplanationView(Answer):
    """What the transfer waits for."""

    transfer_id: TransferIdText
    status: PayoutStatus
    explanation: str
    waiting_for: str | None


class PocketTransferOutcomeView(Answer):
    """Where the transfer stands."""

    transfer_id: TransferIdText
    status: PayoutStatus
    reason_code: str | None
    txid: str | None


class PocketTransferDecisionView(Answer):
    """Where the transfer stands after a decision."""

    transfer_id: TransferIdText
    status: PayoutStatus
    approvals_received: int
    approvals_required: int


def pocket_view(pocket: Pocket) -> PocketView:
    """Return a pocket with what is on it."""
    return PocketView(
        id=pocket.row.id,
        user_id=str(pocket.row.user_id),
        chain_id=pocket.row.chain_id,
        chain_name=pocket.chain.name,
        address=pocket.row.address,
        balances=[
            PocketBalanceView(
                asset=b.asset, available=str(b.available_minor), held=str(b.held_minor)
            )
            for b in pocket.balances
        ],
        created_at=pocket.row.created_at,
    )


def transfer_view(transfer: PocketTransfer) -> PocketTransferView:
    """Return a transfer as it appears in lists."""
    return PocketTransferView(**_shared(transfer.payout, transfer.conversion))


def transfer_detail_view(
    detail: PayoutDetail,
    conversion: Conversion | None,
    *,
    workflow_id: str,
    workflow_url: str | None,
) -> PocketTransferDetailView:
    """Return a transfer with everything about it."""
    payout = detail.payout
    most_minor = payout.gas_max_minor
    payer = "us" if payout.gas_hold_id is None else "pocket"
    return PocketTransferDetailView(
        **_shared(payout, conversion),
        **payout_parts(detail),
        network_fee_most=None if most_minor is None else str(most_minor),
        network_fee_paid_by=payer if Route(payout.route).spends_pocket else None,
        workflow_id=workflow_id,
        workflow_url=workflow_url,
    )


def _conversion(payout: Payout, conversion: Conversion) -> ConversionView:
    quote, row = conversion.quote, conversion.row
    is_redeem = payout.route == Route.REDEEM
    back = conversion.redeemed(payout.arrived_booked_minor) if is_redeem else Redeemed()
    return ConversionView(
        quote_id=quote.id,
        rate=RateView(numerator=str(quote.rate_numerator), denominator=str(quote.rate_denominator)),
        pay_amount=str(quote.pay_minor),
        buy_amount=str(quote.buy_minor),
        got=str(conversion.got_minor(payout)),
        unconverted=str(back.rest_minor),
        settle_until=None if row is None else row.settle_until,
    )


def _shared(payout: Payout, conversion: Conversion | None) -> dict[str, Any]:
    plain = {
        "id": payout.id,
        "user_id": payout.user_id,
        "route": payout.route,
        "asset": payout.asset,
        "chain_id": payout.chain_id,
        "amount": str(payout.amount_minor),
        "fee": str(payout.fee_minor),
        "arrived": str(payout.arrived_booked_minor),
        "pocket_id": payout.pocket_id,
        "destination": shown_destination(payout.route, payout.pocket_id, payout.destination),
        "note": payout.note,
        "status": payout.status,
        "reason_code": payout.reason_code,
        "approvals_required": payout.approvals_required,
        "created_at": payout.created_at,
        "updated_at": payout.updated_at,
        "to_asset": payout.asset,
        "conversion": None,
    }
    if conversion is None:
        return plain
    quote = conversion.quote
    return plain | {
        "asset": quote.pay_asset,
        "to_asset": quote.buy_asset,
        "amount": str(quote.pay_minor),
        "fee": str(conversion.swap.fee_minor),
        "conversion": _conversion(payout, conversion),
    }
