"""The one place where our errors become Temporal's."""

from typing import Any, override

from temporalio.exceptions import ApplicationError, ApplicationErrorCategory
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from domain.errors import StrongroomError, TransientError


class FailureInterceptor(Interceptor):
    """Makes every activity of a worker raise our errors with their stable code as type."""

    @override
    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        """Wrap the execution of each activity, local ones included."""
        return _Translated(next)


class _Translated(ActivityInboundInterceptor):
    @override
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        try:
            return await super().execute_activity(input)
        except StrongroomError as error:
            raise application_error(error) from error


def application_error(error: StrongroomError) -> ApplicationError:
    """Return the error as workflows see it; waiting is not worth an alarm."""
    is_waiting = isinstance(error, TransientError)
    return ApplicationError(
        error.detail,
        type=error.code,
        non_retryable=not error.retryable,
        category=(
            ApplicationErrorCategory.BENIGN if is_waiting else ApplicationErrorCategory.UNSPECIFIED
        ),
    )
