"""
Every block that was ever accepted, and every change of mind, in one file that only grows.

The kernel has no way to be told to flush; killed, it would be back at its genesis block. So the
journal is the truth and the kernel is made anew from it at each start (a seventh of a millisecond
per block). A record is a line: a kill can tear the last one only, which is then cut off.
"""

from collections.abc import Iterator
from pathlib import Path

BLOCK, INVALIDATE, RECONSIDER = "block", "invalidate", "reconsider"


class Journal:
    """The file, open for appending."""

    def __init__(self, path: Path) -> None:
        """Open it, making it when there is none, and cut off a torn end."""
        self._path = path
        content = path.read_bytes() if path.exists() else b""
        whole_bytes = content.rfind(b"\n") + 1
        self._file = path.open("ab")
        if whole_bytes < len(content):
            self._file.truncate(whole_bytes)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """Yield the records, oldest first: what it is, and the block in hex or its hash."""
        with self._path.open() as lines:
            for line in lines:
                kind, payload = line.split()
                yield kind, payload

    def append(self, kind: str, payload: str) -> None:
        """Add a record; when this returns the operating system has it, so a kill is survived."""
        self._file.write(f"{kind} {payload}\n".encode())
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()
