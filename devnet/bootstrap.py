"""
What a fresh local stack is filled with: the development chain, Ether, a token, a policy and limits.

Runs at each start and adds only what is missing.
"""

import json
from dataclasses import asdict

from sqlmodel import col, select

from devnet.mixers import add_mixers
from devnet.rich_uncle import RichUncle
from devnet.services import Service
from devnet.site import EVM_CHAIN_ID, JOBCOIN_CHAIN
from devnet.stack import Stack
from domain.disperse import deployment_code
from domain.jobcoin.chain import ASSET as JOB
from domain.jobcoin.chain import DECIMALS as JOB_DECIMALS
from domain.jobcoin.chain import UNIT_MINOR as JOB_UNIT
from domain.limits import ANY_ASSET, LEVEL_MAX, Limit, LimitsDocument, Operation, Window
from domain.policy import PolicyDocument
from domain.rate_table import RateTableDocument, parse_rate_table
from domain.utxo.networks import BITCOIN_REGTEST
from gateways.rates.table import store_table, table_versions
from infra.database import Database
from limits.documents import current_limits, store_limits
from models.payouts import Policy
from models.wallets import Asset, AssetKind, Chain
from payouts.catalog import AssetEntry, Catalog, ChainEntry, DepositTier, apply_catalog
from payouts.policy import store_policy

CHAIN = f"eip155:{EVM_CHAIN_ID}"
ETHER, TOKEN = "ETH", "TUSD"
ETHER_DECIMALS, TOKEN_DECIMALS = 18, 6
ETHER_UNIT, TOKEN_UNIT = 10**ETHER_DECIMALS, 10**TOKEN_DECIMALS

BITCOIN_CHAIN = BITCOIN_REGTEST.chain_id
BTC, BTC_DECIMALS = "BTC", 8
BTC_UNIT = 10**BTC_DECIMALS

BITCOIN = AssetEntry(
    code=BTC,
    chain_id=BITCOIN_CHAIN,
    kind=AssetKind.NATIVE,
    decimals=BTC_DECIMALS,
    name="Bitcoin",
    payout_fee_minor=1_000,
    payout_min_minor=1_000,
    deposit_min_minor=1_000,
    deposit_tiers=(
        DepositTier(up_to_minor=BTC_UNIT // 100, confirmations=1),
        DepositTier(up_to_minor=BTC_UNIT, confirmations=2),
    ),
    sweep_min_minor=10_000,
)
"""Small deposits are credited after one confirmation, others later."""

ETHER_ENTRY = AssetEntry(
    code=ETHER,
    chain_id=CHAIN,
    kind=AssetKind.NATIVE,
    decimals=ETHER_DECIMALS,
    name="Ether",
    payout_fee_minor=ETHER_UNIT // 10_000,
)

JOBCOIN = AssetEntry(
    code=JOB,
    chain_id=JOBCOIN_CHAIN,
    kind=AssetKind.NATIVE,
    decimals=JOB_DECIMALS,
    name="Jobcoin",
    payout_fee_minor=JOB_UNIT // 1_000,
    deposit_min_minor=JOB_UNIT // 1_000,
    sweep_min_minor=JOB_UNIT // 100,
)

ITD, ITD_DECIMALS = "ITD", 6
ITD_UNIT = 10**ITD_DECIMALS
USD, USD_DECIMALS = "USD", 2

OFF_CHAIN = (
    AssetEntry(code=ITD, kind=AssetKind.INTERNAL, decimals=ITD_DECIMALS, name="Internet dollar"),
    AssetEntry(code=USD, kind=AssetKind.FIAT, decimals=USD_DECIMALS, name="US dollar"),
)
"""What is bought, and what a card pays with."""

POLICY = PolicyDocument.model_validate(
    {
        "rules": [
            {"asset": ETHER, "up_to_minor": str(ETHER_UNIT // 10), "approvals": 0},
            {"asset": ETHER, "up_to_minor": str(ETHER_UNIT), "approvals": 1},
            {"asset": BTC, "up_to_minor": str(BTC_UNIT), "approvals": 0},
            {"asset": JOB, "up_to_minor": str(1_000 * JOB_UNIT), "approvals": 0},
            {"asset": TOKEN, "up_to_minor": str(100 * TOKEN_UNIT), "approvals": 0},
            {"asset": TOKEN, "up_to_minor": str(1_000 * TOKEN_UNIT), "approvals": 1},
        ],
        "fallback_approvals": 2,
        "limits": [{"asset": ETHER, "window_s": 86_400, "amount_minor": str(50 * ETHER_UNIT)}],
    }
)
"""Small amounts go by themselves, larger ones ask one approver, the largest two."""

LIMITS = LimitsDocument(
    limits=tuple(
        Limit(level=level, operation=operation, asset=ANY_ASSET, window=window, count=count)
        for operation in Operation
        for level in range(LEVEL_MAX + 1)
        for window, count in ((Window.DAY, 1_000_000), (Window.MONTH, 10_000_000))
    )
)
"""Shows what there is, and stands in nobody's way."""


MIXED_WAIT_MS = 2_000
"""Where there are mixers: a part waits for others no longer than until the next slot."""


async def fill(stack: Stack, *, confirmations_min: int = 3, bump_after_s: int = 15) -> None:
    """Add chain, assets and policy to the stack's database, and the token to its chain."""
    site = stack.site
    (site.state_dir / "ports.json").write_text(json.dumps(asdict(site.ports)))
    database = Database(site.database_url())
    try:
        disperse_address = await _disperse_address(database, RichUncle(site.evm_url))
        chains = [evm_chain(confirmations_min, bump_after_s, disperse_address)]
        assets = [ETHER_ENTRY, *OFF_CHAIN]
        if stack.has(Service.BITCOIN):
            chains.append(bitcoin_chain(confirmations_min, bump_after_s))
            assets.append(BITCOIN)
        if stack.has(Service.JOBCOIN):
            chains.append(jobcoin_chain(confirmations_min, bump_after_s))
            assets.append(JOBCOIN)
        if site.mixing:
            chains = [c.model_copy(update={"economy_wait_ms": MIXED_WAIT_MS}) for c in chains]
        async with database.transaction() as session:
            await apply_catalog(session, Catalog(chains=tuple(chains), assets=tuple(assets)))
            known = await session.get(Asset, TOKEN)
            written = await session.exec(
                select(Policy.version).where(col(Policy.created_by).is_not(None))
            )
            has_policy = written.first() is not None
            has_rates = bool(await table_versions(session, before=None, limit=1))
            has_limits = (await current_limits(session)).document.limits != ()
        if site.mixing:
            await _add_mixers(stack, database)
        if known is None:
            await _add_token(database, RichUncle(site.evm_url))
        if not has_policy:
            async with database.transaction() as session:
                await store_policy(session, POLICY, by="bootstrap")
        if not has_rates:
            async with database.transaction() as session:
                await store_table(session, rate_table(stack), by="bootstrap")
        if not has_limits:
            async with database.transaction() as session:
                await store_limits(session, LIMITS, by="bootstrap")
    finally:
        await database.close()


async def _add_mixers(stack: Stack, database: Database) -> None:
    """Add mixers of every coin that the stack has: three of Jobcoin, one of each other."""
    found = {ETHER: (ETHER_UNIT // 1_000, 1)}
    if stack.has(Service.BITCOIN):
        found[BTC] = (BTC_UNIT // 100, 1)
    if stack.has(Service.JOBCOIN):
        found[JOB] = (JOB_UNIT, 3)
    for asset, (unit_minor, count) in found.items():
        await add_mixers(database, asset, unit_minor=unit_minor, count=count)


def rate_table(stack: Stack) -> RateTableDocument:
    """Return what the local stack sells: ITD, for what it has."""
    pairs: list[dict[str, object]] = [
        {"pay_asset": USD, "buy_asset": ITD, "price": "1", "spread_bps": 50},
        {"pay_asset": TOKEN, "buy_asset": ITD, "price": "1", "spread_bps": 50},
        {"pay_asset": ETHER, "buy_asset": ITD, "symbol": "ETH-USD", "spread_bps": 100},
    ]
    if stack.has(Service.BITCOIN):
        bitcoin = {"pay_asset": BTC, "buy_asset": ITD, "symbol": "BTC-USD", "spread_bps": 100}
        pairs.append(bitcoin)
    return parse_rate_table({"pairs": pairs})


def evm_chain(
    confirmations_min: int, bump_after_s: int, disperse_address: str | None
) -> ChainEntry:
    """Return the EVM chain of the local stack."""
    return ChainEntry(
        id=CHAIN,
        family="evm",
        name="development chain",
        native_asset=ETHER,
        confirmations_min=confirmations_min,
        max_fee_ceiling_minor=500 * 10**9,
        bump_after_s=bump_after_s,
        sweep_interval_s=5,
        batch_size=20,
        outputs_max=100,
        disperse_address=disperse_address,
    )


def bitcoin_chain(confirmations_min: int, bump_after_s: int) -> ChainEntry:
    """Return the Bitcoin chain of the local stack."""
    return ChainEntry(
        id=BITCOIN_CHAIN,
        family="utxo",
        name="Bitcoin regtest",
        native_asset=BTC,
        confirmations_min=confirmations_min,
        max_fee_ceiling_minor=500_000,
        bump_after_s=bump_after_s,
        batch_size=10,
        outputs_max=200,
        sweep_interval_s=5,
    )


def jobcoin_chain(confirmations_min: int, bump_after_s: int) -> ChainEntry:
    """Return the Jobcoin network of the local stack; nothing is paid to send there."""
    return ChainEntry(
        id=JOBCOIN_CHAIN,
        family="jobcoin",
        name="Jobcoin",
        native_asset=JOB,
        confirmations_min=confirmations_min,
        max_fee_ceiling_minor=1,
        bump_after_s=bump_after_s,
        batch_size=10,
        outputs_max=200,
        sweep_interval_s=5,
    )


async def _disperse_address(database: Database, uncle: RichUncle) -> str:
    """Return where our disperse contract stands; put it there if it is nowhere."""
    async with database.transaction() as session:
        chain = await session.get(Chain, CHAIN)
    if chain is not None and chain.disperse_address is not None:
        return chain.disperse_address
    return await uncle.deploy(deployment_code())


async def _add_token(database: Database, uncle: RichUncle) -> None:
    address = await uncle.deploy_token(name="Test US Dollar", symbol=TOKEN, decimals=TOKEN_DECIMALS)
    token = AssetEntry(
        code=TOKEN,
        chain_id=CHAIN,
        kind=AssetKind.ERC20,
        contract_address=address,
        decimals=TOKEN_DECIMALS,
        name="Test US Dollar",
        payout_fee_minor=TOKEN_UNIT // 10,
    )
    async with database.transaction() as session:
        await apply_catalog(session, Catalog(assets=(token,)))
