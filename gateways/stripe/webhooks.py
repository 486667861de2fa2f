"""
Events that Stripe sends: verified, and kept once.

Of an event only two things are believed: that Stripe sent it, and what it is about. The object is
fetched; so forged content, an old state, and the order of arrival change nothing.
"""

import re
from dataclasses import dataclass

import stripe
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.clock import Clock
from domain.errors import WebhookSignatureError
from models.purchases import GatewayEvent

_ID = re.compile(r"[A-Za-z0-9_]{4,255}")
_KIND = re.compile(r"[a-z0-9_.]{1,100}")


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a verified event says that it is about."""

    event_id: str
    kind: str
    object_id: str


def verified(payload: bytes, signature: str | None, secret: str | None) -> Delivery | None:
    """
    Return what a signed event is about; None where that is nothing of ours.

    Raises:
        WebhookSignatureError: Nobody who knows the secret has signed this within five minutes.
    """
    if not signature or not secret:
        raise WebhookSignatureError
    try:
        event = stripe.Webhook.construct_event(payload, signature, secret).to_dict()
        about = event["data"]["object"]
        delivery = Delivery(str(event["id"]), str(event["type"]), str(about["id"]))
    except (stripe.SignatureVerificationError, UnicodeDecodeError) as error:
        raise WebhookSignatureError from error
    except (ValueError, LookupError, TypeError, AttributeError):
        # Signed, and not an event about one object.
        return None
    is_ours = _ID.fullmatch(delivery.event_id) and _KIND.fullmatch(delivery.kind)
    return delivery if is_ours and _ID.fullmatch(delivery.object_id) else None


async def keep(session: AsyncSession, delivery: Delivery, *, clock: Clock) -> bool:
    """Keep an event, once; return whether something is still to be done about it."""
    await session.execute(
        insert(GatewayEvent)
        .values(
            id=delivery.event_id,
            kind=delivery.kind,
            object_id=delivery.object_id,
            received_at=clock.now(),
        )
        .on_conflict_do_nothing()
    )
    found = await session.exec(
        select(GatewayEvent.id).where(
            GatewayEvent.id == delivery.event_id, col(GatewayEvent.handled_at).is_(None)
        )
    )
    return found.first() is not None
