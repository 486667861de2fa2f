from typing import Any

import pytest
from pydantic import ValidationError

from deposits.addresses import AddressRequest, issue
from domain.errors import (
    ConflictError,
    InternalAssetError,
    InvalidAddressError,
    InvalidUploadError,
)
from models.wallets import Asset
from payouts.catalog import Catalog, apply_catalog, list_assets
from runs.uploads import RunUploads
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


INTERNAL = {"code": "ITD", "kind": "internal", "decimals": 6, "name": "Internet dollar"}
FIAT = {"code": "EUR", "kind": "fiat", "decimals": 2, "name": "Euro"}


class TestAssetsOnNoChain:
    async def test_are_listed_beside_the_others(self, books: Books) -> None:
        await apply(books, {"assets": [INTERNAL, FIAT]})
        async with books.worker.transaction() as session:
            listed = {asset.code: chain for asset, chain in await list_assets(session)}
        assert (listed["ITD"], listed["EUR"]) == (None, None)
        assert listed["ETH"] is not None

    async def test_are_not_paid_out(self, books: Books) -> None:
        await apply(books, {"assets": [INTERNAL]})
        accepted = await books.freeze(asset="ITD", amount_minor=5)
        assert accepted.reason_code == "internal_asset"
        assert "no chain" in str(accepted.reason)

    async def test_have_no_addresses(self, books: Books) -> None:
        await apply(books, {"assets": [INTERNAL]})
        request = AddressRequest("u1", "ITD", None, "u1", "key")
        async with books.owner.transaction() as session:
            with pytest.raises(InternalAssetError):
                await issue(session, request, clock=books.clock)

    async def test_are_in_no_file_of_payouts(self, books: Books) -> None:
        await apply(books, {"assets": [INTERNAL]})
        async with books.owner.transaction() as session:
            with pytest.raises(InvalidUploadError) as refused:
                await RunUploads._asset(session, "ITD", at=1)
        assert [line.code for line in refused.value.lines] == ["internal_asset"]

    async def test_never_move_to_a_chain(self, books: Books) -> None:
        await apply(books, {"assets": [INTERNAL]})
        with pytest.raises(ConflictError):
            await apply(
                books, {"assets": [{**INTERNAL, "kind": "native", "chain_id": "eip155:31337"}]}
            )

    @pytest.mark.parametrize(
        "asset",
        [
            {**INTERNAL, "chain_id": "eip155:31337"},
            {**INTERNAL, "kind": "native"},
            {**FIAT, "code": "Euro"},
        ],
    )
    def test_are_refused_where_kind_and_chain_disagree(self, asset: dict[str, Any]) -> None:
        with pytest.raises(ValidationError):
            Catalog.model_validate({"assets": [asset]})
