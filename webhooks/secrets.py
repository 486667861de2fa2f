"""
What webhooks are signed with: drawn here, sealed at rest, and opened only to sign.

The text form is that of Standard Webhooks: ``whsec_`` and the key in base64.
"""

import base64
import secrets

from infra.keyring import Keyring

PREFIX = "whsec_"
KEY_BYTES = 32
"""The specification asks for 24 to 64."""


def new_secret() -> str:
    """Return a secret that was never used before."""
    return PREFIX + base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()


def sealed(keyring: Keyring, secret: str, *, endpoint_id: str) -> bytes:
    """Return the secret as the database keeps it, tied to its endpoint."""
    return keyring.seal(secret.encode(), associated=_place(endpoint_id))


def opened(keyring: Keyring, sealed_secret: bytes, *, endpoint_id: str) -> str:
    """
    Return a secret to sign with.

    Raises:
        KeyUnavailableError, InvariantError: It does not open; see ``infra.keyring``.
    """
    return keyring.open(sealed_secret, associated=_place(endpoint_id)).decode()


def _place(endpoint_id: str) -> bytes:
    return f"webhook_endpoint:{endpoint_id}".encode()
