"""
JSON-RPC to one EVM node.

Batches whose parts fail one by one, fail-over between nodes and block headers of every EVM chain
alike are why this uses web3's provider and not ``web3.eth``.
"""

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from aiohttp import ClientConnectorError, ClientError, ClientSession, ClientTimeout, TCPConnector
from web3 import AsyncHTTPProvider
from web3.types import RPCEndpoint

from chains.evm.errors import NodeError
from chains.json_rpc import (
    CALL_TIMEOUT_S,
    CONNECT_TIMEOUT_S,
    Call,
    LostReplyError,
    NotSentError,
    Rpc,
    one_by_one,
)
from domain.errors import WrongChainError

CONNECTIONS_PER_NODE = 20

NO_ANSWER = (ClientError, TimeoutError, OSError, ValueError)
"""What the provider raises when there is no JSON-RPC answer: no connection, 5xx, not JSON."""


class Node:
    """One endpoint."""

    def __init__(self, url: str, *, chain_number: int, timeout_s: float) -> None:
        """Take the endpoint's URL; it may hold an access key and is never logged."""
        self.host = urlsplit(url).hostname or "?"
        self.resting_until = 0.0
        self._chain_number = chain_number
        self._is_verified = False
        self._has_session = False
        timeout = ClientTimeout(total=timeout_s, sock_connect=CONNECT_TIMEOUT_S)
        self._provider = AsyncHTTPProvider(
            url, {"timeout": timeout}, exception_retry_configuration=None
        )

    async def call(self, method: str, params: Sequence[Any]) -> Any:
        """
        Return the ``result`` of one call.

        Raises:
            NodeError: The node answered with an error.
            NotSentError, LostReplyError: It did not answer.
            WrongChainError: It serves another chain.
        """
        if not self._is_verified:
            await self._verify()
        return await self._call(method, params)

    async def _call(self, method: str, params: Sequence[Any]) -> Any:
        answer = await self._exchange(self._provider.make_request(RPCEndpoint(method), params))
        return _result(answer)

    async def batch(self, calls: Sequence[Call]) -> list[Any]:
        """Return for each call its ``result`` or a ``NodeError``, in order; raises as ``call``."""
        if not self._is_verified:
            await self._verify()
        requests: list[tuple[RPCEndpoint, Any]] = [(RPCEndpoint(m), p) for m, p in calls]
        answers = await self._exchange(self._provider.make_batch_request(requests))
        if isinstance(answers, list) and len(answers) == len(calls):
            return [_result_or_error(answer) for answer in answers]
        # The node takes no batches, or none of this size.
        return await one_by_one(self._call, calls)

    async def close(self) -> None:
        """Close the pooled connections."""
        await self._provider.disconnect()
        self._has_session = False

    async def _verify(self) -> None:
        try:
            number = int(await self._call("eth_chainId", []), 16)
        except (LostReplyError, NodeError) as error:
            # What we came for has not left yet.
            raise NotSentError from error
        if number != self._chain_number:
            msg = f"The node at {self.host} serves chain {number}, not {self._chain_number}."
            raise WrongChainError(msg)
        self._is_verified = True

    async def _exchange(self, request: Any) -> Any:
        try:
            await self._keep_connections()
            return await request
        except ClientConnectorError as error:
            self._is_verified = False
            raise NotSentError from error
        except NO_ANSWER as error:
            # Another node may stand behind the same address when it answers again.
            self._is_verified = False
            raise LostReplyError from error
        finally:
            request.close()

    async def _keep_connections(self) -> None:
        """Replace web3's session, which opens a connection per request."""
        if not self._has_session:
            self._has_session = True
            connector = TCPConnector(limit=CONNECTIONS_PER_NODE)
            session = ClientSession(raise_for_status=True, connector=connector)
            await self._provider.cache_async_session(session)


def open_rpc(urls: Sequence[str], *, chain_number: int, timeout_s: float = CALL_TIMEOUT_S) -> Rpc:
    """Return the nodes of one chain, best first; connects on the first call."""
    return Rpc([Node(url, chain_number=chain_number, timeout_s=timeout_s) for url in urls])


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
