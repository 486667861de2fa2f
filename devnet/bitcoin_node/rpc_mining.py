"""Methods that make and unmake blocks (Core's ``rpc/mining.cpp``), and those about the process."""

import time
from typing import Any

from devnet.bitcoin_node.dispatch import hex_parameter
from devnet.bitcoin_node.errors import BlockRejectedError, Code, RpcError
from devnet.bitcoin_node.node import Node
from devnet.bitcoin_node.policy import output_type
from devnet.bitcoin_node.rpc_chain import known_block
from devnet.bitcoin_node.rpc_transactions import tx_of_block
from devnet.bitcoin_node.views import Shape
from domain.errors import InvalidAddressError
from domain.utxo.networks import BITCOIN_REGTEST
from domain.utxo.scripts import output_script


def generatetoaddress(
    node: Node, nblocks: int, address: Any, maxtries: int = 1_000_000
) -> list[str]:
    """Mine blocks of what is in the mempool; return their hashes."""
    del maxtries
    script = _script_of(address)
    return [node.generate(script) for _ in range(nblocks)]


def generateblock(node: Node, output: Any, transactions: list[Any]) -> Shape:
    """Mine one block of exactly these transactions, in this order."""
    script = _script_of(output)
    txs = [tx_of_block(node, str(item)) for item in transactions]
    try:
        return {"hash": node.generate(script, txs)}
    except BlockRejectedError as error:
        raise RpcError(Code.VERIFY, f"TestBlockValidity failed: {error}") from error


def submitblock(node: Node, hexdata: Any) -> str | None:
    """Take a block; null when it is valid, else why not."""
    raw = hex_parameter(hexdata, "Block decode failed: it")
    try:
        node.submit_block(raw)
    except BlockRejectedError as error:
        return str(error)
    return None


def invalidateblock(node: Node, blockhash: Any) -> None:
    """Treat a block as if it broke a rule."""
    block = known_block(node, blockhash)
    if node.chain.heights[block.hash] == 0:
        raise RpcError(Code.MISC, "The genesis block cannot be invalidated.")
    node.invalidate(block.hash)


def reconsiderblock(node: Node, blockhash: Any) -> None:
    """Take back ``invalidateblock``."""
    node.reconsider(known_block(node, blockhash).hash)


def validateaddress(_node: Node, address: Any) -> Shape:
    """Tell whether this is an address of this chain."""
    try:
        script = output_script(str(address), BITCOIN_REGTEST)
    except InvalidAddressError as error:
        return {"isvalid": False, "error_locations": [], "error": str(error)}
    kind = output_type(script)
    return {
        "isvalid": True,
        "address": address,
        "scriptPubKey": script.hex(),
        "isscript": kind in ("scripthash", "witness_v0_scripthash", "witness_v1_taproot"),
        "iswitness": kind.startswith("witness"),
    }


def uptime(node: Node) -> int:
    """Seconds since the start."""
    return int(time.time() - node.started_s)


def _script_of(address: Any) -> bytes:
    try:
        return output_script(str(address), BITCOIN_REGTEST)
    except InvalidAddressError as error:
        raise RpcError(Code.INVALID_ADDRESS_OR_KEY, "Error: Invalid address") from error


METHODS = (
    generatetoaddress,
    generateblock,
    submitblock,
    invalidateblock,
    reconsiderblock,
    validateaddress,
    uptime,
)
