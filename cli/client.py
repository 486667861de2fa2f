"""The HTTP API as the command line uses it."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NoReturn, Self

import httpx

from cli.events import ServerEvent, parse_events
from domain.ids import new_id

TIMEOUT_S = 30.0
UPLOAD_S = 180.0
"""How long the check of an upload may take: 100,000 lines take some seconds."""
SILENCE_S = 60.0
"""A stream that says nothing for so long is broken: the API beats every 15 seconds."""


class ApiProblem(Exception):  # noqa: N818 - the API's own word for it (RFC 9457)
    """The API said no: a stable code, and what it says to people."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        """Keep the problem document."""
        self.status = status
        self.code = str(problem.get("code", "unknown"))
        self.detail = str(problem.get("detail", "The API gave no reason."))
        self.fields = [
            (e.get("field", ""), e.get("message", "")) for e in problem.get("errors", [])
        ]
        self.lines = [(e["line"], e["code"], e["detail"]) for e in problem.get("lines", [])]
        """Of an upload: which could not be read, and why."""
        super().__init__(f"{self.code}: {self.detail}")


class ApiClient:
    """Requests as one caller, with problems raised as ``ApiProblem``."""

    def __init__(self, base_url: str, *, token: str | None = None) -> None:
        """Take the API's address and, once there is one, a session token or API key."""
        self._http = httpx.Client(base_url=base_url, timeout=TIMEOUT_S, trust_env=False)
        self.token = token

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connections."""
        self._http.close()

    def get(self, path: str, **query: object) -> Any:
        """Return the answer's JSON."""
        wanted = {name: str(value) for name, value in query.items() if value is not None}
        return self._send("GET", path, params=wanted)

    def send(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        code: str | None = None,
        idempotency_key: str | None = None,
    ) -> Any:
        """Send a body; ``code`` is a one-time code, for what asks for a second factor."""
        headers = {}
        if code is not None:
            headers["TOTP-Code"] = code
        if idempotency_key is not None:
            headers["Idempotency-Key"] = idempotency_key
        return self._send(method, path, json=body, headers=headers)

    def events(self, path: str, *, last_event_id: str | None = None) -> Iterator[ServerEvent]:
        """Yield the events of a stream as they come, until it ends."""
        headers = self._authorized({"Last-Event-ID": last_event_id} if last_event_id else {})
        timeout = httpx.Timeout(TIMEOUT_S, read=SILENCE_S)
        with self._http.stream("GET", path, headers=headers, timeout=timeout) as answer:
            if answer.is_error:
                answer.read()
                _raise_problem(answer)
            yield from parse_events(answer.iter_lines())

    def upload(self, path: str, content: Iterable[bytes], *, media_type: str, **query: str) -> Any:
        """Send a file as it is; the answer may take as long as checking it does."""
        headers = self._authorized({"Content-Type": media_type})
        timeout = httpx.Timeout(TIMEOUT_S, read=UPLOAD_S)
        answer = self._http.post(
            path, params=query, content=content, headers=headers, timeout=timeout
        )
        if answer.is_error:
            _raise_problem(answer)
        return answer.json()

    def download(self, path: str, **query: str) -> Iterator[bytes]:
        """Yield the pieces of a file."""
        headers = self._authorized({})
        with self._http.stream("GET", path, params=query, headers=headers) as answer:
            if answer.is_error:
                answer.read()
                _raise_problem(answer)
            yield from answer.iter_bytes()

    def create_payout(
        self, body: Mapping[str, object], *, code: str, idempotency_key: str | None = None
    ) -> Any:
        """Ask for a payout; without a key this call is an intent of its own."""
        key = idempotency_key or new_id("cli")
        return self.send("POST", "/v1/payouts", body, code=code, idempotency_key=key)

    def _send(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        json: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        sent = self._authorized(headers or {})
        content = {} if json is None else {"json": json}
        answer = self._http.request(method, path, params=params, headers=sent, **content)  # type: ignore[arg-type]
        if answer.is_error:
            _raise_problem(answer)
        return answer.json() if answer.content else None

    def _authorized(self, headers: Mapping[str, str]) -> dict[str, str]:
        token = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        return {**headers, **token}


def _raise_problem(answer: httpx.Response) -> NoReturn:
    is_problem = answer.headers.get("content-type", "").startswith("application/problem")
    raise ApiProblem(answer.status_code, answer.json() if is_problem else {})
