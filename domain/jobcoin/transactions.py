"""
Jobcoin transactions as bytes. There is one encoding of each, and the network is part of it.

A transaction moves coins from one account to one or several. Its id is the hash of what is signed,
so that it is known before the signature is, and no other signature changes it. There are no fees:
what is sent arrives.

Layout, numbers big-endian: magic; length of the network's id and the id; sender's public key
(33 bytes, SEC 1); account nonce (8); number of outputs (2); for each its account (20) and amount
(8). Behind it 64 bytes of signature: ECDSA over secp256k1, r and s, the lower s (BIP62).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from struct import Struct
from struct import error as StructError  # noqa: N812 - it is named like a module's own

from domain.errors import InvalidTransactionError
from domain.jobcoin.addresses import ACCOUNT_BYTES, account_of_key

MAGIC = b"jobcoin\x01"
PUBLIC_KEY_BYTES = 33
SIGNATURE_BYTES = 64
OUTPUTS_MAX = 2_000
AMOUNT_MAX_MINOR = 2**63 - 1
NONCE_MAX = 2**63 - 1

_NONCE, _COUNT = Struct(">Q"), Struct(">H")
_OUTPUT = Struct(f">{ACCOUNT_BYTES}sQ")


@dataclass(frozen=True, slots=True)
class Output:
    """Who gets how much, in minor units."""

    account: bytes
    """20 bytes; see ``addresses.account_of``."""
    amount_minor: int


@dataclass(frozen=True, slots=True)
class Transaction:
    """What is signed."""

    chain_id: str
    public_key: bytes
    """Of the sender, compressed (SEC 1)."""
    account_nonce: int
    """How many transactions of the sender come before this one."""
    outputs: tuple[Output, ...]

    @property
    def sender(self) -> bytes:
        """The account that pays."""
        return account_of_key(self.public_key)

    @property
    def total_minor(self) -> int:
        """What leaves the sender."""
        return sum(output.amount_minor for output in self.outputs)

    @property
    def body(self) -> bytes:
        """The bytes that are hashed and signed."""
        chain_id = self.chain_id.encode("ascii")
        return b"".join(
            (
                MAGIC,
                bytes([len(chain_id)]),
                chain_id,
                self.public_key,
                _NONCE.pack(self.account_nonce),
                _COUNT.pack(len(self.outputs)),
                *(_OUTPUT.pack(output.account, output.amount_minor) for output in self.outputs),
            )
        )

    @property
    def digest(self) -> bytes:
        """What the sender signs, and what the id is: SHA-256 of the body, twice."""
        return sha256(sha256(self.body).digest()).digest()

    @property
    def txid(self) -> str:
        """The id: 64 hex digits."""
        return self.digest.hex()

    def signed(self, signature: bytes) -> bytes:
        """Return the bytes that a node takes."""
        return self.body + signature


def read_transaction(raw: bytes) -> tuple[Transaction, bytes]:
    """
    Return the transaction that these bytes are, and its signature, which is not looked at here.

    Raises:
        InvalidTransactionError: They are none, or one that no node takes.
    """
    try:
        transaction, end = _read(raw)
    except (StructError, IndexError, UnicodeDecodeError) as error:
        msg = "The bytes are no Jobcoin transaction."
        raise InvalidTransactionError(msg) from error
    signature = raw[end:]
    if len(signature) != SIGNATURE_BYTES:
        msg = f"Behind a transaction stand {SIGNATURE_BYTES} bytes of signature."
        raise InvalidTransactionError(msg)
    check(transaction)
    return transaction, signature


def check(transaction: Transaction) -> None:
    """
    Pass for a transaction that could be mined on its network.

    Raises:
        InvalidTransactionError: It pays nobody, or nothing, or more than can be written.
    """
    if not 0 < len(transaction.outputs) <= OUTPUTS_MAX:
        msg = f"A transaction has 1 to {OUTPUTS_MAX} outputs."
        raise InvalidTransactionError(msg)
    if transaction.account_nonce > NONCE_MAX or transaction.total_minor > AMOUNT_MAX_MINOR:
        msg = "The amount or the account nonce is too large."
        raise InvalidTransactionError(msg)
    if any(output.amount_minor == 0 for output in transaction.outputs) and not is_filler(
        transaction.sender, transaction.outputs
    ):
        msg = "Nothing is paid to nobody but oneself."
        raise InvalidTransactionError(msg)


def is_filler(sender: bytes, outputs: Sequence[Output]) -> bool:
    """Tell whether this only uses an account nonce up: nothing, to oneself."""
    return list(outputs) == [Output(sender, 0)]


def _read(raw: bytes) -> tuple[Transaction, int]:
    at = len(MAGIC)
    if raw[:at] != MAGIC:
        msg = "The bytes do not begin as a Jobcoin transaction does."
        raise InvalidTransactionError(msg)
    length = raw[at]
    chain_id = raw[at + 1 : at + 1 + length].decode("ascii")
    at += 1 + length
    public_key = raw[at : at + PUBLIC_KEY_BYTES]
    at += PUBLIC_KEY_BYTES
    (account_nonce,) = _NONCE.unpack_from(raw, at)
    (count,) = _COUNT.unpack_from(raw, at + _NONCE.size)
    at += _NONCE.size + _COUNT.size
    end = at + count * _OUTPUT.size
    outputs = tuple(_outputs(raw, at, count))
    return Transaction(chain_id, public_key, account_nonce, outputs), end


def _outputs(raw: bytes, at: int, count: int) -> Iterator[Output]:
    for place in range(count):
        yield Output(*_OUTPUT.unpack_from(raw, at + place * _OUTPUT.size))
