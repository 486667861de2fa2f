"""Signing transactions of UTXO chains (BIP143, ECDSA over secp256k1 with RFC 6979 nonces)."""

from bitcoin.core import (
    COutPoint,
    CScript,
    CTransaction,
    CTxIn,
    CTxInWitness,
    CTxOut,
    CTxWitness,
    b2lx,
    lx,
)
from bitcoin.core.script import SIGHASH_ALL, SIGVERSION_WITNESS_V0, CScriptWitness, SignatureHash
from coincurve import PrivateKey
from embit.hashes import hash160

from domain.coins import Coin, UnsignedCoinAttempt
from domain.ports import SignedAttempt
from domain.utxo.networks import network_of
from domain.utxo.scripts import output_script
from domain.utxo.transactions import LOCK_TIME, REPLACEABLE, VERSION
from signing.hd import private_key


def sign_coins(attempt: UnsignedCoinAttempt, seed: bytes) -> SignedAttempt:
    """Return the signed bytes; the same attempt and seed always give the same bytes."""
    unsigned = unsigned_transaction(attempt)
    witnesses = [
        CTxInWitness(_witness(unsigned, place, coin, _key(seed, attempt.chain_id, coin)))
        for place, coin in enumerate(attempt.inputs)
    ]
    signed = CTransaction(
        unsigned.vin, unsigned.vout, unsigned.nLockTime, unsigned.nVersion, CTxWitness(witnesses)
    )
    return SignedAttempt(signed.serialize(), b2lx(unsigned.GetTxid()))


def unsigned_transaction(attempt: UnsignedCoinAttempt) -> CTransaction:
    """Return the transaction without witnesses; its txid is already the final one (BIP141)."""
    network = network_of(attempt.chain_id)
    inputs = [
        CTxIn(COutPoint(lx(coin.outpoint.txid), coin.outpoint.index), nSequence=REPLACEABLE)
        for coin in attempt.inputs
    ]
    outputs = [
        CTxOut(output.amount_minor, CScript(output_script(output.address, network)))
        for output in attempt.outputs
    ]
    return CTransaction(inputs, outputs, LOCK_TIME, VERSION)


def _key(seed: bytes, chain_id: str, coin: Coin) -> PrivateKey:
    return PrivateKey(private_key(seed, chain_id, coin.position))


def _witness(unsigned: CTransaction, place: int, coin: Coin, key: PrivateKey) -> CScriptWitness:
    """Return signature and public key of a P2WPKH input (BIP141)."""
    public = key.public_key.format(compressed=True)
    # What a P2WPKH output signs is the P2PKH script of the same key (BIP143).
    script_code = CScript(b"\x76\xa9\x14" + hash160(public) + b"\x88\xac")
    digest = SignatureHash(
        script_code,
        unsigned,
        place,
        SIGHASH_ALL,
        amount=coin.amount_minor,
        sigversion=SIGVERSION_WITNESS_V0,
    )
    signature = key.sign(digest, hasher=None)
    return CScriptWitness([signature + bytes([SIGHASH_ALL]), public])
