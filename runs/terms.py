"""What holds for a run as a whole: may it start, what does it need, and what will it cost?"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from deposits.freezes import frozen_among
from domain.errors import (
    InsufficientAvailableBalanceError,
    LimitExceededError,
    PayoutRunStateError,
    StrongroomError,
    UnknownAssetError,
    WalletFrozenError,
)
from domain.limits import Operation
from domain.money import format_units
from domain.policy import limit_reservations, requirement
from domain.utxo.sizes import INPUT_VBYTES
from ledger import chart
from ledger.queries import account_balance
from limits.reservation import check_limits
from models.chain_transactions import ChainHead
from models.ledger import LimitCounter
from models.runs import PayoutRun
from models.wallets import Asset, AssetKind, Chain
from payouts.policy import PolicyVersion, current_policy

_TRANSFER_GAS: Final = {AssetKind.NATIVE: 21_000, AssetKind.ERC20: 65_000}
"""What one transfer usually takes; a token's first to an address is dearer, its later ones less."""
_DISPERSED_GAS: Final = {AssetKind.NATIVE: 34_300, AssetKind.ERC20: 45_000}
"""The same inside a disperse call, for an address that was never paid."""
_TRANSACTION_GAS: Final = 50_000
"""Of a disperse call by itself."""
_OUTPUT_VBYTES: Final = 34
_TRANSACTION_VBYTES: Final = 11 + INPUT_VBYTES + 31
"""Of a UTXO transaction with one input and change."""


@dataclass(frozen=True, slots=True)
class RunProblem:
    """Why a run as a whole cannot start now."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class RunTotals:
    """What a run asks for, in minor units of its asset."""

    line_count: int
    total_minor: int
    fee_total_minor: int
    """Service fees, as they are now."""


@dataclass(frozen=True, slots=True)
class RunTerms:
    """What a run needs, and what stands in its way."""

    available_minor: int
    network_fee_estimate_minor: int | None
    """In the chain's native asset, roughly; None while nothing is known of the chain's fees."""
    approvals_required: int
    policy_version: int
    problems: tuple[RunProblem, ...]


async def run_terms(
    session: AsyncSession, run: PayoutRun, totals: RunTotals, *, now: datetime
) -> RunTerms:
    """Return on which terms a run could start now."""
    asset = await session.get_one(Asset, run.asset)
    chain = await session.get_one(Chain, run.chain_id)
    head = await session.get(ChainHead, run.chain_id)
    policy = await current_policy(session)
    available_minor = await account_balance(session, chart.available(run.user_id), asset.code)
    problems = [
        *_asset_problems(asset, run, totals),
        *await _freeze_problems(session, run.user_id),
        *_balance_problems(asset, available_minor, totals),
        *await _level_problems(session, run, totals, now=now),
        *await _limit_problems(session, run, policy, totals, now=now),
    ]
    needed = requirement(policy.document, asset=asset.code, amount_minor=totals.total_minor)
    return RunTerms(
        available_minor=available_minor,
        network_fee_estimate_minor=network_fee_estimate_minor(
            asset, chain, None if head is None else head.fee_rate_minor, totals.line_count
        ),
        approvals_required=needed.approvals,
        policy_version=policy.version,
        problems=tuple(problems),
    )


def network_fee_estimate_minor(
    asset: Asset, chain: Chain, fee_rate_minor: int | None, line_count: int
) -> int | None:
    """Return what the chain may take for so many payments at this rate, in its native asset."""
    if fee_rate_minor is None:
        return None
    transactions = -(-line_count // chain.outputs_max)
    if chain.family == "utxo":
        vbytes = transactions * _TRANSACTION_VBYTES + line_count * _OUTPUT_VBYTES
        return -(-vbytes * fee_rate_minor // 1_000)
    kind = AssetKind(asset.kind)
    if chain.disperse_address is None or chain.outputs_max == 1:
        return line_count * _TRANSFER_GAS[kind] * fee_rate_minor
    return (transactions * _TRANSACTION_GAS + line_count * _DISPERSED_GAS[kind]) * fee_rate_minor


def _problem(error: type[StrongroomError], detail: str | None = None) -> RunProblem:
    return RunProblem(error.code, detail or error().detail)


def _asset_problems(asset: Asset, run: PayoutRun, totals: RunTotals) -> Sequence[RunProblem]:
    found = []
    if not asset.enabled:
        found.append(_problem(UnknownAssetError, f"{asset.code} is switched off."))
    if totals.fee_total_minor != run.fee_total_minor:
        detail = "The service fee has changed since the upload; upload the file again."
        found.append(_problem(PayoutRunStateError, detail))
    return found


async def _freeze_problems(session: AsyncSession, user_id: str) -> Sequence[RunProblem]:
    return [_problem(WalletFrozenError)] if await frozen_among(session, [user_id]) else []


def _balance_problems(
    asset: Asset, available_minor: int, totals: RunTotals
) -> Sequence[RunProblem]:
    needed_minor = totals.total_minor + totals.fee_total_minor
    if available_minor >= needed_minor:
        return []
    missing = format_units(needed_minor - available_minor, decimals=asset.decimals)
    detail = f"Amounts and fees exceed the available balance by {missing} {asset.code}."
    return [_problem(InsufficientAvailableBalanceError, detail)]


async def _level_problems(
    session: AsyncSession, run: PayoutRun, totals: RunTotals, *, now: datetime
) -> Sequence[RunProblem]:
    if totals.line_count == 0:
        return []
    try:
        await check_limits(
            session,
            user_id=run.user_id,
            operation=Operation.PAYOUT,
            asset=run.asset,
            amount_minor=totals.total_minor,
            at=now,
            times=totals.line_count,
        )
    except LimitExceededError as error:
        return [_problem(LimitExceededError, error.detail)]
    return []


async def _limit_problems(
    session: AsyncSession,
    run: PayoutRun,
    policy: PolicyVersion,
    totals: RunTotals,
    *,
    now: datetime,
) -> Sequence[RunProblem]:
    found = []
    for limit in limit_reservations(
        policy.document, asset=run.asset, amount_minor=totals.total_minor, at=now
    ):
        rows = await session.exec(
            select(LimitCounter.amount_minor, LimitCounter.count).where(
                LimitCounter.subject == run.user_id,
                LimitCounter.name == limit.name,
                LimitCounter.window_start == limit.window_start,
            )
        )
        amount_minor, count = rows.first() or (0, 0)
        cap_minor, count_cap = limit.amount_cap_minor, limit.count_cap
        if (cap_minor is not None and amount_minor + totals.total_minor > cap_minor) or (
            count_cap is not None and count + totals.line_count > count_cap
        ):
            found.append(_problem(LimitExceededError, f"It would pass the limit {limit.name}."))
    return found
