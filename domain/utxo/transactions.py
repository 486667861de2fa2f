"""The unsigned transaction that an attempt stands for, whoever signs it."""

from embit.script import Script
from embit.transaction import Transaction, TransactionInput, TransactionOutput

from domain.coins import UnsignedCoinAttempt
from domain.utxo.networks import network_of
from domain.utxo.scripts import output_script

VERSION = 2
LOCK_TIME = 0
REPLACEABLE = 0xFFFFFFFD
"""Sequence of every input: signals BIP125 replacement, no relative lock time (BIP68)."""


def unsigned_transaction(attempt: UnsignedCoinAttempt) -> Transaction:
    """Return the transaction without witnesses; its txid is already the final one (BIP141)."""
    network = network_of(attempt.chain_id)
    inputs = [
        TransactionInput(
            bytes.fromhex(coin.outpoint.txid), coin.outpoint.index, sequence=REPLACEABLE
        )
        for coin in attempt.inputs
    ]
    outputs = [
        TransactionOutput(output.amount_minor, Script(output_script(output.address, network)))
        for output in attempt.outputs
    ]
    return Transaction(version=VERSION, vin=inputs, vout=outputs, locktime=LOCK_TIME)
