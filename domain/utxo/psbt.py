"""
Partially signed transactions (BIP174), for wallets whose keys are elsewhere: cold ones, devices.

What comes back is believed for its signatures alone. Everything else is built anew from what was
asked for and must be the same, byte for byte.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from embit import ec
from embit.base import EmbitError
from embit.bip32 import parse_path
from embit.hashes import hash160
from embit.psbt import PSBT, DerivationPath
from embit.script import Script, Witness
from embit.transaction import SIGHASH, Transaction, TransactionOutput

from domain.coins import Coin, KeyPosition, UnsignedCoinAttempt
from domain.errors import ValidationError
from domain.hd import account_path, child_public_key
from domain.ports import SignedAttempt
from domain.utxo.transactions import unsigned_transaction

_UNREADABLE = (
    EmbitError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    RuntimeError,
    OverflowError,
)
"""What the library raises for bytes that are not what it expects."""


@dataclass(frozen=True, slots=True)
class ColdAccount:
    """What is known of an account whose private keys are elsewhere."""

    xpub: str
    """Extended public key at ``domain.hd.account_path`` of the chain."""
    fingerprint: bytes
    """Of the master key it comes from, 4 bytes (BIP32): how a device knows its own."""


def unsigned_psbt(
    attempt: UnsignedCoinAttempt,
    account: ColdAccount,
    *,
    own_outputs: Mapping[str, KeyPosition] | None = None,
    previous: Mapping[str, bytes] | None = None,
) -> bytes:
    """
    Return the PSBT (version 0) to hand to whoever can sign.

    ``own_outputs`` says which addresses are the account's own, so that a device need not show the
    change. ``previous`` holds whole transactions that are spent, raw by txid: devices ask for them
    because BIP143 signatures commit to each input's amount alone, not to the others'.
    """
    psbt = PSBT(unsigned_transaction(attempt), {})
    for scope, coin in zip(psbt.inputs, attempt.inputs, strict=True):
        public = child_public_key(account.xpub, coin.position)
        scope.witness_utxo = TransactionOutput(coin.amount_minor, Script(_p2wpkh(public)))
        scope.sighash_type = SIGHASH.ALL
        _tell_path(scope, attempt.chain_id, account, coin.position)
        if raw := (previous or {}).get(coin.outpoint.txid):
            scope.non_witness_utxo = _previous(raw, coin)
    for scope, output in zip(psbt.outputs, attempt.outputs, strict=True):
        if position := (own_outputs or {}).get(output.address):
            _tell_path(scope, attempt.chain_id, account, position)
    return bytes(psbt.serialize())


def signed_attempt(
    attempt: UnsignedCoinAttempt, account: ColdAccount, psbt: bytes
) -> SignedAttempt:
    """
    Return the final transaction of a PSBT that came back signed, or already finalized.

    Raises:
        ValidationError: It is no PSBT, another transaction, or an input is not signed by its key.
    """
    expected = unsigned_transaction(attempt)
    try:
        parsed = PSBT.parse(psbt)
        is_same = parsed.tx.serialize() == expected.serialize()
    except _UNREADABLE as error:
        msg = "These bytes are no PSBT (BIP174)."
        raise ValidationError(msg) from error
    _require(is_same, "The PSBT is of another transaction than was asked for.")
    for place, coin in enumerate(attempt.inputs):
        public = child_public_key(account.xpub, coin.position)
        signature = _signature(parsed.inputs[place], public)
        code = Script(b"\x76\xa9\x14" + hash160(public) + b"\x88\xac")
        digest = expected.sighash_segwit(place, code, coin.amount_minor, SIGHASH.ALL)
        is_good = signature is not None and _is_good(signature, digest, public)
        _require(is_good, f"Input {place} is not signed by the key that it belongs to.")
        expected.vin[place].witness = Witness([signature, public])
    return SignedAttempt(bytes(expected.serialize()), bytes(expected.txid()).hex())


def _tell_path(scope: Any, chain_id: str, account: ColdAccount, position: KeyPosition) -> None:
    path = [*parse_path(account_path(chain_id)), position.branch, position.index]
    public = ec.PublicKey.parse(child_public_key(account.xpub, position))
    scope.bip32_derivations[public] = DerivationPath(account.fingerprint, path)


def _previous(raw: bytes, coin: Coin) -> Transaction:
    transaction = Transaction.parse(raw)
    is_it = bytes(transaction.txid()).hex() == coin.outpoint.txid
    _require(is_it, f"These bytes are not the transaction {coin.outpoint.txid}.")
    return transaction


def _signature(scope: Any, public: bytes) -> bytes | None:
    """Return what is there as a signature of this key, with its sighash byte."""
    if scope.final_scriptwitness is not None:
        items = scope.final_scriptwitness.items
        return bytes(items[0]) if items else None
    found = scope.partial_sigs.get(ec.PublicKey.parse(public))
    return bytes(found) if found else None


def _is_good(signature: bytes, digest: bytes, public: bytes) -> bool:
    """
    Check as nodes do: over everything (SIGHASH_ALL), in strict DER (BIP66), with a low S (BIP146).

    The library's check takes no high S.
    """
    der, sighash_type = signature[:-1], signature[-1:]
    if sighash_type != bytes([SIGHASH.ALL]):
        return False
    try:
        parsed = ec.Signature.parse(der)
    except _UNREADABLE:
        return False
    return bool(ec.PublicKey.parse(public).verify(parsed, digest))


def _p2wpkh(public: bytes) -> bytes:
    return b"\x00\x14" + bytes(hash160(public))


def _require(holds: bool, otherwise: str) -> None:  # noqa: FBT001
    if not holds:
        raise ValidationError(otherwise)
