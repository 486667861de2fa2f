"""From a JSON-RPC request to a method's result or error; no HTTP here."""

import inspect
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from devnet.bitcoin_node.errors import Code, RpcError
from devnet.bitcoin_node.node import Node

Method = Callable[..., Any]

_HASH_DIGITS = 64

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    """One call's answer, as Core's legacy (1.1) replies have it."""

    body: dict[str, Any]
    status: int
    """HTTP status where the call came alone."""


def answer(node: Node, methods: Mapping[str, Method], request: Any) -> Answer:
    """Run one call; every failure becomes an error answer."""
    call_id = request.get("id") if isinstance(request, dict) else None
    try:
        result = _call(node, methods, request)
        return Answer({"result": result, "error": None, "id": call_id}, 200)
    except RpcError as error:
        status = {Code.INVALID_REQUEST: 400, Code.METHOD_NOT_FOUND: 404}.get(error.code, 500)
        return Answer(error_body(error.code, error.message, call_id), status)
    except Exception as error:  # a client must get an answer whatever is wrong with us
        logger.exception("a call failed")
        return Answer(error_body(Code.MISC, repr(error), call_id), 500)


def error_body(code: Code, message: str, call_id: Any = None) -> dict[str, Any]:
    """Return the body of an answer that is an error."""
    return {"result": None, "error": {"code": int(code), "message": message}, "id": call_id}


def hash_parameter(value: Any, name: str) -> str:
    """Return a txid or block hash; raises ``RpcError`` (-8) when it is none, in Core's words."""
    if not isinstance(value, str):
        message = f"JSON value of type {type(value).__name__} is not of expected type string"
        raise RpcError(Code.TYPE, message)
    if len(value) != _HASH_DIGITS:
        message = f"{name} must be of length {_HASH_DIGITS} (not {len(value)}, for '{value}')"
        raise RpcError(Code.INVALID_PARAMETER, message)
    hex_parameter(value, name, Code.INVALID_PARAMETER)
    return value.lower()


def hex_parameter(value: Any, name: str, code: Code = Code.DESERIALIZATION) -> bytes:
    """Return bytes given in hex; raises ``RpcError``."""
    try:
        return bytes.fromhex(value)
    except (TypeError, ValueError) as error:
        raise RpcError(code, f"{name} must be hexadecimal string (not '{value}')") from error


def _call(node: Node, methods: Mapping[str, Method], request: Any) -> Any:
    if not isinstance(request, dict):
        raise RpcError(Code.INVALID_REQUEST, "Invalid Request object")
    name, params = request.get("method"), request.get("params") or []
    if not isinstance(name, str):
        raise RpcError(Code.INVALID_REQUEST, "Method must be a string")
    if name not in methods:
        raise RpcError(Code.METHOD_NOT_FOUND, "Method not found")
    if not isinstance(params, list | dict):
        raise RpcError(Code.INVALID_REQUEST, "Params must be an array or object")
    args, kwargs = (params, {}) if isinstance(params, list) else ([], params)
    try:
        inspect.signature(methods[name]).bind(node, *args, **kwargs)
    except TypeError as error:
        raise RpcError(Code.MISC, f"{name}: {error}") from error
    return methods[name](node, *args, **kwargs)
