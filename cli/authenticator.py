"""An authenticator for scripts: gives each TOTP code once, waiting for the next when it must."""

import time
from collections.abc import Callable

import pyotp

STEP_S = 30


class Authenticator:
    """
    One person's TOTP secret and the newest step it was used for.

    The server takes a code of the step before, the present or the next one, each once and never
    one older than the last; so a few codes are at hand at once and then one every half minute.
    """

    def __init__(self, secret: str, *, wait: Callable[[float], None] = time.sleep) -> None:
        """Take the base32 secret."""
        self._totp = pyotp.TOTP(secret)
        self._wait = wait
        self._last_step = 0

    @property
    def secret(self) -> str:
        """The base32 secret, as another authenticator takes it."""
        return self._totp.secret

    def next_code(self) -> str:
        """Return a code that was not given before."""
        while True:
            present = int(time.time()) // STEP_S
            step = max(self._last_step + 1, present - 1)
            if step <= present + 1:
                self._last_step = step
                return self._totp.at(step * STEP_S)
            self._wait((step - 1) * STEP_S - time.time())

    @property
    def codes_at_hand(self) -> int:
        """Return how many codes can be given without waiting."""
        present = int(time.time()) // STEP_S
        return present + 2 - max(self._last_step + 1, present - 1)
