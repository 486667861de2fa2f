"""What Temporal's failures mean to a caller: our own errors again, by their stable codes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from temporalio.client import (
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from domain.errors import (
    ConflictError,
    WorkflowEngineUnavailableError,
    error_by_code,
)


@asynccontextmanager
async def translated(ended: type[ConflictError], what: str) -> AsyncIterator[None]:
    """
    Turn the failures of the block into ours; ``ended`` is raised when ``what`` has ended.

    Raises:
        WorkflowEngineUnavailableError: No answer; it may be asked again.
    """
    try:
        yield
    except WorkflowUpdateFailedError as error:
        if known := _known(error):
            raise known from error
        raise
    except WorkflowAlreadyStartedError as error:
        msg = "This request was made before and its workflow has ended."
        raise ended(msg) from error
    except WorkflowUpdateRPCTimeoutOrCancelledError as error:
        raise WorkflowEngineUnavailableError from error
    except RPCError as error:
        if error.status == RPCStatusCode.NOT_FOUND:
            msg = f"The {what} has ended; nothing can be done to it."
            raise ended(msg) from error
        raise WorkflowEngineUnavailableError from error
    except RuntimeError as error:
        # What the SDK raises while a lazy client has never reached the server.
        raise WorkflowEngineUnavailableError from error


def _known(error: WorkflowUpdateFailedError) -> Exception | None:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ApplicationError) and cause.type:
            known = error_by_code(cause.type)
            if known is not None:
                return known(cause.message)
        cause = cause.__cause__
    return None
