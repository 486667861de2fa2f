"""A crash right after an activity: done, and never heard of."""

from typing import Any, override

from temporalio.worker import (
    ActivityInboundInterceptor,
    ExecuteActivityInput,
    Interceptor,
)


class CrashAfter(Interceptor):
    """Loses the first answer of an activity: its effect is there, its worker is gone."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.crashes = 0

    @override
    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return _Crashing(next, self)


class _Crashing(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, plan: CrashAfter) -> None:
        super().__init__(next)
        self._plan = plan

    @override
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        answer = await super().execute_activity(input)
        name = getattr(input.fn, "__temporal_activity_definition").name
        if name == self._plan.name and not self._plan.crashes:
            self._plan.crashes += 1
            msg = "the worker died here"
            raise RuntimeError(msg)
        return answer
