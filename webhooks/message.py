"""A webhook's body and headers, as Standard Webhooks has them (standardwebhooks.com)."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version

from standardwebhooks.webhooks import Webhook

from models.events import OutboxEvent

_USER_AGENT = f"Strongroom/{version('strongroom')}"


@dataclass(frozen=True, slots=True)
class Message:
    """What goes over the wire."""

    body: bytes
    headers: Mapping[str, str]


def message_of(event: OutboxEvent, secrets: Sequence[str], *, now: datetime) -> Message:
    """
    Return the event as it is sent, signed with each secret.

    Every attempt and every redelivery has the event's id, by which receivers know a repeat; the
    time, which is signed too, is that of the attempt, so that they can refuse what is old.
    """
    body = body_of(event)
    signatures = [Webhook(secret).sign(event.id, now, body) for secret in secrets]
    headers = {
        "content-type": "application/json",
        "user-agent": _USER_AGENT,
        "webhook-id": event.id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signatures),
    }
    return Message(body.encode(), headers)


def body_of(event: OutboxEvent) -> str:
    """Return the event as JSON, in the form that lists and streams have too."""
    shown = {
        "id": event.id,
        "type": event.kind,
        "timestamp": event.at.isoformat().replace("+00:00", "Z"),
        "resource_id": event.resource_id,
        "data": event.data,
    }
    return json.dumps(shown, separators=(",", ":"), ensure_ascii=False)
