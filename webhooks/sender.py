"""
Sending one webhook over HTTP, to whoever a user named.

Nothing that the receiver does may cost us more than one timeout: redirects are not followed, and
of the answer only the beginning is read. The address is judged when the socket is made, after the
name was resolved, so that a name that changes its mind gains nothing.
"""

import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any, Final

import aiohttp
import httpx

from webhooks.addresses import is_allowed

ANSWER_BYTES_MAX: Final = 1_024
TIMEOUT: Final = timedelta(seconds=15)

_OK: Final = range(200, 300)
_REDIRECT: Final = range(300, 400)


class SendError(StrEnum):
    """Why an attempt failed, where the status does not say it."""

    FORBIDDEN_ADDRESS = "forbidden_address"
    """The name resolves to an address that is not public."""
    UNREACHABLE = "unreachable"
    """No connection, or it broke."""
    TLS = "tls"
    """The certificate is not valid for the name."""
    TIMEOUT = "timeout"
    REDIRECT = "redirect"
    """It answered with another address, and we go to none but the one we were given."""
    MALFORMED = "malformed"
    """What it answered is not HTTP."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one attempt."""

    duration_ms: int
    status_code: int | None = None
    error: SendError | None = None
    text: str = ""
    retry_after_s: int = 0
    """What the receiver asks for; 0: nothing."""

    @property
    def is_taken(self) -> bool:
        """Tell whether the receiver has it."""
        return self.status_code in _OK


class ForbiddenAddressError(OSError):
    """The address is not one that we connect to."""


class WebhookSender:
    """Posts to the addresses of users."""

    def __init__(self, *, allows_loopback: bool = False, timeout: timedelta = TIMEOUT) -> None:
        """Take whether this machine itself may be sent to, which is for development alone."""
        self._allows_loopback = allows_loopback
        self._timeout = aiohttp.ClientTimeout(total=timeout.total_seconds())
        self._tls: ssl.SSLContext = httpx.create_ssl_context()

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Return what became of it; no failure of the other side raises."""
        began = time.monotonic()
        try:
            async with (
                self._session() as session,
                session.post(
                    url, data=body, headers=dict(headers), allow_redirects=False
                ) as response,
            ):
                text = await _beginning(response)
                return Answer(
                    _since(began),
                    response.status,
                    SendError.REDIRECT if response.status in _REDIRECT else None,
                    text,
                    _retry_after_s(response.headers.get("retry-after", "")),
                )
        except TimeoutError:
            return Answer(_since(began), error=SendError.TIMEOUT)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Answer(_since(began), error=_reason(error))

    def _session(self) -> aiohttp.ClientSession:
        # One for each attempt: a connection that is kept would outlive what its name resolves to.
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                ssl=self._tls, use_dns_cache=False, force_close=True, socket_factory=self._socket
            ),
            timeout=self._timeout,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=["accept-encoding"],
        )

    def _socket(self, found: Any) -> socket.socket:
        family, kind, protocol, _, where = found
        if not is_allowed(str(where[0]), allows_loopback=self._allows_loopback):
            raise ForbiddenAddressError
        made = socket.socket(family, kind, protocol)
        made.setblocking(False)  # noqa: FBT003 - the library's own signature
        return made


async def _beginning(response: aiohttp.ClientResponse) -> str:
    """Return what can be kept of the answer; the rest is never read."""
    found = bytearray()
    while len(found) < ANSWER_BYTES_MAX:
        chunk = await response.content.read(ANSWER_BYTES_MAX - len(found))
        if not chunk:
            break
        found += chunk
    # PostgreSQL stores no NUL.
    return found.decode(errors="replace").replace("\x00", "\ufffd")


def _reason(error: Exception) -> SendError:
    match error:
        case aiohttp.ClientSSLError():
            return SendError.TLS
        case aiohttp.ClientOSError() | OSError():
            return SendError.FORBIDDEN_ADDRESS if _is_forbidden(error) else SendError.UNREACHABLE
        case aiohttp.ClientConnectionError():
            return SendError.UNREACHABLE
        case _:
            return SendError.MALFORMED


def _is_forbidden(error: Exception) -> bool:
    causes = (error, error.__cause__, getattr(error, "os_error", None))
    return any(isinstance(cause, ForbiddenAddressError) for cause in causes)


def _retry_after_s(value: str) -> int:
    return int(value) if value.isdecimal() and len(value) < 7 else 0  # noqa: PLR2004 - 11 days


def _since(began: float) -> int:
    return int((time.monotonic() - began) * 1_000)
