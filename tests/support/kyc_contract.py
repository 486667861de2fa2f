"""The contract of ``domain.kyc.KycDesk``: the desk on PostgreSQL and its fake both keep it."""

from datetime import timedelta
from typing import Protocol

import pytest

from domain.errors import (
    KycApplicationNotFoundError,
    KycApplicationStateError,
    OwnRequestError,
    RoleMissingError,
)
from domain.ids import DECISION, new_id
from domain.kyc import (
    KycDecisionKind,
    KycDecisionRequest,
    KycDesk,
    KycDowngradeRequest,
    KycStatus,
    KycSupply,
    KycTerms,
)

TERMS = KycTerms()
APPROVE, REJECT = KycDecisionKind.APPROVE, KycDecisionKind.REJECT
ASK = KycDecisionKind.REQUEST_INFORMATION


class KycWorld(Protocol):
    """A desk, one applicant, and those who decide."""

    @property
    def desk(self) -> KycDesk: ...

    applicant: str
    reviewer: str
    owner: str
    stranger: str

    async def apply(self, level: int = 1, *, lasts: timedelta | None = None) -> str:
        """Store an application, whose first document expires at most a day after so long."""
        ...

    async def hand_in(self, application_id: str) -> KycSupply:
        """Store a document that was asked for."""
        ...

    async def level(self) -> int: ...

    async def reminders(self, application_id: str) -> int:
        """Return how often somebody was reminded of it."""
        ...

    def wait(self, step: timedelta) -> None: ...


def decision(
    world: KycWorld,
    application_id: str,
    kind: KycDecisionKind = APPROVE,
    *,
    by: str | None = None,
    revision: int = 1,
) -> KycDecisionRequest:
    reviewer = by or world.reviewer
    return KycDecisionRequest(
        new_id(DECISION), application_id, reviewer, kind, revision, "totp", "a note"
    )


def downgrade(
    world: KycWorld, application_id: str, level: int = 0, *, by: str | None = None
) -> KycDowngradeRequest:
    owner = by or world.owner
    return KycDowngradeRequest(new_id(DECISION), application_id, owner, level, "a reason", "totp")


class KycDeskContract[World: KycWorld]:
    """Subclass it and give a fixture ``world``."""

    async def approved(
        self, world: World, level: int = 1, *, lasts: timedelta | None = None
    ) -> str:
        application_id = await world.apply(level, lasts=lasts)
        await world.desk.advance(application_id)
        await world.desk.decide(decision(world, application_id))
        return application_id

    async def test_opens_the_review_once(self, world: World) -> None:
        application_id = await world.apply()
        first = await world.desk.advance(application_id)
        assert (first.status, first.level, first.revision) == (KycStatus.IN_REVIEW, 0, 1)
        assert await world.desk.advance(application_id) == first

    async def test_knows_no_other_application(self, world: World) -> None:
        with pytest.raises(KycApplicationNotFoundError):
            await world.desk.advance("kya_nobodys")

    async def test_grants_what_was_asked_for_once(self, world: World) -> None:
        application_id = await world.apply(2)
        approval = decision(world, application_id)
        standing = await world.desk.decide(approval)
        assert (standing.status, standing.level) == (KycStatus.APPROVED, 2)
        assert await world.desk.decide(approval) == standing
        assert standing.next_at is None
        with pytest.raises(KycApplicationStateError):
            await world.desk.decide(decision(world, application_id, REJECT))
        assert await world.level() == 2

    async def test_of_a_rejected_one_grants_nothing(self, world: World) -> None:
        application_id = await world.apply()
        standing = await world.desk.decide(decision(world, application_id, REJECT))
        assert (standing.status, standing.level) == (KycStatus.REJECTED, 0)
        assert standing.next_at is None
        with pytest.raises(KycApplicationStateError):
            await world.desk.decide(decision(world, application_id))
        with pytest.raises(KycApplicationStateError):
            await world.desk.withdraw(application_id)

    async def test_refuses_whoever_may_not_decide(self, world: World) -> None:
        application_id = await world.apply()
        with pytest.raises(OwnRequestError):
            await world.desk.decide(decision(world, application_id, by=world.applicant))
        for nobody in (world.stranger, world.owner):
            with pytest.raises(RoleMissingError):
                await world.desk.decide(decision(world, application_id, by=nobody))
        assert await world.level() == 0

    async def test_asks_for_more_and_reviews_it_again(self, world: World) -> None:
        application_id = await world.apply()
        asked = await world.desk.decide(decision(world, application_id, ASK))
        assert asked.status == KycStatus.INFORMATION_REQUESTED
        with pytest.raises(KycApplicationStateError):
            await world.desk.decide(decision(world, application_id))
        with pytest.raises(KycApplicationStateError):
            await world.desk.supply(KycSupply(application_id, 2))
        supply = await world.hand_in(application_id)
        again = await world.desk.supply(supply)
        assert (again.status, again.revision) == (KycStatus.IN_REVIEW, 2)
        assert await world.desk.supply(supply) == again
        with pytest.raises(KycApplicationStateError):
            await world.desk.decide(decision(world, application_id, revision=1))
        await world.desk.decide(decision(world, application_id, revision=2))
        assert await world.level() == 1

    async def test_is_taken_back_while_it_is_open(self, world: World) -> None:
        application_id = await world.apply()
        first = await world.desk.withdraw(application_id)
        assert first.status == KycStatus.WITHDRAWN
        assert await world.desk.withdraw(application_id) == first
        with pytest.raises(KycApplicationStateError):
            await world.desk.decide(decision(world, application_id))

    async def test_reminds_and_then_expires(self, world: World) -> None:
        application_id = await world.apply()
        standing = await world.desk.advance(application_id)
        for count in (1, 2):
            world.wait(TERMS.remind_every)
            standing = await world.desk.advance(application_id)
            assert await world.desk.advance(application_id) == standing
            assert await world.reminders(application_id) == count
        world.wait(TERMS.review_within - 2 * TERMS.remind_every - timedelta(seconds=1))
        assert (await world.desk.advance(application_id)).status == KycStatus.IN_REVIEW
        world.wait(timedelta(seconds=1))
        with pytest.raises(KycApplicationStateError):
            await world.desk.decide(decision(world, application_id))
        expired = await world.desk.advance(application_id)
        assert (expired.status, expired.next_at) == (KycStatus.EXPIRED, None)

    async def test_expires_without_the_documents_that_were_asked_for(self, world: World) -> None:
        application_id = await world.apply()
        await world.desk.decide(decision(world, application_id, ASK))
        world.wait(TERMS.remind_every)
        await world.desk.advance(application_id)
        assert await world.reminders(application_id) == 1
        world.wait(TERMS.inform_within)
        assert (await world.desk.advance(application_id)).status == KycStatus.EXPIRED

    async def test_lapses_when_a_document_expires_after_a_notice(self, world: World) -> None:
        application_id = await self.approved(world, 2, lasts=timedelta(days=90))
        world.wait(timedelta(days=61))
        assert (await world.desk.advance(application_id)).status == KycStatus.APPROVED
        assert await world.reminders(application_id) == 1
        world.wait(timedelta(days=31))
        lapsed = await world.desk.advance(application_id)
        assert (lapsed.status, lapsed.level, lapsed.next_at) == (KycStatus.LAPSED, 0, None)
        assert await world.reminders(application_id) == 1

    async def test_is_not_granted_with_a_document_that_has_expired(self, world: World) -> None:
        application_id = await world.apply(lasts=timedelta(days=3))
        await world.desk.advance(application_id)
        world.wait(timedelta(days=5))
        with pytest.raises(KycApplicationStateError):
            await world.desk.decide(decision(world, application_id))
        assert await world.level() == 0

    async def test_lapses_down_to_what_else_was_granted(self, world: World) -> None:
        await self.approved(world, 1)
        second = await self.approved(world, 3, lasts=timedelta(days=40))
        assert await world.level() == 3
        world.wait(timedelta(days=42))
        assert (await world.desk.advance(second)).level == 1

    async def test_lapses_without_effect_where_a_later_one_renewed_it(self, world: World) -> None:
        first = await self.approved(world, 2, lasts=timedelta(days=40))
        world.wait(timedelta(days=20))
        await self.approved(world, 2, lasts=timedelta(days=400))
        world.wait(timedelta(days=25))
        lapsed = await world.desk.advance(first)
        assert (lapsed.status, lapsed.level) == (KycStatus.LAPSED, 2)

    async def test_is_lowered_by_an_owner_once(self, world: World) -> None:
        application_id = await self.approved(world, 3, lasts=timedelta(days=40))
        request = downgrade(world, application_id, 1)
        standing = await world.desk.downgrade(request)
        assert (standing.status, standing.level) == (KycStatus.APPROVED, 1)
        assert await world.desk.downgrade(request) == standing
        with pytest.raises(KycApplicationStateError):
            await world.desk.downgrade(downgrade(world, application_id, 1))
        world.wait(timedelta(days=42))
        assert (await world.desk.advance(application_id)).level == 0

    async def test_is_taken_away_by_an_owner_with_all_that_granted_it(self, world: World) -> None:
        first = await self.approved(world, 1)
        second = await self.approved(world, 3)
        standing = await world.desk.downgrade(downgrade(world, second))
        assert (standing.status, standing.level) == (KycStatus.REVOKED, 0)
        assert (await world.desk.advance(first)).status == KycStatus.REVOKED
        with pytest.raises(KycApplicationStateError):
            await world.desk.downgrade(downgrade(world, second))

    async def test_is_lowered_by_nobody_else(self, world: World) -> None:
        application_id = await self.approved(world, 3)
        with pytest.raises(OwnRequestError):
            await world.desk.downgrade(downgrade(world, application_id, by=world.applicant))
        for nobody in (world.stranger, world.reviewer):
            with pytest.raises(RoleMissingError):
                await world.desk.downgrade(downgrade(world, application_id, by=nobody))
        assert await world.level() == 3
