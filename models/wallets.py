"""Chains, assets and the wallets that hold them. Names of columns follow the eWallet proposal."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import CheckConstraint, Column, UniqueConstraint
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from domain.errors import InternalAssetError
from models.columns import minor_units, timestamp


class Setting(SQLModel, table=True):
    """A key and its value, such as ``primary_pub_key``: the eWallet's identifier."""

    __tablename__ = "setting"

    key: str = Field(primary_key=True)
    value: str
    inserted_at: datetime = timestamp()
    updated_at: datetime = timestamp()


PRIMARY_PUB_KEY = "primary_pub_key"
"""The setting that holds the primary hot wallet's public key, hex, uncompressed (SEC 1)."""


class Finality(StrEnum):
    """When a mined transaction counts as settled."""

    DEPTH = "depth"
    """At ``confirmations_min`` confirmations; the block itself is the first."""
    FINALIZED = "finalized"
    """When the node's ``finalized`` block tag has reached it."""


class Chain(SQLModel, table=True):
    """A chain we pay out on."""

    __tablename__ = "chain"

    id: str = Field(primary_key=True)
    """CAIP-2, such as ``eip155:1``."""
    family: str
    """Which package below ``chains/`` speaks to it."""
    name: str
    native_asset: str
    """Code of the asset that pays network fees."""
    finality: str = Finality.DEPTH
    confirmations_min: int = Field(default=12, ge=1)
    max_fee_ceiling_minor: int = minor_units()
    """
    Highest fee rate we ever sign; above it batches wait.

    ``maxFeePerGas`` in wei (EVM), or satoshi per 1,000 virtual bytes (UTXO).
    """
    bump_after_s: int = Field(default=60, ge=1)
    """A transaction still unmined after this many seconds is replaced with a higher fee."""
    batch_size: int = Field(default=50, ge=1)
    """Most chain transactions that one batch carries."""
    batch_wait_ms: int = Field(default=1_000, ge=0)
    """A batch that is not full waits this long for more payouts to share its work."""
    outputs_max: int = Field(default=1, ge=1)
    """Most payouts that one chain transaction pays; EVM transactions pay one."""
    disperse_address: str | None = None
    """Our disperse contract (EVM); without one each payout is a chain transaction of its own."""
    normal_fee_ceiling_minor: int | None = minor_units(nullable=True)
    """Payouts of normal priority wait above this; null: only above ``max_fee_ceiling_minor``."""
    economy_fee_ceiling_minor: int | None = minor_units(nullable=True)
    economy_wait_ms: int = Field(default=60_000, ge=0)
    """How long payouts of economy priority wait for company; the urgent do not wait."""
    batch_value_minor: int | None = minor_units(nullable=True)
    """Ready payouts of this total, in an asset's minor units, leave without waiting for more."""
    bump_fee_max_minor: int | None = minor_units(nullable=True)
    """Most that one chain transaction may cost after replacements, in the native asset."""
    sweep_interval_s: int = Field(default=3_600, ge=1)
    """How often deposits are looked through for what is worth sweeping."""
    sweep_fee_max_bps: int = Field(default=200, ge=1, le=10_000)
    """A sweep waits while its fee is above this share of the amount, in 1/100 of a percent."""


class AssetKind(StrEnum):
    """Where an asset lives, and how it moves there."""

    NATIVE = "native"
    ERC20 = "erc20"
    INTERNAL = "internal"
    """In our books alone: issued by a purchase, and moved between customers."""
    FIAT = "fiat"
    """At a payment gateway: something to buy with, and on nobody's balance."""

    @property
    def is_on_chain(self) -> bool:
        """Tell whether there is a chain to pay it out on."""
        return self in (AssetKind.NATIVE, AssetKind.ERC20)


class Asset(SQLModel, table=True):
    """Something that can be owned and paid out."""

    __tablename__ = "asset"

    code: str = Field(primary_key=True, max_length=32)
    chain_id: str | None = Field(default=None, foreign_key="chain.id")
    """Null exactly for what is on no chain; ``home_chain_id`` where one is needed."""
    kind: str
    contract_address: str | None = None
    """EIP-55; null for the native coin."""
    decimals: int = Field(ge=0, le=77)
    name: str
    payout_fee_minor: int = minor_units(default=0)
    """Service fee of one payout."""
    payout_min_minor: int = minor_units(default=1)
    payout_max_minor: int | None = minor_units(nullable=True)
    deposit_min_minor: int = minor_units(default=1)
    """Smaller deposits are recorded, and credited to nobody."""
    deposit_tiers: list[dict[str, Any]] = Field(
        default_factory=list,
        sa_column=Column(JSONB, nullable=False, server_default="[]"),
    )
    """``[{"up_to_minor": "…" | null, "confirmations": n}, …]``, smallest first; see the chain."""
    sweep_min_minor: int = minor_units(default=1)
    """An address with less than this is left until more arrives."""
    sweep_fee_max_minor: int | None = minor_units(nullable=True)
    """A token's sweep waits while it costs more than this of the chain's native coin."""
    enabled: bool = True

    __table_args__ = (
        UniqueConstraint("chain_id", "contract_address", name="asset_contract_unique"),
        CheckConstraint("(kind = 'erc20') = (contract_address IS NOT NULL)", name="asset_kind"),
        CheckConstraint(
            "(kind IN ('internal', 'fiat')) = (chain_id IS NULL)", name="asset_on_chain"
        ),
    )

    @property
    def home_chain_id(self) -> str:
        """
        The chain that the asset moves on.

        Raises:
            InternalAssetError: It is on none.
        """
        if self.chain_id is None:
            msg = f"{self.code} is on no chain: it is neither paid in nor paid out there."
            raise InternalAssetError(msg)
        return self.chain_id


class WalletType(StrEnum):
    """Whether we hold the key."""

    HOT = "hot"
    COLD = "cold"


class BlockchainWallet(SQLModel, table=True):
    """
    An address of ours on a chain.

    The table's column ``encrypted_priv_key`` is left out on purpose: only the signer's database
    role may read it, and ``signing.vault`` asks for it by name.
    """

    __tablename__ = "blockchain_wallet"

    uuid: str = Field(primary_key=True)
    chain_id: str = Field(foreign_key="chain.id")
    address: str = Field(unique=True)
    pub_key: str
    type: str
    primary: bool = False
    next_account_nonce: int = 0
    """The account nonce (EVM) that the next chain transaction gets."""
    inserted_at: datetime = timestamp()
    updated_at: datetime = timestamp()


class SignerCeiling(SQLModel, table=True):
    """Most that the signer signs away per asset and wallet in a rolling hour."""

    __tablename__ = "signer_ceiling"

    address: str = Field(primary_key=True, foreign_key="blockchain_wallet.address")
    asset: str = Field(primary_key=True, foreign_key="asset.code")
    per_hour_minor: int = minor_units()
