"""A node that answers as a test says: for states that a real one is hard to bring into."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from chains.utxo.outlet import CoinOutlet
from domain.utxo.networks import BITCOIN, Network
from tests.support.evm import free_port
from tests.support.utxo_nodes import Coin, Key

LOGIN = "user:secret"
SCRIPTED = BITCOIN.chain_id

RAW = bytes.fromhex(Key().spend([Coin("11" * 32, 0, 1_000)], [(b"\x51", 700)]))
"""A transaction that no node has heard of."""

Opener = Callable[..., CoinOutlet]
"""Opens an outlet to these nodes, which is closed after the test."""


def dead_url() -> str:
    """Return where nobody listens."""
    return f"http://user:secret@127.0.0.1:{free_port()}"


class Fault(Exception):  # noqa: N818 - an answer, no failure of the test
    """An ``error`` to answer with."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.content = {"code": code, "message": message}


class ScriptedNode:
    """Serves ``answers`` by method: values, or functions of the parameters."""

    def __init__(self, network: Network = BITCOIN, *, login: str = LOGIN) -> None:
        self.login = login
        self.takes_batches = True
        self.status: int | None = None
        """Answered to everything, with no body."""
        self.drops: set[str] = set()
        """Methods to which the next answer is lost, with the connection."""
        self.seen: list[str] = []
        self.answers: dict[str, Any] = {
            "getblockhash": lambda _height: network.genesis_hash,
            "getblockchaininfo": {
                "chain": "main",
                "blocks": 7,
                "bestblockhash": "ab" * 32,
                "initialblockdownload": False,
            },
            "getmempoolinfo": {"mempoolminfee": 0.00001, "minrelaytxfee": 0.00001},
        }
        self.port = 0
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        return f"http://{self.login}@127.0.0.1:{self.port}"

    def is_downloading(self, *, chain: str = "main") -> None:
        info = {**self.answers["getblockchaininfo"], "chain": chain, "initialblockdownload": True}
        self.answers["getblockchaininfo"] = info

    def is_loading(self) -> None:
        for method in self.answers:
            self.answers[method] = Fault(-28, "Loading block index…")

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["ScriptedNode"]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for writer in self._writers:
                writer.close()
            await server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                fields = {
                    name.lower(): value
                    for name, _, value in (line.partition(b": ") for line in head.split(b"\r\n"))
                }
                body = await reader.readexactly(int(fields[b"content-length"]))
                reply = self._reply(fields[b"authorization"], json.loads(body))
                lost = self.drops & set(self.seen)
                self.drops -= lost
                if lost:
                    break
                writer.write(reply)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def _reply(self, login: bytes, request: Any) -> bytes:
        if not login.endswith(base64.b64encode(self.login.encode())):
            return _response(401, b"")
        if self.status is not None:
            return _response(self.status, b"")
        if isinstance(request, list) and not self.takes_batches:
            self.seen.append("batch")
            return _response(200, b'{"id": null, "error": {"code": -32600, "message": "no"}}')
        if isinstance(request, list):
            return _response(200, json.dumps([self._answer(each) for each in request]).encode())
        answer = self._answer(request)
        return _response(500 if answer["error"] else 200, json.dumps(answer).encode())

    def _answer(self, request: Any) -> dict[str, Any]:
        self.seen.append(request["method"])
        answer = self.answers.get(request["method"], Fault(-32601, "Method not found"))
        if callable(answer):
            answer = answer(*request["params"])
        if isinstance(answer, Fault):
            return {"id": request["id"], "result": None, "error": answer.content}
        return {"id": request["id"], "result": answer, "error": None}


def _response(status: int, body: bytes) -> bytes:
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)
