"""Strangers who pay our users' deposit addresses, and what must come of every payment."""

import asyncio
from collections import Counter
from dataclasses import dataclass

import httpx
from sqlmodel import col, select

from devnet.bootstrap import BITCOIN_CHAIN
from devnet.errors import StackError
from devnet.funding import send
from devnet.people import ScriptedUser, insist
from devnet.rich_miner import RichMiner
from devnet.rich_uncle import RichUncle
from devnet.site import Site
from domain.deposits import DepositStatus
from domain.errors import StrongroomError
from domain.utxo.networks import BITCOIN_REGTEST
from infra.database import Database
from models.chain_transactions import ChainTransaction, ChainTransactionStatus
from models.deposits import ChainDeposit
from models.wallets import Asset

PATIENCE_S = 60.0
POLL_S = 0.3


@dataclass(frozen=True)
class Sent:
    """A payment to one of our users."""

    txid: str
    asset: str
    amount_minor: int
    user_id: str
    address: str


class Depositors:
    """Who pays, on the chains of one stack."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.sent: list[Sent] = []

    async def address(self, user: ScriptedUser, asset: str, *, key: str) -> str:
        """Have a user ask for an address, as often as it takes."""
        answer = await asyncio.to_thread(
            insist,
            lambda: user.api.send(
                "POST", "/v1/deposit-addresses", {"asset": asset}, idempotency_key=key
            ),
        )
        return str(answer["address"])

    async def pay(self, user: ScriptedUser, asset: str, amount_minor: int, *, key: str) -> Sent:
        """Pay a fresh address of a user; nobody of ours is told."""
        address = await self.address(user, asset, key=key)
        return await self.pay_to(user.user_id, asset, amount_minor, address)

    async def pay_to(self, user_id: str, asset: str, amount_minor: int, address: str) -> Sent:
        """Pay an address, once its chain's node and the catalog answer."""
        txid = await self._patiently(asset, address, amount_minor)
        sent = Sent(txid, asset, amount_minor, user_id, address)
        self.sent.append(sent)
        return sent

    async def _patiently(self, code: str, address: str, amount_minor: int) -> str:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    return await send(self.site, await self._asset(code), address, amount_minor)
                except (StackError, StrongroomError, httpx.HTTPError):
                    # Should the first try have arrived after all, it is a payment of its own,
                    # which nobody remembers: ``unknown`` counts those.
                    await asyncio.sleep(POLL_S)

    async def resend_vanished(self) -> int:
        """Pay again what a killed node forgot; return how many there were."""
        vanished = [sent for sent in self.sent if not await self.is_on_chain(sent)]
        for sent in vanished:
            self.sent.remove(sent)
            await self.pay_to(sent.user_id, sent.asset, sent.amount_minor, sent.address)
        return len(vanished)

    async def is_on_chain(self, sent: Sent) -> bool:
        return await self._is_on_chain(sent.txid, (await self._asset(sent.asset)).home_chain_id)

    async def _is_on_chain(self, txid: str, chain_id: str) -> bool:
        if chain_id != BITCOIN_CHAIN:
            uncle = RichUncle(self.site.evm_url)
            return await uncle.call("eth_getTransactionReceipt", txid) is not None
        miner = RichMiner(self.site.bitcoin_url, BITCOIN_REGTEST)
        try:
            found = await miner.call("getrawtransaction", txid, True)  # noqa: FBT003
            return int(found.get("confirmations", 0)) > 0
        except StackError:
            return False
        finally:
            await miner.close()

    async def are_done(self) -> bool:
        """Tell whether every payment is credited, and swept where it was to be."""
        known = await self._deposits()
        by_txid = {deposit.txid: deposit for deposit, _ in known}
        if any(sent.txid not in by_txid for sent in self.sent):
            return False
        return all(
            deposit.status == DepositStatus.CREDITED
            and sweep is not None
            and sweep.status == ChainTransactionStatus.CONFIRMED
            and sweep.settled_at is not None
            for deposit, sweep in known
            if deposit.status not in (DepositStatus.FORGOTTEN, DepositStatus.REVERSED)
        )

    async def doubled(self) -> list[str]:
        """Return notes on payments that stand on the books more than once, or without a chain."""
        known = [d for d, _ in await self._deposits() if d.is_booked]
        times = Counter((d.txid, d.position) for d in known)
        notes = [f"{place} credited {n} times" for place, n in times.items() if n > 1]
        notes += [
            f"{deposit.id} is credited and not on the chain"
            for deposit in known
            if not await self._is_on_chain(deposit.txid, deposit.chain_id)
        ]
        return notes

    async def lost(self) -> list[str]:
        """Return notes on payments that are on the chain and not credited."""
        booked = {d.txid: d for d, _ in await self._deposits() if d.is_booked}
        return [
            f"{sent} is not credited"
            for sent in self.sent
            if sent.txid not in booked
            or (booked[sent.txid].amount_minor, booked[sent.txid].user_id)
            != (sent.amount_minor, sent.user_id)
        ]

    async def _deposits(self) -> list[tuple[ChainDeposit, ChainTransaction | None]]:
        database = Database(self.site.database_url())
        try:
            async with database.transaction() as session:
                found = await session.exec(
                    select(ChainDeposit, ChainTransaction).outerjoin(
                        ChainTransaction, col(ChainTransaction.id) == col(ChainDeposit.swept_by)
                    )
                )
                return list(found.all())
        finally:
            await database.close()

    async def _asset(self, code: str) -> Asset:
        database = Database(self.site.database_url())
        try:
            async with database.transaction() as session:
                return await session.get_one(Asset, code)
        finally:
            await database.close()
