"""Everything the server knows: plain JSON, kept in a file so that a killed server goes on."""

import json
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from devnet.stripe_server.errors import MissingError
from domain.clock import Clock, SystemClock

Thing = dict[str, Any]
"""An object of the API."""

KINDS: Mapping[str, str] = {
    "payment_intent": "pi",
    "charge": "ch",
    "refund": "re",
    "dispute": "du",
    "event": "evt",
}
LIST_MAX = 100


class Store:
    """Objects by kind and id, in the order in which they were made."""

    def __init__(self, path: Path | None = None, clock: Clock | None = None) -> None:
        """Go on from a file, if there is one."""
        self._path = path
        self._clock = clock or SystemClock()
        self.things: dict[str, dict[str, Thing]] = {kind: {} for kind in KINDS}
        self.answers: dict[str, Thing] = {}
        """What was answered to which idempotency key."""
        self.deliveries: dict[str, Thing] = {}
        """Events that the webhook's receiver has not taken yet."""
        if path is not None and path.exists():
            kept = json.loads(path.read_text())
            self.things = {kind: kept["things"].get(kind, {}) for kind in KINDS}
            self.answers, self.deliveries = kept["answers"], kept["deliveries"]

    def save(self) -> None:
        """Write everything down, all or nothing."""
        if self._path is None:
            return
        kept = {"things": self.things, "answers": self.answers, "deliveries": self.deliveries}
        beside = self._path.with_suffix(".new")
        beside.write_text(json.dumps(kept))
        beside.replace(self._path)

    def now(self) -> int:
        """Return seconds since 1970, as objects carry them."""
        return int(self._clock.now().timestamp())

    def add(self, kind: str, **fields: Any) -> Thing:
        """Make an object and return it."""
        thing = {
            "id": f"{KINDS[kind]}_{secrets.token_hex(12)}",
            "object": kind,
            "created": self.now(),
            "livemode": False,
            **fields,
        }
        self.things[kind][thing["id"]] = thing
        return thing

    def get(self, kind: str, object_id: str) -> Thing:
        """Return an object; raise MissingError where there is none."""
        found = self.things[kind].get(object_id)
        if found is None:
            raise MissingError(kind, object_id)
        return found

    def listed(
        self, kind: str, query: Mapping[str, Any], *, among: Sequence[str] = (), **same: str | None
    ) -> Thing:
        """
        Return a page of objects, newest first.

        ``among`` are types of events, ``same`` are fields that must be as given.
        """
        found = [
            thing
            for thing in reversed(self.things[kind].values())
            if all(value is None or thing.get(name) == value for name, value in same.items())
            and (not among or thing["type"] in among)
        ]
        since = query.get("created", {}).get("gte")
        if since is not None:
            found = [thing for thing in found if thing["created"] >= int(since)]
        after = query.get("starting_after")
        if after is not None:
            ids = [thing["id"] for thing in found]
            found = found[ids.index(after) + 1 :] if after in ids else []
        limit = min(int(query.get("limit", 10)), LIST_MAX)
        return {
            "object": "list",
            "url": f"/v1/{kind}s",
            "has_more": len(found) > limit,
            "data": found[:limit],
        }
