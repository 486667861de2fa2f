"""
The steps of one mix, each one unit of work that may be repeated.

Nothing is told to a mix but that it should look: what came, what the chain took back, and which
parts are due is read from the database, and done once.
"""

from collections.abc import Collection
from dataclasses import replace
from datetime import timedelta
from random import Random, SystemRandom

from sqlalchemy.exc import IntegrityError
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.clock import Clock, StoppedClock
from domain.errors import (
    AddressDeniedError,
    ConflictError,
    MixStateError,
    RequestError,
    StrongroomError,
)
from domain.mixing.messages import (
    OPEN_STATUSES,
    HoldKind,
    MixAcceptance,
    MixAction,
    MixRequest,
    MixStanding,
)
from domain.ports import AddressScreener
from infra.database import Database
from infra.keyring import Keyring
from ledger.service import Ledger
from mixers import lots
from mixers.audit import AuditTrail
from mixers.doles import due_doles, redraw_overdue, release
from mixers.history import locked_mix, move, note
from mixers.opening import (
    acceptance_of,
    check_screened,
    keep_refusal,
    open_mix,
    refused,
    withdrawal_addresses,
)
from mixers.standing import facts_of, standing_of, status_of
from mixers.work import Work, put_on_hold
from models.mixing import Mix
from payouts.screening import PostgresScreener

DOLES_AT_ONCE = 50
"""Most parts of one mix that one unit of work releases; the rest follows at once."""


class PostgresMixDesk:
    """``domain.mixing.ports.MixDesk`` on PostgreSQL."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        keyring: Keyring,
        *,
        keep_audit_for: timedelta,
        screener: AddressScreener | None = None,
        random: Random | None = None,
    ) -> None:
        """
        Take the database as the worker's role, the audit trail's keys, and who screens.

        ``random`` is the operating system's own unless a test gives another: what it draws is
        written once, in the unit of work that takes a deposit, and never drawn again.
        """
        self._database = database
        self._clock = clock
        self._trail = AuditTrail(keyring, keep_for=keep_audit_for, clock=clock)
        self._screener = screener or PostgresScreener(database)
        self._random = random or SystemRandom()

    async def open(self, request: MixRequest) -> MixAcceptance:
        """Open the mix, or refuse it; a repeat answers the same."""
        try:
            return await self._open_or_refuse(request)
        except IntegrityError:
            # The same request, or another with one of its addresses, is stored by now.
            return await self._open_or_refuse(request)

    async def _open_or_refuse(self, request: MixRequest) -> MixAcceptance:
        try:
            return await self._try_open(request)
        except (RequestError, ConflictError) as refusal:
            return await self._refuse(request, refusal)

    async def _try_open(self, request: MixRequest) -> MixAcceptance:
        async with self._database.transaction() as session:
            if known := await session.get(Mix, request.mix_id):
                return acceptance_of(known)
            chain_id, addresses = await withdrawal_addresses(session, request)
        # Outside any unit of work: whoever screens may be far away.
        await check_screened(self._screener, chain_id, addresses)
        async with self._database.transaction() as session:
            mix, level = await open_mix(session, request, addresses, clock=self._clock)
            self._trail.write(
                session,
                mix.id,
                "opened",
                user_id=mix.user_id,
                principal=mix.principal,
                second_factor=request.second_factor,
                kyc_level=level,
                address_id=mix.address_id,
                addresses=addresses,
            )
            return acceptance_of(mix)

    async def _refuse(self, request: MixRequest, refusal: StrongroomError) -> MixAcceptance:
        async with self._database.transaction() as session:
            if known := await session.get(Mix, request.mix_id):
                return acceptance_of(known)
            kept = await keep_refusal(session, request, refusal, clock=self._clock)
            return (
                refused(request, refusal) if kept is None else acceptance_of(kept, refusal.detail)
            )

    async def advance(self, mix_id: str) -> MixStanding:
        """Decide on what came, release what is due, and say what is next."""
        return await self._advance(mix_id, await self._screened(mix_id))

    async def _screened(self, mix_id: str) -> Collection[str] | None:
        """Screen whom the due parts would pay, outside any unit of work; None: one is denied."""
        async with self._database.transaction() as session:
            mix = await session.get_one(Mix, mix_id)
            due = await due_doles(session, mix, now=self._clock.now())
            addresses = sorted({str(dole.address) for dole in due[:DOLES_AT_ONCE]})
            chain_id = mix.chain_id
        try:
            await check_screened(self._screener, chain_id, addresses)
        except AddressDeniedError:
            return None
        return addresses

    async def _advance(self, mix_id: str, screened: Collection[str] | None) -> MixStanding:
        async with self._database.transaction() as session:
            mix = await locked_mix(session, mix_id)
            work = self._work(session)
            if screened is None and mix.hold_kind is None:
                await put_on_hold(work, mix, HoldKind.SCREENING)
            await lots.decide_lots(work, mix)
            due = await due_doles(session, mix, now=work.clock.now())
            ready = [dole for dole in due if dole.address in (screened or ())][:DOLES_AT_ONCE]
            await release(work, mix, ready)
            standing = await self._finish(work, mix)
            # What became due meanwhile, or did not fit in, is looked at at once.
            is_more = len(ready) < len(due) and mix.hold_kind is None
            return replace(standing, wake_at=work.clock.now()) if is_more else standing

    async def cancel(self, mix_id: str) -> MixStanding:
        """Give a mix up before its first part leaves; a repeat answers the same."""
        async with self._database.transaction() as session:
            mix = await locked_mix(session, mix_id)
            work = self._work(session)
            if not mix.is_cancelled:
                _check_open(mix)
                await lots.cancel(work, mix)
            return await self._finish(work, mix)

    async def pause(self, mix_id: str) -> MixStanding:
        """Let nothing leave until the mix is resumed, at its user's wish."""
        async with self._database.transaction() as session:
            mix = await locked_mix(session, mix_id)
            _check_open(mix)
            if mix.paused_at is None:
                mix.paused_at = self._clock.now()
                await note(session, mix, clock=self._clock, detail="paused")
            return await self._finish(self._work(session), mix)

    async def resume(self, mix_id: str) -> MixStanding:
        """Go on; what became due meanwhile leaves at moments that are drawn anew."""
        async with self._database.transaction() as session:
            mix = await locked_mix(session, mix_id)
            if mix.paused_at is None:
                _check_open(mix)
            work = self._work(session)
            if mix.paused_at is not None:
                mix.paused_at = None
                await redraw_overdue(work, mix)
                await note(session, mix, clock=self._clock, detail="resumed")
            return await self._finish(work, mix)

    async def hold(self, action: MixAction) -> MixStanding:
        """Let nothing leave, or be given back, until an operator lifts it: a legal hold."""
        async with self._database.transaction() as session:
            mix = await locked_mix(session, action.mix_id)
            work = self._work(session)
            if mix.hold_kind != HoldKind.LEGAL:
                await put_on_hold(work, mix, HoldKind.LEGAL, by=action.operator_id, why=action.note)
            return await self._finish(work, mix)

    async def release_hold(self, action: MixAction) -> MixStanding:
        """
        Let a held mix go on; what became due meanwhile leaves at moments that are drawn anew.

        Or give it back: what screening or the policy will not let out would be held again and
        again.

        Raises:
            MixStateError: Nobody holds it.
        """
        async with self._database.transaction() as session:
            mix = await locked_mix(session, action.mix_id)
            if mix.hold_kind is None:
                msg = "Nobody holds this mix."
                raise MixStateError(msg)
            work = self._work(session)
            was_legal = mix.hold_kind == HoldKind.LEGAL
            mix.hold_kind = mix.held_at = mix.held_by = None
            detail = "no longer held"
            if action.gives_back:
                await lots.give_up(work, mix)
                detail = "given back by an operator"
            else:
                await redraw_overdue(work, mix)
            await note(session, mix, clock=self._clock, detail=detail)
            self._trail.write(
                session,
                mix.id,
                "hold_lifted",
                by=action.operator_id,
                why=action.note,
                gives_back=action.gives_back,
            )
            if was_legal and not action.gives_back:
                # It took the place of a review, if there was one.
                await lots.review_again(work, mix)
            return await self._finish(work, mix)

    def _work(self, session: AsyncSession) -> Work:
        # One moment for all of it: a part that becomes due meanwhile is not yet due in any step,
        # or the first would leave it where it is and the last take it for one that waits.
        return Work(session, StoppedClock(self._clock.now()), self._random, self._trail)

    async def _finish(self, work: Work, mix: Mix) -> MixStanding:
        """Set the status, and post at last: the hash chain's end is locked until the commit."""
        session, now = work.session, work.clock.now()
        session.add(mix)
        await session.flush()
        facts = await facts_of(session, mix)
        await move(session, mix, status_of(mix, facts, now=now), clock=work.clock)
        await Ledger.post_in(session, work.postings)
        return standing_of(mix, facts, now=now)


def _check_open(mix: Mix) -> None:
    if mix.status not in OPEN_STATUSES:
        msg = f"The mix is {mix.status}."
        raise MixStateError(msg)
