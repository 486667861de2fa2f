"""What the list of operations and the statements refuse."""

from domain.errors.base import ConflictError, NotFoundError


class TransactionNotFoundError(NotFoundError):
    """There is no such operation, or it is somebody else's."""

    code, title = "transaction_not_found", "Transaction not found"


class StatementTooLongError(ConflictError):
    """The month has more lines than a PDF is made of; the CSV file has all of them."""

    code, title = "statement_too_long", "Statement too long"


class StatementNotFoundError(NotFoundError):
    """The month lies in the future, or before the user had any money here."""

    code, title = "statement_not_found", "Statement not found"
