"""Webhooks: where a user's events are sent to, and what became of each."""

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Path, Query

from api.dependencies import ReadPrincipal, SecondFactor, SessionPrincipal, State
from api.pagination import PageQuery, listed
from api.problems import (
    BODY_PROBLEMS,
    SECOND_FACTOR_PROBLEMS,
    SESSION_PROBLEMS,
    problem_responses,
)
from api.schemas.base import Listed, id_pattern
from api.schemas.webhooks import (
    IssuedWebhookSecretView,
    SecretRotation,
    WebhookDeliveryDetailView,
    WebhookDeliveryView,
    WebhookEndpointChange,
    WebhookEndpointRequest,
    WebhookEndpointView,
)
from domain.errors import (
    InvalidCursorError,
    InvalidWebhookUrlError,
    UnknownEventTypeError,
    ValidationError,
    WebhookDeliveriesWaitingError,
    WebhookDeliveryNotFoundError,
    WebhookEndpointDisabledError,
    WebhookEndpointLimitError,
    WebhookEndpointNotFoundError,
)
from domain.ids import WEBHOOK_DELIVERY, WEBHOOK_ENDPOINT
from domain.webhooks import DeliveryStatus
from infra.paging import Position

router = APIRouter(prefix="/v1/webhook-endpoints", tags=["webhooks"])

EndpointPath = Annotated[str, Path(pattern=id_pattern(WEBHOOK_ENDPOINT))]
DeliveryPath = Annotated[str, Path(pattern=id_pattern(WEBHOOK_DELIVERY))]

_ONE = (*SESSION_PROBLEMS, WebhookEndpointNotFoundError, ValidationError)
_SENT = (WebhookEndpointDisabledError, WebhookDeliveriesWaitingError)


@router.post(
    "",
    status_code=201,
    responses=problem_responses(
        *BODY_PROBLEMS,
        *SESSION_PROBLEMS,
        *SECOND_FACTOR_PROBLEMS,
        InvalidWebhookUrlError,
        UnknownEventTypeError,
        WebhookEndpointLimitError,
    ),
)
async def create_webhook_endpoint(
    request: WebhookEndpointRequest,
    principal: SessionPrincipal,
    second_factor: SecondFactor,
    state: State,
) -> IssuedWebhookSecretView:
    """Have the caller's events sent to an address. Its secret is shown this once."""
    await second_factor.require()
    issued = await state.webhook_endpoints.add(
        principal.user_id,
        url=request.url,
        kinds=request.types,
        description=request.description,
    )
    return IssuedWebhookSecretView.of(issued)


@router.get("", responses=problem_responses(*SESSION_PROBLEMS, InvalidCursorError, ValidationError))
async def list_webhook_endpoints(
    principal: ReadPrincipal, state: State, page: PageQuery
) -> Listed[WebhookEndpointView]:
    """List the caller's endpoints, newest first."""
    rows = await state.webhook_endpoints.of_user(principal.user_id, page)
    return listed(
        rows,
        page,
        item=WebhookEndpointView.of,
        position=lambda row: Position(row.created_at, row.id),
    )


@router.get("/{endpoint_id}", responses=problem_responses(*_ONE))
async def get_webhook_endpoint(
    endpoint_id: EndpointPath, principal: ReadPrincipal, state: State
) -> WebhookEndpointView:
    """Return one endpoint of the caller."""
    return WebhookEndpointView.of(await state.webhook_endpoints.one(principal.user_id, endpoint_id))


@router.patch(
    "/{endpoint_id}", responses=problem_responses(*BODY_PROBLEMS, *_ONE, UnknownEventTypeError)
)
async def change_webhook_endpoint(
    endpoint_id: EndpointPath,
    request: WebhookEndpointChange,
    principal: SessionPrincipal,
    state: State,
) -> WebhookEndpointView:
    """Change what an endpoint gets, or whether it gets anything. Its address stays."""
    changed = await state.webhook_endpoints.change(principal.user_id, endpoint_id, request.asked())
    return WebhookEndpointView.of(changed)


@router.delete("/{endpoint_id}", status_code=204, responses=problem_responses(*_ONE))
async def remove_webhook_endpoint(
    endpoint_id: EndpointPath, principal: SessionPrincipal, state: State
) -> None:
    """Send no more to an endpoint, not even what is being tried again."""
    await state.webhook_endpoints.remove(principal.user_id, endpoint_id)


@router.post(
    "/{endpoint_id}/secret-rotations",
    status_code=201,
    responses=problem_responses(*BODY_PROBLEMS, *_ONE, *SECOND_FACTOR_PROBLEMS),
)
async def rotate_webhook_secret(
    endpoint_id: EndpointPath,
    request: SecretRotation,
    principal: SessionPrincipal,
    second_factor: SecondFactor,
    state: State,
) -> IssuedWebhookSecretView:
    """Draw a new secret. The one before signs too until the overlap is over."""
    await second_factor.require()
    issued = await state.webhook_endpoints.rotate(
        principal.user_id, endpoint_id, overlap=timedelta(seconds=request.overlap_s)
    )
    return IssuedWebhookSecretView.of(issued)


@router.post("/{endpoint_id}/pings", status_code=202, responses=problem_responses(*_ONE, *_SENT))
async def ping_webhook_endpoint(
    endpoint_id: EndpointPath, principal: SessionPrincipal, state: State
) -> WebhookDeliveryView:
    """Send an event that says nothing to this endpoint alone."""
    delivery = await state.webhook_deliveries.ping(principal.user_id, endpoint_id)
    return WebhookDeliveryView.of(delivery)


@router.get("/{endpoint_id}/deliveries", responses=problem_responses(*_ONE, InvalidCursorError))
async def list_webhook_deliveries(
    endpoint_id: EndpointPath,
    principal: ReadPrincipal,
    state: State,
    page: PageQuery,
    status: Annotated[DeliveryStatus | None, Query()] = None,
) -> Listed[WebhookDeliveryView]:
    """List what was sent to an endpoint, newest first."""
    rows = await state.webhook_deliveries.of_endpoint(
        principal.user_id, endpoint_id, page, status=status
    )
    return listed(
        rows,
        page,
        item=WebhookDeliveryView.of,
        position=lambda row: Position(row.created_at, row.id),
    )


@router.get(
    "/{endpoint_id}/deliveries/{delivery_id}",
    responses=problem_responses(*_ONE, WebhookDeliveryNotFoundError),
)
async def get_webhook_delivery(
    endpoint_id: EndpointPath, delivery_id: DeliveryPath, principal: ReadPrincipal, state: State
) -> WebhookDeliveryDetailView:
    """Return one delivery with every attempt and the beginning of each answer."""
    detail = await state.webhook_deliveries.detail(principal.user_id, endpoint_id, delivery_id)
    return WebhookDeliveryDetailView.of_detail(detail)


@router.post(
    "/{endpoint_id}/deliveries/{delivery_id}/redeliveries",
    status_code=202,
    responses=problem_responses(*_ONE, *_SENT, WebhookDeliveryNotFoundError),
)
async def redeliver_webhook(
    endpoint_id: EndpointPath, delivery_id: DeliveryPath, principal: SessionPrincipal, state: State
) -> WebhookDeliveryView:
    """Send a delivery's event once more, whatever became of it; its id stays the event's."""
    delivery = await state.webhook_deliveries.redeliver(principal.user_id, endpoint_id, delivery_id)
    return WebhookDeliveryView.of(delivery)
