"""Scripted users of a local stack's API: they sign up, enrol an authenticator, and ask."""

import asyncio
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import httpx

from cli.authenticator import Authenticator
from cli.client import ApiClient, ApiProblem
from devnet.site import Site
from domain.errors import AlreadyDecidedError, PayoutRunStateError, SecondFactorInvalidError
from identity.passwords import Passwords
from identity.services import open_identity
from infra.database import Database
from infra.keyring import Keyring
from models.identity import Role

RETRY_S = 0.3


@dataclass(frozen=True, slots=True)
class ScriptedUser:
    """A user who is logged in and has a second factor."""

    name: str
    user_id: str
    api: ApiClient
    authenticator: Authenticator

    def ask_payout(self, body: Mapping[str, object], *, idempotency_key: str) -> str:
        """Ask for a payout, as often as it takes, and return its id."""
        payout = self._with_code(
            lambda code: self.api.create_payout(body, code=code, idempotency_key=idempotency_key)
        )
        return str(payout["id"])

    def approve(self, payout_id: str) -> str:
        """Approve a payout, as often as it takes, and return where it stands."""
        try:
            outcome = self.act(payout_id, "approvals")
        except ApiProblem as problem:
            # The answer of an earlier try was lost; the decision was not.
            if problem.code != AlreadyDecidedError.code:
                raise
            outcome = self.api.get(f"/v1/payouts/{payout_id}")
        return str(outcome["status"])

    def act(self, payout_id: str, action: str) -> Any:
        """Send an action that needs a second factor, such as ``refunds``; return its answer."""
        path = f"/v1/payouts/{payout_id}/{action}"
        body = None if action == "cancellation" else {"note": None}
        return self._with_code(lambda code: self.api.send("POST", path, body, code=code))

    def upload_run(self, content: bytes, *, name: str) -> str:
        """
        Upload a CSV file of payments and return the draft's id.

        Tried again it may leave a second draft behind: nothing is held for either.
        """

        def upload() -> Any:
            return self.api.upload("/v1/payout-runs", [content], media_type="text/csv", name=name)

        return str(insist(upload)["id"])

    def start_run(self, run_id: str, *, idempotency_key: str) -> str:
        """Start a draft, as often as it takes, and return where it stands."""
        path = f"/v1/payout-runs/{run_id}/start"
        run = self._with_code(
            lambda code: self.api.send("POST", path, code=code, idempotency_key=idempotency_key)
        )
        return str(run["status"])

    def approve_run(self, run_id: str) -> str:
        """Approve every line of a run, as often as it takes, and return where it stands."""
        path = f"/v1/payout-runs/{run_id}"
        body = {"lines": None, "note": None}
        try:
            run = self._with_code(
                lambda code: self.api.send("POST", f"{path}/approvals", body, code=code)
            )
        except ApiProblem as problem:
            # The answer of an earlier try was lost; the decision was not.
            if problem.code != AlreadyDecidedError.code:
                raise
            run = self.api.get(path)
        return str(run["status"])

    def cancel_run(self, run_id: str) -> str:
        """Take back every line of a run that no batch has, and return where it stands."""
        path, body = f"/v1/payout-runs/{run_id}/cancellation", {"lines": None}
        try:
            run = self._with_code(lambda code: self.api.send("POST", path, body, code=code))
        except ApiProblem as problem:
            # Nothing was left to take back: an earlier try did, or every line is paid.
            if problem.code != PayoutRunStateError.code:
                raise
            run = self.api.get(f"/v1/payout-runs/{run_id}")
        return str(run["status"])

    def _with_code(self, send: Callable[[str], Any]) -> Any:
        return with_code(self.authenticator, send)


def with_code(authenticator: Authenticator, send: Callable[[str], Any]) -> Any:
    """Send with one code as long as that is good, then with another."""
    while True:
        code = authenticator.next_code()
        try:
            return insist(lambda: send(code))  # noqa: B023
        except ApiProblem as problem:
            # An outage, or a step's end, can outlast a code; the Idempotency-Key stays the same.
            if problem.code != SecondFactorInvalidError.code:
                raise


def insist[T](call: Callable[[], T], *, patience_s: float = 90.0) -> T:
    """
    Repeat the very same request until the API answers it, as a careful client does.

    Nothing is paid twice by that: the Idempotency-Key, and the one-time code which is bound to
    this request, are the same each time.
    """
    deadline = time.monotonic() + patience_s
    while True:
        try:
            return call()
        except ApiProblem as problem:
            if problem.status != HTTPStatus.SERVICE_UNAVAILABLE or time.monotonic() > deadline:
                raise
        except httpx.TransportError:
            if time.monotonic() > deadline:
                raise
        time.sleep(RETRY_S)


async def enlist(site: Site, name: str, roles: Sequence[Role] = ()) -> ScriptedUser:
    """Make a user, with roles if any, and enable the second factor through the API."""
    email, password = f"{name}@strongroom.example", secrets.token_urlsafe(18)
    if roles:
        await _create_admin(site, email, password, roles)
    return await asyncio.to_thread(
        _enrolled, site.api_url, name, email, password=password, is_new=not roles
    )


def _enrolled(api_url: str, name: str, email: str, *, password: str, is_new: bool) -> ScriptedUser:
    api = ApiClient(api_url)
    credentials = {"email": email, "password": password}
    if is_new:
        api.send("POST", "/v1/users", credentials)
    api.token = api.send("POST", "/v1/sessions", credentials)["token"]
    enrolment = api.send("POST", "/v1/2fa/enrolment", {"password": password})
    authenticator = Authenticator(enrolment["secret"])
    with_code(authenticator, lambda code: api.send("POST", "/v1/2fa/confirmation", {"code": code}))
    return ScriptedUser(name, str(api.get("/v1/users/me")["id"]), api, authenticator)


async def _create_admin(site: Site, email: str, password: str, roles: Sequence[Role]) -> None:
    database = Database(site.database_url())
    identity = open_identity(database, Keyring.parse(site.secrets.data_keys), passwords=Passwords())
    await identity.accounts.create_admin(email, password, roles)
    await database.close()
