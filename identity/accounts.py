"""Users: signing up, proving a password, and the first admin."""

import logging
from collections.abc import Iterable

from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select, update

from domain.clock import Clock
from domain.errors import EmailTakenError, InvalidCredentialsError, NotFoundError
from domain.ids import USER, new_id
from identity.emails import normalize_email
from identity.passwords import Passwords
from identity.throttle import LoginThrottling
from infra.database import Database
from models.identity import Role, User

_log = logging.getLogger(__name__)


class Accounts:
    """The users and their passwords."""

    def __init__(
        self, database: Database, clock: Clock, *, passwords: Passwords, throttle: LoginThrottling
    ) -> None:
        """Take the database, the time, and how passwords are hashed and guesses slowed."""
        self._database = database
        self._clock = clock
        self._passwords = passwords
        self._throttle = throttle

    async def sign_up(self, email: str, password: str) -> User:
        """
        Create a user without roles.

        Raises:
            ValidationError: Not an email, or a password too short or too long.
            EmailTakenError: Somebody has this email.
        """
        return await self._create(email, password, roles=())

    async def create_admin(self, email: str, password: str, roles: Iterable[Role]) -> User:
        """
        Create a user with roles: for the command line, which makes the first owner.

        Raises:
            ValidationError: As for ``sign_up``.
            EmailTakenError: Somebody has this email.
        """
        return await self._create(email, password, roles=tuple(roles))

    async def prove_password(self, email: str, password: str) -> User:
        """
        Return the user whose email and password these are.

        Raises:
            InvalidCredentialsError: Unknown email, wrong password or disabled user: not told which.
            LoginThrottledError: Too many failures; the password was not looked at.
        """
        name = normalize_email(email)
        await self._throttle.charge(name)
        async with self._database.transaction() as session:
            user = (await session.exec(select(User).where(User.email == name))).one_or_none()
        fits = await self._passwords.verify(user.password_hash if user else None, password)
        if user is None or not fits or user.disabled_at is not None:
            _log.info("password refused for user %s", user.id if user else "unknown")
            raise InvalidCredentialsError
        await self._throttle.forgive(name)
        if self._passwords.needs_rehash(user.password_hash):
            await self._rehash(user, password)
        return user

    async def user(self, user_id: str) -> User:
        """
        Return a user.

        Raises:
            NotFoundError: No such user.
        """
        async with self._database.transaction() as session:
            found = await session.get(User, user_id)
        if found is None:
            msg = "No such user."
            raise NotFoundError(msg)
        return found

    async def _create(self, email: str, password: str, *, roles: tuple[Role, ...]) -> User:
        user = User(
            id=new_id(USER),
            email=normalize_email(email),
            password_hash=await self._passwords.hash(password),
            roles=sorted(set(roles)),
            created_at=self._clock.now(),
        )
        try:
            async with self._database.transaction() as session:
                session.add(user)
        except IntegrityError:
            raise EmailTakenError from None
        _log.info("user %s created with roles %s", user.id, user.roles)
        return user

    async def _rehash(self, user: User, password: str) -> None:
        renewed = await self._passwords.hash(password)
        async with self._database.transaction() as session:
            # Only over the hash that was checked: the password may have been changed meanwhile.
            await session.exec(
                update(User)
                .where(col(User.id) == user.id, col(User.password_hash) == user.password_hash)
                .values(password_hash=renewed)
            )
