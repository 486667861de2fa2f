"""Who may mix, to which addresses, by which mixer; and that a refusal stays one."""

import asyncio
from collections.abc import Collection, Mapping

import pytest

from domain.errors import (
    DatabaseUnavailableError,
    InvalidMixerPolicyError,
    MixerStateError,
    NoMixerError,
    ScreeningUnavailableError,
)
from domain.mixing.messages import MixerStatus, MixStatus
from domain.mixing.sharding import Ring
from domain.ports import Screened, ScreeningVerdict
from mixers.opening import open_mix
from mixers.registry import drain, list_mixers, mixer_for, remove
from models.deposits import UserFreeze
from models.limits import LimitsVersion
from models.runs import AddressScreening
from tests.support.books import CHAIN, DESTINATION, HOT
from tests.support.mixing import MixHouse, addresses, level_of


class TestUsers:
    async def test_need_level_two(self, house: MixHouse) -> None:
        await level_of(house, "u1", 1)
        refused = await house.open()
        assert (refused.status, refused.reason_code) == (MixStatus.REFUSED, "mixing_not_allowed")

    async def test_without_any_level_are_refused(self, house: MixHouse) -> None:
        await house.books.tamper("DELETE FROM kyc_level")
        assert (await house.open()).reason_code == "mixing_not_allowed"

    async def test_that_are_frozen_are_refused(self, house: MixHouse) -> None:
        async with house.books.owner.transaction() as session:
            session.add(UserFreeze(id="frz_1", user_id="u1"))
        assert (await house.open()).reason_code == "wallet_frozen"

    async def test_at_their_limit_are_refused(self, house: MixHouse) -> None:
        row = {"level": 2, "operation": "mix", "asset": "*", "window": "24h", "count": 0}
        async with house.books.owner.transaction() as session:
            session.add(LimitsVersion(document={"limits": [row]}, created_by="owner"))
        assert (await house.open()).reason_code == "limit_exceeded"


class TestAddresses:
    @pytest.mark.parametrize(
        ("to", "reason"),
        [
            ((), "validation_failed"),
            (addresses(21), "validation_failed"),
            ((*addresses(1), *addresses(1)), "address_reused"),
            (("0x12",), "invalid_address"),
            ((HOT,), "forbidden_destination"),
        ],
        ids=["none", "many", "twice", "malformed", "ours"],
    )
    async def test_that_will_not_do(
        self, house: MixHouse, to: tuple[str, ...], reason: str
    ) -> None:
        assert (await house.open(to=to)).reason_code == reason

    async def test_are_given_once_for_ever_and_to_anybody(self, house: MixHouse) -> None:
        mix = await house.opened(to=addresses(2))
        await house.desk.cancel(mix.id)
        again = await house.open(to=addresses(1), user_id="u2")
        assert again.reason_code == "address_reused"

    async def test_are_given_once_by_requests_at_once(self, house: MixHouse) -> None:
        asked = [await house.request(to=addresses(3)) for _ in range(4)]
        answers = await asyncio.gather(*(house.desk.open(request) for request in asked))
        statuses = sorted(answer.status for answer in answers)
        assert statuses == ["awaiting_funds", "refused", "refused", "refused"]

    async def test_that_were_paid_before_are_refused(self, house: MixHouse) -> None:
        await house.books.deposit("u1", "ETH", 1_000)
        await house.books.freeze(amount_minor=100, destination=DESTINATION)
        assert (await house.open(to=(DESTINATION,))).reason_code == "address_reused"

    async def test_that_were_paid_on_another_chain_of_the_family_are_refused(
        self, house: MixHouse
    ) -> None:
        await house.books.deposit("u1", "ETH", 1_000)
        await house.books.freeze(amount_minor=100, destination=DESTINATION)
        await house.books.tamper(
            "INSERT INTO chain SELECT (jsonb_populate_record(c, "  # noqa: S608 - our own words
            f"'{{\"id\": \"eip155:2\"}}')).* FROM chain c WHERE id = '{CHAIN}'",
            "UPDATE payout SET chain_id = 'eip155:2'",
        )
        try:
            assert (await house.open(to=(DESTINATION,))).reason_code == "address_reused"
        finally:
            await house.books.tamper(f"UPDATE payout SET chain_id = '{CHAIN}'")  # noqa: S608

    async def test_that_are_denied_are_refused(self, house: MixHouse) -> None:
        (denied,) = addresses(1)
        async with house.books.owner.transaction() as session:
            session.add(
                AddressScreening(
                    chain_id=CHAIN,
                    address=denied,
                    verdict=ScreeningVerdict.DENY,
                    reason="sanctioned",
                    created_by="a1",
                )
            )
        refused = await house.open(to=addresses(4))
        assert (refused.reason_code, refused.reason) == ("address_denied", "sanctioned")

    async def test_that_nobody_can_screen_now_open_nothing(self, house: MixHouse) -> None:
        class Silent:
            async def screen(
                self, chain_id: str, addresses: Collection[str]
            ) -> Mapping[str, Screened]:
                del chain_id, addresses
                return {}

        desk = house.a_desk(screener=Silent())
        with pytest.raises(ScreeningUnavailableError):
            await desk.open(await house.request())


class TestRequests:
    async def test_repeated_answer_the_same(self, house: MixHouse) -> None:
        request = await house.request(key="k")
        first = await house.desk.open(request)
        assert await house.desk.open(request) == first
        await level_of(house, "u1", 0)
        assert await house.desk.open(request) == first

    async def test_at_once_open_one(self, house: MixHouse) -> None:
        request = await house.request(key="k")
        answers = await asyncio.gather(*(house.desk.open(request) for _ in range(5)))
        assert {answer.status for answer in answers} == {MixStatus.AWAITING_FUNDS}

    async def test_refused_stay_refused(self, house: MixHouse) -> None:
        await level_of(house, "u1", 1)
        request = await house.request()
        first = await house.desk.open(request)
        await level_of(house, "u1", 3)
        assert (await house.desk.open(request)).status == first.status == MixStatus.REFUSED

    async def test_refused_mix_nothing_that_comes_all_the_same(self, house: MixHouse) -> None:
        await level_of(house, "u1", 1)
        refused = await house.open()
        mix = await house.mix(refused.mix_id)
        await house.fund(mix, 20_000, is_for_mix=False)
        assert await house.available() == 20_000
        assert (await house.mix(mix.id)).status == MixStatus.REFUSED

    async def test_refused_for_what_came_before_give_nobody_that_again(
        self, house: MixHouse
    ) -> None:
        request = await house.request()
        early = await house.arrived(request.address_id, 20_000)
        await house.confirm(early, is_for_mix=False)
        assert (await house.desk.open(request)).reason_code == "invalid_address"
        mix = await house.mix(request.mix_id)
        await house.fund(mix, 70, is_for_mix=False)
        assert await house.available() == 20_070
        await house.drop(early)
        await house.advance(mix)
        assert (await house.available(), await house.owed(mix)) == (70, 0)

    async def test_keep_deposits_waiting_until_it_is_known_what_they_are_for(
        self, house: MixHouse
    ) -> None:
        request = await house.request()
        async with house.books.worker.transaction() as session:
            await open_mix(session, request, request.addresses, clock=house.clock)
            with pytest.raises(DatabaseUnavailableError):  # the lock is not to be had
                await house.books.execute(
                    "SET LOCAL lock_timeout = '100ms'",
                    "INSERT INTO chain_deposit (id, chain_id, address_id, user_id, asset, txid,"  # noqa: S608
                    " position, amount_minor, status, confirmations_required, is_coinbase,"
                    " is_booked, credits, seen_at, updated_at)"
                    f" VALUES ('dep_1', '{CHAIN}', '{request.address_id}', 'u1', 'ETH', 'tx_1',"
                    " 'native', 20000, 'seen', 3, false, false, 0, now(), now())",
                )

    async def test_ask_for_as_many_parts_as_the_smallest_deposit_makes(
        self, house: MixHouse
    ) -> None:
        assert (await house.open(parts_asked=50)).reason_code == "validation_failed"
        mix = await house.funded(5_000, parts_asked=30)
        assert len(await house.doles(mix)) >= 30

    async def test_take_no_address_of_anything_else(self, house: MixHouse) -> None:
        mix = await house.opened()
        request = await house.request(user_id="u2")
        stolen = await house.desk.open(
            type(request)(**{**vars(request), "address_id": mix.address_id})
        )
        assert stolen.reason_code == "deposit_address_not_found"

    async def test_are_refused_where_parts_need_approvers(self, house: MixHouse) -> None:
        rules = [{"asset": "*", "up_to_minor": "4999", "approvals": 0}]
        await house.books.set_policy({"rules": rules})
        assert (await house.open()).reason_code == "no_mixer"


class TestMixers:
    async def test_are_found_by_the_hash_of_the_address(self, house: MixHouse) -> None:
        more = [await house.add_mixer() for _ in range(3)]
        ring = Ring([house.mixer.id, *(mixer.id for mixer in more)])
        async with house.api.transaction() as session:
            for address in addresses(50):
                found = await mixer_for(session, asset="ETH", address=address)
                assert found.id == ring.mixer_of(address)

    async def test_that_drain_take_no_new_mixes_and_finish_what_they_have(
        self, house: MixHouse
    ) -> None:
        mix = await house.opened()
        async with house.api.transaction() as session:
            await drain(session, house.mixer.id, clock=house.clock)
        assert (await house.open()).reason_code == "no_mixer"
        async with house.api.transaction() as session:
            with pytest.raises(NoMixerError):
                await mixer_for(session, asset="ETH", address=DESTINATION)
        await house.fund(mix, 20_000)
        assert (await house.mix(mix.id)).status == MixStatus.MIXING

    async def test_are_removed_when_nothing_is_left(self, house: MixHouse) -> None:
        mix = await house.opened()
        for ready in (False, True):
            async with house.api.transaction() as session:
                if ready:
                    await drain(session, house.mixer.id, clock=house.clock)
                with pytest.raises(MixerStateError):
                    await remove(session, house.mixer.id, clock=house.clock)
        await house.desk.cancel(mix.id)
        async with house.api.transaction() as session:
            await remove(session, house.mixer.id, clock=house.clock)
        async with house.api.transaction() as session:
            (mixer,) = await list_mixers(session)
            with pytest.raises(MixerStateError):
                await drain(session, house.mixer.id, clock=house.clock)
        assert mixer.status == MixerStatus.REMOVED

    async def test_pay_only_what_the_asset_lets_be_paid(self, house: MixHouse) -> None:
        await house.books.execute("UPDATE asset SET payout_min_minor = 101")
        with pytest.raises(InvalidMixerPolicyError):
            await house.add_mixer()

    async def test_take_only_what_the_asset_credits(self, house: MixHouse) -> None:
        await house.books.execute("UPDATE asset SET deposit_min_minor = 5001")
        with pytest.raises(InvalidMixerPolicyError):
            await house.add_mixer()

    async def test_have_slots_that_no_batch_gathers(self, house: MixHouse) -> None:
        await house.books.execute("UPDATE chain SET economy_wait_ms = 600_001")
        with pytest.raises(InvalidMixerPolicyError, match="a slot is no shorter"):
            await house.add_mixer()
        await house.books.execute("UPDATE chain SET economy_wait_ms = 600_000")
        await house.add_mixer()
