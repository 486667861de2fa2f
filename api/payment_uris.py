"""
What a wallet app reads from a QR code to know where to pay, and the code itself.

Bitcoin-like chains: BIP21. EVM chains: EIP-681, which names the chain, so that nobody pays on
another one; a token is a call of its ``transfer``. No amount: the payer types it.
"""

import io
from enum import StrEnum
from typing import Any, Final

import segno
from fastapi import Request, Response

from deposits.addresses import DepositAddress
from domain.jobcoin.addresses import is_jobcoin
from domain.utxo.networks import NAMESPACE, network_of
from models.wallets import Asset

_MODULE_PIXELS = 8
_QUIET_ZONE = 4
"""In modules, as ISO/IEC 18004 asks for."""


class ImageFormat(StrEnum):
    """How a QR code is drawn."""

    SVG = "svg"
    PNG = "png"

    @property
    def media_type(self) -> str:
        """The ``Content-Type``."""
        return "image/svg+xml" if self is ImageFormat.SVG else "image/png"


QR_RESPONSE: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The QR code",
        "content": {
            ImageFormat.SVG.media_type: {"schema": {"type": "string"}},
            ImageFormat.PNG.media_type: {"schema": {"type": "string", "format": "binary"}},
        },
    }
}
"""What ``responses=`` says of an operation that answers with a QR code."""


def payment_uri(found: DepositAddress) -> str:
    """Return the URI that pays to this address in the asset it was asked for."""
    address, chain_id = found.row.address, found.chain.id
    if chain_id.startswith(NAMESPACE):
        # A network's name begins with its coin: "bitcoin", "litecoin regtest".
        scheme = network_of(chain_id).name.partition(" ")[0]
        return f"{scheme}:{address}"
    if is_jobcoin(chain_id):
        return f"jobcoin:{address}"
    return _ethereum_uri(found.asset, address, chain_id.partition(":")[2])


def _ethereum_uri(asset: Asset, address: str, number: str) -> str:
    if asset.contract_address is None:
        return f"ethereum:{address}@{number}"
    return f"ethereum:{asset.contract_address}@{number}/transfer?address={address}"


def qr_image(text: str, image_format: ImageFormat) -> bytes:
    """Return a QR code of the text as an image."""
    drawn = io.BytesIO()
    segno.make_qr(text, error="m").save(
        drawn, kind=image_format.value, scale=_MODULE_PIXELS, border=_QUIET_ZONE
    )
    return drawn.getvalue()


def qr_response(text: str, image_format: ImageFormat | None, request: Request) -> Response:
    """Return the QR code in this format, or else in what the request accepts."""
    chosen = image_format or preferred_format(request.headers.get("accept"))
    return Response(
        qr_image(text, chosen), media_type=chosen.media_type, headers={"Vary": "Accept"}
    )


def preferred_format(accept: str | None) -> ImageFormat:
    """Return PNG for an ``Accept`` (RFC 9110) that wants it more than SVG; SVG for any other."""
    if accept is None:
        return ImageFormat.SVG
    weights = dict(_weighted(part) for part in accept.lower().split(","))
    png, svg = (_weight(weights, kind.media_type) for kind in (ImageFormat.PNG, ImageFormat.SVG))
    return ImageFormat.PNG if png > svg else ImageFormat.SVG


def _weighted(part: str) -> tuple[str, float]:
    media_range, *parameters = (piece.strip() for piece in part.split(";"))
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return media_range, float(value)
            except ValueError:
                return media_range, 0.0
    return media_range, 1.0


def _weight(weights: dict[str, float], media_type: str) -> float:
    for media_range in (media_type, "image/*", "*/*"):
        if media_range in weights:
            return weights[media_range]
    return 0.0
