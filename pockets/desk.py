"""
The first steps of a transfer to or from a pocket: freeze it, and make the pocket it goes to.

A transfer is a payout (``payouts.desk`` decides, cancels and expires it); what differs is where its
money is held, and that its user's own second factor is sealed with it: the signer asks for it.
Each method is one unit of work that may be repeated.
"""

from dataclasses import dataclass

from sqlalchemy import func
from sqlalchemy.exc import IntegrityError
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from deposits.freezes import check_not_frozen
from domain.addresses import parse_address
from domain.clock import Clock
from domain.errors import (
    AmountOutOfRangeError,
    ConflictError,
    ConversionUnavailableError,
    InsufficientAvailableBalanceError,
    RequestError,
    StrongroomError,
    UnknownAssetError,
)
from domain.families import family_of
from domain.ids import DECISION, HOLD, derived_id
from domain.limits import Operation
from domain.payouts import Acceptance, DecisionKind, PayoutOutcome, PayoutStatus
from domain.pockets import ALL, PocketTransferRequest, Route, approved_destination
from domain.policy import LimitReservation, limit_reservations, requirement
from domain.ports import AddressScreener
from infra.database import Database
from ledger import chart
from ledger.queries import account_balance
from ledger.service import Ledger
from limits.reservation import reserve
from models.payouts import ApprovalDecision, Payout
from models.purchases import Quote
from models.wallets import Asset, AssetKind, Chain
from payouts.approvals import content_hash_of
from payouts.book import check_in_book
from payouts.desk import acceptance_of, refused
from payouts.history import begin, locked_payout, move, outcome_of
from payouts.pocket_money import freeze_postings
from payouts.policy import PolicyVersion, current_policy
from payouts.screening import PostgresScreener, check_allowed
from payouts.validation import check_not_ours, check_range
from pockets.conversions import quote_of, take_quote
from pockets.gas import reserve_minor
from pockets.wallets import ensure_pocket, find_pocket


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request with what the catalog says of it."""

    request: PocketTransferRequest
    asset: Asset
    chain: Chain
    destination: str
    """Canonical where it is external; else what stands for it until it is known."""
    quote: Quote | None = None
    """What it converts; ``asset`` is what the chain moves."""

    @property
    def amount_minor(self) -> int:
        """What the chain is to move; 0 for all there is."""
        if self.quote is None:
            return 0 if self.request.amount == ALL else int(self.request.amount)
        is_fund = self.request.route == Route.FUND
        return self.quote.buy_minor if is_fund else self.quote.pay_minor


class PostgresPocketDesk:
    """``domain.pocket_ports.PocketDesk`` on PostgreSQL."""

    def __init__(
        self, database: Database, clock: Clock, screener: AddressScreener | None = None
    ) -> None:
        """Take the database as the worker's role, and who screens; by default our own list."""
        self._database = database
        self._clock = clock
        self._screener = screener or PostgresScreener(database)

    async def freeze(self, request: PocketTransferRequest) -> Acceptance:
        """Write the transfer and hold its money, or refuse it; a repeat answers the same."""
        try:
            return await self._freeze_or_refuse(request)
        except IntegrityError:
            # The same request came twice at once, and the other one is stored by now.
            return await self._freeze_or_refuse(request)

    async def make_ready(self, transfer_id: str) -> PayoutOutcome:
        """
        See to it that the pocket of an approved transfer is there, so that a batch can take it.

        Raises:
            AccountNotReadyError: The signer has not made the chain's keys yet.
        """
        async with self._database.transaction() as session:
            payout = await locked_payout(session, transfer_id)
            is_due = payout.route == Route.FUND and payout.status == PayoutStatus.READY
            if is_due and payout.pocket_id is None:
                pocket = await ensure_pocket(
                    session, payout.user_id, payout.chain_id, clock=self._clock
                )
                payout.pocket_id, payout.destination = pocket.id, pocket.address
                session.add(payout)
            return outcome_of(payout)

    async def _freeze_or_refuse(self, request: PocketTransferRequest) -> Acceptance:
        try:
            return await self._try_freeze(request)
        except (ConversionUnavailableError, RequestError) as refusal:
            return refused(request.payout_id, request.request_hash, refusal)
        except ConflictError as refusal:
            return await self._refuse(request, refusal)

    async def _try_freeze(self, request: PocketTransferRequest) -> Acceptance:
        async with self._database.transaction() as session:
            if known := await session.get(Payout, request.payout_id):
                return await acceptance_of(session, known)
            asked = await _asked(session, request)
            if request.route == Route.SEND:
                await check_in_book(
                    session,
                    request.user_id,
                    asked.chain.id,
                    asked.destination,
                    now=self._clock.now(),
                )
        if request.route == Route.SEND:
            # Outside any unit of work: whoever screens may be far away.
            await check_allowed(self._screener, asked.chain.id, asked.destination)
        async with self._database.transaction() as session:
            await check_not_frozen(session, request.user_id)
            await _lock_pocket(session, request)
            payout = await self._frozen(session, asked, await current_policy(session))
            return await acceptance_of(session, payout)

    async def _frozen(self, session: AsyncSession, asked: _Asked, policy: PolicyVersion) -> Payout:
        request = asked.request
        payout = self._new_payout(asked, policy)
        if request.route.spends_pocket:
            await self._provide_gas(session, asked, payout)
        if request.amount == ALL:
            payout.amount_minor = await _everything(session, asked, payout)
        self._require_approvals(payout, policy)
        await _check_amount(asked, payout)
        conversion, swap = None, None
        if asked.quote is not None:
            conversion, swap = await take_quote(session, payout, asked.asset, clock=self._clock)
        begin(session, payout)
        await session.flush()
        if conversion is not None:
            session.add(conversion)
        session.add(_authorization(request, payout))
        await session.flush()
        limits: tuple[LimitReservation, ...] = ()
        if request.route == Route.SEND:
            limits = limit_reservations(
                policy.document,
                asset=payout.asset,
                amount_minor=payout.amount_minor,
                at=payout.created_at,
            )
            await reserve(
                session,
                user_id=payout.user_id,
                operation=Operation.SEND_ONCHAIN,
                asset=payout.asset,
                amount_minor=payout.amount_minor,
                at=payout.created_at,
                hold_id=payout.hold_id,
                resource_id=payout.id,
            )
        postings = freeze_postings(payout, asked.chain.native_asset, limits=limits, swap=swap)
        await Ledger.post_in(session, postings)
        return payout

    async def _provide_gas(self, session: AsyncSession, asked: _Asked, payout: Payout) -> None:
        """Set the pocket's own coin aside for the network; for tokens we lend what is missing."""
        request, chain = asked.request, asked.chain
        pocket = await find_pocket(session, request.user_id, chain.id)
        if pocket is None:
            msg = f"There is no pocket on {chain.name} yet."
            raise InsufficientAvailableBalanceError(msg)
        payout.pocket_id = pocket.id
        if not family_of(chain.id).has_fees:
            return
        gas_minor = await reserve_minor(
            session,
            asked.asset,
            chain,
            request.route,
            pocket_id=pocket.id,
            clock=self._clock,
        )
        account = chart.onchain(request.user_id, chain.id)
        owned_minor = await account_balance(session, account, chain.native_asset)
        if asked.asset.kind == AssetKind.NATIVE or owned_minor >= gas_minor:
            payout.gas_hold_id = derived_id(HOLD, payout.id, "gas")
            payout.gas_max_minor = gas_minor

    def _new_payout(self, asked: _Asked, policy: PolicyVersion) -> Payout:
        request, now = asked.request, self._clock.now()
        is_charged = request.route == Route.FUND and asked.quote is None
        is_token_in = request.route == Route.FUND and asked.asset.kind != AssetKind.NATIVE
        return Payout(
            id=request.payout_id,
            user_id=request.user_id,
            principal=request.principal,
            idempotency_key=request.idempotency_key,
            request_hash=request.request_hash,
            asset=asked.asset.code,
            chain_id=asked.chain.id,
            amount_minor=asked.amount_minor,
            # What a conversion's user pays for it is in the asset that they pay with.
            fee_minor=asked.asset.payout_fee_minor if is_charged else 0,
            quote_id=None if asked.quote is None else asked.quote.id,
            destination=asked.destination,
            note=request.note,
            priority=request.priority,
            status=PayoutStatus.READY,
            route=request.route,
            # What a token charges on the way is known only of what has a transaction to itself.
            is_alone=is_token_in,
            policy_version=policy.version,
            hold_id=derived_id(HOLD, request.payout_id),
            created_at=now,
            updated_at=now,
        )

    def _require_approvals(self, payout: Payout, policy: PolicyVersion) -> None:
        if payout.route == Route.REDEEM:
            # It comes back to us: there is nothing to be lost by it.
            return
        needed = requirement(policy.document, asset=payout.asset, amount_minor=payout.amount_minor)
        payout.approvals_required = needed.approvals
        if needed.approvals:
            payout.status = PayoutStatus.AWAITING_APPROVAL
            payout.approval_expires_at = payout.created_at + needed.expires_after

    async def _refuse(self, request: PocketTransferRequest, refusal: StrongroomError) -> Acceptance:
        """Keep the refusal, so that the same Idempotency-Key answers the same for ever."""
        async with self._database.transaction() as session:
            if known := await session.get(Payout, request.payout_id):
                return await acceptance_of(session, known)
            asked = await _asked(session, request)
            payout = self._new_payout(asked, await current_policy(session))
            payout.hold_id = None
            session.add(payout)
            await session.flush()
            move(
                session,
                [payout],
                PayoutStatus.REFUSED,
                clock=self._clock,
                reason_code=refusal.code,
                detail=refusal.detail,
            )
            return await acceptance_of(session, payout)


async def _asked(session: AsyncSession, request: PocketTransferRequest) -> _Asked:
    """
    Return a request with its asset, chain, quote and canonical destination.

    Raises:
        UnknownAssetError, InternalAssetError, AmountOutOfRangeError, InvalidAddressError,
            ForbiddenDestinationError, ConversionUnavailableError, QuoteNotFoundError,
            QuoteMismatchError: As named.
    """
    quote = await quote_of(session, request)
    code = request.moved_asset
    asset = await session.get(Asset, code)
    if asset is None or not asset.enabled or asset.home_chain_id != request.chain_id:
        msg = f"There is no asset {code!r} on {request.chain_id}."
        raise UnknownAssetError(msg)
    chain = await session.get_one(Chain, request.chain_id)
    if request.route != Route.SEND:
        alias = approved_destination(request.route, request.user_id, chain.id, "")
        asked = _Asked(request, asset, chain, alias, quote)
        if request.route == Route.FUND:
            check_range(asset, asked.amount_minor)
        return asked
    if request.amount != ALL:
        check_range(asset, int(request.amount))
    destination = parse_address(request.destination or "", family=chain.family, chain_id=chain.id)
    await check_not_ours(session, destination)
    return _Asked(request, asset, chain, destination)


async def check_request(session: AsyncSession, request: PocketTransferRequest) -> None:
    """Pass for a request that nothing is wrong with in itself; raises as ``freeze`` refuses."""
    await _asked(session, request)


async def _lock_pocket(session: AsyncSession, request: PocketTransferRequest) -> None:
    """Take transfers of one pocket in turn: what is set aside depends on what is there."""
    place = f"{request.user_id}:{request.chain_id}"
    await session.exec(select(func.pg_advisory_xact_lock(7320, func.hashtext(place))))


async def _everything(session: AsyncSession, asked: _Asked, payout: Payout) -> int:
    """Return what the pocket has of an asset, less what the network may take of the same."""
    account = chart.onchain(payout.user_id, payout.chain_id)
    owned_minor = await account_balance(session, account, payout.asset)
    if asked.asset.kind == AssetKind.NATIVE:
        owned_minor -= payout.gas_max_minor or 0
    if owned_minor <= 0:
        raise InsufficientAvailableBalanceError
    return owned_minor


async def _check_amount(asked: _Asked, payout: Payout) -> None:
    if payout.route != Route.REDEEM:
        check_range(asked.asset, payout.amount_minor)
    least_minor = asked.asset.sweep_min_minor
    is_paid_for = payout.route in (Route.REDEEM, Route.SEND) and family_of(asked.chain.id).has_fees
    is_lent = payout.gas_hold_id is None and is_paid_for
    if is_lent and payout.amount_minor < least_minor:
        msg = (
            f"The pocket has no {asked.chain.native_asset} for the network's fee; it is lent for"
            f" {least_minor} or more."
        )
        raise AmountOutOfRangeError(msg)


def _authorization(request: PocketTransferRequest, payout: Payout) -> ApprovalDecision:
    """Return the user's own word on it, append-only and in the hash chain as every decision is."""
    return ApprovalDecision(
        id=derived_id(DECISION, payout.id, payout.user_id),
        payout_id=payout.id,
        approver_id=payout.user_id,
        decision=DecisionKind.AUTHORIZE,
        policy_version=int(payout.policy_version or 0),
        payout_hash=content_hash_of(payout),
        second_factor=request.second_factor,
        decided_at=payout.created_at,
    )
