"""
JSON-RPC to one node of a Bitcoin-like chain, over HTTP with basic authentication.

Credentials stand in the URL, ``http://user:password@host:port``, or in the node's cookie file,
``http://host:port?cookie=/path/.cookie``, which the node writes anew at each start. Neither is ever
logged.
"""

import base64
import itertools
import json
import logging
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

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
    Rpc,
    one_by_one,
)
from chains.utxo.errors import NodeError, Verdict
from domain.errors import NodeSyncingError, WrongChainError
from domain.utxo.networks import Network

CONNECTIONS_PER_NODE = 8
BATCH_MAX = 64

SLOW_METHODS_S: Mapping[str, float] = {"scantxoutset": 900.0}
"""Methods that take longer than others, and how long they may: this one reads every coin."""

_NOT_SENT = (ClientConnectorError, ConnectionTimeoutError)

_exact_json = partial(json.loads, parse_float=Decimal)
"""Amounts are written as decimal numbers of coins, which a float does not hold."""

_NOT_TAKEN = (
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.SERVICE_UNAVAILABLE,
)
"""Answered before anything was done; the last is Core's when its queue of requests is full."""

logger = logging.getLogger(__name__)


def open_rpc(urls: Sequence[str], network: Network, *, timeout_s: float = CALL_TIMEOUT_S) -> Rpc:
    """Return the nodes of one chain, best first; connects on the first call."""
    nodes = [Node(url, network, timeout_s=timeout_s) for url in urls]
    return Rpc(nodes, batch_max=BATCH_MAX)


class Node:
    """``chains.json_rpc.RpcNode``: one endpoint, checked once per connection to be our network."""

    def __init__(self, url: str, network: Network, *, timeout_s: float) -> None:
        """Take the endpoint's URL with its credentials."""
        parts = urlsplit(url)
        self.host = parts.hostname or "?"
        self.resting_until = 0.0
        self._network = network
        self._is_verified = False
        self._ids = itertools.count(1)
        cookie = parse_qs(parts.query).get("cookie")
        self._cookie = Path(cookie[0]) if cookie else None
        self._login = None if self._cookie else _login_of(parts)
        """None until the cookie is read."""
        self._endpoint = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path or '/'}"
        self._patience = ClientTimeout(total=timeout_s, sock_connect=CONNECT_TIMEOUT_S)
        self._session: ClientSession | None = None

    async def call(self, method: str, params: Sequence[Any]) -> Any:
        """Return the ``result`` of one call; raises as the protocol says."""
        await self._verify()
        return await self._call(method, params)

    async def batch(self, calls: Sequence[Call]) -> list[Any]:
        """Return for each call its ``result`` or a ``NodeError``, in order."""
        await self._verify()
        requests = [self._request(method, params) for method, params in calls]
        answers = await self._post(requests, self._patience)
        if isinstance(answers, dict):
            # One error for all of them: a gateway that takes no batches, or none of this size.
            return await one_by_one(self._call, calls)
        by_id = {answer.get("id"): answer for answer in answers}
        return [_result_or_error(by_id.get(request["id"])) for request in requests]

    async def close(self) -> None:
        """Close the pooled connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _call(self, method: str, params: Sequence[Any]) -> Any:
        timeout_s = SLOW_METHODS_S.get(method, self._patience.total)
        patience = ClientTimeout(total=timeout_s, sock_connect=CONNECT_TIMEOUT_S)
        return _result(await self._post(self._request(method, params), patience))

    def _request(self, method: str, params: Sequence[Any]) -> dict[str, Any]:
        return {"jsonrpc": "1.0", "id": next(self._ids), "method": method, "params": list(params)}

    async def _verify(self) -> None:
        if self._is_verified:
            return
        try:
            genesis = await self._call("getblockhash", [0])
            info = await self._call("getblockchaininfo", [])
        except NodeError as error:
            if error.verdict is Verdict.SYNCING:
                raise error.failure from None
            raise NotSentError from error
        except LostReplyError as error:
            # What we came for has not left yet.
            raise NotSentError from error
        if genesis != self._network.genesis_hash:
            msg = f"The node at {self.host} does not serve {self._network.name}."
            raise WrongChainError(msg)
        if info.get("initialblockdownload") and info.get("chain") != "regtest":
            msg = f"The node at {self.host} is still downloading the chain."
            raise NodeSyncingError(msg)
        self._is_verified = True

    async def _post(self, body: Any, patience: ClientTimeout) -> Any:
        try:
            status, content = await self._exchange(body, patience)
            if status == HTTPStatus.UNAUTHORIZED and self._cookie is not None:
                # Nothing was done. The node has started anew since, and written another cookie.
                self._login = None
                status, content = await self._exchange(body, patience)
            return self._content(status, content)
        except (NotSentError, LostReplyError):
            # Another node may stand behind the same address when it answers again.
            self._is_verified = False
            raise

    async def _exchange(self, body: Any, patience: ClientTimeout) -> tuple[int, bytes]:
        if self._session is None:
            connector = TCPConnector(limit=CONNECTIONS_PER_NODE)
            self._session = ClientSession(connector=connector)
        headers = {"Authorization": self._authorization()}
        request = self._session.post(self._endpoint, json=body, headers=headers, timeout=patience)
        try:
            async with request as answer:
                return answer.status, await answer.read()
        except _NOT_SENT as error:
            raise NotSentError from error
        except (ClientError, TimeoutError, OSError) as error:
            raise LostReplyError from error

    def _content(self, status: int, content: bytes) -> Any:
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            logger.warning("the chain node at %s refuses our login", self.host)
        if status in _NOT_TAKEN:
            raise NotSentError
        try:
            # An error of JSON-RPC comes with status 500 or 404, and a body that says which.
            answer = _exact_json(content)
        except ValueError as error:
            raise LostReplyError from error
        if not isinstance(answer, dict | list):
            raise LostReplyError
        return answer

    def _authorization(self) -> str:
        if self._login is None:
            assert self._cookie is not None
            try:
                self._login = self._cookie.read_text().strip()
            except OSError as error:
                raise NotSentError from error
        return f"Basic {base64.b64encode(self._login.encode()).decode()}"


def _login_of(parts: SplitResult) -> str:
    return f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"


def _result(answer: Any) -> Any:
    if not isinstance(answer, dict):
        raise LostReplyError
    if answer.get("error") is not None:
        raise NodeError.parse(answer["error"])
    return answer.get("result")


def _result_or_error(answer: Any) -> Any:
    try:
        return _result(answer)
    except NodeError as error:
        return error
