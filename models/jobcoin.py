"""The chain of a Jobcoin network: what its node keeps, and nobody else reads."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import BigInteger, Column, Identity
from sqlmodel import Field, SQLModel

from models.columns import minor_units, timestamp


class JobcoinKind(StrEnum):
    """Where the coins of a transaction come from."""

    TRANSFER = "transfer"
    MINT = "mint"
    """The owner of the node made them."""
    REWARD = "reward"
    """The block that holds it made them."""


class JobcoinBlock(SQLModel, table=True):
    """A block; never changed."""

    __tablename__ = "jobcoin_block"

    height: int = Field(primary_key=True)
    hash: str = Field(unique=True)
    parent_hash: str = Field(unique=True)
    mined_at: datetime = timestamp()


class JobcoinTransaction(SQLModel, table=True):
    """A transaction in the pool or in a block; nothing but the way there ever changes it."""

    __tablename__ = "jobcoin_transaction"

    txid: str = Field(primary_key=True)
    kind: str
    sender: str | None = None
    """Null for coins that came into being."""
    account_nonce: int | None = None
    raw: bytes | None = None
    reference: str | None = Field(default=None, unique=True)
    """What a mint is called by whoever asked for it."""
    amount_minor: int = minor_units()
    """The sum of its outputs."""
    arrival: int | None = Field(
        default=None,
        sa_column=Column(BigInteger, Identity(always=True), unique=True, nullable=False),
    )
    """The order in which the node took them."""
    received_at: datetime = timestamp()
    block_height: int | None = Field(default=None, foreign_key="jobcoin_block.height")
    """Null while it is in the pool."""
    place: int | None = None


class JobcoinOutput(SQLModel, table=True):
    """Who gets how much of a transaction."""

    __tablename__ = "jobcoin_output"

    txid: str = Field(primary_key=True, foreign_key="jobcoin_transaction.txid")
    place: int = Field(primary_key=True)
    address: str = Field(index=True)
    amount_minor: int = minor_units()


class JobcoinAccount(SQLModel, table=True):
    """What all mined transactions come to for one address."""

    __tablename__ = "jobcoin_account"

    address: str = Field(primary_key=True)
    balance_minor: int = minor_units(default=0)
    next_nonce: int = 0


class JobcoinSupply(SQLModel, table=True):
    """How many coins came into being, and how many may; one row."""

    __tablename__ = "jobcoin_supply"

    chain_id: str = Field(primary_key=True)
    minted_minor: int = minor_units(default=0)
    cap_minor: int = minor_units()
