"""A file as an answer: sent in pieces from where it was written, then gone."""

import asyncio
import os
from collections.abc import AsyncIterator
from typing import IO, Final, override

from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

_PIECE_BYTES: Final = 64 * 1024


class ReportFile(StreamingResponse):
    """A temporary file, for the reader to store under a name."""

    def __init__(self, file: IO[bytes], *, media_type: str, name: str) -> None:
        """Take a file that was written to its end, to send it from its beginning."""
        headers = {
            "Content-Length": str(file.seek(0, os.SEEK_END)),
            "Content-Disposition": f'attachment; filename="{name}"',
        }
        file.seek(0)
        super().__init__(_pieces(file), headers=headers, media_type=media_type)
        self._file = file

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Here, not in the iterator, which never begins for a reader who has gone.
        with self._file:
            await super().__call__(scope, receive, send)


async def _pieces(file: IO[bytes]) -> AsyncIterator[bytes]:
    while piece := await asyncio.to_thread(file.read, _PIECE_BYTES):
        yield piece
