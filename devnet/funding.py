"""
Money for a local stack: real coins to the hot wallet, and the books to match.

What arrives is booked like a deposit, under the txid, so that books and chain stay equal.
"""

from collections.abc import Mapping

from sqlmodel import select

from devnet.errors import StackError
from devnet.rich_miner import RichMiner
from devnet.rich_minter import RichMinter
from devnet.rich_uncle import RichUncle
from devnet.site import Site
from domain.clock import SystemClock
from domain.jobcoin.addresses import is_jobcoin
from domain.utxo.networks import NETWORKS
from infra.database import Database
from ledger import rules
from ledger.service import Ledger
from models.wallets import Asset, BlockchainWallet

CLOCK = SystemClock()


async def fund(site: Site, *, asset_code: str, shares: Mapping[str | None, int]) -> str:
    """
    Send the sum of the shares to the hot wallet and book each one; return the txid.

    ``shares`` maps a user id to minor units; None stands for the operator's own capital, such as
    what pays for gas.
    """
    database = Database(site.database_url())
    try:
        async with database.transaction() as session:
            asset = await session.get(Asset, asset_code)
            if asset is None:
                msg = f"There is no asset {asset_code}."
                raise StackError(msg)
            wallets = await session.exec(
                select(BlockchainWallet.address).where(
                    BlockchainWallet.chain_id == asset.home_chain_id, BlockchainWallet.primary
                )
            )
            address = wallets.one()
        txid = await send(site, asset, address, sum(shares.values()))
        await _book(database, asset, txid, shares)
    finally:
        await database.close()
    return txid


async def send(site: Site, asset: Asset, address: str, amount_minor: int) -> str:
    """Send development coins to any address; return the txid, which is mined."""
    if asset.home_chain_id in NETWORKS:
        return await _send_coins(site, asset, address, amount_minor)
    if is_jobcoin(asset.home_chain_id):
        return await RichMinter.of(site).send(address, amount_minor)
    uncle = RichUncle(site.evm_url)
    if asset.contract_address is None:
        return await uncle.send(address, amount_minor)
    return await uncle.mint_token(asset.contract_address, address, amount_minor)


async def _send_coins(site: Site, asset: Asset, address: str, amount_minor: int) -> str:
    miner = RichMiner(site.rpc_urls[asset.home_chain_id][0], NETWORKS[asset.home_chain_id])
    try:
        txid = await miner.send(address, amount_minor)
        await miner.mine()
        return txid
    finally:
        await miner.close()


async def _book(
    database: Database, asset: Asset, txid: str, shares: Mapping[str | None, int]
) -> None:
    now = CLOCK.now()
    postings = []
    for user_id, amount_minor in shares.items():
        if user_id is None:
            postings.append(
                rules.capital_in(
                    txid=txid,
                    chain_id=asset.home_chain_id,
                    asset=asset.code,
                    amount_minor=amount_minor,
                    at=now,
                )
            )
        else:
            postings.append(
                rules.deposit(
                    txid=txid,
                    user_id=user_id,
                    chain_id=asset.home_chain_id,
                    asset=asset.code,
                    amount_minor=amount_minor,
                    at=now,
                )
            )
    await Ledger(database).post(*postings)
