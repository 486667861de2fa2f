"""What scripted users do over HTTP: ask, ask until the answer is as wanted, approve, verify."""

import asyncio
import time
from collections.abc import Callable
from hashlib import sha256
from typing import Any

from cli.client import ApiProblem
from devnet.errors import StackError
from devnet.people import ScriptedUser, insist, with_code
from domain.errors import AlreadyDecidedError, KycApplicationStateError
from domain.kyc import KycStatus

PATIENCE_S = 90.0
POLL_S = 0.3


async def call(
    who: ScriptedUser,
    method: str,
    path: str,
    body: object,
    *,
    needs_code: bool = False,
    key: str | None = None,
) -> dict[str, Any]:
    """
    Send a request as often as it takes.

    Without a ``key`` the same way again is the same intent: it is answered once more.
    """
    key = key or sha256(f"{who.user_id} {path} {body}".encode()).hexdigest()

    def sent(code: str | None) -> Any:
        return who.api.send(method, path, body, code=code, idempotency_key=key)

    if needs_code:
        return dict(await asyncio.to_thread(with_code, who.authenticator, sent))
    return dict(await asyncio.to_thread(insist, lambda: sent(None)))


async def get(who: ScriptedUser, path: str) -> dict[str, Any]:
    """Return an answer, asked for as often as it takes."""
    return dict(await asyncio.to_thread(insist, lambda: who.api.get(path)))


async def until(
    who: ScriptedUser,
    path: str,
    is_done: Callable[[dict[str, Any]], bool],
    *,
    patience_s: float = PATIENCE_S,
) -> dict[str, Any]:
    """
    Ask until the answer is as wanted.

    Raises:
        StackError: It was not in this time.
    """
    deadline = time.monotonic() + patience_s
    while not is_done(answer := await get(who, path)):
        if time.monotonic() > deadline:
            msg = f"After {patience_s:g} s {path} still answers {answer}"
            raise StackError(msg)
        await asyncio.sleep(POLL_S)
    return answer


async def approve(approver: ScriptedUser, path: str, body: object) -> None:
    """Approve what is at this path, as often as it takes."""
    try:
        await call(approver, "POST", f"{path}/approvals", body, needs_code=True)
    except ApiProblem as problem:
        # The answer of an earlier try was lost; the decision was not.
        if problem.code not in (AlreadyDecidedError.code, KycApplicationStateError.code):
            raise


async def verify(user: ScriptedUser, approver: ScriptedUser, *, level: int) -> None:
    """Have a user apply for a KYC level, and the approver grant it."""
    application = await call(user, "POST", "/v1/kyc/applications", _application(user, level))
    path = f"/v1/kyc/applications/{application['id']}"
    seen = await until(approver, path, lambda a: a["status"] == KycStatus.IN_REVIEW)
    await approve(approver, path, {"revision": seen["revision"], "note": None})
    await until(user, "/v1/kyc", lambda kyc: kyc["level"] == level)


def _application(user: ScriptedUser, level: int) -> dict[str, Any]:
    documents = [
        {
            "kind": kind,
            "file_name": f"{kind}.pdf",
            "sha256": sha256(f"{user.user_id} {kind}".encode()).hexdigest(),
            "size_bytes": 120_000,
            "issued_country": "CH",
            "expires_on": "2999-01-01",
        }
        for kind in ("passport", "proof_of_address", "selfie")[:level]
    ]
    person = {"full_name": user.name.title(), "born_on": "1990-05-17", "residence_country": "CH"}
    return {"level": level, **person, "documents": documents}
