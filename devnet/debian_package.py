"""
A program that ships as a Debian package: fetched once with what it needs, unpacked into the cache.

Nothing on the machine is changed and no root is needed: apt resolves and verifies as always, but
with lists and archives in a folder of our own, and dpkg only unpacks.
"""

import logging
import os
import platform
import pwd
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from devnet.errors import BinaryMissingError
from devnet.npm_package import cache_dir

FETCH_TIMEOUT_S = 300
PROBE_TIMEOUT_S = 20

_DPKG_STATUS = "/var/lib/dpkg/status"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Program:
    """An executable and the folders of the libraries that came with it."""

    path: Path
    library_dirs: tuple[Path, ...] = ()

    def environment(self, base: dict[str, str]) -> dict[str, str]:
        """Return an environment in which it finds its libraries."""
        if not self.library_dirs:
            return dict(base)
        dirs = [str(item) for item in self.library_dirs]
        dirs += filter(None, [base.get("LD_LIBRARY_PATH")])
        return {**base, "LD_LIBRARY_PATH": os.pathsep.join(dirs)}

    def runs(self, *arguments: str) -> bool:
        """Tell whether it can be executed here: whether ``arguments`` make it end with 0."""
        try:
            done = subprocess.run(
                [str(self.path), *arguments],
                env=self.environment(dict(os.environ)),
                capture_output=True,
                timeout=PROBE_TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return False
        return done.returncode == 0


def unpacked_program(package: str, path: str) -> Program:
    """
    Return a package's program, fetching it the first time. Safe to call in parallel.

    ``path`` is where the package has it, relative to the root. Only those dependencies come along
    that this machine lacks.

    Raises:
        BinaryMissingError: There is no apt, or it could not fetch the package.
    """
    folder = cache_dir() / "debian" / f"{package}-{_release()}-{platform.machine()}"
    if folder.is_dir():
        cached = _program(folder, path)
        if cached.runs("-version"):
            return cached
        # Unpacked when the machine had libraries that have gone since.
        logger.warning("%s in %s does not run any more; fetching it again", package, folder)
        shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".fetching-") as name:
        root = Path(name) / "root"
        for archive in _download(package, Path(name) / "apt"):
            _run("dpkg-deb", "-x", str(archive), str(root))
        try:
            root.rename(folder)
        except OSError:
            # Somebody else was first.
            if not folder.is_dir():
                raise
    return _program(folder, path)


def _program(folder: Path, path: str) -> Program:
    libraries = {library.parent for library in folder.rglob("lib*.so*")}
    return Program(folder / path, tuple(sorted(libraries)))


def _download(package: str, scratch: Path) -> list[Path]:
    """Return the archives of a package and of the dependencies that are not installed here."""
    archives = scratch / "archives"
    for folder in (scratch / "lists" / "partial", archives / "partial"):
        folder.mkdir(parents=True)
    settings = {
        "Dir::State": scratch,
        "Dir::State::lists": scratch / "lists",
        "Dir::State::status": _DPKG_STATUS,
        "Dir::Cache": scratch,
        "Dir::Cache::archives": archives,
        "Dir::Log": scratch,
        # The locks are in folders that only root may write to; nothing there is changed.
        "Debug::NoLocking": "1",
        # Downloads are checked against signed lists; this is only who writes them down.
        "APT::Sandbox::User": pwd.getpwuid(os.geteuid()).pw_name,
    }
    options = [part for key, value in settings.items() for part in ("-o", f"{key}={value}")]
    logger.info("fetching the Debian package %s", package)
    _run("apt-get", *options, "-q", "update")
    _run("apt-get", *options, "-qq", "-y", "--no-install-recommends", "--download-only",
         "install", package)  # fmt: skip
    return sorted(archives.glob("*.deb"))


def _release() -> str:
    try:
        return platform.freedesktop_os_release().get("VERSION_CODENAME", "unknown")
    except OSError:
        return "unknown"


def _run(*command: str) -> None:
    try:
        subprocess.run(command, capture_output=True, text=True, timeout=FETCH_TIMEOUT_S, check=True)
    except subprocess.CalledProcessError as error:
        msg = f"{command[0]} failed: {error.stderr.strip()[-300:]}"
        raise BinaryMissingError(msg) from error
    except (OSError, subprocess.TimeoutExpired) as error:
        msg = f"{command[0]} could not be run: {error}"
        raise BinaryMissingError(msg) from error
