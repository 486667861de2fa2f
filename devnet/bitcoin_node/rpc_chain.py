"""Methods about blocks and coins (Core's ``rpc/blockchain.cpp``); parameters have Core's names."""

import time
from typing import Any

from devnet.bitcoin_node import policy, views
from devnet.bitcoin_node.acceptance import amount
from devnet.bitcoin_node.blocks import Block
from devnet.bitcoin_node.chain import Coin
from devnet.bitcoin_node.dispatch import hash_parameter, hex_parameter
from devnet.bitcoin_node.errors import Code, RpcError
from devnet.bitcoin_node.node import Node
from devnet.bitcoin_node.transactions import OutPoint
from devnet.bitcoin_node.views import Shape
from domain.errors import InvalidAddressError
from domain.utxo.networks import BITCOIN_REGTEST
from domain.utxo.scripts import output_script

VERSION = 270_000
"""Whose answers these are; ``subversion`` says what this really is."""
SUBVERSION = "/strongroom-development-node:27.0.0/"

_TIP_AGE_MAX_S = 24 * 3600


def getblockchaininfo(node: Node) -> Shape:
    """State of the chain."""
    chain = node.chain
    return {
        "chain": "regtest",
        "blocks": chain.height,
        "headers": chain.height,
        "bestblockhash": chain.tip.hash,
        "difficulty": views.DIFFICULTY,
        "time": chain.tip.time_s,
        "mediantime": chain.median_time_s(),
        "verificationprogress": 1,
        "initialblockdownload": chain.tip.time_s < time.time() - _TIP_AGE_MAX_S,
        "chainwork": views.chainwork(chain.height),
        "size_on_disk": sum(len(block.raw) for block in chain.blocks.values()),
        "pruned": False,
        "warnings": "A development node: not for money.",
    }


def getnetworkinfo(_node: Node) -> Shape:
    """Version and relay fees; there are no peers."""
    return {
        "version": VERSION,
        "subversion": SUBVERSION,
        "protocolversion": 70016,
        "localservices": f"{0:016x}",
        "localservicesnames": [],
        "localrelay": True,
        "timeoffset": 0,
        "networkactive": False,
        "connections": 0,
        "connections_in": 0,
        "connections_out": 0,
        "networks": [],
        "relayfee": amount(policy.MIN_RELAY_SAT_PER_KVB),
        "incrementalfee": amount(policy.INCREMENTAL_RELAY_SAT_PER_KVB),
        "localaddresses": [],
        "warnings": "A development node: not for money.",
    }


def getindexinfo(node: Node) -> Shape:
    """Indexes: that of transactions is always there."""
    return {"txindex": {"synced": True, "best_block_height": node.chain.height}}


def getblockcount(node: Node) -> int:
    """Height of the tip."""
    return node.chain.height


def getbestblockhash(node: Node) -> str:
    """Hash of the tip."""
    return node.chain.tip.hash


def getblockhash(node: Node, height: Any) -> str:
    """Hash of an active block by its height."""
    if not isinstance(height, int):
        raise RpcError(Code.TYPE, "JSON value is not an integer as expected")
    if not 0 <= height <= node.chain.height:
        raise RpcError(Code.INVALID_PARAMETER, "Block height out of range")
    return node.chain.active[height]


def getblockheader(node: Node, blockhash: Any, verbose: bool = True) -> Shape | str:  # noqa: FBT001, FBT002
    """Header of a known block."""
    block = known_block(node, blockhash)
    return views.header_view(node.chain, block) if verbose else block.header.hex()


def getblock(node: Node, blockhash: Any, verbosity: int = 1) -> Shape | str:
    """Return a known block: 0 hex, 1 txids, 2 transactions, 3 with what they spend."""
    block = known_block(node, blockhash)
    if verbosity == 0:
        return block.raw.hex()
    return views.block_view(node.chain, block, verbosity=verbosity)


def gettxout(node: Node, txid: Any, n: int, include_mempool: bool = True) -> Shape | None:  # noqa: FBT001, FBT002
    """Return an unspent output, or null; one that the mempool spends is spent, if that is asked."""
    outpoint = hash_parameter(txid, "txid"), n
    coin = node.chain.coins.get(outpoint)
    confirmations = node.chain.height - coin.height + 1 if coin else 0
    if include_mempool:
        if outpoint in node.pool.spender_of:
            return None
        entry = node.pool.get(outpoint[0])
        if entry is not None and 0 <= n < len(entry.tx.outputs):
            coin = Coin(entry.tx.outputs[n], node.chain.height + 1, is_coinbase=False)
    if coin is None:
        return None
    return {
        "bestblock": node.chain.tip.hash,
        "confirmations": confirmations,
        "value": amount(coin.output.value_sat),
        "scriptPubKey": views.script_view(coin.output.script),
        "coinbase": coin.is_coinbase,
    }


def gettxoutsetinfo(node: Node, hash_type: str = "none") -> Shape:
    """Sums over all coins; without the hash."""
    values = [coin.output.value_sat for coin in node.chain.coins.values()]
    return {
        "height": node.chain.height,
        "bestblock": node.chain.tip.hash,
        "txouts": len(values),
        "total_amount": views.total(values),
        "hash_type": hash_type,
    }


def scantxoutset(node: Node, action: str, scanobjects: list[Any] | None = None) -> Any:
    """Find unspent outputs by ``addr(…)`` and ``raw(…)`` descriptors; a scan ends at once here."""
    if action == "status":
        return None
    if action == "abort":
        return False
    if action != "start":
        raise RpcError(Code.INVALID_PARAMETER, f"Invalid action '{action}'")
    if scanobjects is None:
        message = "scanobjects argument is required for the start action"
        raise RpcError(Code.MISC, message)
    wanted = {_script_of(item) for item in scanobjects}
    coins = node.chain.coins.items()
    found = [(at, coin) for at, coin in coins if coin.output.script in wanted]
    return {
        "success": True,
        "txouts": len(coins),
        "height": node.chain.height,
        "bestblock": node.chain.tip.hash,
        "unspents": [_unspent_view(at, coin) for at, coin in found],
        "total_amount": views.total([coin.output.value_sat for _, coin in found]),
    }


def known_block(node: Node, blockhash: Any) -> Block:
    """Return the block with this hash; raises ``RpcError`` (-5)."""
    block = node.chain.blocks.get(hash_parameter(blockhash, "blockhash"))
    if block is None:
        raise RpcError(Code.INVALID_ADDRESS_OR_KEY, "Block not found")
    return block


def _script_of(scanobject: Any) -> bytes:
    """Return the script of a descriptor, given alone or as ``{"desc": …}``, checksum or not."""
    text = scanobject.get("desc") if isinstance(scanobject, dict) else scanobject
    head, _, rest = str(text).partition("#")[0].partition("(")
    if head == "addr" and rest.endswith(")"):
        try:
            return output_script(rest[:-1], BITCOIN_REGTEST)
        except InvalidAddressError as error:
            raise RpcError(Code.INVALID_ADDRESS_OR_KEY, "Address is not valid") from error
    if head == "raw" and rest.endswith(")"):
        return hex_parameter(rest[:-1], "Raw script", Code.INVALID_ADDRESS_OR_KEY)
    raise RpcError(Code.INVALID_ADDRESS_OR_KEY, f"'{head}' is not a valid descriptor function")


def _unspent_view(outpoint: OutPoint, coin: Coin) -> Shape:
    return {
        "txid": outpoint[0],
        "vout": outpoint[1],
        "scriptPubKey": coin.output.script.hex(),
        "desc": views.descriptor(coin.output.script),
        "amount": amount(coin.output.value_sat),
        "coinbase": coin.is_coinbase,
        "height": coin.height,
    }


METHODS = (
    getblockchaininfo,
    getnetworkinfo,
    getindexinfo,
    getblockcount,
    getbestblockhash,
    getblockhash,
    getblockheader,
    getblock,
    gettxout,
    gettxoutsetinfo,
    scantxoutset,
)
