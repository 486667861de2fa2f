"""What customers, approvers and operators ask for at any moment, and ask for again."""

import asyncio
from collections.abc import Sequence

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from domain.ids import DECISION, derived_id, new_id
from domain.payouts import Decision, DecisionKind, OperatorAction
from domain.runs import RunCancellation, RunDecisionRequest, RunStart
from models.payouts import Payout
from tests.integration.runs.interleaved import InterleavedMachine, Request, deaths
from tests.integration.runs.promises import ASSETS
from tests.support.books import APPROVERS, CHAIN, FEE_MINOR, USERS
from tests.support.runs import FIRST_LINE, store_draft, stranger

STRANGERS = 4
"""Who is paid: few, so that runs and payouts share them, and a run may pay one twice."""

users = st.sampled_from(USERS)
assets = st.sampled_from(sorted(ASSETS))
approvers = st.sampled_from(APPROVERS)
whom = st.lists(st.integers(1, STRANGERS), min_size=1, max_size=5)
extras = st.integers(0, 999)
which = st.integers(0, 30)
chosen = st.none() | st.sets(st.integers(FIRST_LINE, FIRST_LINE + 4), min_size=1, max_size=3)
kinds = st.sampled_from([DecisionKind.APPROVE, DecisionKind.APPROVE, DecisionKind.REJECT])


def has_asked(machine: "CustomerRules") -> bool:
    return bool(machine.asked)


def named(lines: set[int] | None) -> str | None:
    return None if lines is None else ",".join(map(str, sorted(lines)))


class CustomerRules(InterleavedMachine):
    """Requests; each is kept and may be repeated word by word."""

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

    def any_payout(self, number: int) -> Payout | None:
        """Return one of the payouts and lines, the newest first."""
        found = sorted(self.facts().payouts, key=lambda p: p.amount_minor, reverse=True)
        return found[number % len(found)] if found else None

    @rule(user=users, asset=assets, whom=whom, extra=extras, dies_at=deaths)
    def start_run(
        self, user: str, asset: str, whom: list[int], *, extra: int, dies_at: int | None
    ) -> None:
        self.ask(self.draft(user, asset, whom, extra), dies_at)

    @rule(user=users, asset=assets, whom=whom, others=whom, extra=extras)
    def start_two_at_once(
        self, user: str, asset: str, whom: list[int], *, others: list[int], extra: int
    ) -> None:
        """Start two runs at the same moment, each from two windows."""
        both = [self.draft(user, asset, each, extra) for each in (whom, others)]
        self.asked += both

        async def at_once() -> None:
            await asyncio.gather(*(start() for start in both * 2))

        self.live(at_once())

    @rule(user=users, asset=assets, whom=st.integers(1, STRANGERS), extra=extras, dies_at=deaths)
    def pay_one(self, user: str, asset: str, whom: int, *, extra: int, dies_at: int | None) -> None:
        """Pay somebody beside the runs, as who failed in a run is paid again."""
        amount_minor = self.new_amount(extra)
        request = self.books.request(
            amount_minor=amount_minor, user_id=user, asset=asset, destination=stranger(whom)
        )
        self.ask(lambda: self.books.desk.freeze(request), dies_at)

    @precondition(has_asked)
    @rule(of=which, dies_at=deaths)
    def ask_again(self, of: int, dies_at: int | None) -> None:
        self.live(self.asked[of % len(self.asked)](), dies_at)

    @precondition(has_asked)
    @rule(of=which, approver=approvers, kind=kinds, lines=chosen, dies_at=deaths)
    def decide(
        self,
        of: int,
        approver: str,
        kind: DecisionKind,
        *,
        lines: set[int] | None,
        dies_at: int | None,
    ) -> None:
        payout = self.any_payout(of)
        if payout is None:
            return
        decision_id = derived_id(DECISION, payout.id, approver, kind)
        if payout.run_id is None:
            single = Decision(decision_id, payout.id, approver, kind, "totp")
            self.ask(lambda: self.books.desk.decide(single), dies_at)
            return
        of_run = RunDecisionRequest(
            decision_id, payout.run_id, approver, kind, "totp", named(lines)
        )
        self.ask(lambda: self.runs.desk.decide(of_run), dies_at)

    @precondition(has_asked)
    @rule(of=which, lines=chosen, dies_at=deaths)
    def cancel(self, of: int, lines: set[int] | None, *, dies_at: int | None) -> None:
        """Take back a payout, or some lines of a run, or all."""
        payout = self.any_payout(of)
        if payout is None:
            return
        if payout.run_id is None:
            self.ask(lambda: self.books.desk.cancel(payout.id), dies_at)
            return
        cancellation = RunCancellation(new_id("act"), payout.run_id, named(lines))
        self.ask(lambda: self.runs.desk.cancel(cancellation), dies_at)

    @precondition(has_asked)
    @rule(of=which, is_refund=st.booleans(), dies_at=deaths)
    def lend_a_hand(self, of: int, *, is_refund: bool, dies_at: int | None) -> None:
        """Let an operator refund or retry what may be stuck."""
        payout = self.any_payout(of)
        if payout is not None:
            action = OperatorAction(payout.id, "op")
            act = self.books.log.refund if is_refund else self.books.log.retry
            self.ask(lambda: act(action), dies_at)
