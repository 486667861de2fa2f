"""Do the books equal the chains? Read both and compare, asset by asset."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from devnet.rich_miner import RichMiner
from devnet.rich_minter import RichMinter
from devnet.rich_uncle import RichUncle
from devnet.site import Site
from domain.jobcoin.addresses import is_jobcoin
from domain.utxo.networks import NETWORKS
from infra.database import Database
from ledger import chart
from ledger.queries import account_balance, asset_sums
from ledger.verify import Verification, verify
from models.deposits import AddressPurpose, ChainAddress, ChainDeposit
from models.wallets import Asset, BlockchainWallet


@dataclass(frozen=True, slots=True)
class AssetCheck:
    """One asset: what the omnibus accounts say, what our addresses hold, what is left over."""

    asset: str
    booked_minor: int
    on_chain_minor: int
    sum_minor: int
    inflight_minor: int
    suspense_minor: int

    @property
    def is_right(self) -> bool:
        """Tell whether books equal chain, sum to zero, and leave nothing open or unexplained."""
        open_minor = (self.sum_minor, self.inflight_minor, self.suspense_minor)
        return self.booked_minor == self.on_chain_minor and not any(open_minor)


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """All assets, and the hash chain's verdict."""

    assets: tuple[AssetCheck, ...]
    verification: Verification

    @property
    def is_right(self) -> bool:
        """Tell whether everything holds."""
        return all(check.is_right for check in self.assets) and not self.verification.broken


async def reconcile(site: Site) -> Reconciliation:
    """Compare; meant for a stack on which nothing is on its way."""
    database = Database(site.database_url())
    try:
        async with database.snapshot() as session:
            verdict = Verification(0, None)
            async for progress in verify(session):
                verdict = progress
            sums = await asset_sums(session)
            assets = await session.exec(
                select(Asset).where(col(Asset.chain_id).is_not(None)).order_by(col(Asset.code))
            )
            checks = [
                await _check(site, session, asset, sum_minor=sums.get(asset.code, 0))
                for asset in assets
            ]
    finally:
        await database.close()
    return Reconciliation(tuple(checks), verdict)


async def on_chain_minor(site: Site, asset: Asset, addresses: Sequence[str]) -> int:
    """Return what these addresses hold of an asset, as its chain's node says."""
    if asset.home_chain_id in NETWORKS:
        url = site.rpc_urls[asset.home_chain_id][0]
        miner = RichMiner(url, NETWORKS[asset.home_chain_id])
        try:
            return sum([await miner.balance_minor(address) for address in addresses])
        finally:
            await miner.close()
    if is_jobcoin(asset.home_chain_id):
        return sum((await RichMinter.of(site).balances_minor(addresses)).values())
    uncle = RichUncle(site.evm_url)
    return sum([await uncle.balance_minor(a, asset.contract_address) for a in addresses])


async def _check(site: Site, session: AsyncSession, asset: Asset, *, sum_minor: int) -> AssetCheck:
    async def booked(code: str) -> int:
        return await account_balance(session, code, asset.code)

    mirrors = (chart.omnibus_hot, chart.omnibus_deposit, chart.omnibus_pocket)
    omnibus = [mirror(asset.home_chain_id) for mirror in mirrors]
    return AssetCheck(
        asset=asset.code,
        booked_minor=-sum([await booked(code) for code in omnibus]),
        on_chain_minor=await on_chain_minor(site, asset, await _addresses(session, asset)),
        sum_minor=sum_minor,
        inflight_minor=await booked(chart.inflight(asset.home_chain_id)),
        suspense_minor=await booked(chart.SUSPENSE),
    )


async def _addresses(session: AsyncSession, asset: Asset) -> list[str]:
    """Return our addresses that may hold something: hot wallets, change, and used deposits."""
    hot = await session.exec(
        select(BlockchainWallet.address).where(BlockchainWallet.chain_id == asset.home_chain_id)
    )
    derived = await session.exec(
        select(ChainAddress.address).where(
            ChainAddress.chain_id == asset.home_chain_id,
            col(ChainAddress.user_id).is_(None)
            | (col(ChainAddress.purpose) == AddressPurpose.POCKET)
            | col(ChainAddress.id).in_(select(ChainDeposit.address_id)),
        )
    )
    return sorted({*hot, *derived})
