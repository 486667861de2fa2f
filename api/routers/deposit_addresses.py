"""Addresses to receive money at: ask for one, name it, show it to the payer."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from api.dependencies import DepositsWritePrincipal, IdempotencyKey, ReadPrincipal, State
from api.pagination import PageQuery, listed
from api.payment_uris import QR_RESPONSE, ImageFormat, payment_uri, qr_response
from api.problems import BODY_PROBLEMS, SESSION_PROBLEMS, problem_responses
from api.routers.deposits import require_scope_of_list, visible_to
from api.schemas.base import Listed, id_pattern
from api.schemas.deposits import (
    AddressBody,
    DepositAddressView,
    LabelBody,
    deposit_address_view,
)
from api.schemas.payouts import AssetText, ListScope
from deposits.addresses import AddressRequest, DepositAddress, find, issue, list_addresses
from domain.errors import (
    AccountNotReadyError,
    DepositAddressLimitError,
    DepositAddressNotFoundError,
    IdempotencyKeyInvalidError,
    IdempotencyKeyMissingError,
    IdempotencyKeyReusedError,
    InternalAssetError,
    InvalidCursorError,
    RoleMissingError,
    UnknownAssetError,
    ValidationError,
)
from domain.ids import ADDRESS
from infra.paging import Position

router = APIRouter(prefix="/v1/deposit-addresses", tags=["deposits"])

AddressPath = Annotated[str, Path(pattern=id_pattern(ADDRESS))]

_ONE = (*SESSION_PROBLEMS, DepositAddressNotFoundError, ValidationError)


@router.post(
    "",
    status_code=201,
    responses=problem_responses(
        *BODY_PROBLEMS,
        *SESSION_PROBLEMS,
        IdempotencyKeyMissingError,
        IdempotencyKeyInvalidError,
        IdempotencyKeyReusedError,
        UnknownAssetError,
        InternalAssetError,
        AccountNotReadyError,
        DepositAddressLimitError,
    ),
)
async def create_deposit_address(
    body: AddressBody,
    idempotency_key: IdempotencyKey,
    principal: DepositsWritePrincipal,
    state: State,
    response: Response,
) -> DepositAddressView:
    """
    Hand out an address of its own for what the caller expects.

    Whatever listed asset of its chain arrives there is the caller's, at any time. Repeating the
    request with the same `Idempotency-Key` and body answers the same address.
    """
    request = AddressRequest(
        user_id=principal.user_id,
        asset=body.asset,
        label=body.label,
        principal=principal.principal_id,
        idempotency_key=idempotency_key,
    )
    async with state.database.transaction() as session:
        found = await issue(
            session,
            request,
            clock=state.clock,
            addresses_max=state.settings.deposit_addresses_max,
        )
    response.headers["Location"] = f"{state.settings.public_url}{router.prefix}/{found.row.id}"
    return deposit_address_view(found)


@router.get(
    "",
    responses=problem_responses(
        *SESSION_PROBLEMS, RoleMissingError, InvalidCursorError, ValidationError
    ),
)
async def list_deposit_addresses(
    principal: ReadPrincipal,
    state: State,
    page: PageQuery,
    scope: Annotated[ListScope, Query(description="`all` needs a role.")] = "mine",
    asset: Annotated[AssetText | None, Query()] = None,
) -> Listed[DepositAddressView]:
    """List addresses that were handed out, newest first."""
    user_id = require_scope_of_list(principal, scope)
    async with state.database.transaction() as session:
        rows = await list_addresses(session, page, user_id=user_id, asset=asset)
    return listed(rows, page, item=deposit_address_view, position=_position)


@router.get("/{address_id}", responses=problem_responses(*_ONE))
async def get_deposit_address(
    address_id: AddressPath, principal: ReadPrincipal, state: State
) -> DepositAddressView:
    """Return one address with the URI that a wallet app pays to."""
    async with state.database.transaction() as session:
        found = await find(session, address_id, user_id=visible_to(principal))
    return deposit_address_view(found)


@router.patch("/{address_id}", responses=problem_responses(*BODY_PROBLEMS, *_ONE))
async def label_deposit_address(
    address_id: AddressPath, body: LabelBody, principal: DepositsWritePrincipal, state: State
) -> DepositAddressView:
    """Call one of the caller's own addresses something else."""
    async with state.database.transaction() as session:
        found = await find(session, address_id, user_id=principal.user_id)
        found.row.label = body.label
    return deposit_address_view(found)


@router.get(
    "/{address_id}/qr",
    response_class=Response,
    responses={**QR_RESPONSE, **problem_responses(*_ONE)},
)
async def get_deposit_address_qr(
    address_id: AddressPath,
    principal: ReadPrincipal,
    state: State,
    request: Request,
    image_format: Annotated[
        ImageFormat | None, Query(alias="format", description="Else as `Accept` says.")
    ] = None,
) -> Response:
    """Return the address's payment URI as a QR code: SVG, or PNG."""
    async with state.database.transaction() as session:
        found = await find(session, address_id, user_id=visible_to(principal))
    return qr_response(payment_uri(found), image_format, request)


def _position(found: DepositAddress) -> Position:
    return Position(found.row.created_at, found.row.id)
