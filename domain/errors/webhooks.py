"""What may be wrong with webhooks."""

from domain.errors.base import ConflictError, NotFoundError, RequestError, TransientError


class InvalidWebhookUrlError(RequestError):
    """The address of the endpoint is not one that we would send to."""

    code, http_status, title = "invalid_webhook_url", 422, "Invalid webhook address"


class UnknownEventTypeError(RequestError):
    """No event has such a type."""

    code, http_status, title = "unknown_event_type", 422, "Unknown event type"


class WebhookEndpointNotFoundError(NotFoundError):
    """There is no such webhook endpoint, or it is somebody else's."""

    code, title = "webhook_endpoint_not_found", "Webhook endpoint not found"


class WebhookDeliveryNotFoundError(NotFoundError):
    """There is no such delivery to this endpoint."""

    code, title = "webhook_delivery_not_found", "Webhook delivery not found"


class WebhookEndpointLimitError(ConflictError):
    """The user has as many webhook endpoints as one may have."""

    code, title = "webhook_endpoint_limit", "Too many webhook endpoints"


class WebhookEndpointDisabledError(ConflictError):
    """Nothing is sent to an endpoint that is disabled."""

    code, title = "webhook_endpoint_disabled", "Webhook endpoint disabled"


class WebhookDeliveriesWaitingError(ConflictError):
    """Too many deliveries that were asked for by hand have not ended yet."""

    code, title = "webhook_deliveries_waiting", "Too many deliveries waiting"


class WebhookEndpointBusyError(TransientError):
    """As many deliveries to the endpoint, or to others, are on the wire as may be at once."""

    code, title = "webhook_endpoint_busy", "Webhook endpoint busy"
