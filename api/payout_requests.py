"""Taking a payout request: what must hold before its workflow is started, in which order."""

from sqlmodel import col, select

from api.payout_workflows import PayoutWorkflows
from api.schemas.payouts import PayoutBody
from api.second_factor import SecondFactorCheck
from domain.errors import IdempotencyKeyReusedError, StrongroomError, error_by_code
from domain.ids import PAYOUT, derived_id
from domain.money import parse_minor
from domain.payouts import PayoutRequest, PayoutStatus, Priority, request_hash
from identity.principals import Principal
from infra.database import Database
from models.payouts import Payout, PayoutEvent
from payouts.retries import check_retry
from payouts.validation import validate_target
from runs.queries import line_payout, run_for


class PayoutRequests:
    """Turns an HTTP request into a payout, once per Idempotency-Key."""

    def __init__(self, database: Database, workflows: PayoutWorkflows) -> None:
        """Take the database, to look, and the workflows, which alone change anything."""
        self._database = database
        self._workflows = workflows

    async def submit(
        self,
        body: PayoutBody,
        *,
        idempotency_key: str,
        principal: Principal,
        second_factor: SecondFactorCheck,
    ) -> Payout:
        """
        Return the payout that this request made, now or when it was sent before.

        Raises:
            RequestError, ConflictError: Refused; nothing is frozen.
            WorkflowEngineUnavailableError, DatabaseUnavailableError: Repeat the same request.
        """
        amount_minor = parse_minor(body.amount)
        request = PayoutRequest(
            payout_id=derived_id(PAYOUT, principal.principal_id, idempotency_key),
            user_id=principal.user_id,
            principal=principal.principal_id,
            idempotency_key=idempotency_key,
            request_hash=request_hash(body.hashed()),
            asset=body.asset,
            amount=str(amount_minor),
            destination=body.destination,
            note=body.note,
            priority=body.priority,
        )
        return await self._take(request, second_factor)

    async def retry_line(
        self,
        run_id: str,
        number: int,
        *,
        idempotency_key: str,
        principal: Principal,
        second_factor: SecondFactorCheck,
    ) -> Payout:
        """
        Return the payout that pays a failed line of a run again; raises as ``submit``.

        Raises:
            PayoutRunNotFoundError, PayoutNotFoundError: The caller has no such line.
            PayoutStateError: It did not fail, or is paid again already.
        """
        async with self._database.transaction() as session:
            await run_for(session, run_id, user_id=principal.user_id)
            line = await line_payout(session, run_id, number)
        request = PayoutRequest(
            payout_id=derived_id(PAYOUT, principal.principal_id, idempotency_key),
            user_id=principal.user_id,
            principal=principal.principal_id,
            idempotency_key=idempotency_key,
            request_hash=request_hash({"retry_of": line.id}),
            asset=line.asset,
            amount=str(line.amount_minor),
            destination=line.destination,
            note=line.note,
            priority=Priority(line.priority),
            retry_of=line.id,
        )
        return await self._take(request, second_factor)

    async def _take(self, request: PayoutRequest, second_factor: SecondFactorCheck) -> Payout:
        if known := await self._find(request):
            return known
        async with self._database.transaction() as session:
            target = await validate_target(
                session,
                asset_code=request.asset,
                amount_minor=request.amount_minor,
                destination=request.destination,
            )
            if request.retry_of is not None:
                await check_retry(session, request, destination=target.destination)
        # Last, so that a request which is refused anyway does not use the code up.
        await second_factor.require()
        acceptance = await self._workflows.request(request)
        if acceptance.request_hash != request.request_hash:
            raise IdempotencyKeyReusedError
        if found := await self._find(request):
            return found
        raise _refusal(acceptance.reason_code, acceptance.reason)

    async def _find(self, request: PayoutRequest) -> Payout | None:
        async with self._database.transaction() as session:
            payout = await session.get(Payout, request.payout_id)
            if payout is None:
                return None
            if payout.request_hash != request.request_hash:
                raise IdempotencyKeyReusedError
            if payout.status == PayoutStatus.REFUSED:
                events = await session.exec(
                    select(PayoutEvent.detail)
                    .where(PayoutEvent.payout_id == payout.id)
                    .order_by(col(PayoutEvent.id).desc())
                )
                raise _refusal(payout.reason_code, events.first())
            return payout


def _refusal(code: str | None, detail: str | None) -> Exception:
    known = error_by_code(code or "")
    return known(detail) if known else StrongroomError(detail)
