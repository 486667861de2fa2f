"""
What enters the mempool, in the order of Bitcoin Core's ``MemPoolAccept`` (version 27).

Replacement is opt-in (BIP125), as in that version: what does not signal it is not replaced.
"""

from dataclasses import dataclass
from decimal import Decimal

from devnet.bitcoin_node import policy
from devnet.bitcoin_node.chain import Chain, Coin
from devnet.bitcoin_node.errors import RejectedError
from devnet.bitcoin_node.kernel import bad_input_of
from devnet.bitcoin_node.mempool import Entry, Mempool
from devnet.bitcoin_node.transactions import SEQUENCE_FINAL, Tx

CHAIN_COUNT_MAX = 25
"""``-limitancestorcount`` and ``-limitdescendantcount``: the transaction itself counts."""
CHAIN_VBYTES_MAX = 101_000
REPLACED_MAX = 100
COINBASE_MATURITY = 100
LOCK_TIME_THRESHOLD = 500_000_000

_SEQUENCE_DISABLE = 1 << 31
_SEQUENCE_IS_TIME = 1 << 22
_SEQUENCE_MASK = 0xFFFF
_SEQUENCE_TIME_SHIFT = 9


@dataclass(frozen=True, slots=True)
class Candidate:
    """A transaction that may enter, and what goes out for it."""

    tx: Tx
    fee_sat: int
    replaced: frozenset[str]


def examine(tx: Tx, chain: Chain, pool: Mempool, *, limits: bool = True) -> Candidate:
    """
    Check a transaction against the tip and the mempool, changing nothing.

    Without ``limits`` fees and chain lengths do not matter: for what a reorg gave back.

    Raises:
        RejectedError: It may not enter.
    """
    policy.check_sanity(tx)
    policy.check_standard(tx)
    if not _is_final(tx, chain):
        raise RejectedError("non-final")
    _check_unknown(tx, pool)
    direct = pool.conflicts_of(tx)
    if not all(pool[txid].tx.is_replaceable for txid in direct):
        raise RejectedError("txn-mempool-conflict")
    coins = _coins(tx, chain, pool)
    _check_sequence_locks(tx, coins, chain)
    fee_sat = _fee(tx, coins, chain)
    replaced = frozenset(pool.descendants(direct))
    if limits:
        required_sat = policy.fee_at(policy.MIN_RELAY_SAT_PER_KVB, tx.vsize)
        if fee_sat < required_sat:
            raise RejectedError("min relay fee not met", f"{fee_sat} < {required_sat}")
        _check_chain_limits(tx, pool, replaced)
    if direct:
        _check_replacement(tx, fee_sat, pool, direct=direct, replaced=replaced)
    bad_input = bad_input_of(tx, [coin.output for coin in coins])
    if bad_input is not None:
        raise RejectedError(f"mandatory-script-verify-flag-failed (input {bad_input} of {tx.txid})")
    return Candidate(tx, fee_sat, replaced)


def enter(candidate: Candidate, pool: Mempool, *, time_s: int, height: int) -> None:
    """Put in what ``examine`` allowed, nothing having changed since."""
    pool.remove(candidate.replaced)
    pool.add(Entry(candidate.tx, candidate.fee_sat, time_s, height))


def _check_unknown(tx: Tx, pool: Mempool) -> None:
    known = pool.get(tx.txid)
    if known is not None:
        same = known.tx.wtxid == tx.wtxid
        raise RejectedError(
            "txn-already-in-mempool" if same else "txn-same-nonwitness-data-in-mempool"
        )


def _coins(tx: Tx, chain: Chain, pool: Mempool) -> list[Coin]:
    """Return what the inputs spend; a coin of the mempool has the height of the next block."""
    found: list[Coin] = []
    for txid, index in tx.outpoints:
        coin = chain.coins.get((txid, index))
        parent = pool.get(txid)
        if parent is not None and index < len(parent.tx.outputs):
            output = parent.tx.outputs[index]
            coin = Coin(output, chain.height + 1, is_coinbase=False)
        if coin is None:
            if any((tx.txid, n) in chain.coins for n in range(len(tx.outputs))):
                raise RejectedError("txn-already-known")
            raise RejectedError("bad-txns-inputs-missingorspent", is_missing_inputs=True)
        found.append(coin)
    return found


def _fee(tx: Tx, coins: list[Coin], chain: Chain) -> int:
    for coin in coins:
        depth = chain.height + 1 - coin.height
        if coin.is_coinbase and depth < COINBASE_MATURITY:
            raise RejectedError(
                "bad-txns-premature-spend-of-coinbase",
                f"tried to spend coinbase at depth {depth}",
            )
    value_in = sum(coin.output.value_sat for coin in coins)
    value_out = sum(output.value_sat for output in tx.outputs)
    if value_in < value_out:
        details = f"value in ({amount(value_in)}) < value out ({amount(value_out)})"
        raise RejectedError("bad-txns-in-belowout", details)
    return value_in - value_out


def _is_final(tx: Tx, chain: Chain) -> bool:
    """Tell whether the next block may have it (BIP113)."""
    by_height = tx.lock_time < LOCK_TIME_THRESHOLD
    limit = chain.height + 1 if by_height else chain.median_time_s()
    return tx.lock_time < limit or all(item.sequence == SEQUENCE_FINAL for item in tx.inputs)


def _check_sequence_locks(tx: Tx, coins: list[Coin], chain: Chain) -> None:
    """Refuse what the next block may not have yet because its inputs are too young (BIP68)."""
    if tx.version < 2:  # noqa: PLR2004
        return
    for item, coin in zip(tx.inputs, coins, strict=True):
        if item.sequence & _SEQUENCE_DISABLE:
            continue
        span = item.sequence & _SEQUENCE_MASK
        if item.sequence & _SEQUENCE_IS_TIME:
            since_s = chain.median_time_s(min(max(coin.height - 1, 0), chain.height))
            is_locked = since_s + (span << _SEQUENCE_TIME_SHIFT) > chain.median_time_s()
        else:
            is_locked = coin.height + span > chain.height + 1
        if is_locked:
            raise RejectedError("non-BIP68-final")


def _check_chain_limits(tx: Tx, pool: Mempool, replaced: frozenset[str]) -> None:
    ancestors = pool.ancestors(pool.parents_of(tx))
    count, vbytes, _ = pool.totals(ancestors)
    if count + 1 > CHAIN_COUNT_MAX:
        details = f"too many unconfirmed ancestors [limit: {CHAIN_COUNT_MAX}]"
        raise RejectedError("too-long-mempool-chain", details)
    if vbytes + tx.vsize > CHAIN_VBYTES_MAX:
        details = f"exceeds ancestor size limit [limit: {CHAIN_VBYTES_MAX}]"
        raise RejectedError("too-long-mempool-chain", details)
    for txid in ancestors:
        count, vbytes, _ = pool.totals(pool.descendants([txid]) - replaced)
        if count + 1 > CHAIN_COUNT_MAX:
            details = f"too many descendants for tx {txid} [limit: {CHAIN_COUNT_MAX}]"
            raise RejectedError("too-long-mempool-chain", details)
        if vbytes + tx.vsize > CHAIN_VBYTES_MAX:
            details = f"exceeds descendant size limit for tx {txid} [limit: {CHAIN_VBYTES_MAX}]"
            raise RejectedError("too-long-mempool-chain", details)


def _check_replacement(
    tx: Tx, fee_sat: int, pool: Mempool, *, direct: set[str], replaced: frozenset[str]
) -> None:
    """Apply BIP125's rules 2 to 5, and that the rate must rise above each one replaced."""
    if replaced & pool.ancestors(pool.parents_of(tx)):
        raise RejectedError("bad-txns-spends-conflicting-tx", f"{tx.txid} spends what it replaces")
    words = f"rejecting replacement {tx.txid}"
    if len(replaced) > REPLACED_MAX:
        details = f"{words}; too many potential replacements ({len(replaced)} > {REPLACED_MAX})"
        raise RejectedError("too many potential replacements", details)
    for txid in direct:
        old = pool[txid]
        if fee_sat * old.tx.vsize <= old.fee_sat * tx.vsize:
            rates = f"{_rate(fee_sat, tx.vsize)} <= {_rate(old.fee_sat, old.tx.vsize)}"
            raise RejectedError("insufficient fee", f"{words}; new feerate {rates}")
    old_inputs = {outpoint for txid in direct for outpoint in pool[txid].tx.outpoints}
    old_parents = {txid for txid, _ in old_inputs}
    if any(txid in pool and txid not in old_parents for txid, _ in tx.outpoints):
        raise RejectedError("replacement-adds-unconfirmed", words)
    _, _, replaced_fees_sat = pool.totals(replaced)
    if fee_sat < replaced_fees_sat:
        fees = f"{amount(fee_sat)} < {amount(replaced_fees_sat)}"
        raise RejectedError("insufficient fee", f"{words}, less fees than conflicting txs; {fees}")
    added_sat = fee_sat - replaced_fees_sat
    required_sat = policy.fee_at(policy.INCREMENTAL_RELAY_SAT_PER_KVB, tx.vsize)
    if added_sat < required_sat:
        fees = f"{amount(added_sat)} < {amount(required_sat)}"
        details = f"{words}, not enough additional fees to relay; {fees}"
        raise RejectedError("insufficient fee", details)


def amount(value_sat: int) -> Decimal:
    """Return an amount as the RPC interface writes it: in whole coins, with eight decimals."""
    return Decimal(value_sat).scaleb(-8)


def _rate(fee_sat: int, vsize: int) -> str:
    return f"{amount(fee_sat * 1000 // vsize)} BTC/kvB"
