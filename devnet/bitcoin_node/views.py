"""Chain and mempool in the shapes of Bitcoin Core 27's answers; amounts are ``Decimal`` coins."""

from decimal import Decimal
from typing import Any

from bitcoin.core.script import OPCODE_NAMES, CScript, CScriptInvalidError
from embit.descriptor.checksum import add_checksum

from devnet.bitcoin_node.acceptance import amount
from devnet.bitcoin_node.blocks import Block, compact_size
from devnet.bitcoin_node.chain import Chain
from devnet.bitcoin_node.mempool import Entry, Mempool
from devnet.bitcoin_node.policy import output_type
from devnet.bitcoin_node.transactions import Tx
from domain.errors import InvalidAddressError
from domain.utxo.networks import BITCOIN_REGTEST
from domain.utxo.scripts import address_of

Shape = dict[str, Any]

DIFFICULTY = 4.656542373906925e-10
"""Regtest's, always."""

_WORK_PER_BLOCK = 2
_NUMBER_BYTES_MAX = 4
_OP_1, _OP_16 = 0x51, 0x60
_HEADER_BYTES = 80


def script_view(script: bytes) -> Shape:
    """Return an output script as ``scriptPubKey``."""
    view = {"asm": asm(script), "desc": descriptor(script), "hex": script.hex()}
    address = address_or_none(script)
    if address is not None:
        view["address"] = address
    return {**view, "type": output_type(script)}


def address_or_none(script: bytes) -> str | None:
    """Return an output script's regtest address, or None where it has none."""
    try:
        return address_of(script, BITCOIN_REGTEST)
    except InvalidAddressError:
        return None


def descriptor(script: bytes) -> str:
    """Return the descriptor of an output script, with its checksum (BIP380)."""
    address = address_or_none(script)
    return str(add_checksum(f"addr({address})" if address else f"raw({script.hex()})"))


def asm(script: bytes) -> str:
    """Return a script in words."""
    words: list[str] = []
    try:
        for opcode, data, _ in CScript(script).raw_iter():
            words.append(_word(int(opcode), data))
    except CScriptInvalidError:
        words.append("[error]")
    return " ".join(words)


def tx_view(tx: Tx) -> Shape:
    """Return a transaction as ``decoderawtransaction`` does."""
    return {
        "txid": tx.txid,
        "hash": tx.wtxid,
        "version": tx.version,
        "size": len(tx.raw),
        "vsize": tx.vsize,
        "weight": tx.weight,
        "locktime": tx.lock_time,
        "vin": [_input_view(tx, index) for index in range(len(tx.inputs))],
        "vout": [
            {
                "value": amount(output.value_sat),
                "n": index,
                "scriptPubKey": script_view(output.script),
            }
            for index, output in enumerate(tx.outputs)
        ],
    }


def header_view(chain: Chain, block: Block) -> Shape:
    """Return what ``getblockheader`` does."""
    height = chain.heights[block.hash]
    is_active = chain.is_active(block.hash)
    view = {
        "hash": block.hash,
        "confirmations": chain.height - height + 1 if is_active else -1,
        "height": height,
        "version": block.version,
        "versionHex": f"{block.version:08x}",
        "merkleroot": block.merkle_root,
        "time": block.time_s,
        "mediantime": chain.median_time_s(height) if is_active else block.time_s,
        "nonce": block.nonce,
        "bits": f"{block.bits:08x}",
        "difficulty": DIFFICULTY,
        "chainwork": chainwork(height),
        "nTx": len(block.txs),
    }
    if height:
        view["previousblockhash"] = block.prev_hash
    if is_active and height < chain.height:
        view["nextblockhash"] = chain.active[height + 1]
    return view


def block_view(chain: Chain, block: Block, *, verbosity: int) -> Shape:
    """Return what ``getblock`` does: txids at verbosity 1, whole transactions and fees above."""
    stripped = _HEADER_BYTES + len(compact_size(len(block.txs)))
    stripped += sum(tx.stripped_bytes for tx in block.txs)
    size = len(block.raw)
    txs = [
        tx.txid if verbosity == 1 else _block_tx_view(chain, block, tx, verbosity=verbosity)
        for tx in block.txs
    ]
    sizes = {"strippedsize": stripped, "size": size, "weight": 3 * stripped + size}
    return {**header_view(chain, block), **sizes, "tx": txs}


def entry_view(pool: Mempool, entry: Entry) -> Shape:
    """Return what ``getmempoolentry`` does."""
    txid = entry.tx.txid
    ancestors, descendants = pool.ancestors([txid]), pool.descendants([txid])
    up_count, up_vbytes, up_fees_sat = pool.totals(ancestors)
    down_count, down_vbytes, down_fees_sat = pool.totals(descendants)
    return {
        "vsize": entry.tx.vsize,
        "weight": entry.tx.weight,
        "time": entry.time_s,
        "height": entry.height,
        "descendantcount": down_count,
        "descendantsize": down_vbytes,
        "ancestorcount": up_count,
        "ancestorsize": up_vbytes,
        "wtxid": entry.tx.wtxid,
        "fees": {
            "base": amount(entry.fee_sat),
            "modified": amount(entry.fee_sat),
            "ancestor": amount(up_fees_sat),
            "descendant": amount(down_fees_sat),
        },
        "depends": sorted(entry.parents),
        "spentby": sorted(entry.children),
        # By itself or through what it depends on (BIP125).
        "bip125-replaceable": any(pool[item].tx.is_replaceable for item in ancestors),
        "unbroadcast": False,
    }


def chainwork(height: int) -> str:
    """Return the work of a chain of this height."""
    return f"{_WORK_PER_BLOCK * (height + 1):064x}"


def total(values_sat: list[int]) -> Decimal:
    """Return a sum of amounts."""
    return amount(sum(values_sat))


def _block_tx_view(chain: Chain, block: Block, tx: Tx, *, verbosity: int) -> Shape:
    view = {**tx_view(tx), "hex": tx.raw.hex()}
    spent = chain.spent.get(block.hash)
    if tx.is_coinbase or spent is None:
        return view
    coins = [spent[outpoint] for outpoint in tx.outpoints]
    paid_sat = sum(output.value_sat for output in tx.outputs)
    view["fee"] = amount(sum(coin.output.value_sat for coin in coins) - paid_sat)
    if verbosity > 2:  # noqa: PLR2004
        for item, coin in zip(view["vin"], coins, strict=True):
            item["prevout"] = {
                "generated": coin.is_coinbase,
                "height": coin.height,
                "value": amount(coin.output.value_sat),
                "scriptPubKey": script_view(coin.output.script),
            }
    return view


def _input_view(tx: Tx, index: int) -> Shape:
    item = tx.inputs[index]
    if tx.is_coinbase:
        view: Shape = {"coinbase": item.script_sig.hex()}
    else:
        txid, output_index = item.outpoint
        script = {"asm": asm(item.script_sig), "hex": item.script_sig.hex()}
        view = {"txid": txid, "vout": output_index, "scriptSig": script}
    if item.witness:
        view["txinwitness"] = [part.hex() for part in item.witness]
    return {**view, "sequence": item.sequence}


def _word(opcode: int, data: bytes | None) -> str:
    if data is None:
        name = OPCODE_NAMES.get(opcode, "OP_UNKNOWN")
        return str(opcode - _OP_1 + 1) if _OP_1 <= opcode <= _OP_16 else str(name)
    if len(data) > _NUMBER_BYTES_MAX:
        return data.hex()
    magnitude = int.from_bytes(data, "little")
    sign_bit = 1 << (8 * len(data) - 1) if data else 0
    return str(-(magnitude ^ sign_bit) if magnitude & sign_bit else magnitude)
