"""The table of rates: read by everybody, written by owners, never changed in place."""

from typing import Annotated

from fastapi import APIRouter, Depends
from sqlmodel.ext.asyncio.session import AsyncSession

from api.dependencies import OwnerPrincipal, ReadPrincipal, SecondFactor, State, require_role
from api.numbered import LIMIT, Before, Limit, encode_number
from api.problems import (
    BODY_PROBLEMS,
    SECOND_FACTOR_PROBLEMS,
    SESSION_PROBLEMS,
    problem_responses,
)
from api.schemas.rates import PriceView, RatesView, RateTableList, RateTableView, RateView
from api.state import AppState
from domain.errors import (
    InvalidCursorError,
    InvalidRateTableError,
    RateUnavailableError,
    RoleMissingError,
    ValidationError,
)
from domain.rate_table import Leg, PairTerms, RateTableDocument, parse_rate_table
from gateways.rates.quotes import pair_rate
from gateways.rates.table import check_assets, store_table, table_versions
from identity.principals import Principal
from models.identity import Role, Scope
from models.purchases import RateTable

router = APIRouter(prefix="/v1/rates", tags=["purchases"])

Staff = Annotated[
    Principal,
    Depends(require_role(Role.APPROVER, Role.OPERATOR, Role.AUDITOR, Role.OWNER, scope=Scope.READ)),
]


@router.get("", responses=problem_responses(*SESSION_PROBLEMS))
async def get_rates(principal: ReadPrincipal, state: State) -> RatesView:
    """Return the table of rates in force, and what each pair costs now; an empty one before."""
    del principal
    async with state.database.transaction() as session:
        rows = await table_versions(session, before=None, limit=1)
        if not rows:
            return RatesView(
                version=None,
                document=RateTableDocument(),
                created_by=None,
                created_at=None,
                prices=[],
            )
        view = _view(rows[0])
        prices = [await _price(session, state, pair, view.document) for pair in view.document.pairs]
    return RatesView(**view.model_dump(), prices=prices)


@router.get(
    "/versions",
    responses=problem_responses(
        *SESSION_PROBLEMS, RoleMissingError, InvalidCursorError, ValidationError
    ),
)
async def list_rate_tables(
    principal: Staff, state: State, before: Before, limit: Limit = LIMIT
) -> RateTableList:
    """List every version there has been, newest first."""
    del principal
    async with state.database.transaction() as session:
        rows = await table_versions(session, before=before, limit=limit + 1)
    shown = rows[:limit]
    has_more = len(rows) > limit
    return RateTableList(
        items=[_view(row) for row in shown],
        next_cursor=encode_number(int(shown[-1].version or 0)) if has_more else None,
    )


@router.put(
    "",
    responses=problem_responses(
        *BODY_PROBLEMS,
        *SESSION_PROBLEMS,
        *SECOND_FACTOR_PROBLEMS,
        RoleMissingError,
        InvalidRateTableError,
    ),
)
async def put_rates(
    document: RateTableDocument,
    principal: OwnerPrincipal,
    second_factor: SecondFactor,
    state: State,
) -> RateTableView:
    """Put a new table in force; quotes that were given before keep theirs."""
    parse_rate_table(document.model_dump(mode="json"))
    async with state.database.transaction() as session:
        await check_assets(session, document)
    await second_factor.require()
    async with state.database.transaction() as session:
        return _view(await store_table(session, document, by=principal.user_id))


async def _price(
    session: AsyncSession, state: AppState, pair: PairTerms, table: RateTableDocument
) -> PriceView:
    try:
        rate = await pair_rate(session, [Leg(pair)], table, now=state.clock.now())
    except RateUnavailableError:
        rate = None
    return PriceView(
        pay_asset=pair.pay_asset,
        buy_asset=pair.buy_asset,
        rate=None
        if rate is None
        else RateView(numerator=str(rate.numerator), denominator=str(rate.denominator)),
    )


def _view(row: RateTable) -> RateTableView:
    return RateTableView(
        version=int(row.version or 0),
        document=parse_rate_table(row.document),
        created_by=row.created_by,
        created_at=row.created_at,
    )
