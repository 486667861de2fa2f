"""Refuses files and functions that have grown too long; no linter has a rule for it."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 60
EXEMPT = "migrations/versions"
"""A migration is one long list of tables; ruff and mypy leave it out as well."""


def oversized(path: Path) -> Iterator[str]:
    """Yield a line ``path:line: complaint`` for the file and each function over its limit."""
    source = path.read_text()
    lines = source.count("\n")
    if lines > FILE_LINES_MAX:
        yield f"{path}:1: {lines} lines, {FILE_LINES_MAX} allowed"
    for node in ast.walk(ast.parse(source, str(path))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > FUNCTION_LINES_MAX:
                yield f"{path}:{node.lineno}: {lines} lines, {FUNCTION_LINES_MAX} allowed"


def sources(root: Path) -> list[Path]:
    """Return the Python files under version control, or all of them outside a Git work tree."""
    listing = subprocess.run(  # noqa: S603
        ["git", "-C", str(root), "ls-files", "--cached", "--others", "--exclude-standard", "*.py"],  # noqa: S607
        capture_output=True,
        text=True,
        check=False,
    )
    if listing.returncode:
        return [p for p in sorted(root.rglob("*.py")) if ".venv" not in p.parts]
    return [path for name in listing.stdout.splitlines() if (path := root / name).exists()]


def main(arguments: list[str]) -> int:
    """Check the folder given, by default the present one; return the exit status."""
    root = Path(arguments[0] if arguments else ".")
    checked = [path for path in sources(root) if EXEMPT not in path.parent.as_posix()]
    complaints = [line for path in checked for line in oversized(path)]
    print(*complaints, sep="\n", end="\n" if complaints else "")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
