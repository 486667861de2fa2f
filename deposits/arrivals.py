"""
From blocks to deposits and coins: which movements went to our addresses.

One query finds our addresses among everything that a run of blocks paid, and one more our coins
among everything it spent, however many addresses and coins we have.
"""

import logging
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import (
    Integer,
    LargeBinary,
    String,
    any_,
    bindparam,
    column,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from deposits.history import move
from domain.clock import Clock
from domain.coins import KeyPosition
from domain.deposits import (
    ConfirmationTier,
    DepositReason,
    DepositStatus,
    confirmations_for,
)
from domain.hd import EXTERNAL, derive_address
from domain.ids import DEPOSIT, derived_id
from domain.pockets import Route
from domain.scanning import Incoming, Outpoint, ScannedBlock
from domain.utxo.networks import NETWORKS
from models.chain_transactions import ChainAttempt, ChainTransaction
from models.deposits import AddressPurpose, ChainAddress, ChainDeposit, HdAccount, Utxo
from models.payouts import Payout
from models.wallets import Asset, Chain

logger = logging.getLogger(__name__)

_VOUT = "vout:"

_SOUGHT = (
    text("SELECT key FROM unnest(CAST(:keys AS bytea[])) AS key")
    .columns(column("key", LargeBinary))
    .subquery("sought")
)

_SPENT = (
    text("""
        SELECT substr(o, 9) AS txid, ('x' || left(o, 8))::bit(32)::integer AS index
        FROM unnest(CAST(:outpoints AS text[])) o
    """)
    .columns(column("txid", String), column("index", Integer))
    .subquery("spent")
)
"""Outpoints, serialized back to front and in hex, as the columns of ``Utxo``."""

type _Share = tuple[str, str, int, str | None]
"""Txid, address, amount and token contract."""

BALANCE = "balance:"
"""Position of a deposit that was found by comparing balances: no transaction is known."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A movement to an address of ours, and the block that holds it, if one does."""

    incoming: Incoming
    address: ChainAddress
    block: ScannedBlock | None


async def arrivals_in(
    session: AsyncSession,
    chain_id: str,
    blocks: Sequence[ScannedBlock],
    *,
    sought: Collection[bytes] | None = None,
) -> list[Arrival]:
    """
    Return the movements to our addresses, in the order of the chain.

    ``sought`` are the lookup keys that could be ours, where somebody knows that of most that they
    cannot; otherwise all are searched for.
    """
    keys = [block.lookup_keys() for block in blocks]
    addresses = await _addresses(
        session, chain_id, set().union(*keys) if sought is None else sought
    )
    return [
        Arrival(incoming, addresses[incoming.lookup_key], block)
        for block, its_keys in zip(blocks, keys, strict=True)
        # Of a block that pays none of ours, nothing is built.
        if not addresses.keys().isdisjoint(its_keys)
        for incoming in block.incoming
        if incoming.lookup_key in addresses
    ]


async def arrivals_among(
    session: AsyncSession, chain_id: str, incoming: Sequence[Incoming]
) -> list[Arrival]:
    """Return the unconfirmed movements to our addresses."""
    addresses = await _addresses(session, chain_id, {i.lookup_key for i in incoming})
    return [
        Arrival(i, addresses[i.lookup_key], None) for i in incoming if i.lookup_key in addresses
    ]


async def record(
    session: AsyncSession, chain: Chain, arrivals: Sequence[Arrival], *, clock: Clock
) -> int:
    """
    Write what arrived as deposits and coins; return how many deposits were not known before.

    What our own transactions are meant to move between our addresses is no deposit. What else they
    bring about is: a contract that we pay may pay a customer of ours in the same breath.
    """
    if not arrivals:
        return 0
    txids = {a.incoming.txid for a in arrivals}
    own = await _own_moves(session, txids)
    await _record_coins(session, chain, [a for a in arrivals if a.block], clock=clock)
    from_others = [
        a
        for a in arrivals
        if a.address.branch == EXTERNAL and (a.incoming.txid, a.address.address) not in own
    ]
    shares = await _pocket_shares(session, txids)
    from_others = [a for a in from_others if not _is_share(a, shares)]
    return await _record_deposits(session, chain, from_others, clock=clock)


async def spend(session: AsyncSession, chain_id: str, blocks: Sequence[ScannedBlock]) -> None:
    """Mark our coins that these blocks spend; one spent by a stranger is a stolen key."""
    coins = await _coins(session, chain_id, [o for block in blocks for o in block.outpoints()])
    if not coins:
        return
    spenders = {o: (txid, b.hash) for b in blocks for o, txid in b.spent if o in coins}
    own = await _own_txids(session, {txid for txid, _ in spenders.values()})
    for outpoint, coin in coins.items():
        coin.spent_txid, coin.spent_block_hash = spenders[outpoint]
        if coin.spent_txid not in own:
            logger.critical("coin %s:%d was spent by a stranger", coin.txid, coin.output_index)


async def _addresses(
    session: AsyncSession, chain_id: str, keys: Collection[bytes]
) -> Mapping[bytes, ChainAddress]:
    if not keys:
        return {}
    # Not asked for the chain: with it PostgreSQL would search the unique index, which is slower.
    # And joined, never ``= ANY``: that may become a scan that compares each row with each key.
    found = await session.exec(
        select(ChainAddress).join(_SOUGHT, col(ChainAddress.lookup_key) == _SOUGHT.c.key),
        params={"keys": _byte_strings(keys)},
    )
    addresses = [a for a in found if a.chain_id == chain_id]
    account = await session.get(HdAccount, chain_id) if addresses else None
    return {a.lookup_key: a for a in addresses if _is_derived(a, account)}


def _is_derived(address: ChainAddress, account: HdAccount | None) -> bool:
    """
    Derive the address again: whoever may hand out addresses could write a stranger's among ours.

    Its payments would then be credited, and never be ours to pay with.
    """
    if account is None:
        return True
    position = KeyPosition(address.branch, address.index)
    derived = derive_address(account.chain_id, account.xpub, position)
    if derived.lookup_key != address.lookup_key:
        logger.critical("address %s is not derived from the chain's account", address.id)
        return False
    return True


def _byte_strings(keys: Collection[bytes]) -> str:
    """Return the literal of ``bytea[]``, at one go: the driver would write each by itself."""
    sizes = {len(key) for key in keys}
    lists = (_hex_list([k for k in keys if len(k) == size], "\\\\x") for size in sizes)
    return "{" + ",".join(lists) + "}"


def _hex_list(strings: Sequence[bytes], prefix: str = "") -> str:
    """Return byte strings of one length as elements of an array literal."""
    size = len(strings[0])
    if not size:
        return prefix
    return prefix + b"".join(strings).hex(",", size).replace(",", "," + prefix)


async def _own_txids(session: AsyncSession, txids: Collection[str]) -> set[str]:
    found = await session.exec(
        select(ChainAttempt.txid).where(
            col(ChainAttempt.txid) == any_(bindparam(None, list(txids), ARRAY(String)))
        )
    )
    return {str(txid) for txid in found}


async def _own_moves(session: AsyncSession, txids: Collection[str]) -> set[tuple[str, str]]:
    """Return txid and destination of our transactions among these, and where change returns to."""
    found = await session.exec(
        select(ChainAttempt.txid, ChainTransaction.destination, ChainTransaction.change_address)
        .join(ChainTransaction, col(ChainTransaction.id) == col(ChainAttempt.chain_transaction_id))
        .where(col(ChainAttempt.txid) == any_(bindparam(None, list(txids), ARRAY(String))))
    )
    return {
        (str(txid), str(address))
        for txid, destination, change_address in found
        for address in (destination, change_address)
    }


async def _pocket_shares(session: AsyncSession, txids: Collection[str]) -> Counter[_Share]:
    """Return what our transactions that pay several pay to pockets: no deposits, each once."""
    found = await session.exec(
        select(ChainAttempt.txid, Payout.destination, Payout.amount_minor, Asset.contract_address)
        .join(ChainTransaction, col(ChainTransaction.id) == col(ChainAttempt.chain_transaction_id))
        .join(Payout, col(Payout.chain_transaction_id) == col(ChainTransaction.id))
        .join(Asset, col(Asset.code) == col(Payout.asset))
        .where(
            col(ChainAttempt.txid) == any_(bindparam(None, list(txids), ARRAY(String))),
            col(ChainTransaction.destination).is_(None),
            Payout.route == Route.FUND,
        )
    )
    return Counter((str(txid), to, minor, contract) for txid, to, minor, contract in found)


def _is_share(arrival: Arrival, shares: Counter[_Share]) -> bool:
    incoming = arrival.incoming
    share = (
        incoming.txid,
        arrival.address.address,
        incoming.amount_minor,
        incoming.contract_address,
    )
    if shares[share] == 0:
        return False
    shares[share] -= 1
    return True


async def _coins(
    session: AsyncSession, chain_id: str, outpoints: Sequence[bytes]
) -> Mapping[Outpoint, Utxo]:
    if not outpoints:
        return {}
    # The bytes of all at once, back to front: the index comes first, both as they are stored.
    reversed_hex = b"".join(outpoints)[::-1].hex(",", len(outpoints[0]))
    found = await session.exec(
        select(Utxo)
        .join(
            _SPENT, (col(Utxo.txid) == _SPENT.c.txid) & (col(Utxo.output_index) == _SPENT.c.index)
        )
        .where(Utxo.chain_id == chain_id)
        .order_by(col(Utxo.txid), col(Utxo.output_index))
        .with_for_update(of=Utxo),
        params={"outpoints": "{" + reversed_hex + "}"},
    )
    return {Outpoint(coin.txid, coin.output_index): coin for coin in found}


async def _record_coins(
    session: AsyncSession, chain: Chain, arrivals: Sequence[Arrival], *, clock: Clock
) -> None:
    for arrival in arrivals:
        incoming, block = arrival.incoming, arrival.block
        if block is None or not incoming.position.startswith(_VOUT):
            continue
        index = int(incoming.position.removeprefix(_VOUT))
        coin = await session.get(Utxo, (chain.id, incoming.txid, index), with_for_update=True)
        coin = coin or Utxo(
            chain_id=chain.id,
            txid=incoming.txid,
            output_index=index,
            address_id=arrival.address.id,
            amount_minor=incoming.amount_minor,
            is_coinbase=incoming.is_coinbase,
            is_hot=arrival.address.branch != EXTERNAL,
            created_at=clock.now(),
        )
        coin.block_height, coin.block_hash = block.height, block.hash
        session.add(coin)
    await session.flush()


async def _record_deposits(
    session: AsyncSession, chain: Chain, arrivals: Sequence[Arrival], *, clock: Clock
) -> int:
    if not arrivals:
        return 0
    assets = await _assets(session, chain)
    compared = await _compared_heights(session, {a.address.id for a in arrivals})
    new = 0
    for arrival in arrivals:
        deposit_id = deposit_id_of(chain.id, arrival)
        deposit = await session.get(ChainDeposit, deposit_id, with_for_update=True)
        if deposit is None and _is_counted(arrival, compared):
            logger.info("%s is part of what a balance told", arrival.incoming.txid)
        elif deposit is None:
            _add(session, chain, assets, arrival, clock=clock)
            new += 1
        elif arrival.block is not None and deposit.block_hash != arrival.block.hash:
            _place(session, deposit, arrival.block, clock=clock)
        elif deposit.status == DepositStatus.FORGOTTEN:
            move(session, deposit, DepositStatus.SEEN, clock=clock, detail="seen again")
    await session.flush()
    return new


async def _compared_heights(
    session: AsyncSession, address_ids: Collection[str]
) -> Mapping[str, int]:
    """Return up to which block balances told deposits of these addresses."""
    found = await session.exec(
        select(ChainDeposit.address_id, func.max(ChainDeposit.block_height))
        .where(
            col(ChainDeposit.address_id).in_(address_ids),
            col(ChainDeposit.position).startswith(BALANCE),
            col(ChainDeposit.block_height).is_not(None),
        )
        .group_by(col(ChainDeposit.address_id))
    )
    return {address_id: height for address_id, height in found if height is not None}


def _is_counted(arrival: Arrival, compared: Mapping[str, int]) -> bool:
    """
    Tell whether a movement that was not known is part of a deposit that a balance told.

    That deposit is all that nobody knew of up to its block; a rescan may find out later what it
    was made of.
    """
    i, block = arrival.incoming, arrival.block
    is_coin = i.contract_address is None and not i.position.startswith(BALANCE)
    return is_coin and block is not None and block.height <= compared.get(arrival.address.id, -1)


def deposit_id_of(chain_id: str, arrival: Arrival) -> str:
    """
    Return the id that this movement has, whatever block holds it.

    Another amount or another token is another movement: a contract may decide by what came before
    it in the chain, and so move something else in another fork.
    """
    i = arrival.incoming
    return derived_id(
        DEPOSIT,
        chain_id,
        i.txid,
        i.position,
        arrival.address.id,
        str(i.amount_minor),
        *([i.contract_address] if i.contract_address else []),
    )


def _add(
    session: AsyncSession,
    chain: Chain,
    assets: Mapping[str | None, Asset],
    arrival: Arrival,
    *,
    clock: Clock,
) -> None:
    incoming, address = arrival.incoming, arrival.address
    asset = assets.get(incoming.contract_address)
    reason = _reason(asset, incoming.amount_minor, address)
    deposit = ChainDeposit(
        id=deposit_id_of(chain.id, arrival),
        chain_id=chain.id,
        address_id=address.id,
        user_id=str(address.user_id),
        asset=asset.code if asset else None,
        contract_address=incoming.contract_address,
        txid=incoming.txid,
        position=incoming.position,
        amount_minor=incoming.amount_minor,
        is_coinbase=incoming.is_coinbase,
        status=DepositStatus.SEEN if reason is None else DepositStatus.IGNORED,
        reason_code=reason,
        confirmations_required=_confirmations(chain, asset, incoming),
        seen_at=clock.now(),
    )
    if arrival.block is None:
        move(session, deposit, DepositStatus.SEEN, clock=clock, detail="unconfirmed")
    else:
        _place(session, deposit, arrival.block, clock=clock)


def _place(
    session: AsyncSession, deposit: ChainDeposit, block: ScannedBlock, *, clock: Clock
) -> None:
    deposit.block_height, deposit.block_hash = block.height, block.hash
    deposit.missing_since = None
    status = DepositStatus(deposit.status)
    if not deposit.is_booked and status is not DepositStatus.REVERSED:
        status = DepositStatus.CONFIRMING
    move(session, deposit, status, clock=clock, detail=f"in block {block.height}")


def _reason(asset: Asset | None, amount_minor: int, address: ChainAddress) -> DepositReason | None:
    if asset is None:
        return DepositReason.UNLISTED_ASSET
    if address.purpose == AddressPurpose.POCKET:
        # What lies in a user's own wallet is theirs, however little it is.
        return None
    if not asset.enabled:
        return DepositReason.ASSET_DISABLED
    return DepositReason.BELOW_MINIMUM if amount_minor < asset.deposit_min_minor else None


def _confirmations(chain: Chain, asset: Asset | None, incoming: Incoming) -> int:
    tiers = [
        ConfirmationTier(
            int(tier["up_to_minor"]) if tier["up_to_minor"] is not None else None,
            int(tier["confirmations"]),
        )
        for tier in (asset.deposit_tiers if asset else ())
    ]
    needed = confirmations_for(incoming.amount_minor, tiers, otherwise=chain.confirmations_min)
    if incoming.is_coinbase and chain.id in NETWORKS:
        return max(needed, NETWORKS[chain.id].coinbase_maturity)
    return needed


async def _assets(session: AsyncSession, chain: Chain) -> Mapping[str | None, Asset]:
    """Return the chain's assets by token contract; None is the native coin."""
    found = await session.exec(select(Asset).where(Asset.chain_id == chain.id))
    return {asset.contract_address: asset for asset in found}
