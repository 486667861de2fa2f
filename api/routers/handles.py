"""Handles: choose one, show it as a QR code, and see who is behind another's."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from api.dependencies import ReadPrincipal, SessionPrincipal, State
from api.payment_uris import QR_RESPONSE, ImageFormat, qr_response
from api.problems import BODY_PROBLEMS, SESSION_PROBLEMS, problem_responses
from api.schemas.handles import RECIPIENT_PATTERN, HandleBody, HandleView, RecipientView
from api.schemas.payouts import AmountText, AssetText
from domain.errors import (
    HandleCoolingDownError,
    HandleNotFoundError,
    HandleTakenError,
    InvalidAmountError,
    InvalidHandleError,
    InvalidPaymentLinkError,
    LookupThrottledError,
    RecipientNotFoundError,
    StrongroomError,
    ValidationError,
)
from domain.money import parse_minor
from domain.payment_links import PaymentLink, parse_recipient
from domain.transfers import Recipient
from models.transfers import UserHandle
from transfers import handles
from transfers.lookups import lock_user, look_up

router = APIRouter(prefix="/v1/handles", tags=["transfers"])


@router.put(
    "/me",
    responses=problem_responses(
        *BODY_PROBLEMS,
        *SESSION_PROBLEMS,
        InvalidHandleError,
        HandleTakenError,
        HandleCoolingDownError,
    ),
)
async def choose_handle(body: HandleBody, principal: SessionPrincipal, state: State) -> HandleView:
    """Choose the handle under which the caller can be paid, or another one after a while."""
    async with state.database.transaction() as session:
        row = await handles.choose(session, principal.user_id, body.handle, now=state.clock.now())
    return HandleView.of(row, link=str(PaymentLink(_own(row))))


@router.get("/me", responses=problem_responses(*SESSION_PROBLEMS, HandleNotFoundError))
async def get_own_handle(principal: ReadPrincipal, state: State) -> HandleView:
    """Return the caller's handle."""
    async with state.database.transaction() as session:
        row = await handles.chosen(session, principal.user_id)
    return HandleView.of(row, link=str(PaymentLink(_own(row))))


@router.get(
    "/me/qr",
    response_class=Response,
    responses={
        **QR_RESPONSE,
        **problem_responses(
            *SESSION_PROBLEMS,
            HandleNotFoundError,
            InvalidAmountError,
            InvalidPaymentLinkError,
            ValidationError,
        ),
    },
)
async def get_own_handle_qr(
    principal: ReadPrincipal,
    state: State,
    request: Request,
    asset: Annotated[AssetText | None, Query(description="What is to be paid.")] = None,
    amount: Annotated[AmountText | None, Query(description="How much; needs an asset.")] = None,
    image_format: Annotated[
        ImageFormat | None, Query(alias="format", description="Else as `Accept` says.")
    ] = None,
) -> Response:
    """Return a QR code that pays the caller: SVG, or PNG."""
    async with state.database.transaction() as session:
        row = await handles.chosen(session, principal.user_id)
    if amount is not None and asset is None:
        msg = "An amount needs an asset."
        raise InvalidPaymentLinkError(msg)
    amount_minor = None if amount is None else parse_minor(amount)
    return qr_response(str(PaymentLink(_own(row), asset, amount_minor)), image_format, request)


@router.get(
    "/{recipient}",
    responses=problem_responses(
        *SESSION_PROBLEMS, RecipientNotFoundError, LookupThrottledError, ValidationError
    ),
)
async def look_up_recipient(
    recipient: Annotated[
        str, Path(pattern=RECIPIENT_PATTERN, description="`@handle`, or a user id.")
    ],
    principal: ReadPrincipal,
    state: State,
) -> RecipientView:
    """Say who would be paid; a caller may ask so often, and less often for who is not there."""
    async with state.database.transaction() as session:
        await lock_user(session, principal.user_id)
        found = await look_up(
            session, parse_recipient(recipient), by=principal.user_id, now=state.clock.now()
        )
    if isinstance(found, StrongroomError):
        raise found
    return RecipientView.of(found)


def _own(row: UserHandle) -> Recipient:
    return Recipient(handle=row.name)
