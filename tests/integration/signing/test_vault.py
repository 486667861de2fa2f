"""The key vault on a real PostgreSQL."""

import asyncio
import os

import pytest
from sqlalchemy import text
from sqlmodel import select

from domain.errors import InvariantError, KeyUnavailableError
from domain.ports import Transfer, UnsignedAttempt
from infra.database import Database
from infra.keyring import Keyring
from models.wallets import PRIMARY_PUB_KEY, BlockchainWallet, Chain, Setting
from signing.evm import identity_of
from signing.vault import KeyVault

CHAIN_ID = "eip155:31337"
OLD_KEY, NEW_KEY = os.urandom(32), os.urandom(32)


@pytest.fixture
async def vault(database: Database) -> KeyVault:
    async with database.transaction() as session:
        # Where the schema comes from the models alone, this column is not in it.
        await session.execute(
            text("ALTER TABLE blockchain_wallet ADD COLUMN IF NOT EXISTS encrypted_priv_key bytea")
        )
        for number in (31337, 31338):
            session.add(
                Chain(
                    id=f"eip155:{number}",
                    family="evm",
                    name="Test",
                    native_asset="ETH",
                    max_fee_ceiling_minor=10**12,
                )
            )
    return KeyVault(database, Keyring({"old": OLD_KEY}))


async def sealed_keys(database: Database) -> dict[str, bytes]:
    async with database.transaction() as session:
        found = await session.execute(
            text("SELECT address, encrypted_priv_key FROM blockchain_wallet")
        )
        return {str(address): bytes(sealed) for address, sealed in found}


class TestEnsurePrimaryWallet:
    async def test_makes_one_wallet_however_often_it_is_asked(
        self, vault: KeyVault, database: Database
    ) -> None:
        addresses = await asyncio.gather(*(vault.ensure_primary_wallet(CHAIN_ID) for _ in range(8)))

        async with database.transaction() as session:
            wallets = (await session.exec(select(BlockchainWallet))).all()
        assert set(addresses) == {wallet.address for wallet in wallets}
        assert len(wallets) == 1
        assert wallets[0].primary
        assert wallets[0].type == "hot"

    async def test_makes_one_per_chain_and_keeps_the_first_identity(
        self, vault: KeyVault, database: Database
    ) -> None:
        first = await vault.ensure_primary_wallet(CHAIN_ID)
        second = await vault.ensure_primary_wallet("eip155:31338")

        async with database.transaction() as session:
            setting = await session.get_one(Setting, PRIMARY_PUB_KEY)
        assert first != second
        assert setting.value == identity_of(await vault.private_key(first)).pub_key


class TestPrivateKey:
    async def test_belongs_to_the_address(self, vault: KeyVault, database: Database) -> None:
        address = await vault.create_wallet(CHAIN_ID)
        private_key = await vault.private_key(address)

        assert identity_of(private_key).address == address
        assert private_key not in (await sealed_keys(database))[address]

    async def test_does_not_open_in_another_row(self, vault: KeyVault, database: Database) -> None:
        one, other = [await vault.create_wallet(CHAIN_ID) for _ in range(2)]
        async with database.transaction() as session:
            await session.execute(
                text(
                    "UPDATE blockchain_wallet SET encrypted_priv_key = (SELECT encrypted_priv_key"
                    " FROM blockchain_wallet WHERE address = :one) WHERE address = :other"
                ),
                {"one": one, "other": other},
            )
        with pytest.raises(InvariantError):
            await vault.private_key(other)

    async def test_of_a_strangers_address_is_not_there(self, vault: KeyVault) -> None:
        with pytest.raises(KeyUnavailableError):
            await vault.private_key("0x70997970C51812dc3A010C7d01b50e0d17dc79C8")


class TestSign:
    async def test_uses_the_paying_wallets_key(self, vault: KeyVault) -> None:
        wallet = await vault.create_wallet(CHAIN_ID)
        transfer = Transfer(wallet, "0x70997970C51812dc3A010C7d01b50e0d17dc79C8", 1, None)
        attempt = UnsignedAttempt(transfer, CHAIN_ID, 0, 21_000, 2, 1)

        assert await vault.sign(attempt) == await vault.sign(attempt)


class TestRotate:
    async def test_seals_every_key_anew_and_once(self, vault: KeyVault, database: Database) -> None:
        addresses = [await vault.create_wallet(CHAIN_ID) for _ in range(3)]
        keys = [await vault.private_key(address) for address in addresses]
        rotating = KeyVault(database, Keyring({"new": NEW_KEY, "old": OLD_KEY}))

        assert await rotating.rotate() == 3
        assert await rotating.rotate() == 0
        only_new = KeyVault(database, Keyring({"new": NEW_KEY}))
        assert [await only_new.private_key(address) for address in addresses] == keys
        with pytest.raises(KeyUnavailableError):
            await vault.private_key(addresses[0])

    async def test_changes_nothing_when_one_key_does_not_open(
        self, vault: KeyVault, database: Database
    ) -> None:
        addresses = sorted([await vault.create_wallet(CHAIN_ID) for _ in range(3)])
        async with database.transaction() as session:
            await session.execute(
                text(
                    "UPDATE blockchain_wallet SET encrypted_priv_key ="
                    " set_byte(encrypted_priv_key, 20, 255 - get_byte(encrypted_priv_key, 20))"
                    " WHERE address = :last"
                ),
                {"last": addresses[-1]},
            )
        before = await sealed_keys(database)
        rotating = KeyVault(database, Keyring({"new": NEW_KEY, "old": OLD_KEY}))
        with pytest.raises(InvariantError):
            await rotating.rotate()

        assert await sealed_keys(database) == before
