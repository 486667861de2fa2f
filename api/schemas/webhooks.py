"""Webhook endpoints and deliveries as clients see them."""

from typing import Annotated, Self

from pydantic import AwareDatetime, Field

from api.schemas.base import PLAIN_TEXT_PATTERN, Answer, StrictModel
from domain.webhooks import EVERY_KIND, DeliveryStatus, DisabledReason
from models.webhooks import WebhookAttempt, WebhookDelivery, WebhookEndpoint
from webhooks.addresses import URL_LENGTH_MAX
from webhooks.deliveries import DeliveryDetail
from webhooks.endpoints import EndpointChange, IssuedSecret

OVERLAP_DEFAULT_S, OVERLAP_MAX_S = 86_400, 7 * 86_400

EventTypes = Annotated[
    list[Annotated[str, Field(max_length=100)]],
    Field(
        min_length=1,
        max_length=100,
        description="Types of events that are sent: by name, by `payout.*`, or all by `*`.",
        examples=[["payout.*", "deposit.credited"]],
    ),
]
Description = Annotated[
    str, Field(max_length=200, pattern=PLAIN_TEXT_PATTERN, examples=["shop back end"])
]


class WebhookEndpointRequest(StrictModel):
    """Where events are to be sent."""

    url: str = Field(
        min_length=1,
        max_length=URL_LENGTH_MAX,
        description="An https address that is public.",
        examples=["https://shop.example/hooks/strongroom"],
    )
    types: EventTypes = Field(default=[EVERY_KIND])
    description: Description | None = None


class WebhookEndpointChange(StrictModel):
    """What is to be different; what is left out stays."""

    types: EventTypes | None = None
    description: Description | None = None
    is_enabled: bool | None = Field(
        default=None, description="False stops deliveries; true resumes them with what comes next."
    )

    def asked(self) -> EndpointChange:
        """Return it as the service takes it."""
        return EndpointChange(self.description, self.types, self.is_enabled)


class SecretRotation(StrictModel):
    """For how long the secret before is good too."""

    overlap_s: int = Field(
        default=OVERLAP_DEFAULT_S,
        ge=0,
        le=OVERLAP_MAX_S,
        description="Until then messages carry a signature by each.",
    )


class WebhookEndpointView(Answer):
    """A webhook endpoint, without its secret."""

    id: str
    url: str
    types: list[str]
    description: str | None
    is_enabled: bool
    disabled_reason: DisabledReason | None = Field(
        description="`failing` after days without an answer, `gone` after 410."
    )
    failing_since: AwareDatetime | None = Field(
        description="The first failure since anything was taken; null: it does well."
    )
    previous_secret_until: AwareDatetime | None
    created_at: AwareDatetime
    updated_at: AwareDatetime

    @classmethod
    def of(cls, endpoint: WebhookEndpoint) -> Self:
        """Return what may be shown of an endpoint."""
        reason = endpoint.disabled_reason
        return cls(
            id=endpoint.id,
            url=endpoint.url,
            types=endpoint.kinds,
            description=endpoint.description,
            is_enabled=endpoint.disabled_at is None,
            disabled_reason=None if reason is None else DisabledReason(reason),
            failing_since=endpoint.failing_since,
            previous_secret_until=endpoint.previous_secret_until,
            created_at=endpoint.created_at,
            updated_at=endpoint.updated_at,
        )


class IssuedWebhookSecretView(Answer):
    """A webhook endpoint and its new secret."""

    endpoint: WebhookEndpointView
    secret: str = Field(
        description="What messages are signed with; shown this once.",
        examples=["whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD…"],
        repr=False,
    )

    @classmethod
    def of(cls, issued: IssuedSecret) -> Self:
        """Return what is shown once."""
        return cls(endpoint=WebhookEndpointView.of(issued.endpoint), secret=issued.secret)


class WebhookDeliveryView(Answer):
    """One event to one endpoint."""

    id: str
    endpoint_id: str
    event_id: str = Field(description="The header `webhook-id` of every attempt.")
    type: str
    status: DeliveryStatus
    attempt_count: int
    next_attempt_at: AwareDatetime | None
    redelivery_of: str | None = Field(description="The delivery that was asked for once more.")
    created_at: AwareDatetime
    ended_at: AwareDatetime | None

    @classmethod
    def of(cls, delivery: WebhookDelivery) -> Self:
        """Return what may be shown of a delivery."""
        return cls(**_shown(delivery))


class WebhookAttemptView(Answer):
    """One try at a delivery."""

    number: int
    at: AwareDatetime
    duration_ms: int
    status_code: int | None = Field(description="Null: there was no answer.")
    error: str | None = Field(
        description="Why there was no answer, or none that counts.", examples=["timeout"]
    )
    answer: str = Field(description="The beginning of what the endpoint said.")

    @classmethod
    def of(cls, attempt: WebhookAttempt) -> Self:
        """Return what may be shown of an attempt."""
        return cls(
            number=attempt.number,
            at=attempt.at,
            duration_ms=attempt.duration_ms,
            status_code=attempt.status_code,
            error=attempt.error,
            answer=attempt.answer,
        )


class WebhookDeliveryDetailView(WebhookDeliveryView):
    """One event to one endpoint, with every attempt, oldest first."""

    attempts: list[WebhookAttemptView]

    @classmethod
    def of_detail(cls, detail: DeliveryDetail) -> Self:
        """Return what may be shown of a delivery and its attempts."""
        attempts = [WebhookAttemptView.of(attempt) for attempt in detail.attempts]
        return cls(**_shown(detail.delivery), attempts=attempts)


def _shown(delivery: WebhookDelivery) -> dict[str, object]:
    return {
        "id": delivery.id,
        "endpoint_id": delivery.endpoint_id,
        "event_id": delivery.event_id,
        "type": delivery.kind,
        "status": DeliveryStatus(delivery.status),
        "attempt_count": delivery.attempts,
        "next_attempt_at": delivery.next_attempt_at,
        "redelivery_of": delivery.redelivery_of,
        "created_at": delivery.created_at,
        "ended_at": delivery.ended_at,
    }
