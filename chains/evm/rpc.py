"""
JSON-RPC to one chain through several nodes.

A node that does not answer is passed over for the next and left alone for a while. What a node
answers, even an error, is an answer. Batches whose parts fail one by one, fail-over between nodes
and block headers of every EVM chain alike are why this uses web3's provider and not ``web3.eth``.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from aiohttp import ClientConnectorError, ClientError, ClientSession, ClientTimeout, TCPConnector
from web3 import AsyncHTTPProvider
from web3.types import RPCEndpoint

from chains.evm.errors import NodeError, Verdict
from domain.errors import ChainUnavailableError, WrongChainError

CALL_TIMEOUT_S = 10.0
CONNECT_TIMEOUT_S = 3.0
REST_S = 15.0
"""A node that failed is asked last for this long."""

BATCH_MAX = 50
SINGLES_AT_ONCE = 8
CONNECTIONS_PER_NODE = 20

NO_ANSWER = (ClientError, TimeoutError, OSError, ValueError)
"""What the provider raises when there is no JSON-RPC answer: no connection, 5xx, not JSON."""

type Call = tuple[str, list[Any]]

logger = logging.getLogger(__name__)


class LostReplyError(Exception):
    """The request may have reached the node; its answer did not reach us."""


class NotSentError(Exception):
    """The request did not leave: nobody listens there."""


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
        gate = asyncio.Semaphore(SINGLES_AT_ONCE)

        async def single(method: str, params: list[Any]) -> Any:
            async with gate:
                try:
                    return await self._call(method, params)
                except NodeError as error:
                    return error

        return await asyncio.gather(*(single(*call) for call in calls))

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


class Rpc:
    """The nodes of one chain, in the order of preference."""

    def __init__(
        self, urls: Sequence[str], *, chain_number: int, timeout_s: float = CALL_TIMEOUT_S
    ) -> None:
        """Take one URL or more; later ones are fall-backs."""
        self._nodes = [Node(url, chain_number=chain_number, timeout_s=timeout_s) for url in urls]
        if not self._nodes:
            msg = "A chain needs at least one RPC endpoint."
            raise ChainUnavailableError(msg)

    async def call(self, method: str, *params: Any) -> Any:
        """
        Return the ``result`` of a call that only reads, from the first node that answers.

        Raises:
            NodeError: The node's own refusal.
            ChainUnavailableError: No node answers.
            WrongChainError: A node serves another chain.
        """
        (answer,) = await self._read([(method, list(params))])
        if isinstance(answer, NodeError):
            raise answer
        return answer

    async def batch(self, calls: Sequence[Call]) -> list[Any]:
        """Return for each reading call its ``result`` or a ``NodeError``; raises as ``call``."""
        answers: list[Any] = []
        for start in range(0, len(calls), BATCH_MAX):
            answers += await self._read(calls[start : start + BATCH_MAX])
        return answers

    async def _read(self, calls: Sequence[Call]) -> list[Any]:
        for node in self._in_order():
            # A kept connection may have died since its last use, so a lost reply is asked twice.
            for _ in range(2):
                try:
                    answers = await _ask(node, calls)
                except NotSentError:
                    break
                except LostReplyError as error:
                    if isinstance(error.__cause__, TimeoutError):
                        break
                    continue
                if not any(_is_busy(answer) for answer in answers):
                    node.resting_until = 0.0
                    return answers
                break
            self._rest(node)
        msg = "No node of the chain answers."
        raise ChainUnavailableError(msg)

    async def send(self, method: str, *params: Any) -> Any:
        """
        Return the ``result`` of a call with an effect that is the same however often it is done.

        Raises:
            NodeError: A node's refusal, and no node asked before it may have taken the request.
            LostReplyError: Some node may have taken it, none said so.
            ChainUnavailableError: It reached no node.
        """
        was_lost, refusal = False, None
        for node in self._in_order():
            try:
                return await node.call(method, params)
            except NotSentError:
                pass
            except LostReplyError:
                was_lost = True
            except NodeError as error:
                refusal = error
                if error.verdict is not Verdict.NODE_BUSY:
                    break
                continue
            self._rest(node)
        if was_lost:
            raise LostReplyError
        if refusal is not None:
            raise refusal
        msg = "No node of the chain answers."
        raise ChainUnavailableError(msg)

    async def close(self) -> None:
        """Close every pooled connection."""
        for node in self._nodes:
            await node.close()

    def _in_order(self) -> list[Node]:
        now = time.monotonic()
        return sorted(self._nodes, key=lambda node: node.resting_until > now)

    def _rest(self, node: Node) -> None:
        logger.warning("the chain node at %s does not answer", node.host)
        node.resting_until = time.monotonic() + REST_S


async def _ask(node: Node, calls: Sequence[Call]) -> list[Any]:
    if len(calls) > 1:
        return await node.batch(calls)
    try:
        return [await node.call(*calls[0])]
    except NodeError as error:
        return [error]


def _is_busy(answer: Any) -> bool:
    return isinstance(answer, NodeError) and answer.verdict is Verdict.NODE_BUSY


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
