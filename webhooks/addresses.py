"""
Where we would send to: public addresses alone, unless a setting allows this very machine.

Users name the addresses and our worker calls them, from inside the network: without these rules
they could make it call what only it can reach. Names are judged by what they resolve to, at the
moment of each connection; see ``webhooks.sender``.
"""

import ipaddress
from typing import Final
from urllib.parse import SplitResult, urlsplit

from domain.errors import InvalidWebhookUrlError

URL_LENGTH_MAX = 2_000

_LOCAL_NAME = "localhost"

_SPECIAL: Final = tuple(
    ipaddress.ip_network(text) for text in ("192.0.0.0/24", "192.88.99.0/24", "3fff::/20")
)
"""
Protocol assignments (RFC 6890), where a cloud keeps its metadata, the anycast address of 6to4
(RFC 7526), and documentation (RFC 9637): Python learned of them after 3.12.1, or never.
"""

type Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def check_url(url: str, *, allows_loopback: bool) -> None:
    """
    Pass if the address has a form that we would send to.

    Raises:
        InvalidWebhookUrlError: It is no URL, not https, or names an address that is not public.
    """
    try:
        parts = urlsplit(url)
        has_port = parts.port is None or parts.port > 0
    except ValueError:
        msg = "That is not a URL."
        raise InvalidWebhookUrlError(msg) from None
    if len(url) > URL_LENGTH_MAX or not url.isascii() or not url.isprintable() or " " in url:
        msg = "Use at most 2,000 printable ASCII characters."
        raise InvalidWebhookUrlError(msg)
    if not parts.hostname or not has_port or parts.username is not None or parts.fragment:
        msg = "Name a host, and neither a user nor a fragment."
        raise InvalidWebhookUrlError(msg)
    _check_host(parts, allows_loopback=allows_loopback)


def _check_host(parts: SplitResult, *, allows_loopback: bool) -> None:
    host = parts.hostname or ""
    address = _literal(host)
    is_local = host == _LOCAL_NAME or (address is not None and address.is_loopback)
    if parts.scheme != "https" and not (parts.scheme == "http" and is_local and allows_loopback):
        msg = "Only https is sent to."
        raise InvalidWebhookUrlError(msg)
    if is_local and allows_loopback:
        return
    if is_local or (address is not None and not is_allowed(host, allows_loopback=allows_loopback)):
        msg = "That address is not public."
        raise InvalidWebhookUrlError(msg)


def is_allowed(address: str, *, allows_loopback: bool) -> bool:
    """Tell whether we would connect to this IP address (RFC 6890: globally reachable)."""
    found = _literal(address.partition("%")[0])
    if found is None:
        return False
    if allows_loopback and found.is_loopback:
        return True
    return all(_is_public(hidden) for hidden in _unwrapped(found))


def _is_public(address: Address) -> bool:
    # Site-local addresses (RFC 3879) are deprecated, and some networks use them all the same.
    is_local = isinstance(address, ipaddress.IPv6Address) and address.is_site_local
    is_special = address.is_multicast or address.is_reserved or is_local
    is_listed = any(address in network for network in _SPECIAL)
    return address.is_global and not is_special and not is_listed


def _unwrapped(address: Address) -> list[Address]:
    """Return the address and those that it hides, by which a router may send it elsewhere."""
    found: list[Address] = [address]
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            # The kernel connects to the address inside; the one outside is only its spelling.
            return [address.ipv4_mapped]
        hidden: list[Address | None] = [address.sixtofour, *(address.teredo or ())]
        found += [inner for inner in hidden if inner is not None]
    return found


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
