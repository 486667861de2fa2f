"""
HTTP to one Jobcoin node, behind the same fall-back to other nodes as every chain has.

A call's method is the HTTP method; its parameters are the path and, if there is one, the body.
"""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, override
from urllib.parse import urlsplit

from aiohttp import (
    ClientConnectorError,
    ClientError,
    ClientSession,
    ClientTimeout,
    ConnectionTimeoutError,
    TCPConnector,
)

from chains.json_rpc import (
    CALL_TIMEOUT_S,
    CONNECT_TIMEOUT_S,
    Call,
    LostReplyError,
    NotSentError,
    RefusalError,
    Rpc,
    one_by_one,
)
from domain.errors import WrongChainError

CONNECTIONS_PER_NODE = 8

_NOT_SENT = (ClientConnectorError, ConnectionTimeoutError)
_PROBLEM = "application/problem+json"


class NodeError(RefusalError):
    """The problem that a node answered with."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        """Keep the code, which decides, and the words for people."""
        self.status = status
        self.code = str(problem.get("code", ""))
        self.detail = str(problem.get("detail", ""))
        super().__init__(f"{self.code}: {self.detail}")

    @property
    @override
    def is_busy(self) -> bool:
        return self.status >= HTTPStatus.INTERNAL_SERVER_ERROR


class Node:
    """``chains.json_rpc.RpcNode``: one endpoint, checked once per connection to be our network."""

    def __init__(self, url: str, chain_id: str, *, timeout_s: float) -> None:
        """Take the node's address and the network that it must serve."""
        parts = urlsplit(url)
        self.host = parts.hostname or "?"
        self.resting_until = 0.0
        self._chain_id = chain_id
        self._is_verified = False
        self._base = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        self._patience = ClientTimeout(total=timeout_s, sock_connect=CONNECT_TIMEOUT_S)
        self._session: ClientSession | None = None

    async def call(self, method: str, params: Sequence[Any]) -> Any:
        """Return the JSON of one answer; raises as the protocol says."""
        if not self._is_verified:
            await self._verify()
        return await self._exchange(method, *params)

    async def batch(self, calls: Sequence[Call]) -> list[Any]:
        """Return for each call its answer or a ``NodeError``, in order."""
        return await one_by_one(self.call, calls)

    async def close(self) -> None:
        """Close the pooled connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _verify(self) -> None:
        try:
            status = await self._exchange("GET", "/v1/status")
        except (NodeError, LostReplyError) as error:
            # What we came for has not left yet.
            raise NotSentError from error
        if status.get("chain_id") != self._chain_id:
            msg = f"The node at {self.host} serves another network than {self._chain_id}."
            raise WrongChainError(msg)
        self._is_verified = True

    async def _exchange(self, method: str, path: str, body: Any = None) -> Any:
        if self._session is None:
            connector = TCPConnector(limit=CONNECTIONS_PER_NODE)
            self._session = ClientSession(connector=connector)
        request = self._session.request(
            method, self._base + path, json=body, timeout=self._patience
        )
        try:
            async with request as answer:
                content = await answer.json(content_type=None)
        except _NOT_SENT as error:
            self._is_verified = False
            raise NotSentError from error
        except (ClientError, TimeoutError, OSError, ValueError) as error:
            # Another node may stand behind the same address when it answers again.
            self._is_verified = False
            raise LostReplyError from error
        if not isinstance(content, dict):
            raise LostReplyError
        if answer.status >= HTTPStatus.BAD_REQUEST:
            if answer.content_type != _PROBLEM:
                # Something between us and the node said it.
                raise LostReplyError
            raise NodeError(answer.status, content)
        return content


def open_rpc(urls: Sequence[str], chain_id: str, *, timeout_s: float = CALL_TIMEOUT_S) -> Rpc:
    """Return the nodes of one network, best first; connects on the first call."""
    return Rpc([Node(url, chain_id, timeout_s=timeout_s) for url in urls])
