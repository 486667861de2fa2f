"""Signing for Jobcoin networks (ECDSA over secp256k1 with RFC 6979 nonces)."""

from coincurve import PrivateKey
from coincurve.ecdsa import der_to_cdata, serialize_compact

from domain.errors import SigningRefusedError
from domain.jobcoin.addresses import account_of, account_of_key, address_of
from domain.jobcoin.transactions import Output, Transaction
from domain.ports import SignedAttempt, Transfer, UnsignedAttempt
from signing.evm import PublicIdentity


def jobcoin_identity(private_key: bytes, chain_id: str) -> PublicIdentity:
    """Return the address and public key of a private key on a network."""
    address = address_of(account_of_key(public_key_of(private_key)), chain_id)
    point = PrivateKey(private_key).public_key.format(compressed=False)
    return PublicIdentity(address, "0x" + point.hex())


def public_key_of(private_key: bytes) -> bytes:
    """Return the compressed public key (SEC 1) of a private key."""
    return PrivateKey(private_key).public_key.format(compressed=True)


def sign_jobcoin(attempt: UnsignedAttempt, private_key: bytes) -> SignedAttempt:
    """
    Return the signed bytes of an attempt; the same attempt and key always give the same bytes.

    Raises:
        SigningRefusedError: The key is not the one of the wallet that the attempt names.
    """
    if jobcoin_identity(private_key, attempt.chain_id).address != attempt.transfer.wallet_address:
        msg = "The key does not belong to the paying wallet."
        raise SigningRefusedError(msg)
    return sign_transaction(unsigned_transaction(attempt, private_key), private_key)


def sign_transaction(transaction: Transaction, private_key: bytes) -> SignedAttempt:
    """Return the bytes that a node takes, signed by this key, which is the sender's."""
    # libsecp256k1 gives the lower s, the only one that nodes take.
    der = PrivateKey(private_key).sign(transaction.digest, hasher=None)
    return SignedAttempt(transaction.signed(serialize_compact(der_to_cdata(der))), transaction.txid)


def unsigned_transaction(attempt: UnsignedAttempt, private_key: bytes) -> Transaction:
    """Return what an attempt asks to be signed."""
    return Transaction(
        chain_id=attempt.chain_id,
        public_key=public_key_of(private_key),
        account_nonce=attempt.account_nonce,
        outputs=tuple(
            Output(account_of(address, attempt.chain_id), amount_minor)
            for address, amount_minor in _payments(attempt.transfer)
        ),
    )


def _payments(transfer: Transfer) -> list[tuple[str, int]]:
    if transfer.payments:
        return [(payment.recipient, payment.amount_minor) for payment in transfer.payments]
    return [(transfer.destination, transfer.amount_minor)]
