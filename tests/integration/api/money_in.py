"""What the watcher would have written: heads, deposits at a status, and Bitcoin beside Ether."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from deposits.desk import PostgresDepositDesk
from deposits.history import move
from domain.deposits import DepositReason, DepositStatus
from domain.ids import DEPOSIT, new_id
from domain.utxo.networks import BITCOIN_REGTEST
from infra.database import Database
from models.chain_transactions import ChainHead
from models.deposits import ChainAddress, ChainDeposit
from payouts.catalog import Catalog, apply_catalog
from tests.support.bank import CHAIN_ID, Bank, hd_account
from tests.support.identity import Person, identity_for_tests

BTC_CHAIN = BITCOIN_REGTEST.chain_id
TIERS: list[dict[str, Any]] = [
    {"up_to_minor": 1_000, "confirmations": 1},
    {"up_to_minor": None, "confirmations": 6},
]
BITCOIN = Catalog.model_validate(
    {
        "chains": [
            {
                "id": BTC_CHAIN,
                "family": "utxo",
                "name": "Bitcoin Regtest",
                "native_asset": "BTC",
                "confirmations_min": 6,
                "max_fee_ceiling_minor": 100_000,
            }
        ],
        "assets": [
            {
                "code": "BTC",
                "chain_id": BTC_CHAIN,
                "kind": "native",
                "decimals": 8,
                "name": "Bitcoin",
                "deposit_min_minor": 500,
                "deposit_tiers": TIERS,
            }
        ],
    }
)


async def add_bitcoin(bank: Bank, *, has_keys: bool = True) -> None:
    async with bank.database.transaction() as session:
        await apply_catalog(session, BITCOIN)
        if has_keys:
            session.add(hd_account(BTC_CHAIN, b"\1" * 32))


async def ask_for_address(
    bank: Bank,
    asset: str = "ETH",
    *,
    key: str | None = None,
    person: Person | None = None,
    headers: dict[str, str] | None = None,
    **fields: Any,
) -> httpx.Response:
    return await bank.send(
        "POST",
        "/v1/deposit-addresses",
        person=person,
        body={"asset": asset} | fields,
        headers={"Idempotency-Key": key or new_id("key"), "TOTP-Code": ""} | (headers or {}),
    )


async def set_head(bank: Bank, height: int, chain_id: str = CHAIN_ID, **fields: Any) -> None:
    """Say how far the watcher has read a chain."""
    async with bank.database.transaction() as session:
        head = ChainHead(chain_id=chain_id, height=height, seen_at=bank.clock.now(), **fields)
        await session.merge(head)


async def add_deposit(
    bank: Bank, address_id: str, *, amount_minor: int = 700, **fields: Any
) -> str:
    """Write a deposit that the watcher saw in no block yet; return its id."""
    async with bank.database.transaction() as session:
        address = await session.get_one(ChainAddress, address_id)
        deposit = ChainDeposit(
            id=new_id(DEPOSIT),
            chain_id=address.chain_id,
            address_id=address.id,
            user_id=str(address.user_id),
            txid="ab" * 32,
            position="tx",
            amount_minor=amount_minor,
            confirmations_required=3,
            status=DepositStatus.SEEN,
            seen_at=bank.clock.now(),
            **{"asset": address.asset} | fields,
        )
        move(session, deposit, DepositStatus.SEEN, clock=bank.clock, detail="unconfirmed")
    return deposit.id


async def place(bank: Bank, deposit_id: str, height: int) -> None:
    """Put a deposit into a block."""
    async with bank.database.transaction() as session:
        deposit = await session.get_one(ChainDeposit, deposit_id)
        deposit.block_height, deposit.block_hash = height, f"0x{height}"
        detail = f"in block {height}"
        move(session, deposit, DepositStatus.CONFIRMING, clock=bank.clock, detail=detail)


async def lose(bank: Bank, deposit_id: str) -> None:
    """Let the chain have lost a deposit for good."""
    async with bank.database.transaction() as session:
        deposit = await session.get_one(ChainDeposit, deposit_id)
        deposit.block_height = deposit.block_hash = None
        deposit.missing_since = bank.clock.now()
        session.add(deposit)


async def advance(bank: Bank, deposit_id: str) -> None:
    """Do what the deposit's workflow would do now."""
    await PostgresDepositDesk(bank.database, bank.clock).advance(deposit_id)


async def credited(bank: Bank, **fields: Any) -> str:
    """Return a deposit of the customer that was credited."""
    address = (await ask_for_address(bank)).json()
    deposit_id = await add_deposit(bank, address["id"], **fields)
    await set_head(bank, 12)
    await place(bank, deposit_id, 10)
    await advance(bank, deposit_id)
    return deposit_id


async def ignored(bank: Bank, address_id: str) -> str:
    """Return a deposit of a token that nobody knows."""
    deposit_id = await add_deposit(
        bank,
        address_id,
        asset=None,
        contract_address="0x" + "11" * 20,
        reason_code=DepositReason.UNLISTED_ASSET,
    )
    async with bank.database.transaction() as session:
        deposit = await session.get_one(ChainDeposit, deposit_id)
        deposit.status = DepositStatus.IGNORED
        session.add(deposit)
    return deposit_id


@asynccontextmanager
async def as_api_role(bank: Bank, database_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client of an API that may do in the database what its role may, and no more."""
    database = Database(database_url.replace("postgres@", "strongroom_api@"))
    identity = identity_for_tests(database, bank.clock)
    try:
        async with bank.without(database=database, identity=identity) as client:
            yield client
    finally:
        await database.close()
