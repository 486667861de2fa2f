"""Sweeps in memory: so many batches as there are addresses worth it, at once."""

from domain.ids import CHAIN_BATCH, new_id
from domain.ports import SweepPlan
from tests.support.fakes import Books, FakeBatch


class FakeSweeper:
    """``domain.ports.Sweeper``."""

    def __init__(self, books: Books, chain_id: str) -> None:
        self._books = books
        self._chain_id = chain_id

    async def plan(self, *, is_forced: bool) -> SweepPlan:
        books = self._books
        books.sweep_plans.append(is_forced)
        if books.worthy or (is_forced and books.crumbs):
            ids = [new_id(CHAIN_BATCH) for _ in range(books.worthy or 1)]
            books.batches |= {each: FakeBatch(each, self._chain_id) for each in ids}
            books.worthy, books.crumbs = 0, 0 if is_forced else books.crumbs
        on_their_way = [b.id for b in books.batches.values() if not b.is_mined]
        return SweepPlan(on_their_way, books.sweep_interval_s)
