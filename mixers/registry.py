"""Mixers: made by owners, found by the hash of a deposit address, drained, then removed."""

from collections.abc import Sequence

from sqlalchemy import func
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.clock import Clock
from domain.errors import (
    InvalidMixerPolicyError,
    MixerNotFoundError,
    MixerStateError,
    NoMixerError,
    UnknownAssetError,
)
from domain.ids import MIXER, new_id
from domain.mixing.messages import OPEN_STATUSES, MixerStatus
from domain.mixing.policy import MixerPolicy
from domain.mixing.sharding import Ring
from domain.workflow_ids import mixer_queue
from models.mixing import Mix, Mixer
from models.wallets import Asset, BlockchainWallet, Chain, WalletType


async def create_mixer(
    session: AsyncSession,
    *,
    asset_code: str,
    name: str,
    policy: MixerPolicy,
    by: str | None,
    clock: Clock,
) -> Mixer:
    """
    Add a mixer that takes new mixes at once.

    Raises:
        UnknownAssetError, InternalAssetError: As named.
        InvalidMixerPolicyError: Its parts could not be paid out.
    """
    asset = await session.get(Asset, asset_code)
    if asset is None or not asset.enabled:
        msg = f"There is no asset {asset_code!r}."
        raise UnknownAssetError(msg)
    chain = await session.get_one(Chain, asset.home_chain_id)
    check_payable(asset, policy)
    check_slots(chain, policy)
    mixer_id, now = new_id(MIXER), clock.now()
    mixer = Mixer(
        id=mixer_id,
        name=name,
        chain_id=asset.home_chain_id,
        asset=asset.code,
        policy=policy.model_dump(mode="json"),
        task_queue=mixer_queue(mixer_id),
        status=MixerStatus.ACTIVE,
        created_by=by,
        created_at=now,
        updated_at=now,
    )
    session.add(mixer)
    await session.flush()
    return mixer


def check_payable(asset: Asset, policy: MixerPolicy) -> None:
    """Pass for a policy whose parts are payouts that the asset allows."""
    most = asset.payout_max_minor
    is_dust = policy.dole_min_minor < asset.payout_min_minor
    if is_dust or (most is not None and policy.dole_max_minor > most):
        msg = "The denominations lie outside of what the asset lets be paid out."
        raise InvalidMixerPolicyError(msg)
    if policy.deposit_min_minor < asset.deposit_min_minor:
        msg = "The smallest deposit lies below what the asset credits."
        raise InvalidMixerPolicyError(msg)


def check_slots(chain: Chain, policy: MixerPolicy) -> None:
    """Pass for slots that stay apart: a batch must not gather the parts of several."""
    if policy.slot_s * 1000 < chain.economy_wait_ms:
        msg = f"Parts wait {chain.economy_wait_ms} ms for others: a slot is no shorter than that."
        raise InvalidMixerPolicyError(msg)


async def mixer_by_id(session: AsyncSession, mixer_id: str) -> Mixer:
    """Return a mixer, or raise MixerNotFoundError."""
    mixer = await session.get(Mixer, mixer_id)
    if mixer is None:
        raise MixerNotFoundError
    return mixer


async def list_mixers(session: AsyncSession, *, asset: str | None = None) -> Sequence[Mixer]:
    """Return every mixer, of one asset or of all, oldest first."""
    query = select(Mixer).order_by(col(Mixer.created_at), col(Mixer.id))
    if asset is not None:
        query = query.where(Mixer.asset == asset)
    return (await session.exec(query)).all()


async def count_open(session: AsyncSession, mixer_id: str) -> int:
    """Return how many mixes of a mixer have not come to their end."""
    found = await session.exec(
        select(func.count(col(Mix.id))).where(
            Mix.mixer_id == mixer_id, col(Mix.status).in_(OPEN_STATUSES)
        )
    )
    return found.one()


async def house_address(session: AsyncSession, mixer: Mixer) -> str | None:
    """Return where the house is on the chain: the hot wallet, of which it is a part."""
    found = await session.exec(
        select(BlockchainWallet.address).where(
            BlockchainWallet.chain_id == mixer.chain_id,
            BlockchainWallet.type == WalletType.HOT,
            col(BlockchainWallet.primary),
        )
    )
    return found.first()


async def mixer_for(session: AsyncSession, *, asset: str, address: str) -> Mixer:
    """
    Return the mixer that a deposit address belongs to, among those that take new mixes.

    Raises:
        NoMixerError: None does, of this asset.
    """
    found = await session.exec(
        select(Mixer).where(Mixer.asset == asset, Mixer.status == MixerStatus.ACTIVE)
    )
    mixers = {mixer.id: mixer for mixer in found}
    if not mixers:
        raise NoMixerError
    return mixers[Ring(mixers).mixer_of(address)]


async def drain(session: AsyncSession, mixer_id: str, *, clock: Clock) -> Mixer:
    """Take no new mixes from now on; a repeat answers the same. A removed one: MixerStateError."""
    mixer = await _locked(session, mixer_id)
    if mixer.status == MixerStatus.REMOVED:
        msg = "The mixer is removed."
        raise MixerStateError(msg)
    mixer.status, mixer.updated_at = MixerStatus.DRAINING, clock.now()
    return mixer


async def remove(session: AsyncSession, mixer_id: str, *, clock: Clock) -> Mixer:
    """
    Remove a mixer that has drained. What comes late to its addresses is still looked after.

    Raises:
        MixerNotFoundError: There is none.
        MixerStateError: It takes new mixes, or some of its mixes are not over.
    """
    mixer = await _locked(session, mixer_id)
    if mixer.status == MixerStatus.ACTIVE or await count_open(session, mixer_id):
        msg = "A mixer is drained before it is removed: it takes new mixes, or has some left."
        raise MixerStateError(msg)
    mixer.status, mixer.updated_at = MixerStatus.REMOVED, clock.now()
    return mixer


async def _locked(session: AsyncSession, mixer_id: str) -> Mixer:
    mixer = await session.get(Mixer, mixer_id, with_for_update=True)
    if mixer is None:
        raise MixerNotFoundError
    return mixer
