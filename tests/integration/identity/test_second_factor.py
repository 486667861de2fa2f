import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import text

from domain.errors import (
    EnrolmentMissingError,
    InvariantError,
    SecondFactorAlreadyEnabledError,
    SecondFactorInvalidError,
    SecondFactorLockedError,
    SecondFactorNotEnabledError,
    StrongroomError,
)
from identity.services import Identity
from infra.database import Database
from tests.support.clocks import MovableClock
from tests.support.identity import KEYRING, Person, new_person

PAY_ADA, PAY_BOB = "fingerprint of paying ada", "fingerprint of paying bob"


async def outcome_of(identity: Identity, person: Person, code: str, fingerprint: str) -> str:
    try:
        await identity.second_factors.verify(person.id, code, fingerprint=fingerprint)
    except StrongroomError as error:
        return error.code
    return "taken"


class TestEnrolment:
    async def test_offers_a_secret_that_an_app_can_read(
        self, identity: Identity, person: Person
    ) -> None:
        enrolment = await identity.second_factors.enrol(person.id, email=person.email)

        assert enrolment.otpauth_uri.startswith("otpauth://totp/Strongroom:ada%40example.org?")
        assert f"secret={enrolment.secret}" in enrolment.otpauth_uri
        assert enrolment.qr_data_uri.startswith("data:image/svg+xml")

    async def test_does_not_count_before_it_is_confirmed(
        self, identity: Identity, person: Person
    ) -> None:
        enrolment = await identity.second_factors.enrol(person.id, email=person.email)
        person.secret = enrolment.secret

        with pytest.raises(SecondFactorNotEnabledError):
            await identity.second_factors.verify(person.id, person.code(), fingerprint=PAY_ADA)

    async def test_forgets_an_unconfirmed_secret(self, identity: Identity, person: Person) -> None:
        person.secret = (await identity.second_factors.enrol(person.id, email=person.email)).secret
        await identity.second_factors.enrol(person.id, email=person.email)

        with pytest.raises(SecondFactorInvalidError):
            await identity.second_factors.confirm(person.id, person.code())

    async def test_cannot_replace_an_enabled_second_factor(
        self, identity: Identity, enrolled: Person
    ) -> None:
        with pytest.raises(SecondFactorAlreadyEnabledError):
            await identity.second_factors.enrol(enrolled.id, email=enrolled.email)
        with pytest.raises(SecondFactorAlreadyEnabledError):
            await identity.second_factors.confirm(enrolled.id, enrolled.code())

    async def test_cannot_be_confirmed_before_it_was_asked_for(
        self, identity: Identity, person: Person
    ) -> None:
        with pytest.raises(EnrolmentMissingError):
            await identity.second_factors.confirm(person.id, "000000")

    async def test_stores_the_secret_sealed_for_its_user(
        self, database: Database, enrolled: Person
    ) -> None:
        async with database.statement() as connection:
            sealed = (
                await connection.execute(text("SELECT sealed_secret FROM second_factor"))
            ).scalar_one()

        assert enrolled.secret.encode() not in sealed
        assert KEYRING.open(sealed, associated=enrolled.id.encode()) == enrolled.secret.encode()
        with pytest.raises(InvariantError):
            KEYRING.open(sealed, associated=b"usr_somebody_else")

    async def test_uses_the_confirming_code_up(self, identity: Identity, enrolled: Person) -> None:
        outcome = await outcome_of(identity, enrolled, enrolled.code(steps=-1), PAY_ADA)

        assert outcome == "second_factor_invalid"


class TestVerify:
    @pytest.mark.parametrize("steps", [-1, 0, 1])
    async def test_takes_codes_one_step_around_now(
        self, identity: Identity, enrolled: Person, clock: MovableClock, steps: int
    ) -> None:
        clock.advance(timedelta(minutes=5))

        outcome = await outcome_of(identity, enrolled, enrolled.code(steps=steps), PAY_ADA)

        assert outcome == "taken"

    @pytest.mark.parametrize("steps", [-2, 2])
    async def test_refuses_codes_two_steps_away(
        self, identity: Identity, enrolled: Person, clock: MovableClock, steps: int
    ) -> None:
        clock.advance(timedelta(minutes=5))

        outcome = await outcome_of(identity, enrolled, enrolled.code(steps=steps), PAY_ADA)

        assert outcome == "second_factor_invalid"

    async def test_refuses_a_used_code_for_another_operation(
        self, identity: Identity, enrolled: Person
    ) -> None:
        code = enrolled.code()

        outcomes = [await outcome_of(identity, enrolled, code, f) for f in (PAY_ADA, PAY_BOB)]

        assert outcomes == ["taken", "second_factor_invalid"]

    async def test_takes_a_used_code_again_for_the_same_operation(
        self, identity: Identity, enrolled: Person
    ) -> None:
        code = enrolled.code()

        outcomes = [await outcome_of(identity, enrolled, code, PAY_ADA) for _ in range(3)]

        assert outcomes == ["taken", "taken", "taken"]

    async def test_refuses_codes_older_than_the_last_one_taken(
        self, identity: Identity, enrolled: Person, clock: MovableClock
    ) -> None:
        clock.advance(timedelta(minutes=5))
        older = enrolled.code(steps=-1)
        await identity.second_factors.verify(enrolled.id, enrolled.code(), fingerprint=PAY_ADA)

        assert await outcome_of(identity, enrolled, older, PAY_BOB) == "second_factor_invalid"
        assert await outcome_of(identity, enrolled, older, PAY_ADA) == "second_factor_invalid"

    async def test_refuses_the_same_operation_once_its_code_is_too_old(
        self, identity: Identity, enrolled: Person, clock: MovableClock
    ) -> None:
        code = enrolled.code()
        await identity.second_factors.verify(enrolled.id, code, fingerprint=PAY_ADA)
        clock.advance(timedelta(seconds=90))

        assert await outcome_of(identity, enrolled, code, PAY_ADA) == "second_factor_invalid"

    async def test_lets_one_of_many_parallel_operations_pass_with_one_code(
        self, identity: Identity, enrolled: Person
    ) -> None:
        code = enrolled.code()

        outcomes = await asyncio.gather(
            *(outcome_of(identity, enrolled, code, f"operation {n}") for n in range(8))
        )

        assert sorted(outcomes) == ["second_factor_invalid"] * 7 + ["taken"]

    async def test_never_takes_the_code_of_another_user(
        self, identity: Identity, enrolled: Person, clock: MovableClock
    ) -> None:
        other = await (await new_person(identity, clock, name="bob")).enrol()

        outcome = await outcome_of(identity, enrolled, other.code(), PAY_ADA)

        assert outcome == "second_factor_invalid"


class TestLockout:
    async def lock(self, identity: Identity, person: Person) -> None:
        for _ in range(5):
            await outcome_of(identity, person, person.wrong_code(), PAY_ADA)

    async def test_refuses_even_the_right_code_after_five_wrong_ones(
        self, identity: Identity, enrolled: Person
    ) -> None:
        await self.lock(identity, enrolled)

        with pytest.raises(SecondFactorLockedError) as refusal:
            await identity.second_factors.verify(enrolled.id, enrolled.code(), fingerprint=PAY_ADA)

        assert refusal.value.retry_after_s == 30

    async def test_waits_twice_as_long_each_time_up_to_an_hour(
        self, identity: Identity, enrolled: Person, clock: MovableClock
    ) -> None:
        waits_s = []
        await self.lock(identity, enrolled)
        for _ in range(9):
            with pytest.raises(SecondFactorLockedError) as refusal:
                await identity.second_factors.verify(enrolled.id, "000000", fingerprint=PAY_ADA)
            waits_s.append(refusal.value.retry_after_s)
            clock.advance(timedelta(seconds=waits_s[-1]))
            await outcome_of(identity, enrolled, enrolled.wrong_code(), PAY_ADA)

        assert waits_s == [30, 60, 120, 240, 480, 960, 1920, 3600, 3600]

    async def test_opens_again_when_the_wait_is_over(
        self, identity: Identity, enrolled: Person, clock: MovableClock
    ) -> None:
        await self.lock(identity, enrolled)
        clock.advance(timedelta(seconds=29))
        early = await outcome_of(identity, enrolled, enrolled.code(), PAY_ADA)
        clock.advance(timedelta(seconds=1))
        late = await outcome_of(identity, enrolled, enrolled.code(), PAY_ADA)

        assert (early, late) == ("second_factor_locked", "taken")

    async def test_forgets_wrong_codes_after_a_right_one(
        self, identity: Identity, enrolled: Person, clock: MovableClock
    ) -> None:
        for _ in range(3):
            for _ in range(4):
                await outcome_of(identity, enrolled, enrolled.wrong_code(), PAY_ADA)
            assert await outcome_of(identity, enrolled, enrolled.code(), PAY_ADA) == "taken"
            clock.advance(timedelta(seconds=30))

    async def test_does_not_count_a_code_that_was_used(
        self, identity: Identity, enrolled: Person, clock: MovableClock
    ) -> None:
        code = enrolled.code()
        await identity.second_factors.verify(enrolled.id, code, fingerprint=PAY_ADA)
        for _ in range(6):
            await outcome_of(identity, enrolled, code, PAY_BOB)
        clock.advance(timedelta(seconds=30))

        assert await outcome_of(identity, enrolled, enrolled.code(), PAY_BOB) == "taken"

    async def test_counts_parallel_guesses_one_by_one(
        self, identity: Identity, enrolled: Person
    ) -> None:
        wrong = enrolled.wrong_code()

        outcomes = await asyncio.gather(
            *(outcome_of(identity, enrolled, wrong, PAY_ADA) for _ in range(12))
        )

        assert outcomes.count("second_factor_invalid") == 5
        assert outcomes.count("second_factor_locked") == 7


class TestRecoveryCodes:
    async def test_are_ten_and_stored_hashed(self, database: Database, enrolled: Person) -> None:
        async with database.statement() as connection:
            rows = await connection.execute(text("SELECT code_hash FROM recovery_code"))
            hashes = {row[0] for row in rows}

        assert len(set(enrolled.recovery_codes)) == 10
        assert len(hashes) == 10
        assert hashes.isdisjoint(enrolled.recovery_codes)

    async def test_work_once(self, identity: Identity, enrolled: Person) -> None:
        code = enrolled.recovery_codes[3]
        await identity.second_factors.spend_recovery_code(enrolled.id, code)

        with pytest.raises(SecondFactorInvalidError):
            await identity.second_factors.spend_recovery_code(enrolled.id, code)
        assert (await identity.second_factors.status(enrolled.id)).recovery_codes_left == 9

    async def test_may_be_typed_without_dashes_in_capitals(
        self, identity: Identity, enrolled: Person
    ) -> None:
        typed = enrolled.recovery_codes[0].replace("-", "").upper()

        await identity.second_factors.spend_recovery_code(enrolled.id, typed)

        assert (await identity.second_factors.status(enrolled.id)).recovery_codes_left == 9

    async def test_never_pass_for_an_operation(self, identity: Identity, enrolled: Person) -> None:
        outcome = await outcome_of(identity, enrolled, enrolled.recovery_codes[0], PAY_ADA)

        assert outcome == "second_factor_invalid"

    async def test_count_towards_the_lock_when_wrong(
        self, identity: Identity, enrolled: Person
    ) -> None:
        for _ in range(5):
            with pytest.raises(SecondFactorInvalidError):
                await identity.second_factors.spend_recovery_code(
                    enrolled.id, "2222-2222-2222-2222"
                )

        with pytest.raises(SecondFactorLockedError):
            await identity.second_factors.spend_recovery_code(
                enrolled.id, enrolled.recovery_codes[0]
            )

    async def test_are_replaced_as_a_whole(self, identity: Identity, enrolled: Person) -> None:
        renewed = await identity.second_factors.renew_recovery_codes(enrolled.id)

        with pytest.raises(SecondFactorInvalidError):
            await identity.second_factors.spend_recovery_code(
                enrolled.id, enrolled.recovery_codes[0]
            )
        await identity.second_factors.spend_recovery_code(enrolled.id, renewed[0])
