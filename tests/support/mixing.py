"""A mixer on test books: users who may mix, deposits as the watcher would write them."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random
from typing import Any

from sqlmodel import col, select

from deposits.addresses import AddressRequest, issue
from deposits.desk import PostgresDepositDesk
from domain.deposits import DepositStatus
from domain.ids import DEPOSIT, MIX, derived_id, new_id
from domain.mixing.messages import (
    MixAcceptance,
    MixAction,
    MixerBooks,
    MixRequest,
    MixStanding,
    MixStatus,
)
from domain.mixing.policy import parse_mixer_policy
from infra.database import Database
from infra.keyring import Keyring
from ledger import chart
from mixers.check import PostgresMixerChecker
from mixers.desk import PostgresMixDesk
from mixers.registry import create_mixer
from models.chain_transactions import ChainHead
from models.deposits import ChainDeposit
from models.mixing import Mix, MixDole, Mixer, MixLot
from models.payouts import Payout
from tests.support.bank import hd_account
from tests.support.books import CHAIN, Books, as_role, opened_books

POLICY: dict[str, Any] = {
    "fee_numerator": 1,
    "fee_denominator": 100,
    "dole_min_minor": 100,
    "dole_max_minor": 5_000,
    "parts_min": 3,
    "parts_max": 60,
    "deposit_min_minor": 5_000,
    "deposit_max_minor": 100_000,
    "delay_min_s": 0,
    "window_s": 86_400,
    "slot_s": 600,
    "expires_after_s": 3_600,
}
WINDOW = timedelta(seconds=86_400 + 600)
KEYS = Keyring({"mixer-1": bytes(32)})
KEEP_FOR = timedelta(days=30)


def addresses(count: int, start: int = 1) -> tuple[str, ...]:
    """Return addresses that nobody has used; those of digits alone have no case to check."""
    return tuple(f"0x{'9' * 30}{number:010d}" for number in range(start, start + count))


@dataclass
class MixHouse:
    """Everything between a request and the last dole-out, step by step, each part as its role."""

    books: Books
    api: Database
    mixer: Mixer
    height: int = field(default=100)
    given: int = 0

    def __post_init__(self) -> None:
        self.clock = self.books.clock
        self.desk = self.a_desk()
        self.deposits = PostgresDepositDesk(self.books.worker, self.clock)
        self.checker = PostgresMixerChecker(self.books.worker, self.clock)

    def a_desk(self, **changes: Any) -> PostgresMixDesk:
        return PostgresMixDesk(
            self.books.worker,
            self.clock,
            KEYS,
            keep_audit_for=KEEP_FOR,
            random=Random(7),  # noqa: S311 - dice, not secrets
            **changes,
        )

    async def add_mixer(self, **changes: Any) -> Mixer:
        return await add_mixer(self.api, self.books, **changes)

    async def request(
        self,
        *,
        user_id: str = "u1",
        to: Sequence[str] | None = None,
        key: str | None = None,
        mixer: Mixer | None = None,
        parts_asked: int = 1,
    ) -> MixRequest:
        key = key or new_id("key")
        asked = AddressRequest(user_id, "ETH", "mix", user_id, f"mix:{key}")
        async with self.api.transaction() as session:
            address = await issue(session, asked, clock=self.clock)
        if to is None:
            to = addresses(4, start=1 + self.given)
            self.given += 4
        return MixRequest(
            mix_id=derived_id(MIX, user_id, key),
            user_id=user_id,
            principal=user_id,
            idempotency_key=key,
            request_hash=f"hash of {key}",
            mixer_id=(mixer or self.mixer).id,
            address_id=address.row.id,
            addresses=tuple(to),
            parts_asked=parts_asked,
            second_factor="totp",
        )

    async def open(self, **asked: Any) -> MixAcceptance:
        return await self.desk.open(await self.request(**asked))

    async def opened(self, **asked: Any) -> Mix:
        accepted = await self.open(**asked)
        assert accepted.status == MixStatus.AWAITING_FUNDS, accepted
        return await self.mix(accepted.mix_id)

    async def mix(self, mix_id: str) -> Mix:
        async with self.books.owner.transaction() as session:
            return await session.get_one(Mix, mix_id)

    async def seen(self, mix: Mix, amount_minor: int) -> str:
        return await self.arrived(mix.address_id, amount_minor, user_id=mix.user_id)

    async def arrived(self, address_id: str, amount_minor: int, *, user_id: str = "u1") -> str:
        """Write a deposit as the watcher does that sees it in the pool."""
        async with self.books.owner.transaction() as session:
            deposit = ChainDeposit(
                id=new_id(DEPOSIT),
                chain_id=CHAIN,
                address_id=address_id,
                user_id=user_id,
                asset="ETH",
                txid=new_id("tx"),
                position="native",
                amount_minor=amount_minor,
                status=DepositStatus.SEEN,
                confirmations_required=3,
                seen_at=self.clock.now(),
            )
            session.add(deposit)
            return deposit.id

    async def confirm(self, deposit_id: str, *, is_for_mix: bool = True) -> None:
        """Bury a deposit deep enough, and book it."""
        await self._change(
            deposit_id,
            block_height=self.height - 10,
            block_hash="b",
            status=DepositStatus.CONFIRMING,
            missing_since=None,
        )
        standing = await self.deposits.advance(deposit_id)
        assert (standing.mix_id is not None) is is_for_mix
        assert standing.mix_queue == (self.mixer.task_queue if is_for_mix else None)

    async def drop(self, deposit_id: str) -> None:
        """Let a reorg take a booked deposit."""
        await self._change(
            deposit_id, block_height=None, block_hash=None, missing_since=self.clock.now()
        )
        await self.deposits.advance(deposit_id)

    async def funded(self, amount_minor: int = 20_000, **asked: Any) -> Mix:
        """Return a mix with a deposit that was taken, or refused to be."""
        mix = await self.opened(**asked)
        await self.fund(mix, amount_minor)
        return await self.mix(mix.id)

    async def fund(self, mix: Mix, amount_minor: int, *, is_for_mix: bool = True) -> str:
        deposit_id = await self.seen(mix, amount_minor)
        await self.confirm(deposit_id, is_for_mix=is_for_mix)
        await self.desk.advance(mix.id)
        return deposit_id

    async def advance(self, mix: Mix) -> MixStanding:
        return await self.desk.advance(mix.id)

    async def after(self, mix: Mix, duration: timedelta = WINDOW) -> MixStanding:
        """Let time pass, and have the mix look."""
        self.clock.advance(duration)
        return await self.desk.advance(mix.id)

    async def lots(self, mix: Mix) -> list[MixLot]:
        async with self.books.owner.transaction() as session:
            return list(
                await session.exec(
                    select(MixLot).where(MixLot.mix_id == mix.id).order_by(col(MixLot.created_at))
                )
            )

    async def doles(self, mix: Mix) -> list[MixDole]:
        async with self.books.owner.transaction() as session:
            found = await session.exec(
                select(MixDole)
                .where(MixDole.mix_id == mix.id)
                .order_by(col(MixDole.due_at), col(MixDole.id))
            )
            return list(found)

    async def payouts(self, mix: Mix) -> list[Payout]:
        async with self.books.owner.transaction() as session:
            return list(await session.exec(select(Payout).where(Payout.mix_id == mix.id)))

    async def owed(self, mix: Mix) -> int:
        return await self.books.balance(chart.mix_owed(mix.id))

    async def fees(self) -> int:
        return await self.books.balance(chart.mixer_fees(self.mixer.id))

    async def available(self, user_id: str = "u1") -> int:
        return await self.books.balance(chart.available(user_id))

    async def faults(self) -> Sequence[MixerBooks]:
        return await self.checker.check()

    def act(self, mix: Mix, note: str = "because", *, gives_back: bool = False) -> MixAction:
        return MixAction(mix.id, "a1", note, gives_back)

    async def _change(self, deposit_id: str, **values: Any) -> None:
        async with self.books.owner.transaction() as session:
            deposit = await session.get_one(ChainDeposit, deposit_id)
            for name, value in values.items():
                setattr(deposit, name, value)


async def add_mixer(api: Database, books: Books, **changes: Any) -> Mixer:
    """Make a mixer as an owner does."""
    async with api.transaction() as session:
        return await create_mixer(
            session,
            asset_code="ETH",
            name="test",
            policy=parse_mixer_policy(POLICY | changes),
            by="owner",
            clock=books.clock,
        )


@asynccontextmanager
async def opened_house(url: str) -> AsyncIterator[MixHouse]:
    async with AsyncExitStack() as stack:
        books = await stack.enter_async_context(opened_books(url))
        api = Database(as_role(url, "api"))
        stack.push_async_callback(api.close)
        async with books.owner.transaction() as session:
            session.add(hd_account(CHAIN))
            session.add(
                ChainHead(chain_id=CHAIN, height=100, tip_height=100, seen_at=books.clock.now())
            )
        for user_id in ("u1", "u2"):
            # What a level rests on is tested elsewhere; here it only has to be there.
            await books.tamper(
                "INSERT INTO kyc_level (user_id, level, since) "  # noqa: S608 - our own words
                f"VALUES ('{user_id}', 2, now())"
            )
        yield MixHouse(books, api, await add_mixer(api, books))


async def level_of(house: MixHouse, user_id: str, level: int) -> None:
    """Give a user another level."""
    await house.books.tamper(
        f"UPDATE kyc_level SET level = {level} WHERE user_id = '{user_id}'"  # noqa: S608
    )


async def age_trail(house: MixHouse) -> None:
    """Let the time of every line be over, by the test's clock and by the database's."""
    await house.books.tamper("UPDATE mix_audit SET keep_until = '2025-12-31'")
