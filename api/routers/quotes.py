"""Quotes: what so much costs, or buys, held for a short while."""

from typing import Annotated

from fastapi import APIRouter, Path, Response

from api.dependencies import DepositsWritePrincipal, ReadPrincipal, State
from api.pagination import PageQuery, listed
from api.problems import BODY_PROBLEMS, SESSION_PROBLEMS, problem_responses
from api.schemas.base import Listed, id_pattern
from api.schemas.rates import QuoteBody, QuoteView, quote_view
from domain.errors import (
    AmountOutOfRangeError,
    InvalidAmountError,
    InvalidCursorError,
    PairNotListedError,
    QuoteNotFoundError,
    RateUnavailableError,
    UnknownAssetError,
    ValidationError,
)
from domain.ids import QUOTE
from domain.money import parse_minor
from gateways.rates.quotes import QuoteRequest, find_quote, give_quote
from gateways.rates.quotes import list_quotes as quotes_of
from infra.paging import Position
from models.purchases import Quote

router = APIRouter(prefix="/v1/quotes", tags=["purchases"])

QuotePath = Annotated[str, Path(pattern=id_pattern(QUOTE))]


@router.post(
    "",
    status_code=201,
    responses=problem_responses(
        *BODY_PROBLEMS,
        *SESSION_PROBLEMS,
        InvalidAmountError,
        AmountOutOfRangeError,
        PairNotListedError,
        UnknownAssetError,
        RateUnavailableError,
    ),
)
async def create_quote(
    body: QuoteBody, principal: DepositsWritePrincipal, state: State, response: Response
) -> QuoteView:
    """
    Hold a rate for one purchase, or for one transfer of a pocket that converts.

    What is bought is rounded down, what is paid is rounded up, to a minor unit.
    """
    wanted = QuoteRequest(
        user_id=principal.user_id,
        pay_asset=body.pay_asset,
        buy_asset=body.buy_asset,
        side=body.side,
        amount_minor=parse_minor(body.amount),
        purpose=body.purpose,
    )
    async with state.database.transaction() as session:
        quote = await give_quote(session, wanted, clock=state.clock)
    response.headers["Location"] = f"{state.settings.public_url}{router.prefix}/{quote.id}"
    return quote_view(quote)


@router.get("", responses=problem_responses(*SESSION_PROBLEMS, InvalidCursorError, ValidationError))
async def list_quotes(principal: ReadPrincipal, state: State, page: PageQuery) -> Listed[QuoteView]:
    """List the caller's quotes, newest first."""
    async with state.database.transaction() as session:
        rows = await quotes_of(session, page, user_id=principal.user_id)
    return listed(rows, page, item=quote_view, position=_position)


@router.get(
    "/{quote_id}",
    responses=problem_responses(*SESSION_PROBLEMS, QuoteNotFoundError, ValidationError),
)
async def get_quote(quote_id: QuotePath, principal: ReadPrincipal, state: State) -> QuoteView:
    """Return one of the caller's quotes."""
    async with state.database.transaction() as session:
        return quote_view(await find_quote(session, quote_id, user_id=principal.user_id))


def _position(quote: Quote) -> Position:
    return Position(quote.created_at, quote.id)
