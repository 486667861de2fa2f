"""Events as clients see them: in lists, in the stream and in webhooks alike."""

from typing import Any, Self

from pydantic import AwareDatetime, Field

from api.schemas.base import Answer
from models.events import OutboxEvent


class EventView(Answer):
    """Something that happened to one resource of the user."""

    id: str = Field(examples=["evt_01JD3ZQ6V9K3E8M5T2R7W4X1YB"])
    type: str = Field(description="Its kind.", examples=["payout.settled"])
    timestamp: AwareDatetime = Field(description="When it happened.")
    resource_id: str = Field(
        description="What it happened to.", examples=["pay_01JD3ZQ6V9K3E8M5T2R7W4X1YB"]
    )
    data: dict[str, Any] = Field(
        description="What was true of it then; amounts are decimal strings of minor units.",
        examples=[{"status": "settled", "asset": "ETH", "amount": "1000"}],
    )

    @classmethod
    def of(cls, event: OutboxEvent) -> Self:
        """Return what may be shown of an event."""
        return cls(
            id=event.id,
            type=event.kind,
            timestamp=event.at,
            resource_id=event.resource_id,
            data=event.data,
        )


class EventPage(Answer):
    """A page of events, oldest first."""

    items: list[EventView]
    next_cursor: str | None = Field(
        default=None, description="Ask again with this `cursor` for the next page; null: the end."
    )
