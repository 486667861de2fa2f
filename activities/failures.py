"""The one place where our errors become Temporal's."""

from collections.abc import Awaitable
from typing import Any, override

from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from domain.errors import StrongroomError, TransientError

REFUSING_STEPS = ("payout.", "run.", "purchase.", "kyc.", "mix.")
"""Prefixes of the activities whose refusal is an answer to a request; see ``tried_for_ever``."""


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
            may_refuse = activity.info().activity_type.startswith(REFUSING_STEPS)
            raise application_error(error, may_refuse=may_refuse) from error


def application_error(error: StrongroomError, *, may_refuse: bool) -> ApplicationError:
    """
    Return the error as workflows see it; waiting is not worth an alarm.

    Only a step that answers somebody may refuse for good. Any other is tried again until an
    operator has mended the cause: if its workflow failed instead, nobody would go on with what is
    signed, and the account nonces behind it would wait for ever.
    """
    is_waiting = isinstance(error, TransientError)
    return ApplicationError(
        error.detail,
        type=error.code,
        non_retryable=may_refuse and not error.retryable,
        category=(
            ApplicationErrorCategory.BENIGN if is_waiting else ApplicationErrorCategory.UNSPECIFIED
        ),
    )


async def tried_for_ever[T](step: Awaitable[T]) -> T:
    """
    Let a step that answers nobody be tried until an operator has mended the cause.

    If it refused for good its workflow would fail with it, and nobody would ever finish what it is
    about or give back what is overdue. Meanwhile ``explain`` says what of payouts is overdue.
    """
    try:
        return await step
    except StrongroomError as error:
        raise application_error(error, may_refuse=False) from error
