"""
Hot wallets' keys: made here, sealed at rest, opened only to sign.

A private key is stored sealed under a key-encryption key, with the wallet's address as associated
data, so that a sealed key moved to another row does not open.
"""

import secrets

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.clock import Clock, SystemClock
from domain.coins import KeyPosition, UnsignedCoinAttempt
from domain.errors import KeyUnavailableError
from domain.hd import child_public_key
from domain.ids import new_id
from domain.jobcoin.addresses import is_jobcoin
from domain.ports import SignedAttempt, UnsignedAttempt
from domain.utxo.networks import NAMESPACE as UTXO_NAMESPACE
from infra.database import Database
from infra.keyring import Keyring
from models.deposits import ChainAddress, HdAccount
from models.wallets import PRIMARY_PUB_KEY, BlockchainWallet, Setting, WalletType
from signing.evm import identity_of, sign_evm
from signing.jobcoin import jobcoin_identity, sign_jobcoin
from signing.seeds import SeedVault
from signing.utxo import sign_coins

WALLET = "wal"

SECP256K1_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
"""Private keys are from 1 to this minus 1 (SEC 2, 2.4.1)."""

_VAULT_LOCK = 7311


class KeyVault:
    """``domain.ports.TransactionSigner`` over keys in PostgreSQL, as the signer's role."""

    def __init__(self, database: Database, keyring: Keyring, clock: Clock | None = None) -> None:
        """Take the database and the key-encryption keys, newest first."""
        self._database = database
        self._keyring = keyring
        self._clock = clock or SystemClock()
        self._seeds = SeedVault(keyring, self._clock)

    async def sign(self, attempt: UnsignedAttempt) -> SignedAttempt:
        """Sign with the paying wallet's key."""
        private_key = await self.private_key(attempt.transfer.wallet_address)
        if is_jobcoin(attempt.chain_id):
            return sign_jobcoin(attempt, private_key)
        return sign_evm(attempt, private_key)

    async def sign_coins(self, attempt: UnsignedCoinAttempt) -> SignedAttempt:
        """Sign with the keys below the chain's seed."""
        async with self._database.transaction() as session:
            seed = await self._seeds.seed(session, attempt.chain_id)
        return sign_coins(attempt, seed)

    async def ensure_primary_wallet(self, chain_id: str) -> str:
        """
        Return the address of the chain's primary hot wallet, making it the first time.

        The first one ever made gives the installation its identity: setting ``primary_pub_key``.
        """
        async with self._database.transaction() as session:
            # Two signers that start together must not make two wallets.
            await session.execute(
                text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _VAULT_LOCK}
            )
            account = await self._seeds.ensure_account(session, chain_id)
            wallet = await _primary(session, chain_id)
            if wallet is None and chain_id.startswith(UTXO_NAMESPACE):
                wallet = await self._create_coin_wallet(session, account)
            elif wallet is None:
                wallet = await self._create(session, chain_id, is_primary=True)
            await self._write_identity(session, wallet.pub_key)
            return wallet.address

    async def create_wallet(self, chain_id: str) -> str:
        """Make a further hot wallet and return its address."""
        async with self._database.transaction() as session:
            return (await self._create(session, chain_id, is_primary=False)).address

    async def private_key(self, address: str) -> bytes:
        """
        Return a wallet's private key, 32 bytes.

        Raises:
            KeyUnavailableError: We hold no key of this address, or not what sealed it.
            InvariantError: What is stored was tampered with.
        """
        async with self._database.transaction() as session:
            found = await session.execute(
                text("SELECT encrypted_priv_key FROM blockchain_wallet WHERE address = :address"),
                {"address": address},
            )
            sealed = found.scalar_one_or_none()
            if sealed is None:
                return await self._derived_key(session, address)
        return self._keyring.open(bytes(sealed), associated=address.encode())

    async def _derived_key(self, session: AsyncSession, address: str) -> bytes:
        found = await session.exec(select(ChainAddress).where(ChainAddress.address == address))
        ours = found.first()
        if ours is None:
            msg = f"There is no key for {address}."
            raise KeyUnavailableError(msg)
        position = KeyPosition(ours.branch, ours.index)
        return await self._seeds.private_key(session, ours.chain_id, position)

    async def rotate(self) -> int:
        """
        Seal keys and seeds anew that the newest key-encryption key did not seal; return how many.

        All of them or none. Afterwards the older key-encryption keys may be taken away.
        """
        async with self._database.transaction() as session:
            found = await session.execute(
                text(
                    "SELECT address, encrypted_priv_key FROM blockchain_wallet"
                    " WHERE encrypted_priv_key IS NOT NULL ORDER BY address FOR UPDATE"
                )
            )
            old = [
                (str(address), bytes(sealed))
                for address, sealed in found
                if self._keyring.key_id_of(bytes(sealed)) != self._keyring.sealing_key_id
            ]
            for address, sealed in old:
                plain = self._keyring.open(sealed, associated=address.encode())
                await self._store_key(session, address, plain)
            return len(old) + await self._seeds.rotate(session)

    async def _create_coin_wallet(
        self, session: AsyncSession, account: HdAccount
    ) -> BlockchainWallet:
        """
        Name a UTXO chain's wallet after its first address; its keys come from the seed.

        Where there is no seed they are elsewhere, and the wallet is a cold one (``signing.cold``).
        """
        address = await self._seeds.take_internal(session, account)
        public = child_public_key(account.xpub, KeyPosition(address.branch, address.index))
        wallet = self._wallet(account.chain_id, address.address, public.hex(), is_primary=True)
        if not await self._seeds.has_seed(session, account.chain_id):
            wallet.type = WalletType.COLD
        session.add(wallet)
        await session.flush()
        return wallet

    async def _create(
        self, session: AsyncSession, chain_id: str, *, is_primary: bool
    ) -> BlockchainWallet:
        private_key = (secrets.randbelow(SECP256K1_ORDER - 1) + 1).to_bytes(32)
        identity = (
            jobcoin_identity(private_key, chain_id)
            if is_jobcoin(chain_id)
            else identity_of(private_key)
        )
        wallet = self._wallet(chain_id, identity.address, identity.pub_key, is_primary=is_primary)
        session.add(wallet)
        await session.flush()
        await self._store_key(session, wallet.address, private_key)
        return wallet

    def _wallet(
        self, chain_id: str, address: str, pub_key: str, *, is_primary: bool
    ) -> BlockchainWallet:
        now = self._clock.now()
        return BlockchainWallet(
            uuid=new_id(WALLET),
            chain_id=chain_id,
            address=address,
            pub_key=pub_key,
            type=WalletType.HOT,
            primary=is_primary,
            inserted_at=now,
            updated_at=now,
        )

    async def _store_key(self, session: AsyncSession, address: str, private_key: bytes) -> None:
        sealed = self._keyring.seal(private_key, associated=address.encode())
        await session.execute(
            text(
                "UPDATE blockchain_wallet SET encrypted_priv_key = :sealed, updated_at = :now"
                " WHERE address = :address"
            ),
            {"sealed": sealed, "address": address, "now": self._clock.now()},
        )

    async def _write_identity(self, session: AsyncSession, pub_key: str) -> None:
        now = self._clock.now()
        await session.execute(
            insert(Setting)
            .values(key=PRIMARY_PUB_KEY, value=pub_key, inserted_at=now, updated_at=now)
            .on_conflict_do_nothing()
        )


async def _primary(session: AsyncSession, chain_id: str) -> BlockchainWallet | None:
    found = await session.exec(
        select(BlockchainWallet).where(
            BlockchainWallet.chain_id == chain_id,
            col(BlockchainWallet.primary),
        )
    )
    return found.first()
