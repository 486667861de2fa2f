"""
Links that say whom to pay: ``strongroom:@ada?asset=ETH&amount=150&request=mrq_…``.

This is what a QR code holds. ``amount`` is in minor units and needs an ``asset``; whatever else
stands in a link is refused, so that no two readers take it for two different payments.
"""

import re
from dataclasses import dataclass
from typing import override
from urllib.parse import parse_qsl, urlencode

from domain.errors import InvalidAmountError, InvalidHandleError, InvalidPaymentLinkError
from domain.ids import MONEY_REQUEST, USER
from domain.money import parse_minor
from domain.transfers import Recipient, canonical_handle

SCHEME = "strongroom:"
LINK_LENGTH_MAX = 300

_ULID = "[0-7][0-9A-HJKMNP-TV-Z]{25}"
_USER_ID = re.compile(f"{USER}_{_ULID}", re.ASCII)
_REQUEST_ID = re.compile(f"{MONEY_REQUEST}_{_ULID}", re.ASCII)
_ASSET = re.compile(r"[A-Za-z0-9.-]{1,32}", re.ASCII)
_NAMES = {"asset", "amount", "request"}


@dataclass(frozen=True, slots=True)
class PaymentLink:
    """Whom to pay and, if it says so, what and for which money request."""

    recipient: Recipient
    asset: str | None = None
    amount_minor: int | None = None
    money_request_id: str | None = None

    @override
    def __str__(self) -> str:
        """Return the link."""
        parts = {
            "asset": self.asset,
            "amount": None if self.amount_minor is None else str(self.amount_minor),
            "request": self.money_request_id,
        }
        query = urlencode({name: value for name, value in parts.items() if value is not None})
        return f"{SCHEME}{self.recipient}" + (f"?{query}" if query else "")


def parse_recipient(text: str) -> Recipient:
    """
    Return whom ``@ada`` or ``usr_…`` means.

    Raises:
        InvalidPaymentLinkError: Neither of them.
    """
    if _USER_ID.fullmatch(text):
        return Recipient(user_id=text)
    if not text.startswith("@"):
        msg = "Whom to pay is a user id (usr_…) or a handle (@…)."
        raise InvalidPaymentLinkError(msg)
    try:
        return Recipient(handle=canonical_handle(text[1:]))
    except InvalidHandleError as error:
        raise InvalidPaymentLinkError(error.detail) from None


def parse_link(text: str) -> PaymentLink:
    """
    Return what a ``strongroom:`` link says.

    Raises:
        InvalidPaymentLinkError: Malformed, or with something in it that links do not have.
    """
    body = text.removeprefix(SCHEME)
    if body == text or len(text) > LINK_LENGTH_MAX or not text.isascii():
        raise InvalidPaymentLinkError
    target, has_query, query = body.partition("?")
    said = _parameters(query) if has_query else {}
    asset, request_id = said.get("asset"), said.get("request")
    if asset is not None and not _ASSET.fullmatch(asset):
        raise InvalidPaymentLinkError
    if request_id is not None and not _REQUEST_ID.fullmatch(request_id):
        raise InvalidPaymentLinkError
    if "amount" in said and asset is None:
        msg = "An amount needs an asset."
        raise InvalidPaymentLinkError(msg)
    return PaymentLink(parse_recipient(target), asset, _amount(said.get("amount")), request_id)


def parse_target(text: str) -> PaymentLink:
    """
    Return whom a user id, an ``@handle`` or a ``strongroom:`` link means, and what it asks for.

    Raises:
        InvalidPaymentLinkError: None of them.
    """
    if text.startswith(SCHEME):
        return parse_link(text)
    return PaymentLink(parse_recipient(text))


def _parameters(query: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(query, strict_parsing=True, keep_blank_values=True, max_num_fields=4)
    except ValueError:
        raise InvalidPaymentLinkError from None
    said = dict(pairs)
    if not pairs or len(said) != len(pairs) or not said.keys() <= _NAMES:
        raise InvalidPaymentLinkError
    return said


def _amount(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return parse_minor(text)
    except InvalidAmountError as error:
        raise InvalidPaymentLinkError(error.detail) from None
