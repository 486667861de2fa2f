"""
JSON-RPC to one chain through several nodes, whatever the chain family.

A node that does not answer is passed over for the next and left alone for a while. What a node
answers, even an error, is an answer.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from domain.errors import (
    ChainUnavailableError,
    NodePrunedError,
    NodeSyncingError,
    TransientError,
)

CALL_TIMEOUT_S = 10.0
CONNECT_TIMEOUT_S = 3.0
REST_S = 15.0
"""A node that failed is asked last for this long."""

BATCH_MAX = 50
SINGLES_AT_ONCE = 8

NO_ANSWER = "No node of the chain answers."

type Call = tuple[str, list[Any]]

logger = logging.getLogger(__name__)


class LostReplyError(Exception):
    """The request may have reached the node; its answer did not reach us."""


class NotSentError(Exception):
    """The request did not leave: nobody listens there."""


class RefusalError(Exception):
    """The ``error`` of a JSON-RPC answer: the node answered, and said no."""

    @property
    def is_busy(self) -> bool:
        """Not taken for reasons of the node, such as a full pool: another may take it."""
        return False

    @property
    def failure(self) -> TransientError:
        """What a read that no other node answers either fails with; only of those that are busy."""
        return ChainUnavailableError(NO_ANSWER)


class RpcNode(Protocol):
    """One endpoint."""

    host: str
    resting_until: float

    async def call(self, method: str, params: Sequence[Any]) -> Any:
        """
        Return the ``result`` of one call.

        Raises:
            RefusalError: The node answered with an error.
            NotSentError, LostReplyError: It did not answer.
            NodeSyncingError: It is not in step with the chain.
            WrongChainError: It serves another chain.
        """
        ...

    async def batch(self, calls: Sequence[Call]) -> list[Any]:
        """Return for each call its ``result`` or a ``RefusalError``; raises as ``call``."""
        ...

    async def close(self) -> None:
        """Close the pooled connections."""
        ...


class Rpc:
    """The nodes of one chain, in the order of preference."""

    def __init__(self, nodes: Sequence[RpcNode], *, batch_max: int = BATCH_MAX) -> None:
        """Take one node or more; later ones are fall-backs."""
        self._nodes = list(nodes)
        self._batch_max = batch_max
        if not self._nodes:
            msg = "A chain needs at least one RPC endpoint."
            raise ChainUnavailableError(msg)

    async def call(self, method: str, *params: Any) -> Any:
        """
        Return the ``result`` of a call that only reads, from the first node that answers.

        Raises:
            RefusalError: The node's own refusal.
            ChainUnavailableError: No node answers.
            WrongChainError: A node serves another chain.
        """
        (answer,) = await self._read([(method, list(params))])
        if isinstance(answer, RefusalError):
            raise answer
        return answer

    async def batch(self, calls: Sequence[Call]) -> list[Any]:
        """Return for each reading call its ``result`` or a ``RefusalError``; raises as ``call``."""
        answers: list[Any] = []
        for start in range(0, len(calls), self._batch_max):
            answers += await self._read(calls[start : start + self._batch_max])
        return answers

    async def _read(self, calls: Sequence[Call]) -> list[Any]:
        failure: TransientError = ChainUnavailableError(NO_ANSWER)
        for node in self._in_order():
            try:
                answers = await _ask_twice(node, calls)
            except (NotSentError, LostReplyError):
                self._rest(node)
                continue
            except NodeSyncingError as error:
                failure = error
                self._rest(node)
                continue
            busy = next((answer for answer in answers if _is_busy(answer)), None)
            if busy is None:
                node.resting_until = 0.0
                return answers
            failure = busy.failure
            # A node without old blocks serves everything else.
            if not isinstance(failure, NodePrunedError):
                self._rest(node)
        raise failure

    async def send(self, method: str, *params: Any) -> Any:
        """
        Return the ``result`` of a call with an effect that is the same however often it is done.

        Raises:
            RefusalError: A node's refusal, and no node asked before it may have taken the request.
            LostReplyError: Some node may have taken it, none said so.
            ChainUnavailableError: It reached no node.
            NodeSyncingError: It reached no node that is in step with the chain.
        """
        was_lost, refusal = False, None
        failure: TransientError = ChainUnavailableError(NO_ANSWER)
        for node in self._in_order():
            try:
                return await node.call(method, params)
            except NotSentError:
                pass
            except NodeSyncingError as error:
                failure = error
            except LostReplyError:
                was_lost = True
            except RefusalError as error:
                refusal = error
                if not error.is_busy:
                    break
                continue
            self._rest(node)
        if was_lost:
            raise LostReplyError
        raise refusal or failure

    async def close(self) -> None:
        """Close every pooled connection."""
        for node in self._nodes:
            await node.close()

    def _in_order(self) -> list[RpcNode]:
        now = time.monotonic()
        return sorted(self._nodes, key=lambda node: node.resting_until > now)

    def _rest(self, node: RpcNode) -> None:
        logger.warning("the chain node at %s does not answer, or is not ready", node.host)
        node.resting_until = time.monotonic() + REST_S


async def one_by_one(
    call: Callable[[str, Sequence[Any]], Awaitable[Any]], calls: Sequence[Call]
) -> list[Any]:
    """Do what ``RpcNode.batch`` does with single calls, a few at once."""
    gate = asyncio.Semaphore(SINGLES_AT_ONCE)

    async def single(method: str, params: list[Any]) -> Any:
        async with gate:
            try:
                return await call(method, params)
            except RefusalError as error:
                return error

    return await asyncio.gather(*(single(*each) for each in calls))


async def _ask_twice(node: RpcNode, calls: Sequence[Call]) -> list[Any]:
    """A kept connection may have died since its last use, so a lost reply is asked again."""
    try:
        return await _ask(node, calls)
    except LostReplyError as error:
        if isinstance(error.__cause__, TimeoutError):
            raise
        return await _ask(node, calls)


async def _ask(node: RpcNode, calls: Sequence[Call]) -> list[Any]:
    if len(calls) > 1:
        return await node.batch(calls)
    try:
        return [await node.call(*calls[0])]
    except RefusalError as error:
        return [error]


def _is_busy(answer: Any) -> bool:
    return isinstance(answer, RefusalError) and answer.is_busy
