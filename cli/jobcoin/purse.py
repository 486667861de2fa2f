"""
Keys of Jobcoin addresses that the command line signs with, in a file that its owner alone reads.

They are not sealed: a purse for play money on a network of one's own, and for small change else.
"""

import json
import os
import re
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

from domain.errors import ConflictError, NotFoundError, ValidationError
from domain.jobcoin.addresses import account_of, parse_jobcoin_address
from domain.jobcoin.transactions import Output, Transaction
from domain.ports import SignedAttempt
from signing.jobcoin import jobcoin_identity, public_key_of, sign_transaction
from signing.vault import SECP256K1_ORDER

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,31}")


@dataclass(frozen=True, slots=True, repr=False)
class Key:
    """One key, and what its owner calls it."""

    name: str
    chain_id: str
    address: str
    private_key: str


class Purse:
    """The keys of one file; it is made with the first key."""

    def __init__(self, path: Path) -> None:
        """Take the file's path."""
        self._path = path

    def keys(self, chain_id: str) -> list[Key]:
        """Return the keys of a network, the oldest first."""
        return [key for key in self._all() if key.chain_id == chain_id]

    def make(self, chain_id: str, name: str | None = None) -> Key:
        """
        Make a key, and give it a name or a number.

        Raises:
            ConflictError: Another one of the network has the name.
            ValidationError: It is no name.
        """
        known = self._all()
        ours = {key.name for key in known if key.chain_id == chain_id}
        chosen = name or next(f"key{n}" for n in range(1, len(ours) + 2) if f"key{n}" not in ours)
        if not _NAME.fullmatch(chosen):
            msg = "A name begins with a letter and has up to 32 letters, digits and ._-"
            raise ValidationError(msg)
        if chosen in ours:
            msg = f"There is a key {chosen!r}."
            raise ConflictError(msg)
        private_key = (secrets.randbelow(SECP256K1_ORDER - 1) + 1).to_bytes(32)
        identity = jobcoin_identity(private_key, chain_id)
        key = Key(chosen, chain_id, identity.address, private_key.hex())
        self._write([*known, key])
        return key

    def address(self, chain_id: str, text: str) -> str:
        """Return the address that a name stands for, or the address that was typed."""
        for key in self.keys(chain_id):
            if key.name == text:
                return key.address
        return parse_jobcoin_address(text, chain_id)

    def sign(
        self, chain_id: str, sender: str, account_nonce: int, outputs: list[tuple[str, int]]
    ) -> SignedAttempt:
        """
        Sign a transaction of one of our addresses to addresses, in minor units.

        Raises:
            NotFoundError: The purse has no key of the sender.
        """
        found = [key for key in self.keys(chain_id) if key.address == sender]
        if not found:
            msg = f"The purse has no key of {sender}."
            raise NotFoundError(msg)
        private_key = bytes.fromhex(found[0].private_key)
        paid = tuple(Output(account_of(a, chain_id), minor) for a, minor in outputs)
        unsigned = Transaction(chain_id, public_key_of(private_key), account_nonce, paid)
        return sign_transaction(unsigned, private_key)

    def _all(self) -> list[Key]:
        if not self._path.exists():
            return []
        return [Key(**stored) for stored in json.loads(self._path.read_text())]

    def _write(self, keys: list[Key]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        partial = self._path.with_suffix(".new")
        partial.unlink(missing_ok=True)
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump([asdict(key) for key in keys], file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self._path)
