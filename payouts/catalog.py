"""The catalog of chains and assets: data that an owner applies, and everybody reads."""

import itertools
import re
from collections.abc import Sequence
from typing import Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    field_serializer,
    field_validator,
    model_validator,
)
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.addresses import parse_address
from domain.errors import ConflictError
from domain.families import family_of
from domain.utxo.networks import NETWORKS
from models.wallets import Asset, AssetKind, Chain, Finality

FIXED_OF_ASSET = ("chain_id", "kind", "contract_address", "decimals")
"""What may never change once an asset has been written: balances depend on it."""


EVM_PAYMENTS_MAX = 200
"""So many fit below the gas that a transaction may ask for, whatever recipients do."""

OUTPUTS_MAX = 2_000
"""As many outputs of the largest kind fit in a standard transaction, beside some inputs."""


_CURRENCY = re.compile(r"[A-Z]{3}")


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ChainEntry(_Entry):
    """A chain as the catalog file describes it; see ``models.wallets.Chain`` for units."""

    id: str = Field(pattern=r"^[a-z0-9]{3,8}:[-_a-zA-Z0-9]{1,32}$")
    family: Literal["evm", "utxo", "jobcoin"]
    name: str
    native_asset: str
    finality: Finality = Finality.DEPTH
    confirmations_min: int = Field(default=12, ge=1)
    max_fee_ceiling_minor: int = Field(ge=1)
    bump_after_s: int = Field(default=60, ge=1)
    batch_size: int = Field(default=50, ge=1, le=500)
    batch_wait_ms: int = Field(default=1_000, ge=0)
    outputs_max: int = Field(default=1, ge=1, le=OUTPUTS_MAX)
    disperse_address: str | None = None
    normal_fee_ceiling_minor: int | None = Field(default=None, ge=1)
    economy_fee_ceiling_minor: int | None = Field(default=None, ge=1)
    economy_wait_ms: int = Field(default=60_000, ge=0)
    batch_value_minor: int | None = Field(default=None, ge=1)
    bump_fee_max_minor: int | None = Field(default=None, ge=1)
    sweep_interval_s: int = Field(default=3_600, ge=1)
    sweep_fee_max_bps: int = Field(default=200, ge=1, le=10_000)

    @model_validator(mode="after")
    def _check_family(self) -> Self:
        if self.family == "utxo" and self.id not in NETWORKS:
            msg = f"{self.id} is not a Bitcoin-like network that is known."
            raise ValueError(msg)
        if self.family != family_of(self.id).name:
            msg = f"{self.id} is not the id of a chain of family {self.family}."
            raise ValueError(msg)
        if self.family == "evm" and self.outputs_max > 1 and self.disperse_address is None:
            msg = "An EVM transaction pays one payout where there is no disperse contract."
            raise ValueError(msg)
        if self.disperse_address is not None:
            if self.family != "evm" or self.outputs_max > EVM_PAYMENTS_MAX:
                msg = f"A disperse contract pays {EVM_PAYMENTS_MAX} at most, on EVM chains."
                raise ValueError(msg)
            parse_address(self.disperse_address, family=self.family, chain_id=self.id)
        return self

    @model_validator(mode="after")
    def _check_ceilings(self) -> Self:
        economy, normal = self.economy_fee_ceiling_minor, self.normal_fee_ceiling_minor
        rising = [c for c in (economy, normal, self.max_fee_ceiling_minor) if c is not None]
        if rising != sorted(rising):
            msg = "Fee ceilings rise from economy over normal to the highest of all."
            raise ValueError(msg)
        return self


class DepositTier(_Entry):
    """Deposits of at most so much need so many confirmations; null is any amount."""

    up_to_minor: int | None = Field(default=None, ge=1)
    confirmations: int = Field(ge=1)

    @field_serializer("up_to_minor")
    def _as_text(self, value: int | None) -> str | None:
        return None if value is None else str(value)


class AssetEntry(_Entry):
    """An asset as the catalog file describes it; amounts in minor units."""

    code: str = Field(pattern=r"^[A-Za-z0-9.-]{1,32}$")
    chain_id: str | None = None
    kind: AssetKind
    contract_address: str | None = None
    decimals: int = Field(ge=0, le=77)
    name: str
    payout_fee_minor: int = Field(default=0, ge=0)
    payout_min_minor: int = Field(default=1, ge=1)
    payout_max_minor: int | None = Field(default=None, ge=1)
    deposit_min_minor: int = Field(default=1, ge=1)
    deposit_tiers: tuple[DepositTier, ...] = ()
    sweep_min_minor: int = Field(default=1, ge=1)
    sweep_fee_max_minor: int | None = Field(default=None, ge=1)
    enabled: bool = True

    @model_validator(mode="after")
    def _check_chain(self) -> Self:
        if self.kind.is_on_chain != (self.chain_id is not None):
            wanted = "a chain" if self.kind.is_on_chain else "no chain"
            msg = f"An asset of kind {self.kind} is on {wanted}."
            raise ValueError(msg)
        if self.kind == AssetKind.FIAT and not _CURRENCY.fullmatch(self.code):
            msg = "The code of a gateway's money is its ISO 4217 code."
            raise ValueError(msg)
        return self

    @field_validator("deposit_tiers")
    @classmethod
    def _check_tiers(cls, tiers: tuple[DepositTier, ...]) -> tuple[DepositTier, ...]:
        """More money never needs fewer confirmations, and no tier hides another."""
        for lower, higher in itertools.pairwise(tiers):
            is_wider = lower.up_to_minor is not None and (
                higher.up_to_minor is None or higher.up_to_minor > lower.up_to_minor
            )
            if not is_wider or higher.confirmations < lower.confirmations:
                msg = "Tiers rise in amount and never fall in confirmations."
                raise ValueError(msg)
        return tiers


class Catalog(_Entry):
    """Every chain and asset that the file names; what it leaves out stays as it is."""

    chains: tuple[ChainEntry, ...] = ()
    assets: tuple[AssetEntry, ...] = ()


async def apply_catalog(session: AsyncSession, catalog: Catalog) -> None:
    """
    Add or update chains and assets.

    Raises:
        ConflictError: It would change what balances depend on, or a chain lacks its native asset.
        InvalidAddressError: A contract's address does not check.
    """
    for chain in catalog.chains:
        await session.merge(Chain(**chain.model_dump()))
    await session.flush()
    for entry in catalog.assets:
        values = entry.model_dump()
        if entry.chain_id is not None:
            family = (await session.get_one(Chain, entry.chain_id)).family
            if entry.contract_address is not None:
                values["contract_address"] = parse_address(
                    entry.contract_address, family=family, chain_id=entry.chain_id
                )
        await _check_fixed(session, values)
        await session.merge(Asset(**values))
    await session.flush()
    for chain in catalog.chains:
        await _check_native(session, chain)


async def list_assets(session: AsyncSession) -> Sequence[tuple[Asset, Chain | None]]:
    """Return every asset with its chain, if it is on one."""
    found = await session.exec(
        select(Asset, Chain)
        .outerjoin(Chain, col(Chain.id) == col(Asset.chain_id))
        .order_by(col(Asset.code))
    )
    return found.all()


async def _check_native(session: AsyncSession, chain: ChainEntry) -> None:
    """A chain without its native asset could not fill a nonce that was given back."""
    asset = await session.get(Asset, chain.native_asset)
    if asset is None or (asset.kind, asset.chain_id) != (AssetKind.NATIVE, chain.id):
        msg = f"{chain.native_asset} is not the native asset of {chain.id}."
        raise ConflictError(msg)


async def _check_fixed(session: AsyncSession, values: dict[str, Any]) -> None:
    known = await session.get(Asset, values["code"])
    if known is None:
        return
    for name in FIXED_OF_ASSET:
        if getattr(known, name) != values[name]:
            msg = f"{name} of asset {known.code} cannot change."
            raise ConflictError(msg)
