"""
JSON-RPC to one chain through several nodes, whatever the chain family.

A node that does not answer is passed over for the next and left alone for a while. What a node
answers, even an error, is an answer.
"""

import logging
import time
from collections.abc import Sequence
from typing import Any, Protocol

from domain.errors import ChainUnavailableError

CALL_TIMEOUT_S = 10.0
CONNECT_TIMEOUT_S = 3.0
REST_S = 15.0
"""A node that failed is asked last for this long."""

BATCH_MAX = 50

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
            RefusalError: A node's refusal, and no node asked before it may have taken the request.
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
            except RefusalError as error:
                refusal = error
                if not error.is_busy:
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

    def _in_order(self) -> list[RpcNode]:
        now = time.monotonic()
        return sorted(self._nodes, key=lambda node: node.resting_until > now)

    def _rest(self, node: RpcNode) -> None:
        logger.warning("the chain node at %s does not answer", node.host)
        node.resting_until = time.monotonic() + REST_S


async def _ask(node: RpcNode, calls: Sequence[Call]) -> list[Any]:
    if len(calls) > 1:
        return await node.batch(calls)
    try:
        return [await node.call(*calls[0])]
    except RefusalError as error:
        return [error]


def _is_busy(answer: Any) -> bool:
    return isinstance(answer, RefusalError) and answer.is_busy
