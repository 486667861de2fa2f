"""Do the books equal the chain? Read both and compare, asset by asset."""

from dataclasses import dataclass

from sqlmodel import col, select

from devnet.rich_uncle import RichUncle
from devnet.site import Site
from infra.database import Database
from ledger import chart
from ledger.queries import account_balance, asset_sums
from ledger.verify import Verification, verify
from models.wallets import Asset, BlockchainWallet


@dataclass(frozen=True, slots=True)
class AssetCheck:
    """One asset: what the omnibus account says, what the hot wallet holds, what is left over."""

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
    database, uncle = Database(site.database_url()), RichUncle(site.evm_url)
    try:
        async with database.snapshot() as session:
            verdict = Verification(0, None)
            async for progress in verify(session):
                verdict = progress
            sums = await asset_sums(session)
            found = await session.exec(
                select(Asset, BlockchainWallet.address)
                .join(BlockchainWallet, col(BlockchainWallet.chain_id) == col(Asset.chain_id))
                .where(BlockchainWallet.primary)
                .order_by(col(Asset.code))
            )
            checks = [
                AssetCheck(
                    asset=asset.code,
                    booked_minor=-await account_balance(
                        session, chart.omnibus_hot(asset.chain_id), asset.code
                    ),
                    on_chain_minor=await uncle.balance_minor(address, asset.contract_address),
                    sum_minor=sums.get(asset.code, 0),
                    inflight_minor=await account_balance(
                        session, chart.inflight(asset.chain_id), asset.code
                    ),
                    suspense_minor=await account_balance(session, chart.SUSPENSE, asset.code),
                )
                for asset, address in found.all()
            ]
    finally:
        await database.close()
    return Reconciliation(tuple(checks), verdict)
