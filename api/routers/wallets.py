"""Assets, the caller's balances and statement, and the hot wallets."""

import re
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path, Query
from pydantic import AwareDatetime, BeforeValidator
from sqlalchemy import func
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from api.dependencies import ReadPrincipal, State, require_role
from api.numbered import LIMIT, Before, Limit, encode_number
from api.problems import SESSION_PROBLEMS, problem_responses
from api.schemas.wallets import (
    AssetList,
    AssetView,
    BalanceView,
    HotWalletList,
    HotWalletView,
    StatementLineView,
    StatementView,
    WalletView,
)
from domain.errors import (
    InvalidCursorError,
    RoleMissingError,
    UnknownAssetError,
    ValidationError,
)
from identity.principals import Principal
from ledger import chart
from ledger.queries import StatementLine, account_balance, customer_balances, statement
from models.chain_transactions import ChainTransaction, ChainTransactionStatus
from models.identity import Role, Scope
from models.wallets import (
    PRIMARY_PUB_KEY,
    Asset,
    BlockchainWallet,
    Chain,
    Setting,
    WalletType,
)
from payouts.catalog import list_assets as assets_of

router = APIRouter(prefix="/v1", tags=["wallets"])

Staff = Annotated[
    Principal,
    Depends(require_role(Role.OPERATOR, Role.AUDITOR, Role.OWNER, scope=Scope.READ)),
]


def _refuse_numbers(value: object) -> object:
    # Left alone, "9" would be nine seconds after 1970.
    if isinstance(value, str) and not re.match(r"\d{4}-\d{2}-\d{2}[Tt ]", value, re.ASCII):
        msg = "A moment is written as in RFC 3339, such as 2026-01-31T12:00:00Z."
        raise ValueError(msg)
    return value


Moment = Annotated[AwareDatetime, BeforeValidator(_refuse_numbers)]
AssetPath = Annotated[str, Path(pattern=r"^[A-Za-z0-9.-]{1,32}$", examples=["ETH"])]


@router.get("/assets", responses=problem_responses(*SESSION_PROBLEMS))
async def list_assets(principal: ReadPrincipal, state: State) -> AssetList:
    """List every asset with its scale, its fee and its limits."""
    del principal
    async with state.database.transaction() as session:
        rows = await assets_of(session)
    return AssetList(items=[_asset(asset, chain) for asset, chain in rows])


@router.get("/wallets", responses=problem_responses(*SESSION_PROBLEMS, ValidationError))
async def get_wallet(
    principal: ReadPrincipal,
    state: State,
    as_of: Annotated[
        Moment | None, Query(description="Count only what was effective by then.")
    ] = None,
) -> WalletView:
    """Return the caller's balances, now or as of a moment."""
    async with state.database.transaction() as session:
        balances = await customer_balances(session, principal.user_id, as_of=as_of)
    return WalletView(
        user_id=principal.user_id,
        as_of=as_of or state.clock.now(),
        balances=[
            BalanceView(
                asset=b.asset,
                available=str(b.available_minor),
                held=str(b.held_minor),
                posted=str(b.posted_minor),
            )
            for b in balances
        ],
    )


@router.get(
    "/wallets/{asset}/statement",
    responses=problem_responses(
        *SESSION_PROBLEMS, UnknownAssetError, InvalidCursorError, ValidationError
    ),
)
async def get_statement(
    asset: AssetPath,
    principal: ReadPrincipal,
    state: State,
    before: Before,
    limit: Limit = LIMIT,
    account: Annotated[Literal["available", "held"], Query()] = "available",
) -> StatementView:
    """Return the entries of one of the caller's accounts, newest first."""
    code = chart.available if account == "available" else chart.held
    async with state.database.transaction() as session:
        if await session.get(Asset, asset) is None:
            raise UnknownAssetError
        lines = await statement(
            session, code=code(principal.user_id), asset=asset, before=before, limit=limit + 1
        )
    shown = lines[:limit]
    return StatementView(
        asset=asset,
        account=account,
        items=[_line(line) for line in shown],
        next_cursor=encode_number(shown[-1].position) if len(lines) > limit else None,
    )


@router.get("/hot-wallets", responses=problem_responses(*SESSION_PROBLEMS, RoleMissingError))
async def list_hot_wallets(principal: Staff, state: State) -> HotWalletList:
    """List the wallets that pay, with what the books say they hold."""
    del principal
    async with state.database.transaction() as session:
        found = await session.exec(
            select(BlockchainWallet)
            .where((col(BlockchainWallet.type) == WalletType.HOT) | col(BlockchainWallet.primary))
            .order_by(col(BlockchainWallet.chain_id), col(BlockchainWallet.address))
        )
        identifier = await session.get(Setting, PRIMARY_PUB_KEY)
        items = [await _hot_wallet(session, wallet) for wallet in found.all()]
    return HotWalletList(items=items, primary_pub_key=identifier.value if identifier else None)


async def _hot_wallet(session: AsyncSession, wallet: BlockchainWallet) -> HotWalletView:
    codes = await session.exec(select(Asset.code).where(Asset.chain_id == wallet.chain_id))
    omnibus = chart.omnibus_hot(wallet.chain_id)
    # The books keep what we own as a negative balance; see ``ledger.chart``.
    booked = {code: str(-await account_balance(session, omnibus, code)) for code in codes.all()}
    open_states = (
        ChainTransactionStatus.ALLOCATED,
        ChainTransactionStatus.SIGNED,
        ChainTransactionStatus.BROADCAST,
        ChainTransactionStatus.MINED,
    )
    unsettled = await session.exec(
        select(func.count())
        .select_from(ChainTransaction)
        .where(
            ChainTransaction.wallet_address == wallet.address,
            col(ChainTransaction.status).in_(open_states),
        )
    )
    return HotWalletView(
        chain_id=wallet.chain_id,
        address=wallet.address,
        pub_key=wallet.pub_key,
        primary=wallet.primary,
        next_account_nonce=wallet.next_account_nonce,
        unsettled=unsettled.one(),
        booked=booked,
    )


def _asset(asset: Asset, chain: Chain | None) -> AssetView:
    most = asset.payout_max_minor
    return AssetView(
        code=asset.code,
        name=asset.name,
        chain_id=asset.chain_id,
        chain_name=chain.name if chain else None,
        kind=asset.kind,
        contract_address=asset.contract_address,
        decimals=asset.decimals,
        payout_fee=str(asset.payout_fee_minor),
        payout_min=str(asset.payout_min_minor),
        payout_max=None if most is None else str(most),
        enabled=asset.enabled,
    )


def _line(line: StatementLine) -> StatementLineView:
    return StatementLineView(
        position=line.position,
        amount=str(line.amount_minor),
        balance_after=str(line.balance_after_minor),
        kind=line.rule,
        resource=line.resource,
        transaction_key=line.transaction_key,
        effective_at=line.effective_at,
        recorded_at=line.recorded_at,
    )
