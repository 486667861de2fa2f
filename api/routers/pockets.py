"""A user's own wallets on chains, and moving money to and from them."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Response

from api.dependencies import (
    IdempotencyKey,
    PayoutsWritePrincipal,
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
from api.routers.deposits import require_scope_of_list
from api.routers.payouts import STAFF
from api.schemas.base import Listed, id_pattern
from api.schemas.payouts import DecisionBody, ListScope, OperatorBody
from api.schemas.pockets import (
    PocketBody,
    PocketList,
    PocketTransferBody,
    PocketTransferDecisionView,
    PocketTransferDetailView,
    PocketTransferExplanationView,
    PocketTransferOutcomeView,
    PocketTransferView,
    PocketView,
    pocket_view,
    transfer_detail_view,
    transfer_view,
)
from api.state import AppState
from domain.errors import (
    AccountNotReadyError,
    AddressDeniedError,
    AlreadyDecidedError,
    AmountOutOfRangeError,
    ApprovalExpiredError,
    ChainNotFoundError,
    ConversionStockError,
    ConversionUnavailableError,
    DestinationCoolingDownError,
    DestinationNotInBookError,
    ForbiddenDestinationError,
    IdempotencyKeyInvalidError,
    IdempotencyKeyMissingError,
    IdempotencyKeyReusedError,
    InsufficientAvailableBalanceError,
    InternalAssetError,
    InvalidAddressError,
    InvalidAmountError,
    InvalidCursorError,
    LimitExceededError,
    OwnRequestError,
    PayoutStateError,
    PocketNotFoundError,
    PocketTransferNotFoundError,
    QuoteExpiredError,
    QuoteMismatchError,
    QuoteNotFoundError,
    QuoteUsedError,
    RoleMissingError,
    ScreeningUnavailableError,
    UnknownAssetError,
    ValidationError,
    WalletFrozenError,
    WorkflowEngineUnavailableError,
)
from domain.ids import DECISION, POCKET, POCKET_TRANSFER, new_id
from domain.payouts import Decision, DecisionKind, OperatorAction, PayoutOutcome, PayoutStatus
from domain.pockets import Route
from domain.workflow_ids import payout_workflow_id
from identity.principals import Principal
from infra.paging import Position
from models.identity import Role
from payouts.conversions import conversions_of
from pockets.queries import (
    PocketTransfer,
    explain_transfer,
    list_transfers,
    transfer_detail,
    transfer_for,
)
from pockets.wallets import ensure_pocket, pocket_by_id
from pockets.wallets import list_pockets as pockets_of

router = APIRouter(prefix="/v1", tags=["pockets"])

PocketPath = Annotated[str, Path(pattern=id_pattern(POCKET))]
TransferPath = Annotated[str, Path(pattern=id_pattern(POCKET_TRANSFER))]
Approver = Annotated[Principal, Depends(require_role(Role.APPROVER))]
Operator = Annotated[Principal, Depends(require_role(Role.OPERATOR))]

TRANSFERS = "/pocket-transfers"
ONE = f"{TRANSFERS}/{{transfer_id}}"

_ONE = (*SESSION_PROBLEMS, PocketTransferNotFoundError, ValidationError)
_CHANGE = (
    *BODY_PROBLEMS,
    *SESSION_PROBLEMS,
    *SECOND_FACTOR_PROBLEMS,
    PocketTransferNotFoundError,
    PayoutStateError,
    WorkflowEngineUnavailableError,
)
_DECIDE = (*_CHANGE, RoleMissingError, OwnRequestError, AlreadyDecidedError, ApprovalExpiredError)


@router.get("/pockets", responses=problem_responses(*SESSION_PROBLEMS))
async def list_pockets(principal: ReadPrincipal, state: State) -> PocketList:
    """List the caller's pockets with what the books have on them."""
    async with state.database.transaction() as session:
        found = await pockets_of(session, principal.user_id)
    return PocketList(items=[pocket_view(pocket) for pocket in found])


@router.post(
    "/pockets",
    status_code=201,
    responses=problem_responses(
        *BODY_PROBLEMS, *SESSION_PROBLEMS, ChainNotFoundError, AccountNotReadyError
    ),
)
async def create_pocket(
    body: PocketBody, principal: PayoutsWritePrincipal, state: State, response: Response
) -> PocketView:
    """
    Make the caller's pocket on a chain; asked again, it is the same one.

    The first transfer to a pocket makes it too.
    """
    async with state.database.transaction() as session:
        row = await ensure_pocket(session, principal.user_id, body.chain_id, clock=state.clock)
        pocket = await pocket_by_id(session, row.id, user_id=principal.user_id)
    response.headers["Location"] = f"{state.settings.public_url}{router.prefix}/pockets/{row.id}"
    return pocket_view(pocket)


@router.get(
    "/pockets/{pocket_id}",
    responses=problem_responses(*SESSION_PROBLEMS, PocketNotFoundError, ValidationError),
)
async def get_pocket(pocket_id: PocketPath, principal: ReadPrincipal, state: State) -> PocketView:
    """Return one pocket with what the books have on it."""
    async with state.database.transaction() as session:
        pocket = await pocket_by_id(session, pocket_id, user_id=_visible_to(principal))
    return pocket_view(pocket)


@router.post(
    TRANSFERS,
    status_code=202,
    responses=problem_responses(
        *BODY_PROBLEMS,
        *SESSION_PROBLEMS,
        *SECOND_FACTOR_PROBLEMS,
        IdempotencyKeyMissingError,
        IdempotencyKeyInvalidError,
        IdempotencyKeyReusedError,
        InvalidAmountError,
        AmountOutOfRangeError,
        UnknownAssetError,
        InternalAssetError,
        ConversionUnavailableError,
        ConversionStockError,
        QuoteNotFoundError,
        QuoteMismatchError,
        QuoteExpiredError,
        QuoteUsedError,
        InvalidAddressError,
        ForbiddenDestinationError,
        InsufficientAvailableBalanceError,
        LimitExceededError,
        WalletFrozenError,
        AddressDeniedError,
        DestinationNotInBookError,
        DestinationCoolingDownError,
        ScreeningUnavailableError,
        PayoutStateError,
        WorkflowEngineUnavailableError,
    ),
)
async def create_pocket_transfer(
    body: PocketTransferBody,
    idempotency_key: IdempotencyKey,
    principal: PayoutsWritePrincipal,
    second_factor: SecondFactor,
    state: State,
    response: Response,
) -> PocketTransferDetailView:
    """
    Freeze the amount, and move it once approved: to the caller's pocket, back, or to a stranger.

    The answer comes after the freeze. Repeating the request with the same `Idempotency-Key` and
    body never moves anything twice and answers the same.
    """
    payout = await state.pocket_requests.submit(
        body, idempotency_key=idempotency_key, principal=principal, second_factor=second_factor
    )
    location = f"{state.settings.public_url}{router.prefix}{TRANSFERS}/{payout.id}"
    response.headers["Location"] = location
    return await _detail(state, payout.id, principal)


@router.get(
    TRANSFERS,
    responses=problem_responses(
        *SESSION_PROBLEMS, RoleMissingError, InvalidCursorError, ValidationError
    ),
)
async def list_pocket_transfers(
    principal: ReadPrincipal,
    state: State,
    page: PageQuery,
    scope: Annotated[ListScope, Query(description="`all` needs a role.")] = "mine",
    status: Annotated[PayoutStatus | None, Query()] = None,
    route: Annotated[Route | None, Query()] = None,
) -> Listed[PocketTransferView]:
    """List transfers to and from pockets, newest first."""
    user_id = require_scope_of_list(principal, scope)
    async with state.database.transaction() as session:
        rows = await list_transfers(session, page, user_id=user_id, status=status, route=route)
    return listed(rows, page, item=transfer_view, position=_position)


@router.get(ONE, responses=problem_responses(*_ONE))
async def get_pocket_transfer(
    transfer_id: TransferPath, principal: ReadPrincipal, state: State
) -> PocketTransferDetailView:
    """Return a transfer with its approvals, its place on the chain and its history."""
    return await _detail(state, transfer_id, principal)


@router.get(f"{ONE}/explain", responses=problem_responses(*_ONE))
async def explain_pocket_transfer(
    transfer_id: TransferPath, principal: ReadPrincipal, state: State
) -> PocketTransferExplanationView:
    """Say in one sentence what the transfer waits for."""
    async with state.database.transaction() as session:
        detail = await transfer_detail(session, transfer_id, user_id=_visible_to(principal))
        explanation = await explain_transfer(session, detail, now=state.clock.now())
    return PocketTransferExplanationView(
        transfer_id=transfer_id,
        status=PayoutStatus(detail.payout.status),
        explanation=explanation.sentence,
        waiting_for=explanation.waiting_for,
    )


@router.post(f"{ONE}/cancellation", responses=problem_responses(*_CHANGE))
async def cancel_pocket_transfer(
    transfer_id: TransferPath,
    principal: PayoutsWritePrincipal,
    second_factor: SecondFactor,
    state: State,
) -> PocketTransferOutcomeView:
    """Take a transfer back that is in no chain transaction yet; the money is free at once."""
    async with state.database.transaction() as session:
        await transfer_for(session, transfer_id, user_id=principal.user_id)
    await second_factor.require()
    return _outcome(await state.payout_workflows.cancel(transfer_id))


@router.post(f"{ONE}/approvals", responses=problem_responses(*_DECIDE))
async def approve_pocket_transfer(
    transfer_id: TransferPath,
    body: DecisionBody,
    principal: Approver,
    second_factor: SecondFactor,
    state: State,
) -> PocketTransferDecisionView:
    """Approve a transfer; the last approval needed sets it free."""
    return await _decide(state, transfer_id, principal, second_factor, DecisionKind.APPROVE, body)


@router.post(f"{ONE}/rejections", responses=problem_responses(*_DECIDE))
async def reject_pocket_transfer(
    transfer_id: TransferPath,
    body: DecisionBody,
    principal: Approver,
    second_factor: SecondFactor,
    state: State,
) -> PocketTransferDecisionView:
    """Reject a transfer; one rejection ends it and releases the money."""
    return await _decide(state, transfer_id, principal, second_factor, DecisionKind.REJECT, body)


@router.post(f"{ONE}/refunds", responses=problem_responses(*_CHANGE, RoleMissingError))
async def refund_pocket_transfer(
    transfer_id: TransferPath,
    body: OperatorBody,
    principal: Operator,
    second_factor: SecondFactor,
    state: State,
) -> PocketTransferOutcomeView:
    """Refund a transfer that is stuck in a batch and was never signed."""
    action = await _operator_action(state, transfer_id, principal, second_factor, body)
    return _outcome(await state.payout_workflows.refund(action))


@router.post(f"{ONE}/retries", responses=problem_responses(*_CHANGE, RoleMissingError))
async def retry_pocket_transfer(
    transfer_id: TransferPath,
    body: OperatorBody,
    principal: Operator,
    second_factor: SecondFactor,
    state: State,
) -> PocketTransferOutcomeView:
    """Try a transfer again whose chain transaction was given up."""
    action = await _operator_action(state, transfer_id, principal, second_factor, body)
    return _outcome(await state.payout_workflows.retry(action))


async def _decide(
    state: AppState,
    transfer_id: str,
    principal: Principal,
    second_factor: SecondFactor,
    kind: DecisionKind,
    body: DecisionBody,
) -> PocketTransferDecisionView:
    async with state.database.transaction() as session:
        await transfer_for(session, transfer_id, user_id=None)
    proof = await second_factor.require()
    decision = Decision(
        decision_id=new_id(DECISION),
        payout_id=transfer_id,
        approver_id=principal.user_id,
        kind=kind,
        second_factor=proof,
        note=body.note,
    )
    outcome = await state.payout_workflows.decide(decision)
    return PocketTransferDecisionView(
        transfer_id=transfer_id,
        status=outcome.status,
        approvals_received=outcome.approvals,
        approvals_required=outcome.approvals_required,
    )


async def _operator_action(
    state: AppState,
    transfer_id: str,
    principal: Principal,
    second_factor: SecondFactor,
    body: OperatorBody,
) -> OperatorAction:
    async with state.database.transaction() as session:
        await transfer_for(session, transfer_id, user_id=None)
    await second_factor.require()
    return OperatorAction(transfer_id, principal.user_id, body.note)


async def _detail(
    state: AppState, transfer_id: str, principal: Principal
) -> PocketTransferDetailView:
    async with state.database.transaction() as session:
        detail = await transfer_detail(session, transfer_id, user_id=_visible_to(principal))
        conversions = await conversions_of(session, [detail.payout])
    workflow_id = payout_workflow_id(transfer_id)
    return transfer_detail_view(
        detail,
        conversions.get(transfer_id),
        workflow_id=workflow_id,
        workflow_url=state.workflow_url(workflow_id),
    )


def _visible_to(principal: Principal) -> str | None:
    return None if principal.has_role(*STAFF) else principal.user_id


def _position(transfer: PocketTransfer) -> Position:
    return Position(transfer.payout.created_at, transfer.payout.id)


def _outcome(outcome: PayoutOutcome) -> PocketTransferOutcomeView:
    return PocketTransferOutcomeView(
        transfer_id=outcome.payout_id,
        status=outcome.status,
        reason_code=outcome.reason_code,
        txid=outcome.txid,
    )
