"""Asking about everybody whom a run would pay, before any of it is held."""

from sqlmodel import col, select

from domain.ports import AddressScreener
from domain.runs import RunStatus
from infra.database import Database
from models.runs import PayoutRun, PayoutRunLine

PAGE_LINES = 2_000


async def screen_lines(database: Database, screener: AddressScreener, run_id: str) -> None:
    """
    Let a draft's destinations be screened, page by page and outside any unit of work.

    What is said is kept by the screener: a repeat goes on where the last one ended, and the checks
    of the run read it from there. A run that is refused in any case is passed over.

    Raises:
        TransientError: Nobody knows now.
    """
    async with database.transaction() as session:
        run = await session.get(PayoutRun, run_id)
    if run is None or run.status != RunStatus.DRAFT or run.problem_count:
        return
    after = 0
    while lines := await _page(database, run_id, after=after):
        await screener.screen(run.chain_id, {destination for _, destination in lines})
        after = lines[-1][0]


async def _page(database: Database, run_id: str, *, after: int) -> list[tuple[int, str]]:
    async with database.transaction() as session:
        found = await session.exec(
            select(PayoutRunLine.number, PayoutRunLine.destination)
            .where(PayoutRunLine.run_id == run_id, col(PayoutRunLine.number) > after)
            .order_by(col(PayoutRunLine.number))
            .limit(PAGE_LINES)
        )
        return list(found)
