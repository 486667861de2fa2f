"""
Takes the registry's addresses out of uv.lock, so that the repository names no registry.

Versions and hashes stay, and they are what an install is checked against; where the files come
from is the installing machine's own configuration. ``make lock`` runs this after ``uv lock``.
"""

import re
import sys
from pathlib import Path

PLACEHOLDER_HOST = "registry.invalid"
"""Under .invalid, which no resolver ever answers (RFC 2606)."""

_ADDRESS = re.compile(r'\b(url|registry) = "https?://[^/"]+')


def strip(lock: str) -> str:
    """Return the lock file's text with each address moved to the placeholder host."""
    return _ADDRESS.sub(rf'\1 = "https://{PLACEHOLDER_HOST}', lock)


def main(arguments: list[str]) -> int:
    """Rewrite the lock files named on the command line, by default ``uv.lock``."""
    for path in map(Path, arguments or ["uv.lock"]):
        path.write_text(strip(path.read_text()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
