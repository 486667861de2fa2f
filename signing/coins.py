"""
The signer's own view of a UTXO transaction, rebuilt from what was asked for.

Inputs are the coins locked for the chain transaction, outputs are its payouts in order of id, and
whatever is left over goes to an address that the seed itself derives. The worker says how much
change there is and so what the fee is; that is all it can say, and it is bounded.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.coins import Coin, CoinOutput, KeyPosition, UnsignedCoinAttempt, arranged
from domain.errors import SigningRefusedError
from domain.hd import EXTERNAL, INTERNAL, derive_address
from domain.pockets import Route
from domain.scanning import Outpoint
from domain.utxo.networks import network_of
from domain.utxo.scripts import output_script
from domain.utxo.sizes import dust_minor, transaction_vbytes
from domain.utxo.sizes import fee_minor as fee_of
from models.chain_transactions import ChainAttempt, ChainTransaction, ChainTransactionKind
from models.deposits import AddressPurpose, ChainAddress, HdAccount, Utxo
from models.payouts import Payout
from models.wallets import Chain

SPEND_LATER_VBYTES = 100
"""Making and spending a change output: what may go to the fee instead, at the ceiling's rate."""


@dataclass(frozen=True, slots=True)
class CoinRow:
    """A coin and whether it is ours to pay with."""

    coin: Coin
    is_hot: bool
    pocket_id: str | None = None
    """The user's own pocket that it lies in."""

    @property
    def is_deposit(self) -> bool:
        """Tell whether it lies on an address that was handed out, to be swept."""
        return self.coin.position.branch == EXTERNAL and self.pocket_id is None


async def coin_attempt(
    session: AsyncSession, row: ChainTransaction, attempt: ChainAttempt
) -> UnsignedCoinAttempt:
    """
    Return exactly what is to be signed.

    Raises:
        SigningRefusedError: Coins, amounts, fee or change are not what they must be.
    """
    coins = await _coins(session, row)
    outputs = await _outputs(session, row)
    change = await _change(session, row, attempt)
    unsigned = UnsignedCoinAttempt(
        chain_id=row.chain_id,
        inputs=tuple(each.coin for each in coins),
        outputs=arranged(outputs, change, seed=row.id),
    )
    _require(bool(coins), "no coins")
    is_for_others = row.kind == ChainTransactionKind.PAYOUT
    _require(not is_for_others or all(each.is_hot for each in coins), "pays with deposits")
    # A sweep of what is ours to pay with already would move nothing, and pay a fee for it.
    is_sweep = row.kind == ChainTransactionKind.SWEEP
    _require(not is_sweep or all(each.is_deposit for each in coins), "sweeps the hot wallet")
    if row.kind == ChainTransactionKind.POCKET_SPEND:
        pocket_id = await _pocket_of(session, row)
        _require(all(each.pocket_id == pocket_id for each in coins), "pays with others' coins")
    total_minor = sum(output.amount_minor for output in outputs)
    _require(total_minor == row.amount_minor, "another amount")
    await _check_fee(session, row, attempt, unsigned)
    return unsigned


async def _coins(session: AsyncSession, row: ChainTransaction) -> Sequence[CoinRow]:
    if row.kind == ChainTransactionKind.FEE_CHILD:
        return [await _parents_change(session, row)]
    found = await session.exec(
        select(Utxo, ChainAddress)
        .join(ChainAddress, col(ChainAddress.id) == col(Utxo.address_id))
        .where(Utxo.locked_by == row.id, Utxo.chain_id == row.chain_id)
        .order_by(col(Utxo.txid), col(Utxo.output_index))
    )
    return [
        CoinRow(
            Coin(
                Outpoint(utxo.txid, utxo.output_index),
                utxo.amount_minor,
                KeyPosition(address.branch, address.index),
            ),
            utxo.is_hot and address.branch == INTERNAL,
            address.id if address.purpose == AddressPurpose.POCKET else None,
        )
        for utxo, address in found
    ]


async def _pocket_of(session: AsyncSession, row: ChainTransaction) -> str:
    """Return the pocket that pays; whose it is was checked with the transfer."""
    found = await session.exec(
        select(Payout.pocket_id).where(Payout.chain_transaction_id == row.id)
    )
    return str(found.one())


async def _outputs(session: AsyncSession, row: ChainTransaction) -> Sequence[CoinOutput]:
    """Return what the transaction pays, apart from its change."""
    match row.kind:
        case ChainTransactionKind.PAYOUT | ChainTransactionKind.POCKET_SPEND:
            found = await session.exec(
                select(Payout).where(Payout.chain_transaction_id == row.id).order_by(col(Payout.id))
            )
            payouts = found.all()
            for payout in payouts:
                if payout.route == Route.REDEEM:
                    await _check_own(session, row.chain_id, payout.destination)
            return [CoinOutput(payout.destination, payout.amount_minor) for payout in payouts]
        case ChainTransactionKind.SWEEP:
            await _check_own(session, row.chain_id, str(row.destination))
            return [CoinOutput(str(row.destination), row.amount_minor)]
        case ChainTransactionKind.FEE_CHILD:
            return []
        case _:
            msg = f"a {row.kind} on this chain"
            raise SigningRefusedError(msg)


async def _change(
    session: AsyncSession, row: ChainTransaction, attempt: ChainAttempt
) -> CoinOutput | None:
    if not attempt.change_minor:
        return None
    _require(row.change_address is not None, "change without an address")
    if row.kind == ChainTransactionKind.POCKET_SPEND:
        # That this is the pocket, and whose, was checked with the transfer.
        _require(row.change_address == row.wallet_address, "a pocket's change to somebody else")
    else:
        await _check_own(session, row.chain_id, str(row.change_address))
    return CoinOutput(str(row.change_address), attempt.change_minor)


async def _check_own(session: AsyncSession, chain_id: str, address: str) -> None:
    """Derive the address again: a row of the table is no proof that it is ours."""
    position = await _position(session, chain_id, address)
    _require(position.branch == INTERNAL, "returns money to an address that was handed out")
    account = await session.get_one(HdAccount, chain_id)
    derived = derive_address(chain_id, account.xpub, position)
    _require(derived.address == address, "returns money to a stranger")


async def _position(session: AsyncSession, chain_id: str, address: str) -> KeyPosition:
    found = await session.exec(
        select(ChainAddress.branch, ChainAddress.index).where(
            ChainAddress.chain_id == chain_id, ChainAddress.address == address
        )
    )
    place = found.first()
    _require(place is not None, "returns money to an address that we do not know")
    assert place is not None
    return KeyPosition(*place)


async def _parents_change(session: AsyncSession, row: ChainTransaction) -> CoinRow:
    """Return the change of the transaction that this one is to carry along (CPFP)."""
    parent = await session.get(ChainTransaction, row.parent_id) if row.parent_id else None
    _require(parent is not None and parent.chain_id == row.chain_id, "a child without a parent")
    assert parent is not None
    found = await session.exec(
        select(ChainAttempt)
        .where(ChainAttempt.chain_transaction_id == parent.id, col(ChainAttempt.raw).is_not(None))
        .order_by(col(ChainAttempt.sequence).desc())
    )
    signed = found.first()
    _require(signed is not None and bool(signed.change_minor), "a parent without change")
    assert signed is not None
    outputs = arranged(
        await _outputs(session, parent), await _change(session, parent, signed), seed=parent.id
    )
    index = [output.address for output in outputs].index(str(parent.change_address))
    position = await _position(session, row.chain_id, str(parent.change_address))
    coin = Coin(Outpoint(str(signed.txid), index), signed.change_minor or 0, position)
    return CoinRow(coin, is_hot=True)


async def _parent_vbytes(session: AsyncSession, row: ChainTransaction) -> int:
    parent = await session.get_one(ChainTransaction, row.parent_id)
    network = network_of(row.chain_id)
    paid = [output_script(o.address, network) for o in await _outputs(session, parent)]
    change = output_script(str(parent.change_address), network)
    return transaction_vbytes(len(await _coins(session, parent)), [*paid, change])


async def _check_fee(
    session: AsyncSession,
    row: ChainTransaction,
    attempt: ChainAttempt,
    unsigned: UnsignedCoinAttempt,
) -> None:
    chain, network = await session.get_one(Chain, row.chain_id), network_of(row.chain_id)
    scripts = [output_script(output.address, network) for output in unsigned.outputs]
    _require(bool(scripts), "pays nobody")
    is_dust = any(
        output.amount_minor < dust_minor(script, network)
        for output, script in zip(unsigned.outputs, scripts, strict=True)
    )
    _require(not is_dust, "an output is dust")
    _require(unsigned.fee_minor == attempt.fee_minor, "another fee")
    most_minor = _most(chain, transaction_vbytes(len(unsigned.inputs), scripts))
    if row.kind == ChainTransactionKind.FEE_CHILD:
        # It pays for its parent as well.
        most_minor += _most(chain, await _parent_vbytes(session, row))
    _require(0 < unsigned.fee_minor <= most_minor, "fee above the ceiling")


def _most(chain: Chain, vbytes: int) -> int:
    return fee_of(vbytes + SPEND_LATER_VBYTES, chain.max_fee_ceiling_minor)


def _require(holds: bool, otherwise: str) -> None:  # noqa: FBT001
    if not holds:
        raise SigningRefusedError(otherwise)
