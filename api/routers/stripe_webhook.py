"""Where Stripe sends its events: verified, kept once, and taken to their purchases."""

from typing import Annotated

from fastapi import APIRouter, Header, Request
from pydantic import Field

from api.dependencies import State
from api.problems import problem_responses
from api.schemas.base import Answer
from domain.errors import (
    BodyTooLargeError,
    ValidationError,
    WebhookSignatureError,
    WorkflowEngineUnavailableError,
)
from gateways.stripe.webhooks import keep, verified

router = APIRouter(prefix="/v1/stripe", tags=["purchases"])


class WebhookAnswer(Answer):
    """What the gateway reads: anything but an error means that it need not send again."""

    received: bool = Field(description="False: the event is about nothing of ours.")


@router.post(
    "/webhook",
    responses=problem_responses(
        WebhookSignatureError, BodyTooLargeError, ValidationError, WorkflowEngineUnavailableError
    ),
)
async def take_stripe_event(
    request: Request,
    state: State,
    signature: Annotated[
        str | None, Header(alias="Stripe-Signature", max_length=4_096, description="Over the body.")
    ] = None,
) -> WebhookAnswer:
    """
    Take an event of the payment gateway.

    It says only what to look at: the object is fetched from the gateway. So it does not matter how
    often an event comes, or in which order.
    """
    secret = state.settings.stripe_webhook_secret
    delivery = verified(
        await request.body(), signature, secret.get_secret_value() if secret else None
    )
    if delivery is None:
        return WebhookAnswer(received=False)
    async with state.database.transaction() as session:
        is_open = await keep(session, delivery, clock=state.clock)
    if is_open:
        await state.purchase_workflows.take_event(delivery.event_id)
    return WebhookAnswer(received=True)
