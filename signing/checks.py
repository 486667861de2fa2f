"""
What the signer satisfies itself of before it signs, from the database alone.

It trusts no message: a workflow only names a batch. Whoever can start workflows or write chain
transactions still cannot make the signer pay what nobody asked for and approved.
"""

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.disperse_gas import TRANSACTION_GAS_MAX
from domain.errors import SigningRefusedError
from domain.evm_calls import TRANSFER_GAS_MAX
from domain.utxo.networks import NAMESPACE as UTXO_NAMESPACE
from models.chain_transactions import (
    ChainAttempt,
    ChainBatch,
    ChainTransaction,
    ChainTransactionKind,
)
from models.wallets import BlockchainWallet, Chain
from signing.own_transfers import check_own_transfer, check_redeemed
from signing.payouts import check_payouts, check_pocket_spend, payouts_in
from signing.runs import PaidRuns

HOT_ONLY = (ChainTransactionKind.PAYOUT, ChainTransactionKind.TOKEN_APPROVAL)


async def check_intent(
    session: AsyncSession, row: ChainTransaction, attempt: ChainAttempt, *, runs: PaidRuns
) -> None:
    """
    Refuse a chain transaction that is not exactly what was asked for and approved.

    Raises:
        SigningRefusedError: With the reason, for the log; the caller abandons it.
    """
    chain = await session.get_one(Chain, row.chain_id)
    is_utxo = chain.id.startswith(UTXO_NAMESPACE)
    _check_fee(row, attempt, chain)
    is_pockets = row.kind == ChainTransactionKind.POCKET_SPEND
    if (is_utxo and not is_pockets) or row.kind in HOT_ONLY:
        # The ceiling is the wallet's: under another name there would be none.
        await _check_wallet(session, row)
    match row.kind:
        case ChainTransactionKind.NONCE_FILLER:
            _require(row.destination == row.wallet_address, "a filler pays somebody else")
            _require(row.amount_minor == 0, "a filler moves money")
        case ChainTransactionKind.PAYOUT:
            await check_payouts(session, row, chain, runs=runs)
        case ChainTransactionKind.POCKET_SPEND:
            await check_pocket_spend(session, row, attempt, chain)
            await check_redeemed(session, row)
        case ChainTransactionKind.TOKEN_APPROVAL:
            _require(row.amount_minor == 0, "an allowance moves money")
            _require(row.destination is not None, "an allowance for nobody")
            _require(row.destination == chain.disperse_address, "another contract is allowed")
        case _:
            await check_own_transfer(session, row, chain)


async def check_replacement(
    session: AsyncSession, row: ChainTransaction, attempt: ChainAttempt
) -> None:
    """
    Refuse a replacement of signed bytes that pays more for its place, or others, than it may.

    What it pays was checked when it was signed first, and the database keeps a signed transaction
    and its payouts as they were. Today's catalog and payouts do not matter to it: the first bytes
    can be mined at any time, and unreplaced they would only keep what follows waiting.

    Raises:
        SigningRefusedError: With the reason, for the log; the first attempt stays on its way.
    """
    _check_fee(row, attempt, await session.get_one(Chain, row.chain_id))
    if row.kind == ChainTransactionKind.PAYOUT:
        # Nothing keeps others from being put beside those that were signed; the sum would show it.
        payouts = await payouts_in(session, row)
        is_same = sum(payout.amount_minor for payout in payouts) == row.amount_minor
        _require(is_same, "another amount")
    if row.kind == ChainTransactionKind.POCKET_SPEND:
        # What it may cost is what its user set aside: a replacement is judged like the first.
        chain = await session.get_one(Chain, row.chain_id)
        await check_pocket_spend(session, row, attempt, chain)


def _check_fee(row: ChainTransaction, attempt: ChainAttempt, chain: Chain) -> None:
    _require(attempt.max_fee_minor <= chain.max_fee_ceiling_minor, "fee above the ceiling")
    most_gas = TRANSFER_GAS_MAX if row.disperse_address is None else TRANSACTION_GAS_MAX
    is_utxo = chain.id.startswith(UTXO_NAMESPACE)
    _require(is_utxo or 0 < (row.gas_limit or 0) <= most_gas, "gas limit out of range")


async def _check_wallet(session: AsyncSession, row: ChainTransaction) -> None:
    found = await session.exec(
        select(BlockchainWallet.address)
        .join(ChainBatch, col(ChainBatch.wallet_address) == col(BlockchainWallet.address))
        .where(
            ChainBatch.id == row.batch_id,
            BlockchainWallet.address == row.wallet_address,
            BlockchainWallet.chain_id == row.chain_id,
        )
    )
    _require(found.first() is not None, "another wallet pays")


def _require(holds: bool, otherwise: str) -> None:  # noqa: FBT001
    if not holds:
        raise SigningRefusedError(otherwise)
