"""The body of an upload: streamed into a temporary file while it is counted and hashed."""

import asyncio
import hashlib
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import BinaryIO, Final

from fastapi import Request
from starlette.requests import ClientDisconnect

from domain.errors import InvalidUploadError, TransientError, UnsupportedMediaTypeError
from runs.formats import UploadFormat

_COMPRESSED: Final = (
    b"\x1f\x8b",  # gzip (RFC 1952)
    b"PK\x03\x04",  # zip, and what spreadsheets save by default
    b"PK\x05\x06",
    b"BZh",
    b"\xfd7zXZ\x00",
    b"\x28\xb5\x2f\xfd",  # Zstandard (RFC 8878)
)
_MAGIC_BYTES: Final = 6
_CHARSETS: Final = ("utf-8", "utf8", "us-ascii")


@dataclass(frozen=True, slots=True)
class UploadBody:
    """The bytes of an upload, from their beginning."""

    file: BinaryIO
    sha256: str
    """Hex."""


class UploadSlots:
    """Counts the uploads that this process takes in: few at once, one per user."""

    def __init__(self) -> None:
        """Begin with none."""
        self.users: set[str] = set()

    @contextmanager
    def one(self, user_id: str, *, most: int) -> Iterator[None]:
        """
        Count one more inside the block.

        Raises:
            TransientError: There are ``most`` already, or one of this user.
        """
        if user_id in self.users or len(self.users) >= most:
            msg = "Other uploads are being read; try again when they are done."
            raise TransientError(msg)
        self.users.add(user_id)
        try:
            yield
        finally:
            self.users.discard(user_id)


def upload_format(request: Request) -> UploadFormat:
    """
    Return how the body is said to be written, without looking at it.

    Raises:
        UnsupportedMediaTypeError: Neither of the formats, another encoding, or compressed.
    """
    media_type, _, parameters = request.headers.get("content-type", "").partition(";")
    name, _, charset = parameters.strip().lower().partition("=")
    is_known_charset = name != "charset" or charset.strip('"') in _CHARSETS
    if media_type.strip().lower() not in list(UploadFormat) or not is_known_charset:
        msg = "Send text/csv or application/x-ndjson, in UTF-8."
        raise UnsupportedMediaTypeError(msg)
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise _compressed()
    return UploadFormat(media_type.strip().lower())


@asynccontextmanager
async def spooled(request: Request, *, within: timedelta) -> AsyncIterator[UploadBody]:
    """
    Yield the body of a request in a temporary file, which is gone afterwards.

    How long it may be is for the middleware, which counts it as it comes.

    Raises:
        UnsupportedMediaTypeError: It begins as compressed data does.
        InvalidUploadError: It broke off.
        TransientError: It took too long.
    """
    with tempfile.TemporaryFile() as file:
        digest = hashlib.sha256()
        try:
            async with asyncio.timeout(within.total_seconds()):
                async for chunk in request.stream():
                    digest.update(chunk)
                    await asyncio.to_thread(file.write, chunk)
        except TimeoutError as error:
            msg = "The upload took too long to arrive."
            raise TransientError(msg) from error
        except ClientDisconnect as error:
            msg = "The upload broke off."
            raise InvalidUploadError(msg) from error
        file.seek(0)
        if file.read(_MAGIC_BYTES).startswith(_COMPRESSED):
            raise _compressed()
        file.seek(0)
        yield UploadBody(file, digest.hexdigest())


def _compressed() -> UnsupportedMediaTypeError:
    msg = "Send the file as it is, not compressed and not as a spreadsheet."
    return UnsupportedMediaTypeError(msg)
