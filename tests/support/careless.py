"""A workflow that the sandbox must stop: it reads the machine's clock."""

from datetime import datetime

from temporalio import workflow


@workflow.defn(name="CarelessWorkflow")
class CarelessWorkflow:
    @workflow.run
    async def run(self) -> str:
        return datetime.now().isoformat()  # noqa: DTZ005
