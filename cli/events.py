"""Reading server-sent events (the HTML standard, section 9.2)."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One event; ``id`` is the last one that the stream named, to come back with."""

    id: str | None
    kind: str
    data: str


def parse_events(lines: Iterable[str]) -> Iterator[ServerEvent]:
    """Yield the events of a stream from its lines; comments and what is cut off are left out."""
    event_id: str | None = None
    kind, data = "", list[str]()
    for line in lines:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name if line else None:
            case None:
                if data:
                    yield ServerEvent(event_id, kind or "message", "\n".join(data))
                kind, data = "", []
            case "id":
                event_id = value
            case "event":
                kind = value
            case "data":
                data.append(value)
            case _:
                # A comment, which has no name, or a field that this program has no use for.
                pass
