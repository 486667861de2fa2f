"""Who holds which role. There is always an owner left."""

import logging
from collections.abc import Collection, Sequence

from sqlalchemy import any_
from sqlmodel import col, func, select

from domain.clock import Clock
from domain.errors import LastOwnerError, NotFoundError, RoleMissingError
from identity.principals import Principal
from infra.database import Database
from infra.paging import Page, paged
from models.identity import Role, User

_log = logging.getLogger(__name__)


class Admins:
    """Lists admins and changes roles."""

    def __init__(self, database: Database, clock: Clock) -> None:
        """Take the database and the time."""
        self._database = database
        self._clock = clock

    async def listed(self, page: Page) -> Sequence[User]:
        """Return users with a role, newest first, and one row more than the page holds."""
        query = select(User).where(func.cardinality(col(User.roles)) > 0)
        query = paged(query, page, created_at=User.created_at, row_id=User.id)
        async with self._database.transaction() as session:
            return (await session.exec(query)).all()

    async def set_roles(self, actor: Principal, user_id: str, roles: Collection[Role]) -> User:
        """
        Give a user exactly these roles; none makes an ordinary user of an admin.

        Raises:
            RoleMissingError: The actor is no owner, or not any more.
            NotFoundError: No such user.
            LastOwnerError: Nobody would be left to manage admins.
        """
        async with self._database.transaction() as session:
            # The owners are locked in id order: two who demote each other must not both succeed.
            owners_query = (
                select(User)
                .where(any_(col(User.roles)) == Role.OWNER, col(User.disabled_at).is_(None))
                .order_by(User.id)
                .with_for_update()
            )
            owners = {user.id for user in await session.exec(owners_query)}
            if actor.user_id not in owners:
                raise RoleMissingError
            user = await session.get(User, user_id, with_for_update=True)
            if user is None:
                msg = "No such user."
                raise NotFoundError(msg)
            if owners == {user_id} and Role.OWNER not in roles:
                raise LastOwnerError
            user.roles = sorted(set(roles))
        _log.info("user %s set roles of user %s to %s", actor.user_id, user_id, user.roles)
        return user
