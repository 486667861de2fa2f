"""Transfers to and from pockets, as tests ask for them."""

from typing import TYPE_CHECKING

from sqlmodel import select

from domain.ids import POCKET_TRANSFER, derived_id, new_id
from domain.pockets import PocketTransferRequest, Route
from ledger import chart
from models.deposits import AddressPurpose, ChainAddress

if TYPE_CHECKING:
    from tests.support.evm_books import EvmBooks


def transfer_request(
    route: Route,
    amount: int | str,
    *,
    chain_id: str,
    asset: str = "ETH",
    user_id: str = "u1",
    destination: str | None = None,
    key: str = "",
    to_asset: str | None = None,
    quote_id: str | None = None,
) -> PocketTransferRequest:
    key = key or new_id("key")
    return PocketTransferRequest(
        payout_id=derived_id(POCKET_TRANSFER, user_id, key),
        user_id=user_id,
        principal=user_id,
        idempotency_key=key,
        request_hash="hash",
        route=route,
        asset=asset,
        chain_id=chain_id,
        amount=str(amount),
        second_factor="totp",
        destination=destination,
        to_asset=to_asset,
        quote_id=quote_id,
    )


async def assert_pockets_mirror(books: "EvmBooks") -> None:
    """Compare the books with the chain: all pockets together, and each one by itbooks."""
    async with books.owner.transaction() as session:
        query = select(ChainAddress).where(ChainAddress.purpose == AddressPurpose.POCKET)
        pockets = list(await session.exec(query))
    for asset in ("ETH", *books.contracts):
        contract = books.contracts.get(asset)
        total_minor = 0
        for pocket in pockets:
            minor = await books.outlet.balance_minor(pocket.address, contract_address=contract)
            total_minor += minor
            owned = sum(await books.onchain(asset, str(pocket.user_id)))
            lent = await books.balance(
                chart.pocket_gas(books.outlet.chain_id, str(pocket.user_id)), asset
            )
            assert (asset, pocket.user_id, owned + lent) == (asset, pocket.user_id, minor)
        mirrored = -await books.balance(chart.omnibus_pocket(books.outlet.chain_id), asset)
        assert (asset, mirrored) == (asset, total_minor)
