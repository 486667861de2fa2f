"""Password hashing: argon2id (RFC 9106), off the event loop, in equal time for unknown users."""

import asyncio
import secrets
import unicodedata

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from domain.errors import ValidationError

PASSWORD_LENGTH_MIN, PASSWORD_LENGTH_MAX = 12, 200
"""In characters. The maximum bounds the work that a stranger can ask for."""

_CONCURRENT_HASHES = 4


class Passwords:
    """Hashes and checks passwords."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        """Take the argon2 parameters; by default those that argon2-cffi recommends."""
        self._hasher = hasher or PasswordHasher()
        # What an unknown email is checked against, so that it takes as long as a known one.
        self._decoy = self._hasher.hash(secrets.token_urlsafe())
        # Each hash takes 64 MiB and a thread; a flood of logins must not starve the process.
        self._slots = asyncio.Semaphore(_CONCURRENT_HASHES)

    async def hash(self, password: str) -> str:
        """
        Return the PHC string of a new password.

        Raises:
            ValidationError: Too short or too long.
        """
        normal = _normalize(password)
        if not PASSWORD_LENGTH_MIN <= len(normal) <= PASSWORD_LENGTH_MAX:
            message = f"Use {PASSWORD_LENGTH_MIN} to {PASSWORD_LENGTH_MAX} characters."
            raise ValidationError(message, errors=[{"field": "password", "message": message}])
        async with self._slots:
            return await asyncio.to_thread(self._hasher.hash, normal)

    async def verify(self, stored: str | None, password: str) -> bool:
        """Tell whether the password fits; ``None``, an unknown user, takes as long and fails."""
        async with self._slots:
            fits = await asyncio.to_thread(self._fits, stored or self._decoy, _normalize(password))
        return fits and stored is not None

    def needs_rehash(self, stored: str) -> bool:
        """Tell whether the hash was made with other parameters than today's."""
        return self._hasher.check_needs_rehash(stored)

    def _fits(self, stored: str, password: str) -> bool:
        try:
            return self._hasher.verify(stored, password)
        except (VerificationError, InvalidHashError):
            return False


def _normalize(password: str) -> str:
    # Keyboards differ in how they compose letters; one spelling counts (NIST SP 800-63B, 5.1.1.2).
    return unicodedata.normalize("NFKC", password)
