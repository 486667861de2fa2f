"""
What a node relays at all, from the transaction alone (Bitcoin Core 27, ``policy/policy.cpp``).

Fees and rates are satoshi per 1000 virtual bytes. Left out: limits on signature operations and on
the shape of witnesses, which no wallet of ours comes near.
"""

from bitcoin.core import CheckTransaction, CheckTransactionError, CTransaction
from bitcoin.core.script import CScript

from devnet.bitcoin_node.errors import RejectedError
from devnet.bitcoin_node.transactions import Tx, TxOutput
from domain.utxo.scripts import script_kind

MIN_RELAY_SAT_PER_KVB = 1_000
INCREMENTAL_RELAY_SAT_PER_KVB = 1_000
DUST_RELAY_SAT_PER_KVB = 3_000
WEIGHT_MAX = 400_000
STRIPPED_BYTES_MIN = 65
VERSION_MAX = 2
SCRIPT_SIG_BYTES_MAX = 1_650
DATA_BYTES_MAX = 83
"""Of the whole output script of a data carrier."""

_OP_RETURN = 0x6A
_OP_1, _OP_16 = 0x51, 0x60
_KEY_PUSHES = (33, 65)
_OP_CHECKSIG = 0xAC
_OP_CHECKMULTISIG = 0xAE
_SPEND_BYTES = 32 + 4 + 1 + 107 + 4
_WITNESS_SPEND_BYTES = 32 + 4 + 1 + 107 // 4 + 4
_PROGRAM_BYTES = range(2, 41)


def fee_at(rate_sat_per_kvb: int, vsize: int) -> int:
    """Return the fee of this many virtual bytes, rounded down as Core 27 does, in satoshi."""
    return rate_sat_per_kvb * vsize // 1000


def check_sanity(tx: Tx) -> None:
    """Refuse what no context could make valid."""
    try:
        CheckTransaction(CTransaction.deserialize(tx.raw))
    except CheckTransactionError as error:
        raise RejectedError("bad-txns", str(error)) from error
    if tx.is_coinbase:
        raise RejectedError("coinbase")


def check_standard(tx: Tx) -> None:
    """Refuse what is valid and not relayed."""
    if not 1 <= tx.version <= VERSION_MAX:
        raise RejectedError("version")
    if tx.weight > WEIGHT_MAX:
        raise RejectedError("tx-size")
    for item in tx.inputs:
        if len(item.script_sig) > SCRIPT_SIG_BYTES_MAX:
            raise RejectedError("scriptsig-size")
        if not CScript(item.script_sig).is_push_only():
            raise RejectedError("scriptsig-not-pushonly")
    for output in tx.outputs:
        _check_output(output)
    if sum(output_type(output.script) == "nulldata" for output in tx.outputs) > 1:
        raise RejectedError("multi-op-return")
    if tx.stripped_bytes < STRIPPED_BYTES_MIN:
        raise RejectedError("tx-size-small")


def dust_threshold_sat(output: TxOutput) -> int:
    """Return the smallest amount at which an output is worth what spending it costs."""
    if output.script[:1] == bytes([_OP_RETURN]):
        return 0
    spend_bytes = _WITNESS_SPEND_BYTES if _is_witness_program(output.script) else _SPEND_BYTES
    return fee_at(DUST_RELAY_SAT_PER_KVB, 8 + 1 + len(output.script) + spend_bytes)


def output_type(script: bytes) -> str:
    """Return an output script's ``type`` in Core's words."""
    kind = script_kind(script)
    if kind is not None:
        return {
            "p2pkh": "pubkeyhash",
            "p2sh": "scripthash",
            "p2wpkh": "witness_v0_keyhash",
            "p2wsh": "witness_v0_scripthash",
            "p2tr": "witness_v1_taproot",
        }[kind]
    if script[:1] == bytes([_OP_RETURN]) and CScript(script[1:]).is_push_only():
        return "nulldata"
    if _is_witness_program(script):
        return "witness_unknown"
    if script and script[0] in _KEY_PUSHES and script[script[0] + 1 :] == bytes([_OP_CHECKSIG]):
        return "pubkey"
    if script[-1:] == bytes([_OP_CHECKMULTISIG]) and _OP_1 <= script[0] <= _OP_16:
        return "multisig"
    return "nonstandard"


def _check_output(output: TxOutput) -> None:
    kind = output_type(output.script)
    if kind == "nonstandard" or (kind == "nulldata" and len(output.script) > DATA_BYTES_MAX):
        raise RejectedError("scriptpubkey")
    if output.value_sat < dust_threshold_sat(output):
        raise RejectedError("dust")


def _is_witness_program(script: bytes) -> bool:
    """Tell whether it is a version and one push of 2 to 40 bytes (BIP141)."""
    if len(script) < 4 or script[1] not in _PROGRAM_BYTES or len(script) != script[1] + 2:  # noqa: PLR2004
        return False
    return script[0] == 0 or _OP_1 <= script[0] <= _OP_16
