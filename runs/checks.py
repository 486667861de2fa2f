"""
The checks of a run: the dry run at the upload, and the very same again when it starts.

Lines are judged by one statement over all of them, in the database: a hundred thousand lines ask
as many questions as one. It runs as the API's role over lines that are about to be stored, and as
the worker's over those that are. Only what the text of a line decides was judged before, where it
was read: whether its address belongs to the chain.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Select,
    and_,
    case,
    exists,
    func,
    literal,
    null,
    or_,
)
from sqlalchemy import select as any_select
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.errors import (
    AddressDeniedError,
    AmountOutOfRangeError,
    ConflictError,
    DestinationCoolingDownError,
    DestinationNotInBookError,
    ForbiddenDestinationError,
    InvalidAddressError,
    PayoutRunNotFoundError,
)
from domain.money import format_units
from domain.ports import ScreeningVerdict
from models.deposits import ChainAddress
from models.runs import (
    AddressBookEntry,
    AddressScreening,
    PayoutPreference,
    PayoutRun,
    PayoutRunLine,
    ScreeningAnswer,
)
from models.wallets import Asset, BlockchainWallet, Chain
from runs.terms import RunTerms, RunTotals, run_terms

DUPLICATE_LINE: Final = "duplicate_line"
"""Another line before it says the same destination, amount and reference."""

PROBLEMS_SHOWN_MAX: Final = 100

LINES: Final[FromClause] = PayoutRunLine.__table__  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True)
class LineProblem:
    """What is wrong with a line that could be read."""

    number: int
    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class RunCheck:
    """What a check of a whole run found."""

    totals: RunTotals
    problem_count: int
    """Lines with a problem."""
    line_problems: tuple[LineProblem, ...]
    """The first of them."""
    terms: RunTerms

    @property
    def can_start(self) -> bool:
        """Tell whether nothing stands in the way."""
        return not (self.problem_count or self.terms.problems)


@dataclass(frozen=True, slots=True)
class Yardstick:
    """What the lines of a run are held against."""

    user_id: str
    asset: Asset
    chain: Chain
    now: datetime


async def check_lines(session: AsyncSession, run_id: str, *, now: datetime) -> RunCheck:
    """
    Return what stands in the way of a run, by what the database says at this moment.

    Raises:
        PayoutRunNotFoundError: There is no such run.
    """
    run = await session.get(PayoutRun, run_id)
    if run is None:
        raise PayoutRunNotFoundError
    asset = await session.get_one(Asset, run.asset)
    yardstick = Yardstick(run.user_id, asset, await session.get_one(Chain, run.chain_id), now)
    totals = await totals_of(session, LINES, run_id, asset)
    faulty = faulty_lines(LINES, run_id, yardstick).cte("faulty")
    rows = await session.execute(
        any_select(faulty.c.number, faulty.c.code, faulty.c.detail, func.count().over())
        .order_by(faulty.c.number)
        .limit(PROBLEMS_SHOWN_MAX)
    )
    found = rows.all()
    return RunCheck(
        totals=totals,
        problem_count=found[0][3] if found else 0,
        line_problems=tuple(LineProblem(*row[:3]) for row in found),
        terms=await run_terms(session, run, totals, now=now),
    )


async def totals_of(
    session: AsyncSession, lines: FromClause, run_id: str, asset: Asset
) -> RunTotals:
    """Return what these lines add up to, with the service fees of today."""
    row = await session.execute(
        any_select(func.count(), func.coalesce(func.sum(lines.c.amount_minor), 0)).where(
            lines.c.run_id == run_id
        )
    )
    count, total = row.one()
    return RunTotals(int(count), int(total), int(count) * asset.payout_fee_minor)


def faulty_lines(lines: FromClause, run_id: str, yardstick: Yardstick) -> Select[Any]:
    """
    Return the statement that finds lines with a problem: ``number``, ``code`` and ``detail``.

    ``lines`` has the columns of ``payout_run_line``. A line has at most one problem: the first of
    address, amount, our own addresses, repetition, screening, address book.
    """
    judged = _judged(lines, run_id, yardstick).subquery("judged")
    return any_select(judged.c.number, judged.c.code, _detail(judged, yardstick.asset)).where(
        judged.c.code.is_not(None)
    )


def _judged(lines: FromClause, run_id: str, yardstick: Yardstick) -> Select[Any]:
    chain_id = yardstick.chain.id
    screening, answer, book = AddressScreening, ScreeningAnswer, AddressBookEntry
    first = func.min(lines.c.number).over(
        partition_by=(
            lines.c.destination,
            lines.c.amount_minor,
            func.coalesce(lines.c.reference, ""),
        )
    )
    is_token = exists(select(Asset.code).where(col(Asset.contract_address) == lines.c.destination))
    code = case(
        (lines.c.problem_code == InvalidAddressError.code, InvalidAddressError.code),
        (_is_out_of_range(lines, yardstick.asset), AmountOutOfRangeError.code),
        (or_(_is_ours(lines, yardstick.chain), is_token), ForbiddenDestinationError.code),
        (first < lines.c.number, DUPLICATE_LINE),
        (
            func.coalesce(screening.verdict, answer.verdict) == ScreeningVerdict.DENY,
            AddressDeniedError.code,
        ),
        (and_(_is_book_only(yardstick), col(book.id).is_(None)), DestinationNotInBookError.code),
        (
            and_(_is_book_only(yardstick), col(book.usable_from) > yardstick.now),
            DestinationCoolingDownError.code,
        ),
        else_=null(),
    )
    return (
        any_select(
            lines.c.number,
            lines.c.amount_minor,
            lines.c.problem_detail,
            code.label("code"),
            first.label("first"),
            is_token.label("is_token"),
            col(book.usable_from).label("usable_from"),
        )
        .select_from(lines)
        .outerjoin(screening, _is_about(screening, lines, chain_id))
        .outerjoin(answer, _is_about(answer, lines, chain_id))
        .outerjoin(
            book,
            and_(
                col(book.user_id) == yardstick.user_id,
                col(book.chain_id) == chain_id,
                col(book.address) == lines.c.destination,
                col(book.removed_at).is_(None),
            ),
        )
        .where(lines.c.run_id == run_id)
    )


def _is_about(
    said: type[AddressScreening | ScreeningAnswer], lines: FromClause, chain_id: str
) -> ColumnElement[bool]:
    return and_(col(said.chain_id) == chain_id, col(said.address) == lines.c.destination)


def _is_out_of_range(lines: FromClause, asset: Asset) -> ColumnElement[bool]:
    is_below = lines.c.amount_minor < asset.payout_min_minor
    if asset.payout_max_minor is None:
        return is_below
    return or_(is_below, lines.c.amount_minor > asset.payout_max_minor)


def _is_ours(lines: FromClause, chain: Chain) -> ColumnElement[bool]:
    destination = lines.c.destination
    return or_(
        # By name: the wallet's key is a column that no process but the signer may read.
        exists(
            select(BlockchainWallet.address).where(col(BlockchainWallet.address) == destination)
        ),
        exists(select(ChainAddress.id).where(col(ChainAddress.address) == destination)),
        destination == (chain.disperse_address or ""),
    )


def _is_book_only(yardstick: Yardstick) -> ColumnElement[bool]:
    # Switched off, it holds for its cool-down all the same; see ``payouts.book.is_book_only``.
    holds = col(PayoutPreference.is_book_only) | (
        col(PayoutPreference.book_only_until) > yardstick.now
    )
    return exists(
        select(PayoutPreference.user_id).where(PayoutPreference.user_id == yardstick.user_id, holds)
    )


def _detail(judged: FromClause, asset: Asset) -> ColumnElement[str]:
    def units(amount_minor: int) -> str:
        return f"{format_units(amount_minor, decimals=asset.decimals)} {asset.code}"

    least = literal(f"The least payout is {units(asset.payout_min_minor)}.")
    most = literal(f"The largest payout is {units(asset.payout_max_minor or 0)}.")
    token = literal("The destination is a token's own contract, which would keep what it receives.")
    usable = func.to_char(func.timezone("UTC", judged.c.usable_from), 'YYYY-MM-DD HH24:MI "UTC"')
    said = {
        InvalidAddressError.code: judged.c.problem_detail,
        AmountOutOfRangeError.code: case(
            (judged.c.amount_minor < asset.payout_min_minor, least), else_=most
        ),
        ForbiddenDestinationError.code: case(
            (judged.c.is_token, token),
            else_=literal("The destination is one of our own addresses."),
        ),
        DUPLICATE_LINE: func.concat(
            "Line ", judged.c.first, " says the same destination, amount and reference."
        ),
        AddressDeniedError.code: literal("Screening forbids paying this address."),
        DestinationNotInBookError.code: literal("The address is not in the address book."),
        DestinationCoolingDownError.code: func.concat(
            "The address book lets it be paid from ", usable, " on."
        ),
    }
    whens = [(judged.c.code == code, detail) for code, detail in said.items()]
    return case(*whens, else_=literal(ConflictError.title)).label("detail")
