"""
The one way out to a chain: allocate, sign and persist, broadcast, confirm, bump.

One workflow drives the chain transactions that were claimed together from one wallet. It does not
know which chain family it talks to, and it carries no bytes: everything is in the write-ahead log.
"""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from dataclasses import dataclass
    from datetime import timedelta

    from temporalio.exceptions import ActivityError

    from activities.chain import ChainActivities
    from activities.outgoing import OutgoingActivities
    from activities.signing import SigningActivities
    from domain.ports import SettleOutcome, SignOutcome
    from domain.workflow_ids import SIGNING_QUEUE, chain_queue
    from workflows.options import database, patient

CEILING_RETRY = timedelta(seconds=30)
"""How soon the signer is asked again after its ceiling stopped some of a batch."""

BROADCAST_PATIENCE = timedelta(minutes=1)
"""After this long the watcher, which offers everything again and again, takes over."""


@dataclass(frozen=True)
class ChainTransactionInput:
    """The batch, the chain, and whether it was allocated by an earlier run."""

    batch_id: str
    chain_id: str
    is_allocated: bool = False


@workflow.defn(name="ChainTransactionWorkflow")
class ChainTransactionWorkflow:
    """Before the signature a payout can be refunded; after it there is only forward."""

    @workflow.init
    def __init__(self, request: ChainTransactionInput) -> None:
        """Signals may come before ``run``."""
        self._batch_id = request.batch_id
        self._chain_queue = chain_queue(request.chain_id)
        self._moved = False
        self._bump_after = timedelta(minutes=1)

    @workflow.run
    async def run(self, request: ChainTransactionInput) -> None:
        """Drive the batch until everything in it is settled."""
        if not request.is_allocated:
            await self._allocate()
        wait = await self._sign_and_broadcast()
        while not (await self._settle()).is_done:
            if workflow.info().is_continue_as_new_suggested():
                workflow.continue_as_new(
                    ChainTransactionInput(request.batch_id, request.chain_id, is_allocated=True)
                )
            if await self._await_move(wait):
                continue
            await self._plan_bumps()
            wait = await self._sign_and_broadcast()

    @workflow.signal
    def moved(self) -> None:
        """Learn from the watcher that a block changed something of ours."""
        self._moved = True

    async def _allocate(self) -> None:
        self._show("planning fees")
        is_placed: bool | None = False
        while is_placed is False:
            await workflow.execute_activity_method(
                ChainActivities.prepare,
                self._batch_id,
                **patient("plan gas and fees", queue=self._chain_queue),
            )
            # Coins that were there when it was planned may be taken by now: then it waits again.
            is_placed = await workflow.execute_local_activity_method(
                OutgoingActivities.allocate,
                self._batch_id,
                **database("allocate nonces or coins, capture holds"),
            )

    async def _sign_and_broadcast(self) -> timedelta:
        """Sign what is planned, broadcast what is signed; return how long to wait for blocks."""
        self._show("signing")
        outcome = await self._sign()
        if outcome.refused:
            await workflow.execute_local_activity_method(
                OutgoingActivities.give_up_refused,
                self._batch_id,
                **database("fill the nonces of refused transactions"),
            )
            await self._sign()
        self._show("broadcasting")
        try:
            await workflow.execute_activity_method(
                ChainActivities.broadcast,
                self._batch_id,
                **patient(
                    "broadcast the stored bytes",
                    queue=self._chain_queue,
                    give_up_after=BROADCAST_PATIENCE,
                ),
            )
        except ActivityError:
            workflow.logger.warning("batch %s is not all broadcast yet", self._batch_id)
        return CEILING_RETRY if outcome.waiting else timedelta(0)

    async def _sign(self) -> SignOutcome:
        return await workflow.execute_activity_method(
            SigningActivities.sign_batch,
            self._batch_id,
            **patient("re-check, sign and store", queue=SIGNING_QUEUE),
        )

    async def _settle(self) -> SettleOutcome:
        self._moved = False
        outcome = await workflow.execute_local_activity_method(
            OutgoingActivities.settle,
            self._batch_id,
            **database("post what is confirmed"),
        )
        if outcome.to_notify:
            await workflow.execute_activity_method(
                OutgoingActivities.notify,
                self._batch_id,
                **patient(f"tell {outcome.to_notify} payouts"),
            )
        self._bump_after = timedelta(seconds=outcome.bump_after_s)
        return outcome

    async def _await_move(self, wait: timedelta) -> bool:
        self._show("confirming")
        try:
            await workflow.wait_condition(
                lambda: self._moved,
                timeout=wait or self._bump_after,
                timeout_summary="replace what is stuck after this",
            )
        except TimeoutError:
            return False
        return True

    async def _plan_bumps(self) -> None:
        try:
            await workflow.execute_activity_method(
                ChainActivities.plan_bumps,
                self._batch_id,
                **patient(
                    "plan replacements of what is stuck",
                    queue=self._chain_queue,
                    give_up_after=BROADCAST_PATIENCE,
                ),
            )
        except ActivityError:
            # Above the ceiling, or no node: what was sent before may still be mined.
            workflow.logger.warning("batch %s cannot be replaced now", self._batch_id)

    def _show(self, step: str) -> None:
        workflow.set_current_details(f"**{step}** · batch {self._batch_id}")
