"""A KYC workflow with a change that must not be made; see ``tests.support.changed_workflows``."""

from typing import override

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from domain.kyc import KycInput, KycStanding

from workflows.kyc import KycApplicationWorkflow


@workflow.defn(name="KycApplicationWorkflow")
class CarelessKyc(KycApplicationWorkflow):
    """Reminds nobody: it looks once, and ends."""

    @workflow.init
    def __init__(self, request: KycInput) -> None:
        super().__init__(request)

    @override
    @workflow.run
    async def run(self, request: KycInput) -> KycStanding:
        return await self._advance()
