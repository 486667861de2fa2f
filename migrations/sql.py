"""Runs a migration's SQL file, which stands beside it."""

from pathlib import Path

from alembic import op

_VERSIONS = Path(__file__).parent / "versions"


def run_file(name: str) -> None:
    """Send the whole file to the server as it is; ``%`` and ``:`` have no meaning in it."""
    op.get_bind().connection.cursor().execute((_VERSIONS / name).read_bytes())
