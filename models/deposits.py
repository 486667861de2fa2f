"""Money in: our addresses, what arrived there, and the coins it became."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import ARRAY, Column, Index, LargeBinary, String, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from models.columns import minor_units, timestamp


class HdAccount(SQLModel, table=True):
    """
    A chain's account of hierarchical keys (BIP32): its extended *public* key and how far it got.

    The column ``encrypted_seed`` is left out on purpose: only the signer's role may read it, and
    ``signing.vault`` asks for it by name.
    """

    __tablename__ = "hd_account"

    chain_id: str = Field(primary_key=True, foreign_key="chain.id")
    path: str
    """Of the account, such as ``m/84h/0h/0h`` (BIP84)."""
    xpub: str
    fingerprint: str
    """Of the master key, 4 bytes in hex; PSBTs name it (BIP174)."""
    next_external_index: int = 0
    """The index of the next address that is handed out (branch 0)."""
    next_internal_index: int = 0
    """The index of the next change address (branch 1)."""
    created_at: datetime = timestamp()


class AddressPurpose(StrEnum):
    """What becomes of what arrives at an address that was handed out."""

    DEPOSIT = "deposit"
    """It is its user's off-chain balance, and is swept into the hot wallet."""
    POCKET = "pocket"
    """It stays: a wallet of its user's own on the chain, which only they can ask to spend."""


class ChainAddress(SQLModel, table=True):
    """An address derived from a chain's account: handed out, or for our own change."""

    __tablename__ = "chain_address"

    id: str = Field(primary_key=True)
    chain_id: str = Field(foreign_key="chain.id")
    address: str = Field(index=True)
    lookup_key: bytes = Field(sa_type=LargeBinary)
    """What blocks are searched for; see ``domain.scanning.Incoming``."""
    branch: int
    """0 handed out, 1 our own change."""
    index: int
    user_id: str | None = Field(default=None, foreign_key="app_user.id")
    """Whose deposits arrive here; null for our own."""
    asset: str | None = Field(default=None, foreign_key="asset.code")
    """What it was asked for; any listed asset of the chain that arrives is credited."""
    label: str | None = Field(default=None, max_length=100)
    purpose: str = AddressPurpose.DEPOSIT
    next_account_nonce: int = 0
    """The account nonce (EVM) of the next transaction that it pays for."""
    created_at: datetime = timestamp()

    __table_args__ = (
        UniqueConstraint("chain_id", "lookup_key", name="chain_address_lookup"),
        UniqueConstraint("chain_id", "branch", "index", name="chain_address_position"),
        # Five times as fast as the unique one where thousands of keys are asked for at once.
        Index("chain_address_by_lookup", "lookup_key", postgresql_using="hash"),
        Index("chain_address_of_user", "user_id", "created_at", "id"),
        Index(
            "pocket_of_user",
            "user_id",
            "chain_id",
            unique=True,
            postgresql_where=text("purpose = 'pocket'"),
        ),
    )


class ChainDeposit(SQLModel, table=True):
    """
    One movement of value to an address that we handed out.

    Its id is derived from chain, txid, position, address, amount and token: should a reorg make the
    same transaction move anything else, that is another deposit, and this one is gone.

    Named apart from the eWallet proposal's ``deposit``, which is a deposit into a child chain.
    """

    __tablename__ = "chain_deposit"

    id: str = Field(primary_key=True)
    chain_id: str = Field(foreign_key="chain.id")
    address_id: str = Field(foreign_key="chain_address.id", index=True)
    user_id: str = Field(foreign_key="app_user.id")
    asset: str | None = Field(default=None, foreign_key="asset.code")
    """Null for a token that is not in the catalog."""
    contract_address: str | None = None
    txid: str
    position: str
    """Which movement of the transaction; see ``domain.scanning.Incoming``."""
    amount_minor: int = minor_units()
    is_coinbase: bool = False
    status: str
    reason_code: str | None = None
    """Why it is not credited to the customer."""
    confirmations_required: int
    block_height: int | None = None
    block_hash: str | None = None
    missing_since: datetime | None = timestamp(nullable=True)
    """Credited, and the chain was read to its tip without finding it again."""
    is_booked: bool = False
    """The ledger has it now."""
    credits: int = 0
    """How often it was booked: a deposit that a reorg took may come back."""
    credited_at: datetime | None = timestamp(nullable=True)
    swept_by: str | None = Field(default=None, foreign_key="chain_transaction.id")
    started_at: datetime | None = timestamp(nullable=True)
    """When its workflow was started."""
    notified_at: datetime | None = timestamp(nullable=True)
    """When its workflow was last told that it is deep enough, or missing."""
    seen_at: datetime = timestamp()
    updated_at: datetime = timestamp()

    __table_args__ = (
        Index("chain_deposit_place", "chain_id", "txid"),
        Index("chain_deposit_list", "seen_at", "id"),
        Index("chain_deposit_of_user", "user_id", "seen_at", "id"),
        Index("chain_deposit_by_status", "chain_id", "status"),
        Index(
            "chain_deposit_due",
            "chain_id",
            "block_height",
            postgresql_where=text("NOT is_booked AND asset IS NOT NULL"),
        ),
        Index(
            "chain_deposit_missing",
            "chain_id",
            postgresql_where=text("missing_since IS NOT NULL"),
        ),
        Index("chain_deposit_by_block", "chain_id", "block_hash"),
        Index(
            "chain_deposit_to_sweep",
            "address_id",
            postgresql_where=text("is_booked AND swept_by IS NULL"),
        ),
    )


class ChainDepositEvent(SQLModel, table=True):
    """A line of a deposit's history; never changed."""

    __tablename__ = "chain_deposit_event"

    id: int | None = Field(default=None, primary_key=True)
    deposit_id: str = Field(foreign_key="chain_deposit.id", index=True)
    status: str
    detail: str | None = None
    at: datetime = timestamp()


class UserFreeze(SQLModel, table=True):
    """While one of these is not lifted, nothing leaves that its user asked for."""

    __tablename__ = "user_freeze"

    id: str = Field(primary_key=True)
    user_id: str = Field(foreign_key="app_user.id")
    deposit_id: str | None = Field(default=None, foreign_key="chain_deposit.id")
    """The deposit whose reversal is the reason."""
    purchase_id: str | None = Field(default=None, foreign_key="purchase.id")
    """The purchase whose payment was taken back by a card network or a gateway."""
    created_at: datetime = timestamp()
    lifted_at: datetime | None = timestamp(nullable=True)
    lifted_by: str | None = None
    """User id of the operator; null when the deposit came back by itself."""

    __table_args__ = (
        Index("user_freeze_active", "user_id", postgresql_where=text("lifted_at IS NULL")),
    )


class Utxo(SQLModel, table=True):
    """An output of a UTXO chain that pays one of our addresses, spent or not."""

    __tablename__ = "utxo"

    chain_id: str = Field(primary_key=True, foreign_key="chain.id")
    txid: str = Field(primary_key=True)
    output_index: int = Field(primary_key=True)
    address_id: str = Field(foreign_key="chain_address.id")
    amount_minor: int = minor_units()
    is_coinbase: bool = False
    is_hot: bool
    """Ours to pay with: change, top-ups and swept coins. A deposit's coin is swept first."""
    block_height: int | None = None
    """Null while its transaction is in no canonical block."""
    block_hash: str | None = None
    locked_by: str | None = Field(default=None, foreign_key="chain_transaction.id", index=True)
    """The chain transaction that spends it; once that is signed, for ever."""
    spent_txid: str | None = None
    spent_block_hash: str | None = None
    parent_spends: list[str] | None = Field(
        default=None, sa_column=Column(ARRAY(String), nullable=True)
    )
    """Outpoints, ``txid:index``, that the coin's own transaction spends."""
    rival_txid: str | None = None
    """What spends one of those instead, while the coin is in no block: they exclude each other."""
    rival_block_hash: str | None = None
    created_at: datetime = timestamp()

    __table_args__ = (
        Index("utxo_by_block", "chain_id", "block_hash"),
        Index("utxo_by_spender", "chain_id", "spent_block_hash"),
        Index(
            "utxo_spendable",
            "chain_id",
            "is_hot",
            postgresql_where=text("locked_by IS NULL AND spent_txid IS NULL"),
        ),
    )


class Rescan(SQLModel, table=True):
    """An operator's wish to read a range of blocks again."""

    __tablename__ = "rescan"

    id: str = Field(primary_key=True)
    chain_id: str = Field(foreign_key="chain.id", index=True)
    from_height: int
    to_height: int
    next_height: int
    """Progress: the first height that was not read again yet."""
    found: int = 0
    """Deposits that were not known before."""
    requested_by: str = Field(foreign_key="app_user.id")
    created_at: datetime = timestamp()
    finished_at: datetime | None = timestamp(nullable=True)
