"""What a second factor is given for: the digest of one operation."""

import hashlib
import json

from domain.errors import ValidationError


def canonical_json(value: object) -> bytes:
    """
    Return the one spelling of a JSON value: keys sorted by code point, no spaces, UTF-8.

    Raises:
        ValidationError: Not JSON: NaN, infinity, half a surrogate pair, or nested too deeply.
    """
    try:
        return json.dumps(
            value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
        ).encode()
    except (ValueError, RecursionError):
        msg = "The body cannot be written as canonical JSON."
        raise ValidationError(msg) from None


def operation_fingerprint(
    method: str, path: str, body: object, *, idempotency_key: str | None = None
) -> str:
    """
    Return the SHA-256, in hex, of an operation: method, path, JSON body and Idempotency-Key.

    The key belongs to it because the same body under another key is another payment: without it
    one code could pay twice. ``body`` is the parsed JSON, or None when there is none.
    """
    operation = [method.upper(), path, idempotency_key, body]
    return hashlib.sha256(canonical_json(operation)).hexdigest()
