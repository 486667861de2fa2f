"""Signing for EVM chains (EIP-1559 transactions, ECDSA over secp256k1 with RFC 6979 nonces)."""

from dataclasses import dataclass

from eth_account import Account
from eth_keys.datatypes import PrivateKey

from domain.errors import SigningRefusedError
from domain.evm_calls import transaction_fields
from domain.ports import SignedAttempt, UnsignedAttempt


@dataclass(frozen=True, slots=True)
class PublicIdentity:
    """What the world may know of a key."""

    address: str
    """EIP-55."""
    pub_key: str
    """Uncompressed point (SEC 1, 2.3.3): ``0x04``, x, y in hex."""


def identity_of(private_key: bytes) -> PublicIdentity:
    """Return the address and public key of a private key."""
    public = PrivateKey(private_key).public_key
    return PublicIdentity(public.to_checksum_address(), "0x04" + public.to_bytes().hex())


def sign_evm(attempt: UnsignedAttempt, private_key: bytes) -> SignedAttempt:
    """
    Return the signed bytes of an attempt; the same attempt and key always give the same bytes.

    Raises:
        SigningRefusedError: The key is not the one of the wallet that the attempt names.
    """
    account = Account.from_key(private_key)
    if account.address != attempt.transfer.wallet_address:
        msg = "The key does not belong to the paying wallet."
        raise SigningRefusedError(msg)
    signed = account.sign_transaction(transaction_fields(attempt))
    return SignedAttempt(bytes(signed.raw_transaction), "0x" + bytes(signed.hash).hex())
