"""The stored approval policy: its versions, and the one in force."""

from dataclasses import dataclass

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.errors import InvariantError
from domain.policy import PolicyDocument, parse_policy
from models.payouts import Policy


@dataclass(frozen=True, slots=True)
class PolicyVersion:
    """A policy with the version that decisions record."""

    version: int
    document: PolicyDocument


async def current_policy(session: AsyncSession) -> PolicyVersion:
    """Return the newest policy. The migration job sees to it that there is one."""
    found = await session.exec(select(Policy).order_by(col(Policy.version).desc()).limit(1))
    return _version(found.one())


async def policy_at(session: AsyncSession, version: int) -> PolicyVersion:
    """Return the policy with this version."""
    return _version(await session.get_one(Policy, version))


async def policy_versions(session: AsyncSession, *, before: int | None, limit: int) -> list[Policy]:
    """Return up to ``limit`` stored versions, newest first, below version ``before``."""
    query = select(Policy).order_by(col(Policy.version).desc()).limit(limit)
    if before is not None:
        query = query.where(col(Policy.version) < before)
    return list(await session.exec(query))


async def store_policy(session: AsyncSession, document: PolicyDocument, *, by: str) -> Policy:
    """Add a version; payouts that were accepted before keep the one they have."""
    row = Policy(document=document.model_dump(mode="json"), created_by=by)
    session.add(row)
    await session.flush()
    return row


def _version(row: Policy) -> PolicyVersion:
    if row.version is None:
        msg = "A stored policy has no version."
        raise InvariantError(msg)
    return PolicyVersion(row.version, parse_policy(row.document))
