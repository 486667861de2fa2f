"""Methods about transactions and fees (Core's ``rpc/mempool.cpp``, ``rawtransaction.cpp``)."""

from decimal import Decimal
from typing import Any

from devnet.bitcoin_node import policy, views
from devnet.bitcoin_node.acceptance import Candidate, amount
from devnet.bitcoin_node.blocks import Block
from devnet.bitcoin_node.dispatch import hash_parameter, hex_parameter
from devnet.bitcoin_node.errors import Code, RejectedError, RpcError
from devnet.bitcoin_node.mempool import Entry
from devnet.bitcoin_node.node import Node
from devnet.bitcoin_node.transactions import Tx, parse_tx
from devnet.bitcoin_node.views import Shape

FEERATE_MAX = Decimal("0.10")
"""Default ``maxfeerate``, in whole coins per 1000 virtual bytes."""
MEMPOOL_BYTES_MAX = 300_000_000
TARGET_BLOCKS_MAX = 1008

_NO_WALLET = "Use gettransaction for wallet transactions."


def getrawmempool(node: Node, verbose: bool = False) -> Any:  # noqa: FBT001, FBT002
    """Txids in the mempool, or its entries by txid."""
    if verbose:
        return {entry.tx.txid: views.entry_view(node.pool, entry) for entry in node.pool}
    return [entry.tx.txid for entry in node.pool]


def getmempoolentry(node: Node, txid: Any) -> Shape:
    """Return one entry."""
    return views.entry_view(node.pool, _entry(node, txid))


def getmempoolancestors(node: Node, txid: Any) -> list[str]:
    """Txids that one depends on."""
    entry = _entry(node, txid)
    return sorted(node.pool.ancestors([entry.tx.txid]) - {entry.tx.txid})


def getmempooldescendants(node: Node, txid: Any) -> list[str]:
    """Txids that depend on one."""
    entry = _entry(node, txid)
    return sorted(node.pool.descendants([entry.tx.txid]) - {entry.tx.txid})


def getmempoolinfo(node: Node) -> Shape:
    """Sums over the mempool, and the fees that it asks for."""
    vbytes = sum(entry.tx.vsize for entry in node.pool)
    return {
        "loaded": True,
        "size": len(node.pool),
        "bytes": vbytes,
        "usage": sum(len(entry.tx.raw) for entry in node.pool),
        "total_fee": views.total([entry.fee_sat for entry in node.pool]),
        "maxmempool": MEMPOOL_BYTES_MAX,
        "mempoolminfee": amount(policy.MIN_RELAY_SAT_PER_KVB),
        "minrelaytxfee": amount(policy.MIN_RELAY_SAT_PER_KVB),
        "incrementalrelayfee": amount(policy.INCREMENTAL_RELAY_SAT_PER_KVB),
        "unbroadcastcount": 0,
        "fullrbf": False,
    }


def gettxspendingprevout(node: Node, outputs: list[Shape]) -> list[Shape]:
    """Who in the mempool spends each of these outputs."""
    found: list[Shape] = []
    for item in outputs:
        outpoint = hash_parameter(item.get("txid"), "txid"), int(item["vout"])
        spender = node.pool.spender_of.get(outpoint)
        asked: Shape = {"txid": outpoint[0], "vout": outpoint[1]}
        found.append({**asked, "spendingtxid": spender} if spender else asked)
    return found


def getrawtransaction(
    node: Node, txid: Any, verbosity: int = 0, blockhash: Any = None
) -> Shape | str:
    """Return a transaction of the mempool, of the active chain, or of a given block."""
    wanted = hash_parameter(txid, "parameter 1")
    block = _block_with(node, wanted, blockhash)
    entry = node.pool.get(wanted) if blockhash is None else None
    txs = [entry.tx] if entry else list(block.txs) if block else []
    tx = next((tx for tx in txs if tx.txid == wanted), None)
    if tx is None:
        where = "found in the provided block" if blockhash else "or blockchain transaction"
        words = "No such transaction" if blockhash else "No such mempool"
        raise RpcError(Code.INVALID_ADDRESS_OR_KEY, f"{words} {where}. {_NO_WALLET}")
    if not verbosity:
        return tx.raw.hex()
    view = {**views.tx_view(tx), "hex": tx.raw.hex()}
    if block is not None and entry is None:
        is_active = node.chain.is_active(block.hash)
        depth = node.chain.height - node.chain.heights[block.hash] + 1
        view |= {"blockhash": block.hash, "confirmations": depth if is_active else 0}
        view |= {"time": block.time_s, "blocktime": block.time_s} if is_active else {}
        view |= {"in_active_chain": is_active} if blockhash else {}
    return view


def decoderawtransaction(_node: Node, hexstring: Any) -> Shape:
    """Return what a transaction says."""
    return views.tx_view(parse_tx(hex_parameter(hexstring, "TX decode failed: it")))


def sendrawtransaction(node: Node, hexstring: Any, maxfeerate: Any = FEERATE_MAX) -> str:
    """
    Put a transaction into the mempool; one that is there already is fine.

    Raises:
        RpcError: -22 no transaction; -25 inputs missing, or too high a fee; -26 refused;
            -27 in the chain, with an output unspent.
    """
    tx = parse_tx(hex_parameter(hexstring, "TX decode failed: it"))
    if any((tx.txid, n) in node.chain.coins for n in range(len(tx.outputs))):
        raise RpcError(Code.VERIFY_ALREADY_IN_CHAIN, "Transaction already in block chain")
    if tx.txid in node.pool:
        return tx.txid
    try:
        candidate = node.examine(tx)
    except RejectedError as error:
        code = Code.VERIFY if error.is_missing_inputs else Code.VERIFY_REJECTED
        raise RpcError(code, str(error)) from error
    if _is_absurd(candidate, maxfeerate):
        message = "Fee exceeds maximum configured by user (e.g. -maxtxfee, maxfeerate)"
        raise RpcError(Code.VERIFY, message)
    node.enter(candidate)
    return tx.txid


def testmempoolaccept(
    node: Node,
    rawtxs: list[Any],
    maxfeerate: Any = FEERATE_MAX,  # noqa: PT028 - a method of the RPC, no test
) -> list[Shape]:
    """Tell whether a transaction would enter the mempool; only one at a time here."""
    if len(rawtxs) != 1:
        raise RpcError(Code.INVALID_PARAMETER, "Array must contain exactly one transaction")
    tx = parse_tx(hex_parameter(rawtxs[0], "TX decode failed: it"))
    ids = {"txid": tx.txid, "wtxid": tx.wtxid}
    try:
        candidate = node.examine(tx)
    except RejectedError as error:
        reason = "missing-inputs" if error.is_missing_inputs else error.reason
        return [{**ids, "allowed": False, "reject-reason": reason}]
    if _is_absurd(candidate, maxfeerate):
        return [{**ids, "allowed": False, "reject-reason": "max-fee-exceeded"}]
    fees = {
        "base": amount(candidate.fee_sat),
        "effective-feerate": amount(candidate.fee_sat * 1000 // tx.vsize),
        "effective-includes": [tx.wtxid],
    }
    return [{**ids, "allowed": True, "vsize": tx.vsize, "fees": fees}]


def estimatesmartfee(node: Node, conf_target: Any, estimate_mode: str = "conservative") -> Shape:
    """As on any regtest node there is no data, unless ``dev_setfeerate`` gave some."""
    del estimate_mode
    if not isinstance(conf_target, int) or not 1 <= conf_target <= TARGET_BLOCKS_MAX:
        message = f"Invalid conf_target, must be between 1 and {TARGET_BLOCKS_MAX}"
        raise RpcError(Code.INVALID_PARAMETER, message)
    # Core does not estimate for the very next block either.
    blocks = max(conf_target, 2)
    if node.feerate is None:
        return {"errors": ["Insufficient data or no feerate found"], "blocks": blocks}
    return {"feerate": node.feerate, "blocks": blocks}


def dev_setfeerate(node: Node, feerate: Any = None) -> None:
    """Not in Core: set what ``estimatesmartfee`` answers, in coins per kvB; null: no data."""
    node.feerate = None if feerate is None else Decimal(str(feerate))


def tx_of_block(node: Node, item: str) -> Tx:
    """Return a transaction that a block is to have, given by its txid in the mempool or in hex."""
    entry = node.pool.get(item.lower())
    if entry is not None:
        return entry.tx
    if len(item) == 64:  # noqa: PLR2004
        message = f"Transaction {item} not in mempool."
        raise RpcError(Code.INVALID_ADDRESS_OR_KEY, message)
    return parse_tx(hex_parameter(item, f"Transaction decode failed for {item}: it"))


def _entry(node: Node, txid: Any) -> Entry:
    entry = node.pool.get(hash_parameter(txid, "parameter 1"))
    if entry is None:
        raise RpcError(Code.INVALID_ADDRESS_OR_KEY, "Transaction not in mempool")
    return entry


def _block_with(node: Node, txid: str, blockhash: Any) -> Block | None:
    if blockhash is None:
        found = node.chain.block_of.get(txid)
        return node.chain.blocks[found] if found else None
    block = node.chain.blocks.get(hash_parameter(blockhash, "parameter 3"))
    if block is None:
        raise RpcError(Code.INVALID_ADDRESS_OR_KEY, "Block hash not found")
    return block


def _is_absurd(candidate: Candidate, maxfeerate: Any) -> bool:
    """Tell whether the fee is above the given rate, which guards against typing mistakes."""
    limit = Decimal(str(maxfeerate))
    rate: Decimal = amount(candidate.fee_sat * 1000) / candidate.tx.vsize
    return limit > 0 and rate > limit


METHODS = (
    getrawmempool,
    getmempoolentry,
    getmempoolancestors,
    getmempooldescendants,
    getmempoolinfo,
    gettxspendingprevout,
    getrawtransaction,
    decoderawtransaction,
    sendrawtransaction,
    testmempoolaccept,
    estimatesmartfee,
    dev_setfeerate,
)
