"""
The chain of a Jobcoin network in PostgreSQL: what is taken into the pool, and what is mined.

Whoever writes holds one lock until the unit of work ends, so that transactions are judged one after
the other however many nodes there are. Below that the database's own constraints stand: no balance
below zero, no account nonce twice, no more coins than the cap.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from coincurve import PublicKey
from coincurve.ecdsa import cdata_to_der, deserialize_compact
from sqlalchemy import ColumnElement, text
from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from chains.jobcoin.node.pooled import read_pool, standings_of, store_standings
from domain.clock import Clock
from domain.errors import (
    AccountNonceTakenError,
    AccountNonceTooHighError,
    AccountNonceUsedError,
    IdempotencyKeyReusedError,
    InsufficientBalanceError,
    InvalidTransactionError,
    MintCapError,
    WrongChainError,
)
from domain.jobcoin.addresses import account_of, address_of
from domain.jobcoin.chain import (
    CAP_MINOR,
    NONCES_AHEAD_MAX,
    Header,
    genesis,
    mint_txid,
    next_header,
    reward_minor,
    reward_txid,
)
from domain.jobcoin.pool import Waiting, fill_block
from domain.jobcoin.transactions import Output, Transaction, read_transaction
from infra.database import Database
from models.jobcoin import (
    JobcoinAccount,
    JobcoinBlock,
    JobcoinKind,
    JobcoinOutput,
    JobcoinSupply,
    JobcoinTransaction,
)

_LOCK = text("SELECT pg_advisory_xact_lock(7316)")

_INCLUDE = text("""
    UPDATE jobcoin_transaction t SET block_height = :height, place = c.place - 1
    FROM unnest(CAST(:txids AS text[])) WITH ORDINALITY AS c (txid, place)
    WHERE t.txid = c.txid
""")


@dataclass(frozen=True, slots=True)
class Admission:
    """What became of a transaction that was handed in."""

    txid: str
    is_new: bool
    """Else it was in the pool or in a block before."""


class JobcoinBook:
    """One network's chain, written as the node's role."""

    def __init__(
        self, database: Database, chain_id: str, clock: Clock, *, miner: str | None = None
    ) -> None:
        """
        Take the network's id, and who gets the blocks' rewards; without anybody there are none.

        Raises:
            InvalidAddressError, WrongChainError: The miner is not of this network.
        """
        self.chain_id = chain_id
        self._database = database
        self._clock = clock
        self._miner = None if miner is None else account_of(miner, chain_id)

    async def open(self) -> None:
        """
        Write the first block, unless the chain has begun.

        Raises:
            WrongChainError: The database holds another network's chain.
        """
        first = genesis(self.chain_id)
        async with self._database.transaction() as session:
            await session.execute(_LOCK)
            known = await session.get(JobcoinBlock, 0)
            if known is None:
                session.add(_row_of(first))
                session.add(JobcoinSupply(chain_id=self.chain_id, cap_minor=CAP_MINOR))
            elif known.hash != first.hash:
                msg = f"The database holds another network's chain than {self.chain_id}."
                raise WrongChainError(msg)

    async def admit(self, raw: bytes) -> Admission:
        """
        Take a signed transaction into the pool; one that is known stays where it is.

        Raises:
            InvalidTransactionError: It is none of this network, or its sender did not sign it.
            AccountNonceUsedError, AccountNonceTakenError: Another one has its account nonce.
            AccountNonceTooHighError: Too many of its sender's are missing before it.
            InsufficientBalanceError: It is more than its sender has.
        """
        transaction, signature = read_transaction(raw)
        self._check_signed(transaction, signature)
        async with self._database.transaction() as session:
            await session.execute(_LOCK)
            if await session.get(JobcoinTransaction, transaction.txid) is not None:
                return Admission(transaction.txid, is_new=False)
            sender = address_of(transaction.sender, self.chain_id)
            await _check_nonce(session, sender, transaction.account_nonce)
            await _check_balance(session, sender, transaction.total_minor)
            row = JobcoinTransaction(
                txid=transaction.txid,
                kind=JobcoinKind.TRANSFER,
                sender=sender,
                account_nonce=transaction.account_nonce,
                raw=raw,
                amount_minor=transaction.total_minor,
                received_at=self._clock.now(),
            )
            await self._add(session, row, transaction.outputs)
            return Admission(transaction.txid, is_new=True)

    async def mint(self, address: str, amount_minor: int, *, reference: str) -> Admission:
        """
        Make coins, which the next block gives to an address; asked again, the same ones.

        Raises:
            InvalidAddressError: It does not check.
            IdempotencyKeyReusedError: The reference named another address or amount.
            MintCapError: With what waits there would be more coins than there may be.
        """
        output = Output(account_of(address, self.chain_id), amount_minor)
        txid = mint_txid(self.chain_id, reference, output)
        async with self._database.transaction() as session:
            await session.execute(_LOCK)
            known = await session.exec(
                select(JobcoinTransaction.txid).where(JobcoinTransaction.reference == reference)
            )
            if earlier := known.first():
                if earlier != txid:
                    raise IdempotencyKeyReusedError
                return Admission(txid, is_new=False)
            if await self._unminted(session) < amount_minor:
                raise MintCapError
            row = JobcoinTransaction(
                txid=txid,
                kind=JobcoinKind.MINT,
                reference=reference,
                amount_minor=amount_minor,
                received_at=self._clock.now(),
            )
            await self._add(session, row, [output])
            return Admission(txid, is_new=True)

    async def mine(self) -> Header:
        """Append a block with the reward and what of the pool can be paid; return its header."""
        async with self._database.transaction() as session:
            await session.execute(_LOCK)
            parent = await tip(session)
            mined_at = max(self._clock.now(), parent.mined_at)
            pool = await read_pool(session)
            candidates = [*await self._reward(session, parent, at=mined_at), *pool]
            filled = fill_block(candidates, await standings_of(session, candidates))
            txids = [each.txid for each in filled.chosen]
            header = next_header(self.chain_id, parent, txids, mined_at=mined_at)
            session.add(_row_of(header))
            await session.flush()
            await session.execute(_INCLUDE, {"height": header.height, "txids": txids})
            await store_standings(session, filled.standings)
            supply = await session.get_one(JobcoinSupply, self.chain_id)
            supply.minted_minor += filled.minted_minor
            return header

    async def _reward(
        self, session: AsyncSession, parent: Header, *, at: datetime
    ) -> list[Waiting]:
        """Add the reward of the block on top of ``parent``, if there is one."""
        supply_minor = CAP_MINOR - await self._unminted(session)
        amount_minor = reward_minor(supply_minor)
        if self._miner is None or amount_minor == 0:
            return []
        output = Output(self._miner, amount_minor)
        row = JobcoinTransaction(
            txid=reward_txid(self.chain_id, parent, output),
            kind=JobcoinKind.REWARD,
            amount_minor=amount_minor,
            received_at=at,
        )
        await self._add(session, row, [output])
        paid = ((address_of(self._miner, self.chain_id), amount_minor),)
        return [Waiting(row.txid, None, 0, paid)]

    async def _add(
        self, session: AsyncSession, row: JobcoinTransaction, outputs: Sequence[Output]
    ) -> None:
        session.add(row)
        await session.flush()
        session.add_all(
            JobcoinOutput(
                txid=row.txid,
                place=place,
                address=address_of(output.account, self.chain_id),
                amount_minor=output.amount_minor,
            )
            for place, output in enumerate(outputs)
        )
        await session.flush()

    async def _unminted(self, session: AsyncSession) -> int:
        """Return how many coins may still come into being beside those that wait to."""
        supply = await session.get_one(JobcoinSupply, self.chain_id)
        waiting = await session.exec(
            select(func.coalesce(func.sum(JobcoinTransaction.amount_minor), 0)).where(
                JobcoinTransaction.kind == JobcoinKind.MINT,
                col(JobcoinTransaction.block_height).is_(None),
            )
        )
        return supply.cap_minor - supply.minted_minor - int(waiting.one())

    def _check_signed(self, transaction: Transaction, signature: bytes) -> None:
        if transaction.chain_id != self.chain_id:
            msg = f"This is the network {self.chain_id}; the transaction is of another."
            raise InvalidTransactionError(msg)
        if not is_signature(signature, transaction):
            msg = "The transaction is not signed by its sender."
            raise InvalidTransactionError(msg)


def is_signature(signature: bytes, transaction: Transaction) -> bool:
    """Tell whether this is the sender's signature of a transaction, with the lower s."""
    try:
        der = cdata_to_der(deserialize_compact(signature))
        return PublicKey(transaction.public_key).verify(der, transaction.digest, hasher=None)
    except ValueError:
        return False


async def tip(session: AsyncSession) -> Header:
    """Return the last block."""
    found = await session.exec(
        select(JobcoinBlock).order_by(col(JobcoinBlock.height).desc()).limit(1)
    )
    row = found.one()
    return Header(row.height, row.hash, row.parent_hash, row.mined_at)


def leaving(sender: str, next_nonce: int) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions for what waits in the pool to leave an address."""
    row = JobcoinTransaction
    # By the nonce an index finds them, however many an address has sent.
    is_later = col(row.account_nonce) >= next_nonce
    return col(row.sender) == sender, is_later, col(row.block_height).is_(None)


async def _check_nonce(session: AsyncSession, sender: str, account_nonce: int) -> None:
    found = await session.exec(
        select(JobcoinTransaction.block_height).where(
            JobcoinTransaction.sender == sender, JobcoinTransaction.account_nonce == account_nonce
        )
    )
    rivals = found.all()
    account = await session.get(JobcoinAccount, sender)
    next_nonce = account.next_nonce if account else 0
    if account_nonce < next_nonce:
        raise AccountNonceUsedError
    if rivals:
        raise AccountNonceTakenError
    if account_nonce > next_nonce + NONCES_AHEAD_MAX:
        raise AccountNonceTooHighError


async def _check_balance(session: AsyncSession, sender: str, total_minor: int) -> None:
    account = await session.get(JobcoinAccount, sender)
    balance_minor, next_nonce = (account.balance_minor, account.next_nonce) if account else (0, 0)
    waiting = await session.exec(
        select(func.coalesce(func.sum(JobcoinTransaction.amount_minor), 0)).where(
            *leaving(sender, next_nonce)
        )
    )
    spendable_minor = balance_minor - int(waiting.one())
    if total_minor > spendable_minor:
        msg = f"The sender has {spendable_minor} to spend; the transaction moves {total_minor}."
        raise InsufficientBalanceError(msg)


def _row_of(header: Header) -> JobcoinBlock:
    return JobcoinBlock(
        height=header.height,
        hash=header.hash,
        parent_hash=header.parent_hash,
        mined_at=header.mined_at,
    )
