"""Purchases: take a quote, see where to pay, follow; and an operator's refund."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Response

from api.dependencies import (
    DepositsWritePrincipal,
    IdempotencyKey,
    ReadPrincipal,
    SecondFactor,
    State,
    require_role,
)
from api.pagination import PageQuery, listed
from api.problems import (
    BODY_PROBLEMS,
    SECOND_FACTOR_PROBLEMS,
    SESSION_PROBLEMS,
    problem_responses,
)
from api.schemas.base import Listed, id_pattern
from api.schemas.payouts import AssetText, ListScope
from api.schemas.purchases import (
    PurchaseBody,
    PurchaseDetailView,
    PurchaseOutcomeView,
    PurchaseRefundBody,
    PurchaseView,
    purchase_detail_view,
    purchase_view,
)
from api.state import AppState
from domain.errors import (
    AccountNotReadyError,
    DepositAddressLimitError,
    IdempotencyKeyInvalidError,
    IdempotencyKeyMissingError,
    IdempotencyKeyReusedError,
    InsufficientAvailableBalanceError,
    InvalidAmountError,
    InvalidCursorError,
    LimitExceededError,
    PurchaseNotFoundError,
    PurchaseStateError,
    QuoteExpiredError,
    QuoteMismatchError,
    QuoteNotFoundError,
    QuoteUsedError,
    RoleMissingError,
    UnknownAssetError,
    ValidationError,
    WorkflowEngineUnavailableError,
)
from domain.ids import PURCHASE, PURCHASE_REFUND, derived_id
from domain.money import parse_minor
from domain.purchases import PurchaseStatus, RefundRequest
from domain.workflow_ids import purchase_workflow_id
from identity.principals import Principal
from infra.paging import Position
from models.identity import Role, Scope
from models.purchases import Purchase
from purchases.queries import list_purchases as purchases_on
from purchases.queries import purchase_detail, purchase_for

router = APIRouter(prefix="/v1/purchases", tags=["purchases"])

STAFF = (Role.APPROVER, Role.OPERATOR, Role.AUDITOR, Role.OWNER)
"""Who sees everybody's purchases."""

PurchasePath = Annotated[str, Path(pattern=id_pattern(PURCHASE))]
Operator = Annotated[Principal, Depends(require_role(Role.OPERATOR))]

_ONE = (*SESSION_PROBLEMS, PurchaseNotFoundError, ValidationError)
_KEYED = (IdempotencyKeyMissingError, IdempotencyKeyInvalidError, IdempotencyKeyReusedError)


@router.post(
    "",
    status_code=202,
    responses=problem_responses(
        *BODY_PROBLEMS,
        *SESSION_PROBLEMS,
        *_KEYED,
        QuoteNotFoundError,
        QuoteExpiredError,
        QuoteUsedError,
        QuoteMismatchError,
        UnknownAssetError,
        LimitExceededError,
        AccountNotReadyError,
        DepositAddressLimitError,
        PurchaseStateError,
        WorkflowEngineUnavailableError,
    ),
)
async def create_purchase(
    body: PurchaseBody,
    idempotency_key: IdempotencyKey,
    principal: DepositsWritePrincipal,
    state: State,
    response: Response,
) -> PurchaseDetailView:
    """
    Take a quote and say where to pay: an address of its own, or a card payment.

    What is paid in time is credited at the quote's rate. Repeating the request with the same
    `Idempotency-Key` and body answers the same purchase.
    """
    purchase = await state.purchase_requests.submit(
        body, idempotency_key=idempotency_key, principal=principal
    )
    response.headers["Location"] = f"{state.settings.public_url}{router.prefix}/{purchase.id}"
    return await _detail(state, purchase.id, principal)


@router.get(
    "",
    responses=problem_responses(
        *SESSION_PROBLEMS, RoleMissingError, InvalidCursorError, ValidationError
    ),
)
async def list_purchases(
    principal: ReadPrincipal,
    state: State,
    page: PageQuery,
    scope: Annotated[ListScope, Query(description="`all` needs a role.")] = "mine",
    status: Annotated[PurchaseStatus | None, Query()] = None,
    asset: Annotated[AssetText | None, Query(description="What is bought.")] = None,
) -> Listed[PurchaseView]:
    """List purchases, newest first."""
    if scope == "all" and not principal.has_role(*STAFF):
        msg = "Only admins see everybody's purchases."
        raise RoleMissingError(msg)
    async with state.database.transaction() as session:
        rows = await purchases_on(
            session,
            page,
            user_id=None if scope == "all" else principal.user_id,
            status=status,
            asset=asset,
        )
    return listed(rows, page, item=purchase_view, position=_position)


@router.get("/{purchase_id}", responses=problem_responses(*_ONE))
async def get_purchase(
    purchase_id: PurchasePath, principal: ReadPrincipal, state: State
) -> PurchaseDetailView:
    """Return a purchase with where it is paid, what was paid, and its history."""
    return await _detail(state, purchase_id, principal)


@router.post(
    "/{purchase_id}/cancellation",
    responses=problem_responses(*_ONE, PurchaseStateError, WorkflowEngineUnavailableError),
)
async def cancel_purchase(
    purchase_id: PurchasePath, principal: DepositsWritePrincipal, state: State
) -> PurchaseOutcomeView:
    """Give up a purchase that nothing was paid for; its limits are free again at once."""
    async with state.database.transaction() as session:
        await purchase_for(session, purchase_id, user_id=principal.user_id)
    standing = await state.purchase_workflows.cancel(purchase_id)
    return PurchaseOutcomeView(purchase_id=purchase_id, status=standing.status)


@router.post(
    "/{purchase_id}/refunds",
    responses=problem_responses(
        *BODY_PROBLEMS,
        *_ONE,
        *SECOND_FACTOR_PROBLEMS,
        *_KEYED,
        RoleMissingError,
        InvalidAmountError,
        InsufficientAvailableBalanceError,
        PurchaseStateError,
        WorkflowEngineUnavailableError,
    ),
)
async def refund_purchase(
    purchase_id: PurchasePath,
    body: PurchaseRefundBody,
    idempotency_key: IdempotencyKey,
    principal: Operator,
    second_factor: SecondFactor,
    state: State,
) -> PurchaseOutcomeView:
    """
    Take back what a payment bought, pro rata, and give the payment back.

    To a card through the gateway; what was paid on a chain becomes the buyer's balance of it.
    """
    amount_minor = parse_minor(body.amount)
    async with state.database.transaction() as session:
        await purchase_for(session, purchase_id, user_id=None)
    await second_factor.require()
    request = RefundRequest(
        refund_id=derived_id(PURCHASE_REFUND, principal.principal_id, purchase_id, idempotency_key),
        purchase_id=purchase_id,
        operator_id=principal.user_id,
        amount=str(amount_minor),
        note=body.note,
    )
    standing = await state.purchase_workflows.refund(request)
    return PurchaseOutcomeView(purchase_id=purchase_id, status=standing.status)


async def _detail(state: AppState, purchase_id: str, principal: Principal) -> PurchaseDetailView:
    may_pay = principal.has_scope(Scope.DEPOSITS_WRITE)
    async with state.database.transaction() as session:
        detail = await purchase_detail(
            session,
            purchase_id,
            user_id=None if principal.has_role(*STAFF) else principal.user_id,
            payer_id=principal.user_id if may_pay else None,
        )
    workflow_id = purchase_workflow_id(purchase_id)
    return purchase_detail_view(
        detail,
        publishable_key=state.settings.stripe_publishable_key,
        workflow_id=workflow_id,
        workflow_url=state.workflow_url(workflow_id),
    )


def _position(purchase: Purchase) -> Position:
    return Position(purchase.created_at, purchase.id)
