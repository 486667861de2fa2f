"""The server: routes, keys, idempotency, and the handles by which a test makes things go wrong."""

import asyncio
import contextlib
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from devnet.stripe_server import disputes, payments, refunds
from devnet.stripe_server.errors import (
    IdempotencyError,
    InvalidParameterError,
    KeyInUseError,
    StripeServerError,
)
from devnet.stripe_server.forms import parse_form, values
from devnet.stripe_server.store import Store, Thing
from devnet.stripe_server.webhooks import Courier

KEY_LENGTH_MAX = 255
KINDS_MAX = 20
"""Types of events in one list; https://docs.stripe.com/api/events/list."""
Step = Callable[[Store, str, Mapping[str, Any]], Thing]
"""What one route does: store, the id in its path, and the form or query."""


@dataclass
class Fault:
    """What the next requests to a path meet instead of a good answer."""

    kind: str
    """``error`` (500 before anything), ``busy`` (429), ``lost`` (done, and the answer is lost),
    ``broken`` (done, and answered with 500), or ``slow``."""
    path: str
    times: int = 1


@dataclass
class StripeServer:
    """One account of a Stripe that is ours."""

    api_key: str
    courier: Courier
    store: Store
    faults: list[Fault] = field(default_factory=list)
    running: set[str] = field(default_factory=set)
    """Idempotency keys of requests that are being carried out."""

    def app(self) -> web.Application:
        """Return the application."""
        app = web.Application()
        app.cleanup_ctx.append(self._delivering)
        for method, path, step in _ROUTES:
            app.router.add_route(method, f"/v1{path}", self._handler(step))
        app.router.add_post("/_test/{handle}", self._handle)
        app.router.add_post("/_test/{handle}/{id}", self._handle)
        app.router.add_get("/_test/deliveries", self._deliveries)
        app.router.add_get("/_ready", _ready)
        app.router.add_route("*", "/{tail:.*}", self._unknown)
        return app

    async def _delivering(self, _app: web.Application) -> AsyncIterator[None]:
        task = asyncio.create_task(self.courier.run())
        self.courier.wake()
        yield
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    def _handler(self, step: Step) -> Callable[[web.Request], Any]:
        async def handle(request: web.Request) -> web.StreamResponse:
            try:
                return await self._answer(request, step)
            except StripeServerError as error:
                return web.json_response(error.body, status=error.status)

        return handle

    async def _answer(self, request: web.Request, step: Step) -> web.StreamResponse:
        text = (await request.text()) if request.method == "POST" else request.query_string
        form = parse_form(text)
        self._authorize(request, form)
        fault = self._fault(request.path)
        if fault == "error":
            raise StripeServerError(500, "api_error", "Something went wrong on our end.")
        if fault == "busy":
            raise StripeServerError(429, "invalid_request_error", "Too many requests.")
        status, body, is_repeat = await self._once(
            request,
            text,
            lambda: step(self.store, request.match_info.get("id", ""), form),
            is_slow=fault == "slow",
            is_broken=fault == "broken",
        )
        self.store.save()
        self.courier.wake()
        if fault == "lost" and request.transport is not None:
            # The client sees a connection that breaks, and cannot know what was done.
            request.transport.close()
        headers = {"Idempotent-Replayed": "true"} if is_repeat else {}
        return web.json_response(body, status=status, headers=headers)

    async def _once(
        self,
        request: web.Request,
        text: str,
        step: Callable[[], Thing],
        *,
        is_slow: bool,
        is_broken: bool,
    ) -> tuple[int, Thing, bool]:
        """Carry a request out, or repeat what was answered to its idempotency key."""
        key = request.headers.get("Idempotency-Key") if request.method == "POST" else None
        if key is not None and len(key) > KEY_LENGTH_MAX:
            msg = "Idempotency keys are at most 255 characters."
            raise InvalidParameterError(msg)
        print_ = hashlib.sha256(f"{request.path}\n{text}".encode()).hexdigest()
        if key is not None and (known := self.store.answers.get(key)):
            if known["fingerprint"] != print_:
                raise IdempotencyError(key)
            return known["status"], known["body"], True
        if key is not None:
            if key in self.running:
                raise KeyInUseError
            self.running.add(key)
        try:
            if is_slow:
                await asyncio.sleep(1.0)
            status, body, is_kept = _outcome(step)
            if is_broken:
                error = StripeServerError(500, "api_error", "Something went wrong on our end.")
                status, body = error.status, error.body
        finally:
            self.running.discard(key or "")
        if key is not None and is_kept:
            # A copy: what is answered again is what was so then.
            kept = json.loads(json.dumps(body))
            self.store.answers[key] = {"fingerprint": print_, "status": status, "body": kept}
        return status, body, False

    def _authorize(self, request: web.Request, form: Mapping[str, Any]) -> None:
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        if scheme == "Bearer" and hmac.compare_digest(given, self.api_key):
            return
        # What a browser does: with the publishable key, to the one intent it has the secret of.
        secret = str(form.get("client_secret", ""))
        intent_id = request.match_info.get("id", "")
        known = self.store.things["payment_intent"].get(intent_id, {}).get("client_secret")
        if given.startswith("pk_test_") and known and hmac.compare_digest(secret, known):
            return
        raise StripeServerError(401, "invalid_request_error", "Invalid API Key provided.")

    def _fault(self, path: str) -> str | None:
        for fault in self.faults:
            if path.startswith(fault.path) and fault.times:
                fault.times -= 1
                return fault.kind
        return None

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        """Do what no client of Stripe's can ask for: a cardholder's, a network's or fate's part."""
        form = parse_form(await request.text())
        object_id = request.match_info.get("id", "")
        try:
            body = self._played(request.match_info["handle"], object_id, form)
        except StripeServerError as error:
            return web.json_response(error.body, status=error.status)
        self.store.save()
        self.courier.wake()
        return web.json_response(body)

    def _played(self, handle: str, object_id: str, form: Mapping[str, Any]) -> Thing:
        if step := _HANDLES.get(handle):
            return step(self.store, object_id, form)
        mischief = self.courier.mischief
        match handle:
            case "fault":
                fault = Fault(form["kind"], form["path"], int(form.get("times", 1)))
                self.faults.append(fault)
            case "webhook":
                self.courier.url = form["url"] or None
            case "lose":
                mischief.lose = int(form["times"])
            case "double":
                mischief.double = int(form["times"])
            case "hold":
                mischief.is_held = True
            case "release":
                self.courier.release()
            case _:
                msg = f"No such handle: {handle}"
                raise InvalidParameterError(msg)
        return {}

    async def _deliveries(self, _request: web.Request) -> web.StreamResponse:
        return web.json_response({"sent": list(self.courier.sent)})

    async def _unknown(self, request: web.Request) -> web.StreamResponse:
        body = {
            "error": {
                "type": "invalid_request_error",
                "message": f"Unrecognized request URL ({request.method}: {request.path}).",
            }
        }
        return web.json_response(body, status=404)


async def _ready(_request: web.Request) -> web.Response:
    return web.json_response({})


def _outcome(step: Callable[[], Thing]) -> tuple[int, Thing, bool]:
    try:
        return 200, step(), True
    except StripeServerError as error:
        if not error.is_kept:
            raise
        return error.status, error.body, True


def _balance(store: Store, _id: str, _query: Mapping[str, Any]) -> Thing:
    """Return what the account has: charges less refunds and lost or open disputes."""
    total: dict[str, int] = {}
    for charge in store.things["charge"].values():
        left = charge["amount_captured"] - charge["amount_refunded"]
        total[charge["currency"]] = total.get(charge["currency"], 0) + left
    for dispute in store.things["dispute"].values():
        if dispute["status"] in ("needs_response", "under_review", "lost"):
            total[dispute["currency"]] -= dispute["amount"]
    available = [{"amount": amount, "currency": currency} for currency, amount in total.items()]
    return {"object": "balance", "available": available, "pending": [], "livemode": False}


def _get(kind: str) -> Step:
    return lambda store, object_id, _query: store.get(kind, object_id)


def _list(kind: str) -> Step:
    return lambda store, _id, query: store.listed(
        kind, query, payment_intent=query.get("payment_intent"), charge=query.get("charge")
    )


def _events(store: Store, _id: str, query: Mapping[str, Any]) -> Thing:
    kinds = values(query, "types")
    if len(kinds) > KINDS_MAX:
        msg = f"At most {KINDS_MAX} types."
        raise InvalidParameterError(msg, param="types")
    return store.listed("event", query, among=kinds)


def _resend(store: Store, event_id: str, _form: Mapping[str, Any]) -> Thing:
    store.deliveries[event_id] = {"tries": 0}
    return store.get("event", event_id)


_HANDLES: Mapping[str, Step] = {
    "decide": payments.decide,
    "dispute": disputes.open_dispute,
    "resolve": lambda store, id_, form: disputes.resolve(store, id_, str(form["status"])),
    "end_refund": lambda store, id_, form: refunds.end(store, id_, str(form["status"])),
    "resend": _resend,
}

_ROUTES: tuple[tuple[str, str, Step], ...] = (
    ("GET", "/balance", _balance),
    ("POST", "/payment_intents", lambda store, _id, form: payments.create(store, form)),
    ("GET", "/payment_intents", lambda store, _id, query: store.listed("payment_intent", query)),
    ("GET", "/payment_intents/{id}", payments.retrieve),
    ("POST", "/payment_intents/{id}/confirm", payments.confirm),
    ("POST", "/payment_intents/{id}/cancel", payments.cancel),
    ("GET", "/charges", _list("charge")),
    ("GET", "/charges/{id}", _get("charge")),
    ("POST", "/refunds", lambda store, _id, form: refunds.create(store, form)),
    ("GET", "/refunds", _list("refund")),
    ("GET", "/refunds/{id}", _get("refund")),
    ("POST", "/refunds/{id}/cancel", lambda store, id_, _f: refunds.end(store, id_, "canceled")),
    ("GET", "/disputes", _list("dispute")),
    ("GET", "/disputes/{id}", _get("dispute")),
    ("POST", "/disputes/{id}/close", lambda store, id_, _f: disputes.resolve(store, id_, "lost")),
    ("GET", "/events", _events),
    ("GET", "/events/{id}", _get("event")),
)
