"""
Permits: how the API proves to the database that it judged a second factor.

The database cannot check one-time codes, and the API's role must not be enough to move money. So a
function that moves some asks for an HMAC (RFC 2104) under a key derived from the data keys, which
never are in the database. The first key registers itself there; a new one is vouched for by an old.
"""

import hashlib
import hmac
import logging
from dataclasses import dataclass

from domain.errors import PermitRefusedError
from infra.database import Database
from infra.keyring import Keyring

_PURPOSE = "strongroom permits"
_BLOCK_BYTES = 64
"""Of SHA-256."""
_INNER, _OUTER = 0x36, 0x5C
_REGISTER = "SELECT permit_key_register(%(id)s, %(inner)s, %(outer)s, %(sponsor)s, %(permit)s)"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, repr=False)
class Permit:
    """The API's word for one content."""

    key_id: str
    mac: bytes


class Permits:
    """Issues permits under the newest data key."""

    def __init__(self, database: Database, keyring: Keyring) -> None:
        """Take the API's data keys, and the database that is to believe in them."""
        self._database = database
        self._keys = keyring.derived(_PURPOSE)
        self._newest = keyring.sealing_key_id
        self._is_registered = False

    def issue(self, *content: str) -> Permit:
        """Return the permit for this content; the caller has judged the second factor for it."""
        return Permit(self._newest, self._mac(self._newest, content))

    async def register(self) -> None:
        """
        Make the newest key known to the database; once in a process's life.

        Raises:
            PermitRefusedError: It knows another installation's keys, and none of ours vouches.
        """
        if self._is_registered:
            return
        older = [key_id for key_id in self._keys if key_id != self._newest]
        for sponsor in (None, *older):
            if await self._offer(sponsor):
                self._is_registered = True
                return
        _log.error("the database knows none of the data keys %s as permit keys", list(self._keys))
        raise PermitRefusedError

    async def _offer(self, sponsor: str | None) -> bool:
        inner, outer = (_pad(self._keys[self._newest], mask) for mask in (_INNER, _OUTER))
        content = ("permit_key", self._newest, inner.hex(), outer.hex())
        asked = {
            "id": self._newest,
            "inner": inner,
            "outer": outer,
            "sponsor": sponsor,
            "permit": None if sponsor is None else self._mac(sponsor, content),
        }
        async with self._database.transaction() as session:
            connection = await session.connection()
            return bool((await connection.exec_driver_sql(_REGISTER, asked)).scalar_one())

    def _mac(self, key_id: str, content: tuple[str, ...]) -> bytes:
        return hmac.digest(self._keys[key_id], "\x1f".join(content).encode(), hashlib.sha256)


def _pad(key: bytes, mask: int) -> bytes:
    return bytes(byte ^ mask for byte in key.ljust(_BLOCK_BYTES, b"\0"))
