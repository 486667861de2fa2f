"""
Seeds of the chains' accounts (BIP32): made here, sealed at rest, opened only to sign.

The seed of a chain is sealed with the chain's id as associated data. What leaves is the account's
extended public key, from which the API derives addresses by itself.
"""

import secrets

from sqlalchemy import text
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.clock import Clock
from domain.coins import KeyPosition
from domain.errors import KeyUnavailableError
from domain.hd import INTERNAL, account_path, derive_address
from domain.ids import ADDRESS, new_id
from infra.keyring import Keyring
from models.deposits import ChainAddress, HdAccount
from signing.hd import SEED_BYTES, account_xpub, fingerprint, private_key


class SeedVault:
    """Seeds in PostgreSQL, within the caller's unit of work as the signer's role."""

    def __init__(self, keyring: Keyring, clock: Clock) -> None:
        """Take the key-encryption keys, newest first."""
        self._keyring = keyring
        self._clock = clock

    async def ensure_account(self, session: AsyncSession, chain_id: str) -> HdAccount:
        """Return a chain's account, making its seed the first time; the caller holds a lock."""
        found = await session.exec(select(HdAccount).where(HdAccount.chain_id == chain_id))
        if account := found.first():
            return account
        seed = secrets.token_bytes(SEED_BYTES)
        account = HdAccount(
            chain_id=chain_id,
            path=account_path(chain_id),
            xpub=account_xpub(seed, chain_id),
            fingerprint=fingerprint(seed),
            created_at=self._clock.now(),
        )
        session.add(account)
        await session.flush()
        await self._store(session, chain_id, seed)
        return account

    async def take_internal(self, session: AsyncSession, account: HdAccount) -> ChainAddress:
        """Return a fresh address of our own, on the branch that is never handed out."""
        position = KeyPosition(INTERNAL, account.next_internal_index)
        account.next_internal_index += 1
        derived = derive_address(account.chain_id, account.xpub, position)
        address = ChainAddress(
            id=new_id(ADDRESS),
            chain_id=account.chain_id,
            address=derived.address,
            lookup_key=derived.lookup_key,
            branch=position.branch,
            index=position.index,
            created_at=self._clock.now(),
        )
        session.add(address)
        await session.flush()
        return address

    async def private_key(
        self, session: AsyncSession, chain_id: str, position: KeyPosition
    ) -> bytes:
        """
        Return the private key at a position of a chain's account, 32 bytes.

        Raises:
            KeyUnavailableError: The chain has no seed, or what sealed it is not here.
        """
        return private_key(await self.seed(session, chain_id), chain_id, position)

    async def has_seed(self, session: AsyncSession, chain_id: str) -> bool:
        """Tell whether a chain's keys are here; else they are elsewhere (``signing.cold``)."""
        found = await session.execute(
            text("SELECT encrypted_seed IS NOT NULL FROM hd_account WHERE chain_id = :chain_id"),
            {"chain_id": chain_id},
        )
        return bool(found.scalar_one_or_none())

    async def seed(self, session: AsyncSession, chain_id: str) -> bytes:
        """Return a chain's seed; raises as ``private_key``."""
        found = await session.execute(
            text("SELECT encrypted_seed FROM hd_account WHERE chain_id = :chain_id"),
            {"chain_id": chain_id},
        )
        sealed = found.scalar_one_or_none()
        if sealed is None:
            msg = f"There is no seed of {chain_id}."
            raise KeyUnavailableError(msg)
        return self._keyring.open(bytes(sealed), associated=_associated(chain_id))

    async def rotate(self, session: AsyncSession) -> int:
        """Seal every seed anew that the newest key did not seal; return how many."""
        found = await session.execute(
            text(
                "SELECT chain_id, encrypted_seed FROM hd_account"
                " WHERE encrypted_seed IS NOT NULL ORDER BY chain_id FOR UPDATE"
            )
        )
        old = [
            (str(chain_id), bytes(sealed))
            for chain_id, sealed in found
            if self._keyring.key_id_of(bytes(sealed)) != self._keyring.sealing_key_id
        ]
        for chain_id, sealed in old:
            plain = self._keyring.open(sealed, associated=_associated(chain_id))
            await self._store(session, chain_id, plain)
        return len(old)

    async def _store(self, session: AsyncSession, chain_id: str, seed: bytes) -> None:
        sealed = self._keyring.seal(seed, associated=_associated(chain_id))
        await session.execute(
            text("UPDATE hd_account SET encrypted_seed = :sealed WHERE chain_id = :chain_id"),
            {"sealed": sealed, "chain_id": chain_id},
        )


def _associated(chain_id: str) -> bytes:
    return f"seed:{chain_id}".encode()
