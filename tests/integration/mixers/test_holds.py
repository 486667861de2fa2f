"""Holds, freezes and screening stop a mix; the audit trail tells of it; the check notices theft."""

from datetime import timedelta

import pytest
from sqlalchemy.exc import DBAPIError
from sqlmodel import select

from domain.errors import InvariantError, MixStateError
from domain.mixing.messages import HoldKind, MixStatus
from domain.payouts import PayoutStatus
from domain.ports import ScreeningVerdict
from infra.keyring import Keyring
from ledger import chart, rules
from mixers.audit import read_trail
from models.deposits import UserFreeze
from models.mixing import MixAddress, MixAudit
from models.runs import AddressScreening
from tests.support.books import CHAIN, HOT
from tests.support.mixing import KEYS, MixHouse, age_trail


class TestLegalHold:
    async def test_lets_nothing_leave_and_draws_anew_when_lifted(self, house: MixHouse) -> None:
        mix = await house.funded()
        await house.desk.hold(house.act(mix))
        await house.after(mix)
        assert await house.payouts(mix) == []
        lifted_at = house.clock.now()
        await house.desk.release_hold(house.act(mix))
        assert all(dole.due_at > lifted_at for dole in await house.doles(mix))
        await house.after(mix)
        assert len(await house.payouts(mix)) == len(await house.doles(mix))

    async def test_keeps_parts_that_were_released_and_wait_to_be_sent(
        self, house: MixHouse
    ) -> None:
        mix = await house.funded()
        await house.after(mix)
        await house.desk.hold(house.act(mix))
        house.clock.advance(timedelta(minutes=2))
        assert (
            await house.books.log.claim(chain_id=CHAIN, wallet_address=HOT, claim_key="while held")
            is None
        )
        await house.desk.release_hold(house.act(mix))
        batch_id = await house.books.claim()
        await house.books.runner.prepare(batch_id)
        await house.desk.hold(house.act(mix))
        await house.books.log.allocate(batch_id)
        assert {p.status for p in await house.payouts(mix)} == {PayoutStatus.READY}

    async def test_lets_nothing_be_given_back(self, house: MixHouse) -> None:
        mix = await house.opened()
        await house.desk.hold(house.act(mix))
        await house.fund(mix, 100)
        assert (await house.available(), await house.owed(mix)) == (0, 100)
        assert await house.faults() == []
        with pytest.raises(MixStateError):
            await house.desk.cancel(mix.id)
        await house.desk.release_hold(house.act(mix))
        await house.advance(mix)
        assert await house.available() == 100

    async def test_goes_on_through_a_reorg(self, house: MixHouse) -> None:
        mix = await house.opened()
        deposit_id = await house.fund(mix, 20_000)
        await house.desk.hold(house.act(mix))
        await house.drop(deposit_id)
        await house.advance(mix)
        assert await house.owed(mix) == 0
        assert (await house.mix(mix.id)).hold_kind == HoldKind.LEGAL

    async def test_is_lifted_once(self, house: MixHouse) -> None:
        mix = await house.funded()
        with pytest.raises(MixStateError):
            await house.desk.release_hold(house.act(mix))


class TestOwnHolds:
    async def test_a_part_to_an_address_that_is_denied_by_now(self, house: MixHouse) -> None:
        mix = await house.funded()
        last = (await house.doles(mix))[-1]
        async with house.books.owner.transaction() as session:
            session.add(
                AddressScreening(
                    chain_id=CHAIN,
                    address=str(last.address),
                    verdict=ScreeningVerdict.DENY,
                    reason="sanctioned",
                    created_by="a1",
                )
            )
        await house.after(mix)
        assert (await house.mix(mix.id)).hold_kind == HoldKind.SCREENING
        assert await house.payouts(mix) == []

    async def test_a_deposit_that_people_should_look_at(self, house: MixHouse) -> None:
        rules_ = [{"asset": "*", "up_to_minor": "5000", "approvals": 0}]
        await house.books.set_policy({"rules": rules_})
        mix = await house.funded(20_000)
        assert mix.hold_kind == HoldKind.REVIEW
        await house.after(mix)
        assert await house.payouts(mix) == []
        await house.desk.release_hold(house.act(mix))
        await house.after(mix)
        assert len(await house.payouts(mix)) > 0

    async def test_is_looked_at_even_if_a_legal_hold_came_in_between(self, house: MixHouse) -> None:
        rules_ = [{"asset": "*", "up_to_minor": "5000", "approvals": 0}]
        await house.books.set_policy({"rules": rules_})
        mix = await house.funded(20_000)
        await house.desk.hold(house.act(mix))
        for kind in (HoldKind.REVIEW, None):
            await house.desk.release_hold(house.act(mix))
            assert (await house.mix(mix.id)).hold_kind == kind

    async def test_a_part_that_needs_approvers_by_now(self, house: MixHouse) -> None:
        mix = await house.funded()
        await house.books.set_policy({"rules": []})
        await house.after(mix)
        assert (await house.mix(mix.id)).hold_kind == HoldKind.POLICY
        assert await house.payouts(mix) == []


class TestGivingBack:
    async def test_gives_what_screening_lets_never_leave(self, house: MixHouse) -> None:
        mix = await house.funded()
        doles = await house.doles(mix)
        await house.after(mix, doles[0].due_at - house.clock.now())
        left = sum(p.amount_minor for p in await house.payouts(mix))
        await house.desk.hold(house.act(mix))
        standing = await house.desk.release_hold(house.act(mix, gives_back=True))
        # The part that has left is still on its way.
        assert standing.status == MixStatus.MIXING
        assert (await house.owed(mix), await house.fees()) == (0, 200)
        assert await house.available() == 19_800 - left
        assert await house.faults() == []
        await house.after(mix)
        assert sum(p.amount_minor for p in await house.payouts(mix)) == left
        # What still comes is not mixed, and nothing is given back again.
        await house.fund(mix, 20_000)
        assert await house.available() == 39_800 - left
        with pytest.raises(MixStateError):
            await house.desk.release_hold(house.act(mix, gives_back=True))
        assert (await house.desk.cancel(mix.id)).status == MixStatus.MIXING
        assert await house.available() == 39_800 - left

    async def test_gives_the_fee_too_where_nothing_has_left(self, house: MixHouse) -> None:
        mix = await house.funded(20_070)
        await house.desk.hold(house.act(mix))
        standing = await house.desk.release_hold(house.act(mix, gives_back=True))
        assert standing.status == MixStatus.CANCELLED
        assert (await house.available(), await house.fees()) == (20_070, 0)

    async def test_of_what_the_chain_takes_back_is_a_debt(self, house: MixHouse) -> None:
        mix = await house.opened()
        deposit_id = await house.fund(mix, 20_000)
        doles = await house.doles(mix)
        await house.after(mix, doles[0].due_at - house.clock.now())
        left = sum(p.amount_minor for p in await house.payouts(mix))
        await house.desk.hold(house.act(mix))
        await house.desk.release_hold(house.act(mix, gives_back=True))
        await house.drop(deposit_id)
        assert await house.faults() == []
        await house.advance(mix)
        assert (await house.available(), await house.owed(mix), await house.fees()) == (-left, 0, 0)
        await house.confirm(deposit_id)
        assert await house.faults() == []
        await house.advance(mix)
        assert await house.available() == 20_000 - left


class TestFreezes:
    async def test_keep_parts_where_they_are_until_lifted(self, house: MixHouse) -> None:
        mix = await house.funded()
        async with house.books.owner.transaction() as session:
            session.add(UserFreeze(id="frz_1", user_id="u1"))
        standing = await house.after(mix)
        assert await house.payouts(mix) == []
        assert standing.wake_at is not None
        assert standing.wake_at > house.clock.now()
        await house.books.execute("UPDATE user_freeze SET lifted_at = now()")
        await house.advance(mix)
        assert len(await house.payouts(mix)) > 0

    async def test_a_debt_of_the_user_keeps_parts_where_they_are(self, house: MixHouse) -> None:
        mix = await house.funded()
        await house.books.ledger.post(
            rules.deposit_reversal(
                deposit_id="dep_other",
                credit=1,
                target=chart.available("u1"),
                chain_id=CHAIN,
                asset="ETH",
                amount_minor=7,
                at=house.clock.now(),
            )
        )
        standing = await house.after(mix)
        assert standing.status == MixStatus.MIXING
        assert await house.payouts(mix) == []
        await house.books.deposit("u1", "ETH", 7)
        await house.advance(mix)
        assert len(await house.payouts(mix)) > 0


class TestAuditTrail:
    async def test_says_who_mixed_what_to_where(self, house: MixHouse) -> None:
        mix = await house.funded()
        await house.desk.hold(house.act(mix, "case 17"))
        async with house.api.transaction() as session:
            lines = await read_trail(session, KEYS, mix.id)
        assert [line.what for line in lines] == ["opened", "deposit", "held"]
        assert lines[0].data["user_id"] == "u1"
        addresses = lines[0].data["addresses"]
        assert {dole.address for dole in await house.doles(mix)} == set(addresses)  # type: ignore[arg-type]
        assert lines[2].data == {"kind": "legal", "by": "a1", "why": "case 17"}

    async def test_is_sealed_and_tied_to_its_place(self, house: MixHouse) -> None:
        mix = await house.funded()
        async with house.books.owner.transaction() as session:
            rows = (await session.exec(select(MixAudit))).all()
        assert all(b"u1" not in row.sealed for row in rows)
        with pytest.raises(InvariantError):
            KEYS.open(rows[0].sealed, associated=f"mix_audit:{mix.id}:{rows[1].id}".encode())
        with pytest.raises(InvariantError):
            Keyring({"mixer-1": bytes([1] * 32)}).open(rows[0].sealed, associated=b"")

    async def test_is_purged_when_its_time_is_over(self, house: MixHouse) -> None:
        mix = await house.funded()
        await house.after(mix)
        await house.books.tamper("UPDATE payout SET status = 'settled'")
        await house.advance(mix)
        await age_trail(house)
        assert await house.checker.purge() > 0
        async with house.books.owner.transaction() as session:
            assert (await session.exec(select(MixAudit))).all() == []
            given = (await session.exec(select(MixAddress))).all()
        assert {row.address for row in given} == {None}
        assert {dole.address for dole in await house.doles(mix)} == {None}
        # Forgotten, the addresses are still not given again.
        again = await house.open(to=[p.destination for p in await house.payouts(mix)][:1])
        assert again.reason_code == "address_reused"

    async def test_is_kept_while_the_mix_is_open(self, house: MixHouse) -> None:
        mix = await house.opened()
        await age_trail(house)
        assert await house.checker.purge() == 0
        await house.fund(mix, 20_000)
        assert len(await house.doles(mix)) > 0
        await age_trail(house)
        assert await house.checker.purge() == 0

    async def test_is_kept_while_the_mix_is_held(self, house: MixHouse) -> None:
        mix = await house.funded()
        await house.desk.hold(house.act(mix))
        await age_trail(house)
        assert await house.checker.purge() == 0
        with pytest.raises(DBAPIError, match="is kept"):
            await house.books.execute("DELETE FROM mix_audit")

    async def test_is_not_purged_before(self, house: MixHouse) -> None:
        await house.funded()
        # The database has a clock of its own.
        await house.books.tamper("UPDATE mix_audit SET keep_until = '2100-01-01'")
        assert await house.checker.purge() == 0
        with pytest.raises(DBAPIError, match="is kept"):
            await house.books.execute("DELETE FROM mix_audit")


class TestGuards:
    @pytest.mark.parametrize(
        "statement",
        [
            "UPDATE mix_dole SET amount_minor = amount_minor + 1",
            "UPDATE mix_dole SET address = '0x00'",
            "UPDATE mix SET policy = '{}'",
            "UPDATE payout SET mix_id = NULL",
            "DELETE FROM mix_event",
        ],
    )
    async def test_keep_what_was_drawn(self, house: MixHouse, statement: str) -> None:
        mix = await house.funded()
        await house.after(mix)
        with pytest.raises(DBAPIError):
            await house.books.execute(statement)

    async def test_keep_a_dole_out_from_being_paid_twice(self, house: MixHouse) -> None:
        mix = await house.funded()
        await house.after(mix)
        (payout, *_) = await house.payouts(mix)
        with pytest.raises(DBAPIError, match="one of its dole-outs"):
            await house.books.execute(
                "INSERT INTO payout SELECT (jsonb_populate_record(p, "  # noqa: S608
                '\'{"id": "pay_other", "principal": "other"}\')).* '
                f"FROM payout p WHERE id = '{payout.id}'"
            )


class TestCheck:
    async def test_notices_what_left_without_a_dole_out(self, house: MixHouse) -> None:
        mix = await house.funded()
        stolen = rules.transfer(
            key="theft",
            source=chart.mix_owed(mix.id),
            target=chart.available("u2"),
            asset="ETH",
            amount_minor=1,
            at=house.clock.now(),
        )
        await house.books.ledger.post(stolen)
        (fault,) = await house.faults()
        assert fault.mixes == (mix.id,)
        assert fault.house_minor - fault.fees_minor - fault.owed_minor == 1
        async with house.api.transaction() as session:
            row = await session.get_one(type(house.mixer), house.mixer.id)
        assert row.imbalance_minor == 1
        back = rules.transfer(
            key="back",
            source=chart.available("u2"),
            target=chart.mix_owed(mix.id),
            asset="ETH",
            amount_minor=1,
            at=house.clock.now(),
        )
        await house.books.ledger.post(back)
        assert await house.faults() == []

    async def test_notices_what_moved_from_one_mix_to_another(self, house: MixHouse) -> None:
        first, second = await house.funded(), await house.funded(user_id="u2")
        for key, source, target in (("a", first, second), ("b", second, first)):
            await house.books.ledger.post(
                rules.transfer(
                    key=key,
                    source=chart.mix_owed(source.id),
                    target=chart.mix_owed(target.id),
                    asset="ETH",
                    amount_minor=5,
                    at=house.clock.now(),
                )
            )
            faults = await house.faults()
            # The house as a whole is in balance; the alert is raised all the same.
            assert [fault.imbalance_minor for fault in faults] == ([10] if key == "a" else [])
            assert [set(fault.mixes) for fault in faults] == (
                [{first.id, second.id}] if key == "a" else []
            )
