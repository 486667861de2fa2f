"""Transfers: send money to another user, and look at what was sent and received."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from api.dependencies import (
    IdempotencyKey,
    PayoutsWritePrincipal,
    ReadPrincipal,
    SecondFactor,
    State,
)
from api.pagination import PageQuery, listed
from api.problems import (
    BODY_PROBLEMS,
    SECOND_FACTOR_PROBLEMS,
    SESSION_PROBLEMS,
    problem_responses,
)
from api.routers.payouts import STAFF
from api.schemas.base import Listed, id_pattern
from api.schemas.payouts import AssetText, ListScope
from api.schemas.transfers import (
    TransferBody,
    TransferDetailView,
    TransferSide,
    TransferView,
    transfer_detail_view,
    transfer_view,
)
from api.state import AppState
from domain.errors import (
    IdempotencyKeyInvalidError,
    IdempotencyKeyMissingError,
    IdempotencyKeyReusedError,
    InsufficientAvailableBalanceError,
    InvalidAmountError,
    InvalidCursorError,
    InvalidPaymentLinkError,
    LimitExceededError,
    LookupThrottledError,
    MoneyRequestMismatchError,
    MoneyRequestNotFoundError,
    MoneyRequestStateError,
    OwnTransferError,
    RecipientNotFoundError,
    RoleMissingError,
    TransferNotFoundError,
    UnknownAssetError,
    ValidationError,
    WalletFrozenError,
)
from domain.ids import TRANSFER
from identity.principals import Principal
from infra.paging import Position
from models.transfers import Transfer
from transfers.queries import list_transfers as transfers_on
from transfers.queries import transfer_for

router = APIRouter(prefix="/v1/transfers", tags=["transfers"])

TransferPath = Annotated[str, Path(pattern=id_pattern(TRANSFER))]

SEND_PROBLEMS = (
    *BODY_PROBLEMS,
    *SESSION_PROBLEMS,
    *SECOND_FACTOR_PROBLEMS,
    IdempotencyKeyMissingError,
    IdempotencyKeyInvalidError,
    IdempotencyKeyReusedError,
    InvalidAmountError,
    UnknownAssetError,
    InvalidPaymentLinkError,
    OwnTransferError,
    RecipientNotFoundError,
    LookupThrottledError,
    InsufficientAvailableBalanceError,
    LimitExceededError,
    WalletFrozenError,
    MoneyRequestNotFoundError,
    MoneyRequestStateError,
    MoneyRequestMismatchError,
)
"""What any operation may answer that sends money to a user."""


@router.post("", status_code=201, responses=problem_responses(*SEND_PROBLEMS))
async def send_transfer(
    body: TransferBody,
    idempotency_key: IdempotencyKey,
    principal: PayoutsWritePrincipal,
    second_factor: SecondFactor,
    state: State,
    response: Response,
) -> TransferDetailView:
    """
    Send money to another user, at once and free of charge.

    Repeating the request with the same `Idempotency-Key` and body answers the same transfer. A
    request that was refused has changed nothing, and may be repeated with the same key.
    """
    made = await state.transfer_requests.send(
        body, idempotency_key=idempotency_key, principal=principal, second_factor=second_factor
    )
    response.headers["Location"] = f"{state.settings.public_url}{router.prefix}/{made.id}"
    return await transfer_detail(state, made.id, principal)


@router.get(
    "",
    responses=problem_responses(
        *SESSION_PROBLEMS, RoleMissingError, InvalidCursorError, ValidationError
    ),
)
async def list_transfers(
    principal: ReadPrincipal,
    state: State,
    page: PageQuery,
    scope: Annotated[ListScope, Query(description="`all` needs a role.")] = "mine",
    side: Annotated[TransferSide, Query(description="Of the caller's own ones.")] = "both",
    asset: Annotated[AssetText | None, Query()] = None,
) -> Listed[TransferView]:
    """List transfers, newest first."""
    if scope == "all" and not principal.has_role(*STAFF):
        msg = "Only admins see everybody's transfers."
        raise RoleMissingError(msg)
    mine = principal.user_id if scope == "mine" else None
    async with state.database.transaction() as session:
        rows = await transfers_on(
            session,
            page,
            sender_id=None if side == "received" else mine,
            recipient_id=None if side == "sent" else mine,
            asset=asset,
        )
    return listed(rows, page, item=transfer_view, position=_position)


@router.get(
    "/{transfer_id}",
    responses=problem_responses(*SESSION_PROBLEMS, TransferNotFoundError, ValidationError),
)
async def get_transfer(
    transfer_id: TransferPath, principal: ReadPrincipal, state: State
) -> TransferDetailView:
    """Return a transfer that the caller sent or received."""
    return await transfer_detail(state, transfer_id, principal)


async def transfer_detail(
    state: AppState, transfer_id: str, principal: Principal
) -> TransferDetailView:
    """Return a transfer as its parties, and staff, may see it."""
    visible_to = None if principal.has_role(*STAFF) else principal.user_id
    async with state.database.transaction() as session:
        row, events = await transfer_for(session, transfer_id, user_id=visible_to)
    return transfer_detail_view(row, events)


def _position(row: Transfer) -> Position:
    return Position(row.created_at, row.id)
