"""Time-based one-time codes (RFC 6238): six digits, SHA-1, steps of 30 seconds. Pure."""

import hmac
from datetime import datetime

import pyotp
import segno

STEP_S = 30
CODE_PATTERN = r"^[0-9]{6}$"

_DRIFT_STEPS = 1
"""How far the user's clock may be off, either way (RFC 6238, 5.2 and 6)."""


def new_totp_secret() -> str:
    """Return 160 random bits in base32, the size that RFC 4226 recommends."""
    return pyotp.random_base32(32)


def step_at(moment: datetime) -> int:
    """Return the number of the 30-second step that holds this moment."""
    return int(moment.timestamp()) // STEP_S


def matching_steps(secret: str, code: str, *, now: datetime) -> list[int]:
    """Return the steps around now, oldest first, whose code this is: none, one, rarely more."""
    totp = pyotp.TOTP(secret, interval=STEP_S)
    middle = step_at(now)
    steps = range(middle - _DRIFT_STEPS, middle + _DRIFT_STEPS + 1)
    # Every step is compared, in constant time, so that the answer's delay tells nothing.
    hits = [hmac.compare_digest(totp.generate_otp(s).encode(), code.encode()) for s in steps]
    return [step for step, hit in zip(steps, hits, strict=True) if hit]


def provisioning_uri(secret: str, *, email: str, issuer: str) -> str:
    """Return the ``otpauth://`` URI that authenticator apps read."""
    return pyotp.TOTP(secret, interval=STEP_S).provisioning_uri(name=email, issuer_name=issuer)


def qr_data_uri(text: str) -> str:
    """Return a QR code as an SVG data URI, to be shown without another request."""
    return str(segno.make(text, error="m", micro=False).svg_data_uri(scale=4))
