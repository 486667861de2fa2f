"""Deposit addresses and deposits as the API speaks of them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

from pydantic import Field

from api.numbered import encode_number
from api.payment_uris import payment_uri
from api.schemas.base import Answer, StrictModel, UserIdText, id_pattern
from api.schemas.payouts import AmountText, AssetText
from deposits.addresses import DepositAddress
from deposits.depth import Depth
from deposits.queries import DepositDetail, ListedDeposit
from domain.deposits import DepositStatus
from domain.ids import ADDRESS, DEPOSIT, POCKET
from ledger import chart
from ledger.queries import StatementLine
from models.deposits import ChainDeposit

AddressIdText = Annotated[
    str,
    Field(pattern=id_pattern(f"({ADDRESS}|{POCKET})"), examples=["adr_01JD3ZQ6V9K3E8M5T2R7W4X1YB"]),
]
DepositIdText = Annotated[
    str, Field(pattern=id_pattern(DEPOSIT), examples=["dep_01JD3ZQ6V9K3E8M5T2R7W4X1YB"])
]
LabelText = Annotated[str, Field(min_length=1, max_length=100, examples=["order 4711"])]


class AddressBody(StrictModel):
    """A request for an address to receive an asset at."""

    asset: AssetText
    label: LabelText | None = None


class LabelBody(StrictModel):
    """What an address is called from now on; null: nothing."""

    label: LabelText | None


class DepositAddressView(Answer):
    """An address whose deposits are its user's."""

    id: AddressIdText
    user_id: UserIdText
    asset: str = Field(description="What it was asked for.")
    chain_id: str = Field(description="CAIP-2.", examples=["eip155:1"])
    chain_name: str
    address: str
    payment_uri: str = Field(
        description="What its QR code says: BIP21, or EIP-681.",
        examples=["bitcoin:bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq"],
    )
    label: str | None
    deposit_min: str = Field(
        description="Smaller deposits are recorded and not credited; minor units."
    )
    created_at: datetime


class DepositView(Answer):
    """A deposit in a list."""

    id: DepositIdText
    user_id: UserIdText
    address_id: AddressIdText
    address: str
    chain_id: str
    asset: str | None = Field(description="Null: a token that is not in the catalog.")
    contract_address: str | None = Field(description="The token's contract.")
    amount: AmountText
    status: DepositStatus
    reason_code: str | None = Field(description="Why it is not credited.")
    confirmations: int = Field(description="The block itself is the first; 0: in no block.")
    confirmations_required: int
    txid: str
    block_height: int | None
    seen_at: datetime
    credited_at: datetime | None
    updated_at: datetime


class DepositHistoryView(Answer):
    """A line of the deposit's history."""

    status: str
    detail: str | None
    at: datetime


class DepositPostingView(Answer):
    """What the books did with the deposit."""

    transaction_key: str
    kind: str = Field(description="Posting rule.", examples=["deposit_credit"])
    account: str = Field(description="`available` or `pocket` of its user, or `unclaimed`.")
    amount: str = Field(description="Signed minor units.")
    position: int = Field(description="Counts the account's entries from 1.")
    statement: str | None = Field(description="The entry in the caller's own statement.")
    recorded_at: datetime


class DepositDetailView(DepositView):
    """A deposit with everything about it."""

    chain_name: str
    block_hash: str | None
    history: list[DepositHistoryView]
    postings: list[DepositPostingView]
    workflow_id: str
    workflow_url: str | None


class DepositExplanationView(Answer):
    """What the deposit waits for."""

    deposit_id: DepositIdText
    status: DepositStatus
    explanation: str = Field(examples=["2 of 12 confirmations."])
    waiting_for: str | None = Field(examples=["confirmations"])


class DepositEventView(Answer):
    """The data of one event of a deposit's stream."""

    deposit_id: DepositIdText
    status: DepositStatus
    reason_code: str | None
    detail: str | None
    confirmations: int | None = Field(description="Null in a line of the past.")
    confirmations_required: int
    is_final: bool = Field(description="The stream ends with this event.")
    at: datetime


def deposit_address_view(found: DepositAddress) -> DepositAddressView:
    """Return an address as the API shows it."""
    return DepositAddressView(
        id=found.row.id,
        user_id=str(found.row.user_id),
        asset=found.asset.code,
        chain_id=found.chain.id,
        chain_name=found.chain.name,
        address=found.row.address,
        payment_uri=payment_uri(found),
        label=found.row.label,
        deposit_min=str(found.asset.deposit_min_minor),
        created_at=found.row.created_at,
    )


def deposit_view(listed: ListedDeposit) -> DepositView:
    """Return a deposit as it appears in lists."""
    return DepositView(**_shared(listed.deposit, listed.address, listed.depth))


def deposit_detail_view(
    detail: DepositDetail,
    postings: Sequence[StatementLine],
    *,
    viewer_id: str,
    workflow_id: str,
    workflow_url: str | None,
) -> DepositDetailView:
    """Return a deposit with everything about it, for this user."""
    return DepositDetailView(
        **_shared(detail.deposit, detail.address.address, detail.depth),
        chain_name=detail.chain.name,
        block_hash=detail.deposit.block_hash,
        history=[
            DepositHistoryView(status=e.status, detail=e.detail, at=e.at) for e in detail.events
        ],
        postings=[_posting(line, viewer_id=viewer_id) for line in postings],
        workflow_id=workflow_id,
        workflow_url=workflow_url,
    )


def _shared(deposit: ChainDeposit, address: str, depth: Depth) -> dict[str, Any]:
    return {
        "id": deposit.id,
        "user_id": deposit.user_id,
        "address_id": deposit.address_id,
        "address": address,
        "chain_id": deposit.chain_id,
        "asset": deposit.asset,
        "contract_address": deposit.contract_address,
        "amount": str(deposit.amount_minor),
        "status": deposit.status,
        "reason_code": deposit.reason_code,
        "confirmations": depth.confirmations,
        "confirmations_required": deposit.confirmations_required,
        "txid": deposit.txid,
        "block_height": deposit.block_height,
        "seen_at": deposit.seen_at,
        "credited_at": deposit.credited_at,
        "updated_at": deposit.updated_at,
    }


def _account_name(code: str) -> str:
    if code == chart.UNCLAIMED:
        return code
    return "pocket" if ":onchain:" in code else "available"


def _posting(line: StatementLine, *, viewer_id: str) -> DepositPostingView:
    is_viewers = line.account == chart.available(viewer_id)
    # A cursor names the entry above the page, so this one comes first.
    cursor = encode_number(line.position + 1)
    return DepositPostingView(
        transaction_key=line.transaction_key,
        kind=line.rule,
        account=_account_name(line.account),
        amount=str(line.amount_minor),
        position=line.position,
        statement=f"/v1/wallets/{line.asset}/statement?limit=1&cursor={cursor}"
        if is_viewers
        else None,
        recorded_at=line.recorded_at,
    )
