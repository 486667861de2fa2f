"""Email addresses as login names: one spelling per mailbox."""

import re

from domain.errors import ValidationError

EMAIL_LENGTH_MAX = 254
"""Longest path of a mailbox, in characters (RFC 5321, erratum 1690)."""

EMAIL_PATTERN = r"^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@([A-Za-z0-9-]{1,63}\.)+[A-Za-z0-9-]{2,63}$"
"""ASCII only: lower-casing other letters makes look-alikes equal (the Kelvin sign becomes k)."""

_EMAIL = re.compile(EMAIL_PATTERN)


def normalize_email(text: str) -> str:
    """
    Return the address in lower case.

    Raises:
        ValidationError: Not an address; the detail does not repeat it.
    """
    if len(text) > EMAIL_LENGTH_MAX or not _EMAIL.fullmatch(text):
        message = "Not a valid email address."
        raise ValidationError(message, errors=[{"field": "email", "message": message}])
    return text.lower()
