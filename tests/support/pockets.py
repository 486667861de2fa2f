"""Transfers to and from pockets, as tests ask for them."""

from domain.ids import POCKET_TRANSFER, derived_id, new_id
from domain.pockets import PocketTransferRequest, Route


def transfer_request(
    route: Route,
    amount: int | str,
    *,
    chain_id: str,
    asset: str = "ETH",
    user_id: str = "u1",
    destination: str | None = None,
    key: str = "",
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
    )
