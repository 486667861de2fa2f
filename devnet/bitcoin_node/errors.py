"""What the node answers instead of a result, in Bitcoin Core's codes (``rpc/protocol.h``)."""

from enum import IntEnum


class Code(IntEnum):
    """JSON-RPC error codes."""

    MISC = -1
    TYPE = -3
    INVALID_ADDRESS_OR_KEY = -5
    INVALID_PARAMETER = -8
    DESERIALIZATION = -22
    VERIFY = -25
    VERIFY_REJECTED = -26
    VERIFY_ALREADY_IN_CHAIN = -27
    INVALID_REQUEST = -32600
    METHOD_NOT_FOUND = -32601
    PARSE = -32700


class RpcError(Exception):
    """A call that is answered with an error."""

    def __init__(self, code: Code, message: str) -> None:
        """Take what the client is to see."""
        super().__init__(message)
        self.code = code
        self.message = message


class RejectedError(Exception):
    """A transaction that does not enter the mempool."""

    def __init__(self, reason: str, details: str = "", *, is_missing_inputs: bool = False) -> None:
        """Take Core's reject reason (``TxValidationState``) and what it adds for people."""
        super().__init__(f"{reason}, {details}" if details else reason)
        self.reason = reason
        self.is_missing_inputs = is_missing_inputs


class BlockRejectedError(Exception):
    """A block that breaks a consensus rule, or that follows one that does."""
