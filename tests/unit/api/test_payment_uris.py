import pytest

from api.payment_uris import ImageFormat, payment_uri, preferred_format, qr_image
from deposits.addresses import DepositAddress
from domain.utxo.networks import NETWORKS
from models.deposits import ChainAddress
from models.wallets import Asset, Chain

TOKEN = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
ADDRESS = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"


def found(chain_id: str, *, address: str = ADDRESS, contract: str | None = None) -> DepositAddress:
    row = ChainAddress(
        id="adr_1", chain_id=chain_id, address=address, lookup_key=b"", branch=0, index=0
    )
    asset = Asset(
        code="X", chain_id=chain_id, kind="", contract_address=contract, decimals=8, name="X"
    )
    chain = Chain(id=chain_id, family="", name="", native_asset="X", max_fee_ceiling_minor=1)
    return DepositAddress(row, chain, asset)


class TestPaymentUri:
    def test_of_ether_names_the_chain(self) -> None:
        assert payment_uri(found("eip155:10")) == f"ethereum:{ADDRESS}@10"

    def test_of_a_token_calls_its_transfer(self) -> None:
        uri = payment_uri(found("eip155:1", contract=TOKEN))

        assert uri == f"ethereum:{TOKEN}@1/transfer?address={ADDRESS}"

    def test_of_jobcoin_is_its_own(self) -> None:
        assert payment_uri(found("jobcoin:main", address="job1q")) == "jobcoin:job1q"

    @pytest.mark.parametrize("chain_id", NETWORKS)
    def test_of_a_bitcoin_like_coin_is_that_of_its_wallets(self, chain_id: str) -> None:
        coin = "litecoin" if "ltc" in NETWORKS[chain_id].bech32_prefix else "bitcoin"

        assert payment_uri(found(chain_id, address="bc1q")) == f"{coin}:bc1q"


class TestPreferredFormat:
    @pytest.mark.parametrize(
        "accept",
        [None, "", "*/*", "image/*", "text/html", "image/svg+xml, image/png", "image/png;q=x",
         "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8", "image/png;q=0"],
    )  # fmt: skip
    def test_is_svg_unless_png_is_wanted_more(self, accept: str | None) -> None:
        assert preferred_format(accept) is ImageFormat.SVG

    @pytest.mark.parametrize(
        "accept",
        [
            "image/png",
            "IMAGE/PNG",
            "image/png, image/*;q=0.5",
            "image/svg+xml;q=0.1,image/png;q=.2",
        ],
    )
    def test_is_png_where_it_is_wanted_more(self, accept: str) -> None:
        assert preferred_format(accept) is ImageFormat.PNG


class TestQrImage:
    def test_grows_with_what_it_says(self) -> None:
        short, long = (qr_image("x" * length, ImageFormat.SVG) for length in (10, 200))

        assert short.startswith(b"<?xml")
        assert len(short) < len(long)
