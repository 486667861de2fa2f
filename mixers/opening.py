"""Opening a mix: who may, where to, and by which mixer; or the refusal."""

import hashlib
from collections.abc import Sequence
from datetime import timedelta

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from deposits.freezes import check_not_frozen
from domain.addresses import parse_address
from domain.clock import Clock
from domain.errors import (
    AddressDeniedError,
    AddressReusedError,
    DepositAddressNotFoundError,
    InvalidAddressError,
    MixingNotAllowedError,
    NoMixerError,
    ScreeningUnavailableError,
    StrongroomError,
    ValidationError,
)
from domain.limits import UNVERIFIED_LEVEL, Operation
from domain.mixing.messages import (
    LEVEL_MIN,
    MixAcceptance,
    MixerStatus,
    MixRequest,
    MixStatus,
)
from domain.mixing.policy import ADDRESSES_MAX, MixerPolicy, parse_mixer_policy
from domain.policy import requirement
from domain.ports import AddressScreener, ScreeningVerdict
from limits.reservation import check_limits
from mixers.history import move
from models.deposits import AddressPurpose, ChainAddress, ChainDeposit
from models.kyc import KycLevel
from models.mixing import Mix, MixAddress, Mixer
from models.payouts import Payout
from models.purchases import Purchase
from models.runs import AddressBookEntry
from models.wallets import Asset, Chain
from payouts.book import faults_of
from payouts.policy import current_policy
from payouts.validation import check_not_ours


def hash_of(address: str) -> str:
    """Return what is kept of a withdrawal address for ever: that it was given."""
    return hashlib.sha256(address.encode()).hexdigest()


async def check_allowed_user(session: AsyncSession, user_id: str) -> int:
    """
    Return the KYC level of a user who may mix. That they have a second factor, its use has shown.

    Raises:
        MixingNotAllowedError: The level is too low.
        WalletFrozenError: Nothing of theirs leaves.
    """
    level = await level_of(session, user_id)
    if level < LEVEL_MIN:
        msg = f"Mixing takes KYC level {LEVEL_MIN}; yours is {level}."
        raise MixingNotAllowedError(msg)
    await check_not_frozen(session, user_id)
    return level


async def level_of(session: AsyncSession, user_id: str) -> int:
    """Return the KYC level that a user has now."""
    row = await session.get(KycLevel, user_id)
    return row.level if row else UNVERIFIED_LEVEL


async def canonical_addresses(
    session: AsyncSession, asset: Asset, addresses: Sequence[str]
) -> tuple[str, ...]:
    """
    Return withdrawal addresses as they are stored: some, each once, and none of ours.

    Raises:
        ValidationError, InvalidAddressError, ForbiddenDestinationError, AddressReusedError: As
            named.
    """
    chain = await session.get_one(Chain, asset.home_chain_id)
    found = [parse_address(a, family=chain.family, chain_id=chain.id) for a in addresses]
    if not 1 <= len(found) <= ADDRESSES_MAX:
        msg = f"A mix has 1 to {ADDRESSES_MAX} withdrawal addresses."
        raise ValidationError(msg)
    if len(set(found)) < len(found):
        msg = "An address was given twice."
        raise AddressReusedError(msg)
    for address in found:
        await check_not_ours(session, address)
    await _check_unused(session, chain.id, found)
    return tuple(found)


async def _check_unused(session: AsyncSession, chain_id: str, addresses: Sequence[str]) -> None:
    """
    Refuse what our books have seen before: it leads to whoever it was seen with.

    On another chain of the family, too: an address there is the same key's.
    """
    family = select(Chain.family).where(Chain.id == chain_id).scalar_subquery()
    chains = select(Chain.id).where(Chain.family == family)
    given = select(MixAddress.mix_id).where(
        col(MixAddress.chain_id).in_(chains),
        col(MixAddress.address_hash).in_([hash_of(address) for address in addresses]),
    )
    paid = select(Payout.id).where(
        col(Payout.chain_id).in_(chains), col(Payout.destination).in_(addresses)
    )
    named = select(AddressBookEntry.id).where(
        col(AddressBookEntry.chain_id).in_(chains), col(AddressBookEntry.address).in_(addresses)
    )
    for used in (given, paid, named):
        if (await session.exec(used.limit(1))).first() is not None:
            raise AddressReusedError


async def check_screened(
    screener: AddressScreener, chain_id: str, addresses: Sequence[str]
) -> None:
    """Pass where nobody denies any of these; raise AddressDeniedError or a TransientError else."""
    verdicts = await screener.screen(chain_id, addresses)
    for address in addresses:
        said = verdicts.get(address)
        if said is None:
            raise ScreeningUnavailableError
        if said.verdict == ScreeningVerdict.DENY:
            raise AddressDeniedError(said.reason or None)


async def withdrawal_addresses(
    session: AsyncSession, request: MixRequest, *, locks: bool = True
) -> tuple[str, tuple[str, ...]]:
    """
    Return the chain and the addresses that a request would be paid out to, to be screened.

    Raises:
        NoMixerError: There is no such mixer, or it takes no new mixes.
        RequestError, ConflictError: As ``canonical_addresses`` raises them.
    """
    mixer = await _mixer(session, request, locks=locks)
    asset = await session.get_one(Asset, mixer.asset)
    return mixer.chain_id, await canonical_addresses(session, asset, request.addresses)


async def open_mix(
    session: AsyncSession, request: MixRequest, addresses: Sequence[str], *, clock: Clock
) -> tuple[Mix, int]:
    """
    Return an open mix to these screened addresses, and its user's level.

    Raises:
        RequestError, ConflictError: As named above, and by limits and mixers. Nothing is kept.
    """
    mixer = await _mixer(session, request)
    policy = parse_mixer_policy(mixer.policy)
    level = await check_allowed_user(session, request.user_id)
    await _check_address(session, request, mixer)
    # Somebody may have given one of them since they were screened.
    await _check_unused(session, mixer.chain_id, addresses)
    now = clock.now()
    faults = await faults_of(session, request.user_id, mixer.chain_id, addresses, now=now)
    for fault in faults.values():
        raise fault
    if not 1 <= request.parts_asked <= policy.parts_asked_max:
        msg = f"This mixer makes 1 to {policy.parts_asked_max} parts if asked."
        raise ValidationError(msg)
    await check_limits(
        session,
        user_id=request.user_id,
        operation=Operation.MIX,
        asset=mixer.asset,
        amount_minor=policy.deposit_min_minor,
        at=now,
    )
    await check_approved(session, mixer.asset, policy)
    mix = _mix(request, mixer, policy, clock=clock)
    await move(session, mix, MixStatus.AWAITING_FUNDS, clock=clock)
    session.add_all(
        MixAddress(
            chain_id=mix.chain_id, address_hash=hash_of(address), mix_id=mix.id, address=address
        )
        for address in addresses
    )
    await session.flush()
    return mix, level


async def check_approved(session: AsyncSession, asset: str, policy: MixerPolicy) -> None:
    """
    Pass where no dole-out needs an approver: the signer asks for what the approval policy says.

    Raises:
        NoMixerError: The largest would.
    """
    approvals = requirement(
        (await current_policy(session)).document, asset=asset, amount_minor=policy.dole_max_minor
    ).approvals
    if approvals:
        msg = f"A part of this mixer may need {approvals} approvals under the present policy."
        raise NoMixerError(msg)


async def keep_refusal(
    session: AsyncSession, request: MixRequest, refusal: StrongroomError, *, clock: Clock
) -> Mix | None:
    """Remember a refusal, so that the same key is answered the same for ever; None: no mixer."""
    mixer = await session.get(Mixer, request.mixer_id)
    address = await session.get(ChainAddress, request.address_id)
    taken = await session.exec(select(Mix.id).where(Mix.address_id == request.address_id))
    is_theirs = address is not None and address.user_id == request.user_id
    if mixer is None or not is_theirs or taken.first() is not None:
        return None
    mix = _mix(request, mixer, parse_mixer_policy(mixer.policy), clock=clock)
    mix.reason_code = refusal.code
    await move(session, mix, MixStatus.REFUSED, clock=clock, detail=refusal.detail)
    return mix


def acceptance_of(mix: Mix, detail: str | None = None) -> MixAcceptance:
    """Return what a requester is told."""
    return MixAcceptance(
        mix_id=mix.id,
        status=MixStatus(mix.status),
        request_hash=mix.request_hash,
        reason_code=mix.reason_code if mix.status == MixStatus.REFUSED else None,
        reason=detail,
    )


def refused(request: MixRequest, refusal: StrongroomError) -> MixAcceptance:
    """Return a refusal that is not remembered."""
    return MixAcceptance(
        mix_id=request.mix_id,
        status=MixStatus.REFUSED,
        request_hash=request.request_hash,
        reason_code=refusal.code,
        reason=refusal.detail,
    )


async def _mixer(session: AsyncSession, request: MixRequest, *, locks: bool = True) -> Mixer:
    query = select(Mixer).where(Mixer.id == request.mixer_id)
    # Locked against a drain that begins meanwhile.
    found = await session.exec(query.with_for_update(read=True) if locks else query)
    mixer = found.first()
    if mixer is None or mixer.status != MixerStatus.ACTIVE:
        raise NoMixerError
    return mixer


async def _check_address(session: AsyncSession, request: MixRequest, mixer: Mixer) -> None:
    """
    Refuse a deposit address that is not the user's, or that anything came to or is for.

    It stays locked until the mix is there: a deposit that is written meanwhile waits for that, or
    it would be credited as if there were no mix, and mixed as well.
    """
    row = await session.get(ChainAddress, request.address_id, with_for_update=True)
    is_theirs = (
        row is not None
        and (row.user_id, row.chain_id, row.asset) == (request.user_id, mixer.chain_id, mixer.asset)
        and row.purpose == AddressPurpose.DEPOSIT
    )
    if not is_theirs:
        raise DepositAddressNotFoundError
    for used in (
        select(Mix.id).where(Mix.address_id == request.address_id),
        select(Purchase.id).where(Purchase.address_id == request.address_id),
        select(ChainDeposit.id).where(ChainDeposit.address_id == request.address_id),
    ):
        if (await session.exec(used.limit(1))).first() is not None:
            msg = "A mix has a deposit address of its own, to which nothing came before."
            raise InvalidAddressError(msg)


def _mix(request: MixRequest, mixer: Mixer, policy: MixerPolicy, *, clock: Clock) -> Mix:
    now = clock.now()
    return Mix(
        id=request.mix_id,
        user_id=request.user_id,
        principal=request.principal,
        idempotency_key=request.idempotency_key,
        request_hash=request.request_hash,
        mixer_id=mixer.id,
        chain_id=mixer.chain_id,
        asset=mixer.asset,
        address_id=request.address_id,
        policy=policy.model_dump(mode="json"),
        parts_asked=max(1, request.parts_asked),
        status="",
        expires_at=now + timedelta(seconds=policy.expires_after_s),
        created_at=now,
        updated_at=now,
    )
