"""Mixers and mixes as the API speaks of them."""

from datetime import datetime
from typing import Annotated

from pydantic import Field

from api.schemas.base import Answer, StrictModel, UserIdText, id_pattern
from api.schemas.payouts import AssetText
from domain.events import Json
from domain.ids import MIX, MIXER
from domain.mixing.messages import (
    DoleStatus,
    HoldKind,
    LotStatus,
    MixerBooks,
    MixerStatus,
    MixStatus,
)
from domain.mixing.policy import ADDRESSES_MAX, MixerPolicy, parse_mixer_policy
from domain.payouts import PayoutStatus
from mixers.audit import AuditLine
from mixers.queries import DoleLine, MixDetail
from models.mixing import Mix, Mixer

MixIdText = Annotated[
    str, Field(pattern=id_pattern(MIX), examples=["mix_01JD3ZQ6V9K3E8M5T2R7W4X1YB"])
]
MixerIdText = Annotated[
    str, Field(pattern=id_pattern(MIXER), examples=["mxr_01JD3ZQ6V9K3E8M5T2R7W4X1YB"])
]


class MixBody(StrictModel):
    """A request to mix."""

    asset: AssetText
    addresses: tuple[Annotated[str, Field(min_length=1, max_length=128)], ...] = Field(
        min_length=1,
        max_length=ADDRESSES_MAX,
        description="New, unused addresses that you own; the more, the better they hide.",
    )
    parts: int = Field(
        default=1, ge=1, le=500, strict=True, description="In at least so many parts it leaves."
    )


class MixerBody(StrictModel):
    """A mixer to be."""

    asset: AssetText
    name: str = Field(min_length=1, max_length=100, examples=["north"])
    policy: dict[str, int | bool] = Field(
        description="See docs/how-to/mix.md; whole numbers in minor units and seconds.",
        examples=[{"fee_numerator": 1, "fee_denominator": 100}],
    )

    def checked(self) -> MixerPolicy:
        """Return the policy; raise InvalidMixerPolicyError where it contradicts itself."""
        return parse_mixer_policy(self.policy)


class MixHoldBody(StrictModel):
    """Why an operator holds a mix, or lets it go on."""

    note: str = Field(min_length=1, max_length=500, examples=["order 17/2026"])


class MixReleaseBody(MixHoldBody):
    """Why, and whether it goes on."""

    gives_back: bool = Field(
        default=False,
        strict=True,
        description="What has not left becomes its user's balance, and nothing more leaves.",
    )


class MixerView(Answer):
    """A mixer with its terms for mixes to come."""

    id: MixerIdText
    name: str
    asset: str
    chain_id: str
    status: MixerStatus
    policy: dict[str, int | bool]
    created_at: datetime


class MixerBooksView(Answer):
    """The house of a mixer: always, house = fees + owed; with nothing pending, house = fees."""

    mixer_id: MixerIdText
    asset: str
    house_address: str | None = Field(
        description="Where the house is on the chain: the hot wallet, of which it is a part."
    )
    house: str = Field(description="What came in and has not left, in minor units.")
    fees: str = Field(description="What the mixer earned.")
    owed: str = Field(description="What is to be paid out yet.")
    imbalance: str = Field(description="By how much it is off now; anything but 0 is a fault.")
    misplaced_mixes: list[MixIdText] = Field(
        description="Mixes whose own account does not hold what is planned for them."
    )
    open_mixes: int = Field(description="How many have not come to their end.")
    checked_at: datetime | None = Field(description="When the scheduled check last looked.")


class MixersView(Answer):
    """Every mixer."""

    items: list[MixerView]


class MixView(Answer):
    """A mix in a list."""

    id: MixIdText
    user_id: UserIdText
    mixer_id: MixerIdText
    asset: str
    chain_id: str
    status: MixStatus
    reason_code: str | None
    is_paused: bool
    hold: HoldKind | None = Field(description="Why nothing leaves until an operator lets it.")
    received: str = Field(description="What was taken to be mixed, in minor units.")
    fee: str
    doled: str = Field(description="What was released to be paid out.")
    expires_at: datetime = Field(description="What is seen after this is late.")
    created_at: datetime
    updated_at: datetime


class MixDepositView(Answer):
    """A deposit of a mix."""

    deposit_id: str
    amount: str
    fee: str
    status: LotStatus
    reason_code: str | None = Field(description="Why it was not mixed.")


class MixDoleView(Answer):
    """A part of a mix."""

    amount: str
    due_at: datetime
    address: str | None = Field(description="Null once it was purged.")
    status: DoleStatus
    payout_id: str | None
    payout_status: PayoutStatus | None
    txid: str | None


class MixEventView(Answer):
    """A line of the mix's history."""

    status: str
    detail: str | None
    at: datetime


class MixDetailView(MixView):
    """A mix with where it is paid in, and what is paid where."""

    deposit_address: str
    deposits: list[MixDepositView]
    doles: list[MixDoleView]
    history: list[MixEventView]


class MixOutcomeView(Answer):
    """Where the mix stands after an action."""

    mix_id: MixIdText
    status: MixStatus


class MixAuditView(Answer):
    """A line of the audit trail, opened."""

    at: datetime
    keep_until: datetime
    what: str
    data: dict[str, object]


class MixAuditTrailView(Answer):
    """What is kept of a mix."""

    items: list[MixAuditView]


def mixer_view(mixer: Mixer) -> MixerView:
    """Return a mixer as everybody may see it."""
    return MixerView(
        id=mixer.id,
        name=mixer.name,
        asset=mixer.asset,
        chain_id=mixer.chain_id,
        status=MixerStatus(mixer.status),
        policy=mixer.policy,
        created_at=mixer.created_at,
    )


def mixer_books_view(
    mixer: Mixer, books: MixerBooks, *, house_address: str | None, open_mixes: int
) -> MixerBooksView:
    """Return a mixer's books as those who answer for it see them."""
    return MixerBooksView(
        mixer_id=mixer.id,
        asset=mixer.asset,
        house_address=house_address,
        house=str(books.house_minor),
        fees=str(books.fees_minor),
        owed=str(books.owed_minor),
        imbalance=str(books.imbalance_minor),
        misplaced_mixes=list(books.mixes),
        open_mixes=open_mixes,
        checked_at=mixer.checked_at,
    )


def mix_view(mix: Mix) -> MixView:
    """Return a mix as a list shows it."""
    return MixView(**_fields(mix))


def mix_detail_view(detail: MixDetail) -> MixDetailView:
    """Return everything that its user may know of a mix."""
    return MixDetailView(
        **_fields(detail.mix),
        deposit_address=detail.deposit_address,
        deposits=[
            MixDepositView(
                deposit_id=lot.deposit_id,
                amount=str(lot.amount_minor),
                fee=str(lot.fee_minor),
                status=LotStatus(lot.status),
                reason_code=lot.reason_code,
            )
            for lot in detail.lots
        ],
        doles=[_dole_view(line) for line in detail.doles],
        history=[MixEventView(status=e.status, detail=e.detail, at=e.at) for e in detail.events],
    )


def audit_view(line: AuditLine) -> MixAuditView:
    """Return an opened line of the audit trail."""
    data: dict[str, Json] = dict(line.data)
    return MixAuditView(at=line.at, keep_until=line.keep_until, what=line.what, data={**data})


def _dole_view(line: DoleLine) -> MixDoleView:
    return MixDoleView(
        amount=str(line.dole.amount_minor),
        due_at=line.dole.due_at,
        address=line.dole.address,
        status=DoleStatus(line.dole.status),
        payout_id=line.dole.payout_id,
        payout_status=PayoutStatus(line.payout.status) if line.payout else None,
        txid=line.txid,
    )


def _fields(mix: Mix) -> dict[str, object]:
    return {
        "id": mix.id,
        "user_id": mix.user_id,
        "mixer_id": mix.mixer_id,
        "asset": mix.asset,
        "chain_id": mix.chain_id,
        "status": MixStatus(mix.status),
        "reason_code": mix.reason_code,
        "is_paused": mix.paused_at is not None,
        "hold": HoldKind(mix.hold_kind) if mix.hold_kind else None,
        "received": str(mix.received_minor),
        "fee": str(mix.fee_minor),
        "doled": str(mix.doled_minor),
        "expires_at": mix.expires_at,
        "created_at": mix.created_at,
        "updated_at": mix.updated_at,
    }
