"""Money requests: ask, show as a QR code, pay, decline, take back."""

from datetime import timedelta
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from api.dependencies import (
    IdempotencyKey,
    PayoutsWritePrincipal,
    ReadPrincipal,
    SecondFactor,
    State,
)
from api.pagination import PageQuery, listed
from api.payment_uris import QR_RESPONSE, ImageFormat, qr_response
from api.problems import BODY_PROBLEMS, SESSION_PROBLEMS, problem_responses
from api.routers.transfers import SEND_PROBLEMS, transfer_detail
from api.schemas.base import Listed, id_pattern
from api.schemas.money_requests import (
    MoneyRequestBody,
    MoneyRequestView,
    RequestSide,
    link_of,
    money_request_view,
)
from api.schemas.transfers import PaymentBody, TransferDetailView
from api.state import AppState
from domain.errors import (
    IdempotencyKeyInvalidError,
    IdempotencyKeyMissingError,
    IdempotencyKeyReusedError,
    InvalidAmountError,
    InvalidCursorError,
    LookupThrottledError,
    MoneyRequestLimitError,
    MoneyRequestNotFoundError,
    MoneyRequestStateError,
    OwnTransferError,
    RecipientNotFoundError,
    StrongroomError,
    UnknownAssetError,
    ValidationError,
)
from domain.ids import MONEY_REQUEST
from domain.money import parse_minor
from domain.payment_links import parse_recipient
from domain.payouts import request_hash
from domain.transfers import MoneyRequestStatus, MoneyRequestTerms
from identity.principals import Principal
from infra.paging import Position
from transfers import money_requests
from transfers.queries import FoundRequest, money_request_for
from transfers.queries import list_money_requests as requests_on

router = APIRouter(prefix="/v1/money-requests", tags=["transfers"])

MoneyRequestPath = Annotated[str, Path(pattern=id_pattern(MONEY_REQUEST))]

_ONE = (*SESSION_PROBLEMS, MoneyRequestNotFoundError, ValidationError)


@router.post(
    "",
    status_code=201,
    responses=problem_responses(
        *BODY_PROBLEMS,
        *SESSION_PROBLEMS,
        IdempotencyKeyMissingError,
        IdempotencyKeyInvalidError,
        IdempotencyKeyReusedError,
        InvalidAmountError,
        UnknownAssetError,
        OwnTransferError,
        RecipientNotFoundError,
        LookupThrottledError,
        MoneyRequestLimitError,
    ),
)
async def ask_for_money(
    body: MoneyRequestBody,
    idempotency_key: IdempotencyKey,
    principal: PayoutsWritePrincipal,
    state: State,
    response: Response,
) -> MoneyRequestView:
    """Ask a user, or whoever has the link, for money. It can be paid once, by one transfer."""
    terms = MoneyRequestTerms(
        user_id=principal.user_id,
        principal=principal.principal_id,
        idempotency_key=idempotency_key,
        request_hash=request_hash(body.model_dump(mode="json")),
        payer=None if body.payer is None else parse_recipient(body.payer),
        asset=body.asset,
        amount_minor=None if body.amount is None else parse_minor(body.amount),
        note=body.note,
        lifetime=timedelta(seconds=body.expires_in_s),
    )
    async with state.database.transaction() as session:
        row = await money_requests.ask(session, terms, now=state.clock.now())
    if isinstance(row, StrongroomError):
        raise row
    response.headers["Location"] = f"{state.settings.public_url}{router.prefix}/{row.id}"
    return await _detail(state, row.id, principal)


@router.get(
    "",
    responses=problem_responses(*SESSION_PROBLEMS, InvalidCursorError, ValidationError),
)
async def list_money_requests(
    principal: ReadPrincipal,
    state: State,
    page: PageQuery,
    side: Annotated[RequestSide, Query(description="`received`: asked of the caller.")] = "both",
    status: Annotated[MoneyRequestStatus | None, Query()] = None,
) -> Listed[MoneyRequestView]:
    """List the caller's money requests, newest first."""
    now = state.clock.now()
    async with state.database.transaction() as session:
        rows = await requests_on(
            session,
            page,
            requester_id=None if side == "received" else principal.user_id,
            payer_id=None if side == "sent" else principal.user_id,
            status=status,
            now=now,
        )
    view = partial(money_request_view, reader_id=principal.user_id, now=now)
    return listed(rows, page, item=view, position=_position)


@router.get("/{request_id}", responses=problem_responses(*_ONE))
async def get_money_request(
    request_id: MoneyRequestPath, principal: ReadPrincipal, state: State
) -> MoneyRequestView:
    """Return a money request to its parties; one without a payer to whoever has its link."""
    return await _detail(state, request_id, principal)


@router.get(
    "/{request_id}/qr",
    response_class=Response,
    responses={**QR_RESPONSE, **problem_responses(*_ONE)},
)
async def get_money_request_qr(
    request_id: MoneyRequestPath,
    principal: ReadPrincipal,
    state: State,
    request: Request,
    image_format: Annotated[
        ImageFormat | None, Query(alias="format", description="Else as `Accept` says.")
    ] = None,
) -> Response:
    """Return a QR code that pays the money request: SVG, or PNG."""
    async with state.database.transaction() as session:
        found = await money_request_for(
            session, request_id, user_id=principal.user_id, is_by_link=True
        )
    return qr_response(link_of(found), image_format, request)


@router.post("/{request_id}/payment", status_code=201, responses=problem_responses(*SEND_PROBLEMS))
async def pay_money_request(
    request_id: MoneyRequestPath,
    body: PaymentBody,
    idempotency_key: IdempotencyKey,
    principal: PayoutsWritePrincipal,
    second_factor: SecondFactor,
    state: State,
    response: Response,
) -> TransferDetailView:
    """Pay what is asked for, by a transfer; of two who pay at once, one is refused."""
    made = await state.transfer_requests.pay(
        request_id,
        body,
        idempotency_key=idempotency_key,
        principal=principal,
        second_factor=second_factor,
    )
    response.headers["Location"] = f"{state.settings.public_url}/v1/transfers/{made.id}"
    return await transfer_detail(state, made.id, principal)


@router.post("/{request_id}/decline", responses=problem_responses(*_ONE, MoneyRequestStateError))
async def decline_money_request(
    request_id: MoneyRequestPath, principal: PayoutsWritePrincipal, state: State
) -> MoneyRequestView:
    """Say no to a money request that asks the caller."""
    async with state.database.transaction() as session:
        await money_requests.decline(
            session, request_id, user_id=principal.user_id, now=state.clock.now()
        )
    return await _detail(state, request_id, principal)


@router.post(
    "/{request_id}/cancellation", responses=problem_responses(*_ONE, MoneyRequestStateError)
)
async def cancel_money_request(
    request_id: MoneyRequestPath, principal: PayoutsWritePrincipal, state: State
) -> MoneyRequestView:
    """Take one of the caller's own money requests back."""
    async with state.database.transaction() as session:
        await money_requests.cancel(
            session, request_id, user_id=principal.user_id, now=state.clock.now()
        )
    return await _detail(state, request_id, principal)


async def _detail(state: AppState, request_id: str, principal: Principal) -> MoneyRequestView:
    async with state.database.transaction() as session:
        found = await money_request_for(
            session, request_id, user_id=principal.user_id, is_by_link=True
        )
    return money_request_view(found, reader_id=principal.user_id, now=state.clock.now())


def _position(found: FoundRequest) -> Position:
    return Position(found.row.created_at, found.row.id)
