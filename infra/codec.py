"""
Encryption of everything that Temporal stores for us: AES-256-GCM with the key's id in the payload.

The associated data is the namespace alone, because that is all the Temporal UI tells the codec
endpoint about a payload (https://docs.temporal.io/production-deployment/data-encryption).
"""

from collections.abc import Iterable
from typing import override

from temporalio.api.common.v1 import Payload
from temporalio.converter import PayloadCodec

from infra.keyring import Keyring

ENCODING = b"binary/encrypted"


class EncryptionCodec(PayloadCodec):
    """Seals every payload under the keyring's first key; opens any that its keys opened before."""

    def __init__(self, keyring: Keyring, *, namespace: str) -> None:
        """Take the keys and the namespace that payloads belong to."""
        self._keyring = keyring
        self._associated = namespace.encode()

    @override
    async def encode(self, payloads: Iterable[Payload]) -> list[Payload]:
        """Return sealed payloads."""
        return [
            Payload(
                metadata={"encoding": ENCODING, "key-id": self._keyring.sealing_key_id.encode()},
                data=self._keyring.seal(p.SerializeToString(), associated=self._associated),
            )
            for p in payloads
        ]

    @override
    async def decode(self, payloads: Iterable[Payload]) -> list[Payload]:
        """Return opened payloads; one that is not sealed is passed through."""
        return [self._opened(p) for p in payloads]

    def _opened(self, payload: Payload) -> Payload:
        if payload.metadata.get("encoding") != ENCODING:
            return payload
        return Payload.FromString(self._keyring.open(payload.data, associated=self._associated))
