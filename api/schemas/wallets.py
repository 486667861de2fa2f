"""Assets, balances, statements, hot wallets."""

from datetime import datetime

from pydantic import Field

from api.schemas.base import Answer


class AssetView(Answer):
    """An asset and how to write amounts of it."""

    code: str = Field(examples=["ETH"])
    name: str
    chain_id: str | None = Field(
        description="CAIP-2; null for what is in our books, or at a gateway, alone.",
        examples=["eip155:1"],
    )
    chain_name: str | None
    kind: str
    contract_address: str | None
    decimals: int = Field(description="Minor units per whole unit, as a power of ten.")
    payout_fee: str
    payout_min: str
    payout_max: str | None
    enabled: bool


class AssetList(Answer):
    """Every asset; there is no paging, a catalog is short."""

    items: list[AssetView]


class BalanceView(Answer):
    """What the caller has of one asset, in minor units."""

    asset: str
    available: str = Field(description="Can be paid out now.")
    held: str = Field(description="Frozen for payouts that are not finished.")
    posted: str = Field(description="Available plus held.")


class WalletView(Answer):
    """The caller's balances."""

    user_id: str
    as_of: datetime
    balances: list[BalanceView]


class StatementLineView(Answer):
    """One entry of an account."""

    position: int = Field(description="Counts the account's entries from 1.")
    amount: str = Field(description="Signed minor units: positive came in, negative went out.")
    balance_after: str
    kind: str = Field(description="Posting rule.", examples=["payout_freeze"])
    resource: str | None = Field(description="What it is about, such as a payout.")
    transaction_key: str
    effective_at: datetime
    recorded_at: datetime


class StatementView(Answer):
    """A page of a statement, newest first."""

    asset: str
    account: str
    items: list[StatementLineView]
    next_cursor: str | None = None


class HotWalletView(Answer):
    """A wallet that pays, with what the books say it holds."""

    chain_id: str
    address: str
    pub_key: str
    primary: bool
    next_account_nonce: int
    unsettled: int = Field(description="Chain transactions that are not confirmed yet.")
    booked: dict[str, str] = Field(description="Omnibus balance by asset, minor units.")


class HotWalletList(Answer):
    """Every hot wallet."""

    items: list[HotWalletView]
    primary_pub_key: str | None = Field(description="The eWallet's identifier.")
