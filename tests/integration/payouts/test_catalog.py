from typing import Any

import pytest
from pydantic import ValidationError

from domain.errors import ConflictError, InvalidAddressError
from models.wallets import Asset
from payouts.catalog import Catalog, apply_catalog, list_assets
from tests.support.books import CATALOG, TOKEN, Books


def with_token(**changes: Any) -> dict[str, Any]:
    token = {**CATALOG["assets"][1], **changes}
    return {"chains": CATALOG["chains"], "assets": [token]}


async def apply(books: Books, document: dict[str, Any]) -> None:
    async with books.owner.transaction() as session:
        await apply_catalog(session, Catalog.model_validate(document))


class TestCatalog:
    async def test_may_be_applied_again(self, books: Books) -> None:
        await apply(books, CATALOG)
        async with books.worker.transaction() as session:
            assert [asset.code for asset, _ in await list_assets(session)] == ["ETH", "USD"]

    async def test_changes_what_may_change(self, books: Books) -> None:
        await apply(books, with_token(payout_fee_minor=77, enabled=False))
        async with books.worker.transaction() as session:
            asset = await session.get_one(Asset, "USD")
        assert (asset.payout_fee_minor, asset.enabled) == (77, False)

    @pytest.mark.parametrize(
        "change",
        [
            {"decimals": 7},
            {"contract_address": "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"},
            {"kind": "native", "contract_address": None},
        ],
    )
    async def test_never_changes_what_balances_depend_on(
        self, books: Books, change: dict[str, Any]
    ) -> None:
        with pytest.raises(ConflictError):
            await apply(books, with_token(**change))

    async def test_writes_addresses_with_their_checksum(self, books: Books) -> None:
        await apply(books, with_token(contract_address=TOKEN.lower()))
        async with books.worker.transaction() as session:
            assert (await session.get_one(Asset, "USD")).contract_address == TOKEN

    @pytest.mark.parametrize("native_asset", ["XYZ", "USD"])
    async def test_refuses_a_chain_without_its_native_asset(
        self, books: Books, native_asset: str
    ) -> None:
        chain = {**CATALOG["chains"][0], "native_asset": native_asset}
        with pytest.raises(ConflictError, match="native asset"):
            await apply(books, {"chains": [chain]})

    async def test_refuses_a_contract_that_does_not_check(self, books: Books) -> None:
        with pytest.raises(InvalidAddressError):
            await apply(books, with_token(contract_address=TOKEN[:-1] + "0"))

    @pytest.mark.parametrize(
        "change", [{"decimals": 78}, {"payout_min_minor": 0}, {"surprise": 1}, {"code": "a b"}]
    )
    def test_refuses_what_makes_no_sense(self, change: dict[str, Any]) -> None:
        with pytest.raises(ValidationError):
            Catalog.model_validate(with_token(**change))
