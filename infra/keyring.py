"""
AES-256-GCM under named keys from the environment (NIST SP 800-38D).

A sealed value is ``version(1) | len(key id)(1) | key id | nonce(12) | ciphertext+tag``. The first
configured key seals; every configured key opens, so a key is rotated by putting a new one first.
"""

import base64
import binascii
import os
from collections.abc import Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from domain.errors import InvariantError, KeyUnavailableError

_VERSION = 1
_NONCE_BYTES = 12
_KEY_BYTES = 32


class Keyring:
    """Seals and opens small secrets; the associated data ties each one to its place."""

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        """Take keys of 32 bytes by id; the first one seals."""
        if not keys or any(len(key) != _KEY_BYTES for key in keys.values()):
            msg = "A keyring needs at least one key, each of 32 bytes."
            raise ValueError(msg)
        self._keys = dict(keys)
        self._ciphers = {key_id: AESGCM(key) for key_id, key in keys.items()}
        self.sealing_key_id = next(iter(keys))

    @classmethod
    def parse(cls, text: str) -> "Keyring":
        """
        Return the keyring that ``id:base64,id:base64`` spells.

        Raises:
            ValueError: Malformed; the message never holds key material.
        """
        keys: dict[str, bytes] = {}
        for index, item in enumerate(filter(None, (part.strip() for part in text.split(",")))):
            key_id, _, encoded = item.partition(":")
            if not key_id or key_id in keys:
                msg = f"The id of key {index + 1} is missing or taken."
                raise ValueError(msg)
            try:
                keys[key_id] = base64.b64decode(encoded, validate=True)
            except binascii.Error:
                msg = f"Key {index + 1} is not base64."
                raise ValueError(msg) from None
        return cls(keys)

    def seal(self, plain: bytes, *, associated: bytes) -> bytes:
        """Encrypt under the first key; ``associated`` must be given again to open."""
        key_id = self.sealing_key_id.encode()
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._ciphers[self.sealing_key_id].encrypt(nonce, plain, associated)
        return bytes([_VERSION, len(key_id)]) + key_id + nonce + sealed

    def open(self, sealed: bytes, *, associated: bytes) -> bytes:
        """
        Decrypt a sealed value.

        Raises:
            KeyUnavailableError: Its key id is not configured.
            InvariantError: Tampered with, or sealed for another place.
        """
        key_id = self.key_id_of(sealed)
        body = sealed[2 + sealed[1] :]
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            msg = f"No key with id {key_id!r} is configured."
            raise KeyUnavailableError(msg)
        try:
            return cipher.decrypt(body[:_NONCE_BYTES], body[_NONCE_BYTES:], associated)
        except (InvalidTag, ValueError):
            msg = "A sealed value does not open: tampered with, or sealed for another place."
            raise InvariantError(msg) from None

    def derived(self, purpose: str) -> dict[str, bytes]:
        """Return a key of 32 bytes for another purpose from each key (HKDF, RFC 5869), by id."""
        return {
            key_id: HKDF(SHA256(), _KEY_BYTES, salt=None, info=purpose.encode()).derive(key)
            for key_id, key in self._keys.items()
        }

    @staticmethod
    def key_id_of(sealed: bytes) -> str:
        """Return the id of the key that sealed this value."""
        if len(sealed) < 2 or sealed[0] != _VERSION:  # noqa: PLR2004
            msg = "Not a sealed value of a known version."
            raise InvariantError(msg)
        return sealed[2 : 2 + sealed[1]].decode(errors="replace")


def generate_key() -> str:
    """Return a new random key, base64, to be given an id and put into the environment."""
    return base64.b64encode(os.urandom(_KEY_BYTES)).decode()
