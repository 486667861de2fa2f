"""Following something by its stream of events, across breaks, until it is final."""

import json
import time
from collections.abc import Iterator
from typing import Any

import httpx

from cli.client import ApiClient, ApiProblem

UNAVAILABLE = 503
RETRY_S = 2.0
RETRIES_MAX = 30
"""How often in a row a stream may fail before ``standings`` gives up: a minute."""


def standings(api: ApiClient, path: str) -> Iterator[dict[str, Any]]:
    """
    Yield what each event says, until one is final; broken streams are taken up again.

    Raises:
        ApiProblem, httpx.TransportError: It failed for good, or too often in a row.
    """
    last, failures = None, 0
    while True:
        try:
            for event in api.events(path, last_event_id=last):
                last, failures = event.id, 0
                standing: dict[str, Any] = json.loads(event.data)
                yield standing
                if standing["is_final"]:
                    return
        except (httpx.TransportError, ApiProblem) as error:
            failures += 1
            is_passing = not isinstance(error, ApiProblem) or error.status == UNAVAILABLE
            if not is_passing or failures == RETRIES_MAX:
                raise
        time.sleep(RETRY_S)
