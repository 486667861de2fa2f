"""Mixers: what they ask and promise; made, drained and removed by owners."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query

from api.dependencies import OwnerPrincipal, ReadPrincipal, SecondFactor, State, require_role
from api.problems import (
    BODY_PROBLEMS,
    SECOND_FACTOR_PROBLEMS,
    SESSION_PROBLEMS,
    problem_responses,
)
from api.schemas.base import id_pattern
from api.schemas.mixes import (
    MixerBody,
    MixerBooksView,
    MixersView,
    MixerView,
    mixer_books_view,
    mixer_view,
)
from api.schemas.payouts import AssetText
from domain.errors import (
    InternalAssetError,
    InvalidMixerPolicyError,
    MixerNotFoundError,
    MixerStateError,
    RoleMissingError,
    UnknownAssetError,
    ValidationError,
)
from domain.ids import MIXER
from identity.principals import Principal
from mixers.check import books_of
from mixers.registry import count_open, drain, house_address, mixer_by_id, remove
from mixers.registry import create_mixer as make
from mixers.registry import list_mixers as all_mixers
from models.identity import Role

router = APIRouter(prefix="/v1/mixers", tags=["mixing"])

Staff = Annotated[Principal, Depends(require_role(Role.OPERATOR, Role.AUDITOR))]
MixerPath = Annotated[str, Path(pattern=id_pattern(MIXER))]
_ONE = (*SESSION_PROBLEMS, MixerNotFoundError, ValidationError)
_CHANGE = (*_ONE, *SECOND_FACTOR_PROBLEMS, RoleMissingError, MixerStateError)


@router.get("", responses=problem_responses(*SESSION_PROBLEMS, ValidationError))
async def list_mixers(
    principal: ReadPrincipal,
    state: State,
    asset: Annotated[AssetText | None, Query()] = None,
) -> MixersView:
    """List mixers with their terms, oldest first."""
    del principal
    async with state.database.transaction() as session:
        found = await all_mixers(session, asset=asset)
    return MixersView(items=[mixer_view(mixer) for mixer in found])


@router.post(
    "",
    status_code=201,
    responses=problem_responses(
        *BODY_PROBLEMS,
        *SESSION_PROBLEMS,
        *SECOND_FACTOR_PROBLEMS,
        RoleMissingError,
        UnknownAssetError,
        InternalAssetError,
        InvalidMixerPolicyError,
    ),
)
async def create_mixer(
    body: MixerBody, principal: OwnerPrincipal, second_factor: SecondFactor, state: State
) -> MixerView:
    """Make a mixer, which takes new mixes at once."""
    policy = body.checked()
    await second_factor.require()
    async with state.database.transaction() as session:
        mixer = await make(
            session,
            asset_code=body.asset,
            name=body.name,
            policy=policy,
            by=principal.user_id,
            clock=state.clock,
        )
    return mixer_view(mixer)


@router.get("/{mixer_id}", responses=problem_responses(*_ONE))
async def get_mixer(mixer_id: MixerPath, principal: ReadPrincipal, state: State) -> MixerView:
    """Return one mixer with its terms."""
    del principal
    async with state.database.transaction() as session:
        return mixer_view(await mixer_by_id(session, mixer_id))


@router.get("/{mixer_id}/books", responses=problem_responses(*_ONE, RoleMissingError))
async def get_mixer_books(mixer_id: MixerPath, principal: Staff, state: State) -> MixerBooksView:
    """Return what a mixer's house has, owes and has earned: house = fees + owed, at any moment."""
    del principal
    async with state.database.snapshot() as session:
        mixer = await mixer_by_id(session, mixer_id)
        return mixer_books_view(
            mixer,
            await books_of(session, mixer),
            house_address=await house_address(session, mixer),
            open_mixes=await count_open(session, mixer_id),
        )


@router.post("/{mixer_id}/draining", responses=problem_responses(*_CHANGE))
async def drain_mixer(
    mixer_id: MixerPath, principal: OwnerPrincipal, second_factor: SecondFactor, state: State
) -> MixerView:
    """Take no new mixes from now on; those that it has come to their end."""
    del principal
    await second_factor.require()
    async with state.database.transaction() as session:
        return mixer_view(await drain(session, mixer_id, clock=state.clock))


@router.post("/{mixer_id}/removal", responses=problem_responses(*_CHANGE))
async def remove_mixer(
    mixer_id: MixerPath, principal: OwnerPrincipal, second_factor: SecondFactor, state: State
) -> MixerView:
    """Remove a mixer that has drained: none of its mixes is open."""
    del principal
    await second_factor.require()
    async with state.database.transaction() as session:
        return mixer_view(await remove(session, mixer_id, clock=state.clock))
