"""What must hold before a run is started, over and above each of its lines."""

from sqlmodel.ext.asyncio.session import AsyncSession

from deposits.freezes import check_not_frozen
from domain.clock import Clock
from domain.errors import PayoutRunStateError, UnknownAssetError
from models.runs import PayoutRun
from models.wallets import Asset


async def check_startable(session: AsyncSession, run: PayoutRun, *, clock: Clock) -> int:
    """
    Return the service fee of each line, in minor units.

    Raises:
        PayoutRunStateError: It has problems, or the fee was changed since it was uploaded.
        UnknownAssetError, WalletFrozenError: As named.
    """
    del clock
    await check_not_frozen(session, run.user_id)
    if run.problem_count:
        msg = f"{run.problem_count} lines have problems; mend them and upload the file again."
        raise PayoutRunStateError(msg)
    asset = await session.get_one(Asset, run.asset)
    if not asset.enabled:
        msg = f"There is no asset {run.asset!r}."
        raise UnknownAssetError(msg)
    if asset.payout_fee_minor * run.line_count != run.fee_total_minor:
        msg = "The fee of a payout was changed since the upload; upload the file again."
        raise PayoutRunStateError(msg)
    return asset.payout_fee_minor
