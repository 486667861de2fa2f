"""
What the signer satisfies itself of before it moves money between our own addresses.

Sweeps and gas top-ups ask nobody's approval because they cannot leave us: where they go to is
derived from our own keys, never read from a message.
"""

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.coins import KeyPosition
from domain.errors import SigningRefusedError
from domain.evm_calls import TOPUP_GAS_MAX
from domain.hd import EXTERNAL, derive_address
from domain.pockets import Route
from domain.utxo.networks import NAMESPACE as UTXO_NAMESPACE
from models.chain_transactions import ChainTransaction, ChainTransactionKind
from models.deposits import ChainAddress, HdAccount
from models.payouts import Payout
from models.wallets import BlockchainWallet, Chain, WalletType
from signing.pockets import is_pocket


async def check_own_transfer(session: AsyncSession, row: ChainTransaction, chain: Chain) -> None:
    """
    Refuse a transfer between our own addresses that leaves us, or is larger than it need be.

    Raises:
        SigningRefusedError: With the reason, for the log.
    """
    if row.chain_id.startswith(UTXO_NAMESPACE):
        # signing.coins derives every output of such a transaction again.
        return
    match row.kind:
        case ChainTransactionKind.SWEEP:
            await _check_hot(session, row.chain_id, str(row.destination))
            await _check_handed_out(session, row.chain_id, row.wallet_address)
            is_users = await is_pocket(session, row.chain_id, row.wallet_address)
            _require(not is_users, "sweeps a user's own pocket")
        case ChainTransactionKind.GAS_TOPUP:
            await _check_hot(session, row.chain_id, row.wallet_address)
            await _check_handed_out(session, row.chain_id, str(row.destination))
            most_minor = TOPUP_GAS_MAX * chain.max_fee_ceiling_minor
            _require(row.asset == chain.native_asset, "a top-up of another asset")
            _require(row.amount_minor <= most_minor, "a top-up above what gas can cost")
        case _:
            _require(False, f"a {row.kind} on this chain")  # noqa: FBT003


async def check_redeemed(session: AsyncSession, row: ChainTransaction) -> None:
    """
    Refuse to move off a chain's pocket to another address of ours than the hot wallet.

    Raises:
        SigningRefusedError: With the reason.
    """
    found = await session.exec(select(Payout.route).where(Payout.chain_transaction_id == row.id))
    if found.one() == Route.REDEEM and not row.chain_id.startswith(UTXO_NAMESPACE):
        await _check_hot(session, row.chain_id, str(row.destination))


async def _check_hot(session: AsyncSession, chain_id: str, address: str) -> None:
    found = await session.exec(
        select(BlockchainWallet.address).where(
            BlockchainWallet.chain_id == chain_id,
            BlockchainWallet.address == address,
            BlockchainWallet.type == WalletType.HOT,
            col(BlockchainWallet.primary),
        )
    )
    _require(found.first() is not None, "not the hot wallet")


async def _check_handed_out(session: AsyncSession, chain_id: str, address: str) -> None:
    """Derive the address again: a row of the table is no proof that it is ours."""
    found = await session.exec(
        select(ChainAddress.index).where(
            ChainAddress.chain_id == chain_id,
            ChainAddress.address == address,
            ChainAddress.branch == EXTERNAL,
        )
    )
    index = found.first()
    _require(index is not None, "not an address that we handed out")
    assert index is not None
    account = await session.get_one(HdAccount, chain_id)
    derived = derive_address(chain_id, account.xpub, KeyPosition(EXTERNAL, index))
    _require(derived.address == address, "an address that is not ours")


def _require(holds: bool, otherwise: str) -> None:  # noqa: FBT001
    if not holds:
        raise SigningRefusedError(otherwise)
