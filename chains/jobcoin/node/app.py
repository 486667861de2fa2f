"""A Jobcoin node's HTTP interface. JSON in, JSON out; what is refused is a problem (RFC 9457)."""

import hmac
import json
import logging
import re
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

from aiohttp import web
from sqlmodel.ext.asyncio.session import AsyncSession

from chains.jobcoin.node import views
from chains.jobcoin.node.book import Admission, JobcoinBook
from domain.errors import (
    AuthenticationError,
    RequestError,
    StrongroomError,
)
from domain.jobcoin.addresses import parse_jobcoin_address
from domain.jobcoin.chain import CAP_MINOR, REFERENCE
from infra.database import Database

LIMIT_MAX = 100
BODY_BYTES_MAX = 256 * 1024
"""The largest transaction takes less than half of it, in hex."""

_NUMBER = re.compile(r"[0-9]{1,18}")

type Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

logger = logging.getLogger(__name__)


class JobcoinApp:
    """The routes of one node."""

    def __init__(self, book: JobcoinBook, database: Database, *, mint_token: str | None) -> None:
        """Take the chain, and the token of whoever may mint; without one nobody may."""
        self._book = book
        self._database = database
        self._mint_token = mint_token

    def app(self) -> web.Application:
        """Return the application."""
        app = web.Application(middlewares=[_problems], client_max_size=BODY_BYTES_MAX)
        app.router.add_get("/_ready", self._status)
        app.router.add_get("/v1/status", self._status)
        app.router.add_get("/v1/blocks", self._blocks)
        app.router.add_get("/v1/pool", self._pool)
        app.router.add_get("/v1/transactions", self._transactions)
        app.router.add_get("/v1/transactions/{txid}", self._transaction)
        app.router.add_post("/v1/transactions", self._send)
        app.router.add_get("/v1/addresses/{address}", self._address)
        app.router.add_post("/v1/mint", self._mint)
        return app

    async def _status(self, _request: web.Request) -> web.Response:
        return await self._read(lambda session: views.status(session, self._book.chain_id))

    async def _blocks(self, request: web.Request) -> web.Response:
        first, last = (_number(request, name) for name in ("first", "last"))
        return await self._read(lambda session: _items(views.blocks(session, first, last)))

    async def _pool(self, _request: web.Request) -> web.Response:
        return await self._read(lambda session: _items(views.pool(session)))

    async def _transactions(self, request: web.Request) -> web.Response:
        limit = min(LIMIT_MAX, max(1, _number(request, "limit", default=50)))
        before = _number(request, "cursor", default=0)
        address = request.query.get("address")
        if address is not None:
            address = parse_jobcoin_address(address, self._book.chain_id)

        async def page(session: AsyncSession) -> views.Json:
            found, following = await views.transactions(
                session, address=address, before=before or None, limit=limit
            )
            return {"items": found, "next_cursor": following and str(following)}

        return await self._read(page)

    async def _transaction(self, request: web.Request) -> web.Response:
        txid = request.match_info["txid"]
        return await self._read(lambda session: views.transaction(session, txid))

    async def _address(self, request: web.Request) -> web.Response:
        address = parse_jobcoin_address(request.match_info["address"], self._book.chain_id)
        return await self._read(lambda session: views.account(session, address))

    async def _send(self, request: web.Request) -> web.Response:
        body = await _body(request, "raw")
        try:
            raw = bytes.fromhex(body["raw"])
        except ValueError:
            msg = "raw is a signed transaction in hex."
            raise RequestError(msg) from None
        return _admitted(await self._book.admit(raw))

    async def _mint(self, request: web.Request) -> web.Response:
        self._check_owner(request)
        reference = request.headers.get("Idempotency-Key", "")
        if not REFERENCE.fullmatch(reference):
            msg = "A mint needs an Idempotency-Key: 1 to 128 printable characters, no spaces."
            raise RequestError(msg)
        body = await _body(request, "address", "amount")
        if not _NUMBER.fullmatch(body["amount"]) or not 0 < int(body["amount"]) <= CAP_MINOR:
            msg = "amount is a decimal string of minor units, above zero and up to the cap."
            raise RequestError(msg)
        return _admitted(
            await self._book.mint(body["address"], int(body["amount"]), reference=reference)
        )

    def _check_owner(self, request: web.Request) -> None:
        given = request.headers.get("Authorization", "")
        expected = f"Bearer {self._mint_token}"
        if self._mint_token is None or not hmac.compare_digest(given.encode(), expected.encode()):
            raise AuthenticationError

    async def _read(self, read: Callable[[AsyncSession], Awaitable[views.Json]]) -> web.Response:
        # One state of the chain: a block is never seen without what it holds.
        async with self._database.snapshot() as session:
            return web.json_response(await read(session))


@web.middleware
async def _problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except StrongroomError as error:
        return _problem(error.http_status, error.code, error.title, error.detail)
    except web.HTTPException as error:
        return _problem(error.status, "bad_request", error.reason, error.reason)


def _problem(status: int, code: str, title: str, detail: str) -> web.Response:
    body = {"code": code, "title": title, "status": status, "detail": detail}
    return web.json_response(body, status=status, content_type="application/problem+json")


async def _items(found: Awaitable[list[views.Json]]) -> views.Json:
    return {"items": await found}


def _admitted(admission: Admission) -> web.Response:
    status = HTTPStatus.ACCEPTED if admission.is_new else HTTPStatus.OK
    body = {"txid": admission.txid, "is_new": admission.is_new}
    return web.json_response(body, status=status)


async def _body(request: web.Request, *names: str) -> dict[str, str]:
    """Return a body with exactly these fields, all texts."""
    try:
        body: Any = json.loads(await request.read())
    except ValueError:
        body = None
    is_fit = isinstance(body, dict) and body.keys() == set(names)
    if not is_fit or not all(isinstance(value, str) for value in body.values()):
        msg = f"The body is JSON with {' and '.join(names)}, as texts."
        raise RequestError(msg)
    return dict(body)


def _number(request: web.Request, name: str, *, default: int | None = None) -> int:
    text = request.query.get(name)
    if text is None and default is not None:
        return default
    if text is None or not _NUMBER.fullmatch(text):
        msg = f"{name} is a whole number."
        raise RequestError(msg)
    return int(text)
