"""What customers, approvers and operators ask for at any moment, and ask for again."""

import asyncio
from collections.abc import Callable, Sequence

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from domain.runs import RunStart
from models.payouts import Payout
from tests.integration.runs.facts import ASSETS
from tests.integration.runs.hands import AGAIN, HANDS, Hands
from tests.integration.runs.interleaved import Request, deaths
from tests.support.books import APPROVERS, CHAIN, FEE_MINOR, USERS
from tests.support.runs import FIRST_LINE, store_draft, stranger

STRANGERS = 4
"""Who is paid: few, so that runs and payouts share them, and a run may pay one twice."""

LINES_MAX = 12
"""As many are asked for; what follows has the rest of the history for its own."""

users = st.sampled_from(USERS)
assets = st.sampled_from(sorted(ASSETS))
approvers = st.sampled_from(APPROVERS)
strangers = st.integers(1, STRANGERS)
whom = st.lists(strangers, min_size=1, max_size=4)
others: st.SearchStrategy[list[int]] = st.just([]) | st.just([]) | whom
extras = st.integers(0, 999)
which = st.integers(0, 30)
chosen = st.none() | st.sets(st.integers(FIRST_LINE, FIRST_LINE + 4), min_size=1, max_size=3)


def asks_little(machine: "CustomerRules") -> bool:
    return machine.amounts < LINES_MAX


def has_asked(machine: "CustomerRules") -> bool:
    return bool(machine.asked)


def named(lines: set[int] | None) -> str | None:
    return None if lines is None else ",".join(map(str, sorted(lines)))


class CustomerRules(Hands):
    """Requests; each is kept and may be repeated word by word."""

    @initialize(
        confirmations=st.sampled_from([5, 5, 2]),
        outputs_max=st.sampled_from([3, 3, 2, 1]),
        batch_size=st.integers(1, 3),
        approvals=st.sampled_from([(0, 0), (0, 0), (0, 2), (1, 0)]),
        asset=assets,
        whom=whom,
    )
    def begin(
        self,
        confirmations: int,
        outputs_max: int,
        batch_size: int,
        *,
        approvals: tuple[int, int],
        asset: str,
        whom: list[int],
    ) -> None:
        """Open the books, with a run to pay in every history."""
        self.open(
            confirmations=confirmations,
            outputs_max=outputs_max,
            batch_size=batch_size,
            approvals=approvals,
        )
        self.ask(self.draft(USERS[0], asset, whom, 0), None)

    def ask(self, request: Request, dies_at: int | None) -> None:
        self.asked.append(request)
        self.live(request(), dies_at)

    def draft(self, user: str, asset: str, whom: Sequence[int], extra: int) -> Request:
        """Store a draft; return the wish to start it."""
        paid = [(stranger(n), self.new_amount(extra)) for n in whom]
        run_id = self.wait(
            store_draft(
                self.books, paid, asset=asset, chain_id=CHAIN, fee_minor=FEE_MINOR, user_id=user
            )
        )
        self.run_ids.append(run_id)
        start = RunStart(run_id, user, f"key {run_id}")
        return lambda: self.runs.desk.start(start)

    @precondition(asks_little)
    @rule(user=users, asset=assets, whom=whom, others=others, extra=extras, dies_at=deaths)
    def start_runs(
        self,
        user: str,
        asset: str,
        whom: list[int],
        *,
        others: list[int],
        extra: int,
        dies_at: int | None,
    ) -> None:
        """Start a run; or two at the same moment, each from two windows."""
        starts = [self.draft(user, asset, each, extra) for each in (whom, others) if each]
        self.asked += starts

        async def at_once() -> None:
            await asyncio.gather(*(start() for start in starts * len(starts)))

        self.live(at_once(), dies_at)

    @precondition(asks_little)
    @rule(user=users, asset=assets, whom=strangers, extra=extras, dies_at=deaths)
    def pay_one(self, user: str, asset: str, whom: int, *, extra: int, dies_at: int | None) -> None:
        """Pay somebody beside the runs, as who failed in a run is paid again."""
        amount_minor = self.new_amount(extra)
        request = self.books.request(
            amount_minor=amount_minor, user_id=user, asset=asset, destination=stranger(whom)
        )
        self.ask(lambda: self.books.desk.freeze(request), dies_at)

    @precondition(has_asked)
    @rule(of=which, what=st.sampled_from(HANDS), approver=approvers, lines=chosen, dies_at=deaths)
    def lay_hands_on(
        self,
        of: int,
        what: str,
        approver: str,
        *,
        lines: set[int] | None,
        dies_at: int | None,
    ) -> None:
        """Decide on a payout or on lines, take them back, refund or retry; or ask as before."""
        found = sorted(self.facts().payouts, key=lambda p: p.amount_minor, reverse=True)
        if not found or what == AGAIN:
            self.live(self.asked[of % len(self.asked)](), dies_at)
            return
        payout = found[of % len(found)]
        request: Callable[[Payout, str, str | None], Request] = getattr(self, f"_{what}")
        self.ask(request(payout, approver, named(lines)), dies_at)
