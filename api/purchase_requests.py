"""Taking a purchase request: what must hold before its workflow is started."""

from sqlmodel import col, select

from api.purchase_workflows import PurchaseWorkflows
from api.schemas.purchases import PurchaseBody
from domain.errors import IdempotencyKeyReusedError, StrongroomError, error_by_code
from domain.ids import PURCHASE, derived_id
from domain.payouts import request_hash
from domain.purchases import PurchaseRequest, PurchaseStatus
from domain.rate_table import Purpose
from gateways.rates.quotes import check_purpose, find_quote
from identity.principals import Principal
from infra.database import Database
from models.purchases import Purchase, PurchaseEvent


class PurchaseRequests:
    """Turns an HTTP request into a purchase, once per Idempotency-Key."""

    def __init__(self, database: Database, workflows: PurchaseWorkflows) -> None:
        """Take the database, to look, and the workflows, which alone change anything."""
        self._database = database
        self._workflows = workflows

    async def submit(
        self, body: PurchaseBody, *, idempotency_key: str, principal: Principal
    ) -> Purchase:
        """
        Return the purchase that this request made, now or when it was sent before.

        Raises:
            QuoteNotFoundError, QuoteMismatchError, QuoteExpiredError, QuoteUsedError: The quote is
                not to be had.
            RequestError, ConflictError: Refused otherwise.
            WorkflowEngineUnavailableError, DatabaseUnavailableError: Repeat the same request.
        """
        request = PurchaseRequest(
            purchase_id=derived_id(PURCHASE, principal.principal_id, idempotency_key),
            user_id=principal.user_id,
            principal=principal.principal_id,
            idempotency_key=idempotency_key,
            request_hash=request_hash(body.model_dump(mode="json")),
            quote_id=body.quote_id,
        )
        if known := await self._find(request):
            return known
        async with self._database.transaction() as session:
            quote = await find_quote(session, body.quote_id, user_id=principal.user_id)
            check_purpose(quote, Purpose.PURCHASE)
        acceptance = await self._workflows.request(request)
        if acceptance.request_hash != request.request_hash:
            raise IdempotencyKeyReusedError
        if found := await self._find(request):
            return found
        raise _refusal(acceptance.reason_code, acceptance.reason)

    async def _find(self, request: PurchaseRequest) -> Purchase | None:
        async with self._database.transaction() as session:
            purchase = await session.get(Purchase, request.purchase_id)
            if purchase is None:
                return None
            if purchase.request_hash != request.request_hash:
                raise IdempotencyKeyReusedError
            if purchase.status == PurchaseStatus.REFUSED:
                events = await session.exec(
                    select(PurchaseEvent.detail)
                    .where(PurchaseEvent.purchase_id == purchase.id)
                    .order_by(col(PurchaseEvent.id).desc())
                )
                raise _refusal(purchase.reason_code, events.first())
            return purchase


def _refusal(code: str | None, detail: str | None) -> Exception:
    known = error_by_code(code or "")
    return known(detail) if known else StrongroomError(detail)
