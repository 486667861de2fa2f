"""One-time codes for a user who lost the authenticator. They never pass for a money operation."""

import secrets

from sqlmodel import col, delete, func, select, update
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.clock import Clock
from identity.tokens import digest
from models.identity import RecoveryCode

CODE_COUNT = 10
RECOVERY_CODE_PATTERN = r"^[0-9a-zA-Z]{4}(-?[0-9a-zA-Z]{4}){3}$"

_ALPHABET = "23456789abcdefghjkmnpqrstvwxyz"
"""Without letters and digits that are mistaken for one another; 16 of them are 78 bits."""


async def replace_recovery_codes(session: AsyncSession, user_id: str) -> list[str]:
    """Forget the user's recovery codes, store the digests of new ones and return those."""
    codes = [_new_code() for _ in range(CODE_COUNT)]
    await session.exec(delete(RecoveryCode).where(col(RecoveryCode.user_id) == user_id))
    session.add_all(RecoveryCode(user_id=user_id, code_hash=_code_digest(code)) for code in codes)
    return codes


async def spend_recovery_code(
    session: AsyncSession, user_id: str, code: str, *, clock: Clock
) -> bool:
    """Use a recovery code up; tell whether it was an unused one of this user."""
    spent = await session.exec(
        update(RecoveryCode)
        .where(
            col(RecoveryCode.user_id) == user_id,
            col(RecoveryCode.code_hash) == _code_digest(code),
            col(RecoveryCode.used_at).is_(None),
        )
        .values(used_at=clock.now())
    )
    return spent.rowcount == 1


async def recovery_codes_left(session: AsyncSession, user_id: str) -> int:
    """Return how many recovery codes the user can still use."""
    query = (
        select(func.count())
        .select_from(RecoveryCode)
        .where(RecoveryCode.user_id == user_id, col(RecoveryCode.used_at).is_(None))
    )
    return (await session.exec(query)).one()


def _new_code() -> str:
    letters = "".join(secrets.choice(_ALPHABET) for _ in range(16))
    return "-".join(letters[i : i + 4] for i in range(0, 16, 4))


def _code_digest(code: str) -> str:
    return digest(code.replace("-", "").lower())
