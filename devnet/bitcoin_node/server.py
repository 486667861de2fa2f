"""JSON-RPC over HTTP on loopback, as bitcoind serves it: basic authentication, single and batch."""

import base64
import hmac
import json
import logging
import threading
from collections.abc import Callable, Collection, Mapping
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, override

from devnet.bitcoin_node import rpc_chain, rpc_mining, rpc_transactions
from devnet.bitcoin_node.dispatch import Answer, answer, error_body
from devnet.bitcoin_node.errors import Code
from devnet.bitcoin_node.node import Node

LOOPBACK = "127.0.0.1"
BODY_BYTES_MAX = 32_000_000
"""What a request may have: Core's ``MAX_SIZE``."""

logger = logging.getLogger(__name__)


class RpcServer(ThreadingHTTPServer):
    """Serves one node; calls run one at a time, in whichever thread."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, node: Node, port: int, *, logins: Collection[str]) -> None:
        """Listen on a port; ``logins`` are the accepted ``user:password`` pairs."""
        self.lock = threading.Lock()
        """Held while the node is used."""
        self._node = node
        self._logins = [base64.b64encode(login.encode()).decode() for login in logins]
        methods = (*rpc_chain.METHODS, *rpc_transactions.METHODS, *rpc_mining.METHODS)
        self._methods: dict[str, Callable[..., Any]] = {m.__name__: m for m in methods}
        self._methods["stop"] = self._stop
        super().__init__((LOOPBACK, port), _Handler)

    def is_authorized(self, header: str) -> bool:
        """Check an Authorization header."""
        scheme, _, given = header.partition(" ")
        matches = [hmac.compare_digest(given.strip(), login) for login in self._logins]
        return scheme == "Basic" and any(matches)

    def answer(self, body: bytes) -> tuple[int, Any]:
        """Return the HTTP status and the answer to a single call or a batch."""
        try:
            request = json.loads(body, parse_float=Decimal)
        except ValueError:
            return 500, error_body(Code.PARSE, "Parse error")
        if isinstance(request, list):
            return 200, [self._answer_one(item).body for item in request]
        found = self._answer_one(request)
        return found.status, found.body

    def _answer_one(self, request: Any) -> Answer:
        with self.lock:
            return answer(self._node, self._methods, request)

    def _stop(self, _node: Node) -> str:
        # It waits for the serving loop, which may be waiting for this very call.
        threading.Thread(target=self.shutdown).start()
        return "Strongroom development node stopping"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Otherwise each answer on a kept connection waits for the client's delayed acknowledgement.
    disable_nagle_algorithm = True
    server: RpcServer

    def do_POST(self) -> None:
        """Serve one request."""
        length = int(self.headers.get("Content-Length", 0))
        if not self.server.is_authorized(self.headers.get("Authorization", "")):
            self._refuse(401, {"WWW-Authenticate": 'Basic realm="jsonrpc"'})
        elif self.path != "/":
            self._refuse(404)
        elif length > BODY_BYTES_MAX:
            self._refuse(413)
        else:
            status, content = self.server.answer(self.rfile.read(length))
            self._reply(status, json.dumps(content, default=float).encode() + b"\n")

    def do_GET(self) -> None:
        """Refuse: calls are POST requests."""
        self._refuse(405)

    @override
    def log_message(self, format: str, *args: Any) -> None:
        logger.debug(format, *args)

    def _refuse(self, status: int, headers: Mapping[str, str] | None = None) -> None:
        # The body was not read, so what follows on this connection is not a request.
        self._reply(status, b"", {**(headers or {}), "Connection": "close"})

    def _reply(self, status: int, content: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
