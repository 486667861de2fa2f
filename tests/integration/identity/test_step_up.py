from datetime import timedelta

import pytest

from domain.errors import (
    SecondFactorInvalidError,
    SecondFactorNotEnabledError,
    SecondFactorRequiredError,
)
from identity.fingerprints import operation_fingerprint
from identity.services import Identity
from identity.step_up import SecondFactorKind
from infra.paging import Page
from tests.support.clocks import MovableClock
from tests.support.identity import Person, new_person

PAY = operation_fingerprint("POST", "/v1/payouts", {"amount": "5"}, idempotency_key="k1")
PAY_MORE = operation_fingerprint("POST", "/v1/payouts", {"amount": "6"}, idempotency_key="k1")
PAY_TWICE = operation_fingerprint("POST", "/v1/payouts", {"amount": "5"}, idempotency_key="k2")


async def require(
    identity: Identity,
    person: Person,
    *,
    code: str | None = None,
    token: str | None = None,
    fingerprint: str = PAY,
) -> SecondFactorKind:
    principal = await identity.authentication.resolve(person.token)
    return await identity.step_ups.require_second_factor(
        principal, totp_code=code, step_up_token=token, fingerprint=fingerprint
    )


class TestStepUpTokens:
    async def token(self, identity: Identity, person: Person) -> str:
        issued = await identity.step_ups.issue(person.id, person.code(), fingerprint=PAY)
        return issued.token

    async def test_pass_for_their_operation_as_often_as_it_is_repeated(
        self, identity: Identity, enrolled: Person
    ) -> None:
        token = await self.token(identity, enrolled)

        kinds = [await require(identity, enrolled, token=token) for _ in range(3)]

        assert kinds == ["step_up"] * 3

    @pytest.mark.parametrize("fingerprint", [PAY_MORE, PAY_TWICE])
    async def test_do_not_pass_for_another_body_or_key(
        self, identity: Identity, enrolled: Person, fingerprint: str
    ) -> None:
        token = await self.token(identity, enrolled)

        with pytest.raises(SecondFactorInvalidError):
            await require(identity, enrolled, token=token, fingerprint=fingerprint)

    async def test_end_after_five_minutes(
        self, identity: Identity, enrolled: Person, clock: MovableClock
    ) -> None:
        token = await self.token(identity, enrolled)
        clock.advance(timedelta(minutes=4, seconds=59))
        await require(identity, enrolled, token=token)
        clock.advance(timedelta(seconds=1))

        with pytest.raises(SecondFactorInvalidError):
            await require(identity, enrolled, token=token)

    async def test_do_not_pass_for_another_user(
        self, identity: Identity, enrolled: Person, clock: MovableClock
    ) -> None:
        other = await (await new_person(identity, clock, name="bob")).enrol()
        token = await self.token(identity, enrolled)

        with pytest.raises(SecondFactorInvalidError):
            await require(identity, other, token=token)

    async def test_do_not_outlive_the_second_factor(
        self, identity: Identity, enrolled: Person
    ) -> None:
        token = await self.token(identity, enrolled)
        await identity.second_factors.disable(enrolled.id)

        with pytest.raises(SecondFactorNotEnabledError):
            await require(identity, enrolled, token=token)
        await enrolled.enrol()
        with pytest.raises(SecondFactorInvalidError):
            await require(identity, enrolled, token=token)

    async def test_use_the_code_up(self, identity: Identity, enrolled: Person) -> None:
        await self.token(identity, enrolled)

        with pytest.raises(SecondFactorInvalidError):
            await require(identity, enrolled, code=enrolled.code(), fingerprint=PAY_MORE)

    async def test_are_not_issued_for_a_wrong_code(
        self, identity: Identity, enrolled: Person
    ) -> None:
        with pytest.raises(SecondFactorInvalidError):
            await identity.step_ups.issue(enrolled.id, enrolled.wrong_code(), fingerprint=PAY)

    async def test_are_purged_when_over_and_not_before(
        self, identity: Identity, enrolled: Person, clock: MovableClock
    ) -> None:
        token = await self.token(identity, enrolled)
        await identity.step_ups.purge()
        await require(identity, enrolled, token=token)
        clock.advance(timedelta(hours=1))
        await identity.step_ups.purge()

        with pytest.raises(SecondFactorInvalidError, match="not for this operation"):
            await require(identity, enrolled, token=token)


class TestRequireSecondFactor:
    async def test_takes_a_fresh_code(self, identity: Identity, enrolled: Person) -> None:
        assert await require(identity, enrolled, code=enrolled.code()) == "totp"

    async def test_asks_for_one_when_none_came(self, identity: Identity, enrolled: Person) -> None:
        with pytest.raises(SecondFactorRequiredError):
            await require(identity, enrolled)

    @pytest.mark.parametrize(("code", "token"), [(None, None), ("000000", None), (None, "sru_x")])
    async def test_sends_users_without_a_second_factor_to_enrolment(
        self, identity: Identity, person: Person, code: str | None, token: str | None
    ) -> None:
        with pytest.raises(SecondFactorNotEnabledError):
            await require(identity, person, code=code, token=token)

    async def test_prefers_the_token_and_leaves_the_code_unused(
        self, identity: Identity, enrolled: Person, clock: MovableClock
    ) -> None:
        issued = await identity.step_ups.issue(enrolled.id, enrolled.code(), fingerprint=PAY)
        clock.advance(timedelta(seconds=30))
        kind = await require(identity, enrolled, token=issued.token, code=enrolled.code())

        assert kind == "step_up"
        assert await require(identity, enrolled, code=enrolled.code(), fingerprint=PAY_MORE)
        assert len(await identity.sessions.of_user(enrolled.id, Page())) == 1
