"""
PostgreSQL: one engine per process and short units of work.

``transaction`` is one database transaction. ``statement`` sends a single statement that commits by
itself: one round trip, which is what the ledger's hot path needs.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from psycopg import OperationalError as DriverOperationalError
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.errors import DatabaseUnavailableError

UNAVAILABLE = (OperationalError, InterfaceError, PoolTimeout, DriverOperationalError, OSError)


class Database:
    """A pool of connections to one PostgreSQL, as one role."""

    def __init__(self, url: str, *, pool_size: int = 10) -> None:
        """Take ``postgresql://role:password@host:port/name``."""
        self.engine: AsyncEngine = create_async_engine(
            url.replace("postgresql://", "postgresql+psycopg://", 1),
            pool_size=pool_size,
            max_overflow=pool_size,
            pool_timeout=5,
            connect_args={"connect_timeout": 3},
            # Statement parameters hold password hashes and tokens; errors are logged.
            hide_parameters=True,
        )
        self._autocommit = self.engine.execution_options(isolation_level="AUTOCOMMIT")

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """
        Yield a session whose work is committed on leaving, or undone by an exception.

        Raises:
            DatabaseUnavailableError: PostgreSQL does not answer. If that happens during the
                commit the work may have been kept: every caller is idempotent for that reason.
        """
        async with (
            self._translated(),
            AsyncSession(self.engine, expire_on_commit=False) as session,
            session.begin(),
        ):
            yield session

    @asynccontextmanager
    async def statement(self) -> AsyncIterator[AsyncConnection]:
        """Yield a connection on which each statement commits by itself."""
        async with self._translated(), self._autocommit.connect() as connection:
            yield connection

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[AsyncSession]:
        """Yield a session that reads one state of the whole database, however long it takes."""
        engine = self.engine.execution_options(isolation_level="REPEATABLE READ")
        async with (
            self._translated(),
            AsyncSession(engine, expire_on_commit=False) as session,
            session.begin(),
        ):
            yield session

    async def close(self) -> None:
        """Close every pooled connection."""
        await self.engine.dispose()

    @asynccontextmanager
    async def _translated(self) -> AsyncIterator[None]:
        try:
            yield
        except UNAVAILABLE as error:
            raise DatabaseUnavailableError from error
        except DBAPIError as error:
            if error.connection_invalidated:
                raise DatabaseUnavailableError from error
            raise
