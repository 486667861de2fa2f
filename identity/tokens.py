"""Bearer secrets: drawn at random, shown once, stored as a digest."""

import hashlib
import secrets

SESSION_PREFIX, API_KEY_PREFIX, STEP_UP_PREFIX = "srs_", "srk_", "sru_"
"""A fixed prefix lets secret scanners find a leaked token."""

_SECRET_BYTES = 32


def new_secret() -> str:
    """Return 256 random bits in URL-safe base64, 43 characters."""
    return secrets.token_urlsafe(_SECRET_BYTES)


def digest(secret: str) -> str:
    """
    Return the SHA-256, in hex, under which a random secret is stored.

    A slow hash protects secrets that can be guessed. Nobody guesses 256 random bits, and this
    runs on every request.
    """
    return hashlib.sha256(secret.encode()).hexdigest()
