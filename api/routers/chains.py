"""
Chains as the watcher sees them.

What an operator does to a chain has a router of its own beside this one, such as ``rescans``.
"""

from typing import Annotated

from fastapi import APIRouter, Path

from api.dependencies import ReadPrincipal, State
from api.problems import SESSION_PROBLEMS, problem_responses
from api.schemas.chains import CHAIN_ID_PATTERN, ChainList, ChainStateView, chain_state_view
from deposits.queries import chain_head, chain_heads
from deposits.rescans import count_open
from domain.errors import ChainNotFoundError, ValidationError
from payouts.catalog import list_assets

router = APIRouter(prefix="/v1/chains", tags=["chains"])

ChainPath = Annotated[
    str, Path(pattern=CHAIN_ID_PATTERN, description="CAIP-2.", examples=["eip155:1"])
]


@router.get("", responses=problem_responses(*SESSION_PROBLEMS))
async def list_chains(principal: ReadPrincipal, state: State) -> ChainList:
    """List every chain with what was last seen of it."""
    del principal
    async with state.database.transaction() as session:
        rows = await chain_heads(session)
        assets = [asset for asset, _ in await list_assets(session)]
        rescans = await count_open(session)
    return ChainList(
        items=[
            chain_state_view(chain, head, assets=assets, open_rescans=rescans)
            for chain, head in rows
        ]
    )


@router.get(
    "/{chain_id}",
    responses=problem_responses(*SESSION_PROBLEMS, ChainNotFoundError, ValidationError),
)
async def get_chain(chain_id: ChainPath, principal: ReadPrincipal, state: State) -> ChainStateView:
    """Return one chain: how far it was read, its last reorg, its fee rate, what counts on it."""
    del principal
    async with state.database.transaction() as session:
        chain, head = await chain_head(session, chain_id)
        assets = [asset for asset, _ in await list_assets(session)]
        rescans = await count_open(session)
    return chain_state_view(chain, head, assets=assets, open_rescans=rescans)
