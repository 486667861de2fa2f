"""What a Jobcoin network refuses."""

from domain.errors.base import ConflictError, RequestError, TransientError


class InsufficientBalanceError(ConflictError):
    """The sender has less than the transaction moves, beside what waits in the pool."""

    code, title = "insufficient_balance", "Insufficient balance"


class AccountNonceUsedError(ConflictError):
    """Another transaction of the sender with this account nonce is in a block."""

    code, title = "account_nonce_used", "Account nonce used"


class AccountNonceTakenError(ConflictError):
    """Another transaction of the sender with this account nonce waits in the pool."""

    code, title = "account_nonce_taken", "Account nonce taken"


class AccountNonceTooHighError(TransientError):
    """The account nonce is far ahead of the sender's next one; the pool keeps no such gap."""

    code, title = "account_nonce_too_high", "Account nonce too high"


class InvalidTransactionError(RequestError):
    """The bytes are no transaction of this network, or not signed by its sender."""

    code, http_status, title = "invalid_transaction", 422, "Invalid transaction"


class MintCapError(ConflictError):
    """As many coins as the network allows would be exceeded."""

    code, title = "mint_cap_reached", "Mint cap reached"
