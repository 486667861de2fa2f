"""A proxy before a JSON-RPC node that loses requests or answers of chosen methods."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import StrEnum
from urllib.parse import urlsplit

HEADERS_END = b"\r\n\r\n"


class Fault(StrEnum):
    """What happens to a request whose method was chosen."""

    LOSE_REPLY = "lose_reply"
    """The node gets it; the connection breaks before the answer."""
    LOSE_REQUEST = "lose_request"
    """The connection breaks before the node gets it."""
    STALL = "stall"
    """Nothing ever comes back."""
    SERVER_ERROR = "server_error"
    """A gateway answers 502."""
    NO_BATCHES = "no_batches"
    """A batch is refused with a single error object."""


class LossyProxy:
    """Forwards to the node, but for methods with a fault."""

    def __init__(self, upstream_url: str) -> None:
        self._host = urlsplit(upstream_url).hostname or ""
        self._port = urlsplit(upstream_url).port or 0
        self.faults: dict[str, Fault] = {}
        self.seen: list[str] = []
        self.url = ""
        self._serving: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["LossyProxy"]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()
            for task in self._serving:
                task.cancel()
            await asyncio.gather(*self._serving, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        try:
            while await self._exchange(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        request = await _message(reader)
        fault = self._fault_of(request)
        if fault is Fault.LOSE_REQUEST:
            return False
        if fault is Fault.STALL:
            await asyncio.Event().wait()
        if fault is Fault.SERVER_ERROR:
            writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
            return True
        if fault is Fault.NO_BATCHES:
            writer.write(_answer({"id": None, "error": {"code": -32600, "message": "no batches"}}))
            return True
        answer = await self._forward(request)
        if fault is Fault.LOSE_REPLY:
            return False
        writer.write(answer)
        return True

    def _fault_of(self, request: bytes) -> Fault | None:
        body = json.loads(request.partition(HEADERS_END)[2])
        if isinstance(body, list):
            self.seen.append("batch")
            return self.faults.get("batch")
        self.seen.append(body["method"])
        return self.faults.get(body["method"])

    async def _forward(self, request: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(self._host, self._port)
        writer.write(request)
        answer = await _message(reader)
        writer.close()
        return answer


async def _message(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(HEADERS_END)
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return head + await reader.readexactly(int(value))
    return head


def _answer(content: dict[str, object]) -> bytes:
    body = json.dumps({"jsonrpc": "2.0", **content}).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
