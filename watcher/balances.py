"""
Value that contracts sent, on nodes that cannot show it: found by comparing balances.

Without call traces a block does not say what a contract paid on. The balance of an address does, so
addresses are gone through in turn, at a height that counts as settled; what an address holds beyond
what we can account for is a deposit of that block.
"""

import logging
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from sqlalchemy import text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from deposits.arrivals import BALANCE, Arrival, record
from domain.clock import Clock
from domain.errors import TransientError
from domain.hd import EXTERNAL
from domain.ports import AccountOutlet
from domain.scanning import Incoming, ScannedBlock
from infra.database import Database
from models.chain_transactions import ChainBlock, ChainHead
from models.deposits import ChainAddress
from models.wallets import Chain, Finality

ADDRESSES_PER_ROUND = 100
INTERVAL = timedelta(seconds=10)

logger = logging.getLogger(__name__)

_EXPECTED = text("""
    SELECT a.id,
           coalesce((SELECT sum(d.amount_minor) FROM chain_deposit d
                     WHERE d.address_id = a.id AND d.contract_address IS NULL
                       AND d.block_height <= :height), 0)
         + coalesce((SELECT sum(t.amount_minor) FROM chain_transaction t
                     WHERE t.chain_id = a.chain_id AND t.kind = 'gas_topup'
                       AND t.destination = a.address AND t.reason_code IS NULL
                       AND t.block_height <= :height), 0)
         + coalesce((SELECT sum(p.amount_minor)
                     FROM (SELECT p.*, row_number() OVER (
                               PARTITION BY p.chain_transaction_id ORDER BY p.id) - 1 AS place
                           FROM payout p
                           WHERE p.chain_transaction_id IN (
                               SELECT q.chain_transaction_id FROM payout q
                               WHERE q.route = 'fund' AND q.pocket_id = a.id)) p
                     JOIN chain_transaction t ON t.id = p.chain_transaction_id
                     WHERE p.pocket_id = a.id AND p.route = 'fund' AND p.asset = :native
                       AND t.reason_code IS NULL AND t.block_height <= :height
                       AND p.place <> ALL (coalesce(t.failed_places, '{}'))), 0)
         - coalesce((SELECT sum(coalesce(t.network_fee_minor, 0)
                                + CASE WHEN t.asset = :native AND t.reason_code IS NULL
                                       THEN t.amount_minor ELSE 0 END)
                     FROM chain_transaction t
                     WHERE t.chain_id = a.chain_id AND t.wallet_address = a.address
                       AND t.block_height <= :height), 0)
    FROM chain_address a WHERE a.id = ANY(:ids)
""")
"""What each address should hold at a height, in the native coin, by all that we know of it."""


class BalanceOutlet(AccountOutlet, Protocol):
    """An account chain whose node may lack call traces."""

    @property
    def has_traces(self) -> bool | None:
        """Whether all that contracts sent was shown; None until there was a need to know."""
        ...

    async def balances_minor(self, addresses: Sequence[str], height: int) -> list[int]:
        """Return the native balances of these addresses after the block at this height."""
        ...


class BalanceReconciler:
    """Goes through a chain's handed-out addresses in turn, where its node shows no call traces."""

    def __init__(self, database: Database, outlet: BalanceOutlet, clock: Clock) -> None:
        """Take the database as the worker's role and the outlet of one chain."""
        self._database = database
        self._outlet = outlet
        self._clock = clock
        self._last_id = ""
        self._last_run: datetime | None = None

    async def run(self) -> None:
        """Compare the next addresses, if it is time and the node leaves us no better way."""
        now = self._clock.now()
        is_time = self._last_run is None or now - self._last_run >= INTERVAL
        if self._outlet.has_traces is not False or not is_time:
            return
        self._last_run = now
        async with self._database.transaction() as session:
            chain = await session.get_one(Chain, self._outlet.chain_id)
            block = await _settled_block(session, chain)
            addresses = await self._next(session)
        if block is None or not addresses:
            return
        try:
            owned = await self._outlet.balances_minor([a.address for a in addresses], block.height)
        except TransientError as error:
            # Blocks must go on being read, whatever this node has forgotten of old states.
            logger.warning("balances of %s cannot be compared: %s", chain.id, error)
            return
        async with self._database.transaction() as session:
            await self._record(session, chain, block, zip(addresses, owned, strict=True))

    async def _next(self, session: AsyncSession) -> list[ChainAddress]:
        found = await session.exec(
            select(ChainAddress)
            .where(
                ChainAddress.chain_id == self._outlet.chain_id,
                ChainAddress.branch == EXTERNAL,
                ChainAddress.id > self._last_id,
            )
            .order_by(col(ChainAddress.id))
            .limit(ADDRESSES_PER_ROUND)
        )
        addresses = list(found)
        is_last = len(addresses) < ADDRESSES_PER_ROUND
        self._last_id = "" if is_last else addresses[-1].id
        return addresses

    async def _record(
        self,
        session: AsyncSession,
        chain: Chain,
        block: ChainBlock,
        owned: Iterable[tuple[ChainAddress, int]],
    ) -> None:
        known = await session.get(ChainBlock, (chain.id, block.height))
        if known is None or known.hash != block.hash:
            # A reorg came in between; what was read is of another chain.
            return
        pairs = list(owned)
        expected = await session.execute(
            _EXPECTED,
            {
                "height": block.height,
                "native": chain.native_asset,
                "ids": [address.id for address, _ in pairs],
            },
        )
        by_id = {address_id: int(amount) for address_id, amount in expected}
        arrivals = [
            _arrival(address, block, owned_minor - by_id[address.id])
            for address, owned_minor in pairs
            if owned_minor > by_id[address.id]
        ]
        await record(session, chain, arrivals, clock=self._clock)


def _arrival(address: ChainAddress, block: ChainBlock, amount_minor: int) -> Arrival:
    incoming = Incoming(
        # No transaction is known; the block is the evidence.
        txid=block.hash,
        position=f"{BALANCE}{block.height}",
        lookup_key=address.lookup_key,
        amount_minor=amount_minor,
    )
    found_in = ScannedBlock(block.height, block.hash, block.parent_hash, ())
    return Arrival(incoming, address, found_in)


async def _settled_block(session: AsyncSession, chain: Chain) -> ChainBlock | None:
    """Return the newest block that a deposit of any amount would be credited in."""
    head = await session.get(ChainHead, chain.id)
    if head is None:
        return None
    height = head.height - chain.confirmations_min + 1
    if head.finalized_height is not None and chain.finality == Finality.FINALIZED:
        height = min(height, head.finalized_height)
    return await session.get(ChainBlock, (chain.id, height))
