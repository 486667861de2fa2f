"""Why a deposit is where it is, in one sentence that its owner understands."""

from datetime import datetime

from deposits.queries import DepositDetail
from domain.deposits import DepositReason, DepositStatus
from domain.explanations import SILENT_AFTER, Explanation
from domain.money import format_units
from models.wallets import Finality

_IGNORED = {
    DepositReason.UNLISTED_ASSET: "This token is not one that we accept; it is recorded only.",
    DepositReason.ASSET_DISABLED: "This asset is switched off; the deposit is recorded only.",
}


def explained(detail: DepositDetail, *, now: datetime) -> Explanation:
    """Return the explanation; pure."""
    deposit = detail.deposit
    match DepositStatus(deposit.status):
        case DepositStatus.SEEN:
            return Explanation("Seen, but in no block yet.", "block")
        case DepositStatus.CONFIRMING:
            return _confirming(detail, now=now)
        case DepositStatus.CREDITED:
            return Explanation(
                f"Credited after {deposit.confirmations_required} confirmations.", None
            )
        case DepositStatus.FORGOTTEN:
            return Explanation(
                "Replaced, spent otherwise, or removed from the chain before it was credited.", None
            )
        case DepositStatus.REVERSED:
            return _reversed(detail)
        case DepositStatus.IGNORED:
            return _ignored(detail)


def _confirming(detail: DepositDetail, *, now: datetime) -> Explanation:
    head = detail.head
    if head is not None and now - head.seen_at > SILENT_AFTER:
        moment = f"{head.seen_at:%Y-%m-%d %H:%M:%S}"
        return Explanation(f"{detail.chain.name} not seen since {moment} UTC.", "chain")
    required = detail.deposit.confirmations_required
    got = min(detail.depth.confirmations, required)
    if got == required and detail.chain.finality == Finality.FINALIZED:
        return Explanation("Waiting for the chain to finalize its block.", "finality")
    return Explanation(f"{got} of {required} confirmations.", "confirmations")


def _reversed(detail: DepositDetail) -> Explanation:
    if detail.deposit.block_height is not None:
        return Explanation(
            "It came back to the chain; waiting for its depth again.", "confirmations"
        )
    gone = "Credited, then removed from the chain and taken back"
    if detail.is_frozen:
        return Explanation(f"{gone}; outgoing operations are frozen.", "operator")
    return Explanation(f"{gone}.", None)


def _ignored(detail: DepositDetail) -> Explanation:
    asset = detail.asset
    if detail.deposit.reason_code != DepositReason.BELOW_MINIMUM or asset is None:
        return Explanation(_IGNORED[DepositReason(str(detail.deposit.reason_code))], None)
    least = format_units(asset.deposit_min_minor, decimals=asset.decimals)
    return Explanation(f"Below the least deposit of {least} {asset.code}; recorded only.", None)
