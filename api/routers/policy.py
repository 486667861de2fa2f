"""The approval policy: read by admins, written by owners, never changed in place."""

from typing import Annotated

from fastapi import APIRouter, Depends
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from api.dependencies import OwnerPrincipal, SecondFactor, State, require_role
from api.numbered import LIMIT, Before, Limit, encode_number
from api.problems import (
    BODY_PROBLEMS,
    SECOND_FACTOR_PROBLEMS,
    SESSION_PROBLEMS,
    problem_responses,
)
from api.schemas.policy import PolicyList, PolicyView
from domain.errors import (
    InvalidCursorError,
    InvalidPolicyError,
    RoleMissingError,
    ValidationError,
)
from domain.policy import ANY_ASSET, PolicyDocument, parse_policy
from identity.principals import Principal
from models.identity import Role, Scope
from models.payouts import Policy
from models.wallets import Asset
from payouts.policy import policy_versions, store_policy

router = APIRouter(prefix="/v1/policy", tags=["policy"])

Staff = Annotated[
    Principal,
    Depends(require_role(Role.APPROVER, Role.OPERATOR, Role.AUDITOR, Role.OWNER, scope=Scope.READ)),
]
_READ = (*SESSION_PROBLEMS, RoleMissingError)


@router.get("", responses=problem_responses(*_READ))
async def get_policy(principal: Staff, state: State) -> PolicyView:
    """Return the policy in force."""
    del principal
    async with state.database.transaction() as session:
        (row,) = await policy_versions(session, before=None, limit=1)
    return _view(row)


@router.get("/versions", responses=problem_responses(*_READ, InvalidCursorError, ValidationError))
async def list_policy_versions(
    principal: Staff, state: State, before: Before, limit: Limit = LIMIT
) -> PolicyList:
    """List every version there has been, newest first."""
    del principal
    async with state.database.transaction() as session:
        rows = await policy_versions(session, before=before, limit=limit + 1)
    shown = rows[:limit]
    has_more = len(rows) > limit
    return PolicyList(
        items=[_view(row) for row in shown],
        next_cursor=encode_number(int(shown[-1].version or 0)) if has_more else None,
    )


@router.put(
    "",
    responses=problem_responses(
        *BODY_PROBLEMS, *_READ, *SECOND_FACTOR_PROBLEMS, InvalidPolicyError
    ),
)
async def put_policy(
    document: PolicyDocument,
    principal: OwnerPrincipal,
    second_factor: SecondFactor,
    state: State,
) -> PolicyView:
    """Put a new policy in force; payouts that were accepted before keep theirs."""
    parse_policy(document.model_dump(mode="json"))
    async with state.database.transaction() as session:
        await _check_assets(session, document)
    await second_factor.require()
    async with state.database.transaction() as session:
        return _view(await store_policy(session, document, by=principal.user_id))


async def _check_assets(session: AsyncSession, document: PolicyDocument) -> None:
    named = {r.asset for r in document.rules} | {limit.asset for limit in document.limits}
    known = set(await session.exec(select(Asset.code)))
    if unknown := sorted(named - known - {ANY_ASSET}):
        msg = f"The policy names unknown assets: {', '.join(unknown)}."
        raise InvalidPolicyError(msg)


def _view(row: Policy) -> PolicyView:
    return PolicyView(
        version=int(row.version or 0),
        document=parse_policy(row.document),
        created_by=row.created_by,
        created_at=row.created_at,
    )
