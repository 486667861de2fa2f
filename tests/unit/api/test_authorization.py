"""
Who may call what. Every route of the application has a row here, or a test fails.

The columns are the callers below, in order. ``pass`` means that the caller gets past
authorization: what follows (a missing second factor, a missing body, an absent database) is not
this test's business.
"""

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from api.dependencies import current_principal
from identity.principals import Principal
from models.identity import Role, Scope

CALLERS: dict[str, Principal | None] = {
    "anonymous": None,
    "user": Principal("usr_1", "usr_1", session_id="ses_1"),
    "approver": Principal("usr_1", "usr_1", frozenset({Role.APPROVER}), session_id="ses_1"),
    "operator": Principal("usr_1", "usr_1", frozenset({Role.OPERATOR}), session_id="ses_1"),
    "auditor": Principal("usr_1", "usr_1", frozenset({Role.AUDITOR}), session_id="ses_1"),
    "owner": Principal("usr_1", "usr_1", frozenset({Role.OWNER}), session_id="ses_1"),
    # Keys of a user with every role: a role must not widen what a key may do.
    "key_read": Principal("usr_1", "key_1", frozenset(Role), frozenset({Scope.READ})),
    "key_write": Principal("usr_1", "key_1", frozenset(Role), frozenset({Scope.PAYOUTS_WRITE})),
    "key_deposits": Principal("usr_1", "key_1", frozenset(Role), frozenset({Scope.DEPOSITS_WRITE})),
}

PUBLIC = "pass pass pass pass pass pass pass pass pass"
SESSION = " 401 pass pass pass pass pass  403  403  403"
WRITE = "   401 pass pass pass pass pass  403 pass  403"
READ = "    401 pass pass pass pass pass pass  403  403"
DEPOSIT = " 401 pass pass pass pass pass  403  403 pass"
OWN = "     401  403  403  403  403 pass  403  403  403"
OPERATE = " 401  403  403 pass  403  403  403  403  403"
APPROVE = " 401  403 pass  403  403  403  403  403  403"
STAFF = "   401  403  403 pass pass pass pass  403  403"

# fmt: off
TABLE = {
    #                                anon user appr oper audi ownr read writ depo
    "POST /v1/users":               PUBLIC,
    "GET /v1/users/me":             READ,
    "POST /v1/sessions":            PUBLIC,
    "GET /v1/sessions":             SESSION,
    "DELETE /v1/sessions":          SESSION,
    "DELETE /v1/sessions/current":  SESSION,
    "DELETE /v1/sessions/{session_id}": SESSION,
    "GET /v1/2fa":                  SESSION,
    "DELETE /v1/2fa":               SESSION,
    "POST /v1/2fa/enrolment":       SESSION,
    "POST /v1/2fa/confirmation":    SESSION,
    "POST /v1/2fa/step-up":         SESSION,
    "POST /v1/2fa/recovery-codes":  SESSION,
    "GET /v1/api-keys":             SESSION,
    "POST /v1/api-keys":            SESSION,
    "DELETE /v1/api-keys/{key_id}": SESSION,
    "GET /v1/admins":               " 401  403  403  403 pass pass  403  403  403",
    "PUT /v1/admins/{user_id}/roles": " 401  403  403  403  403 pass  403  403  403",
    "GET /v1/assets":               READ,
    "GET /v1/wallets":              READ,
    "GET /v1/wallets/{asset}/statement": READ,
    "GET /v1/hot-wallets":          STAFF,
    "GET /v1/transactions":         READ,
    "GET /v1/transactions/export":  READ,
    "GET /v1/transactions/{transaction_id}": READ,
    "GET /v1/statements":           READ,
    "GET /v1/statements/{month}":   READ,
    "GET /v1/statements/{month}/file": READ,
    "POST /v1/payouts":             WRITE,
    "GET /v1/payouts":              READ,
    "GET /v1/payouts/{payout_id}":  READ,
    "GET /v1/payouts/{payout_id}/explain": READ,
    "POST /v1/payouts/{payout_id}/cancellation": WRITE,
    "POST /v1/payouts/{payout_id}/approvals":  " 401  403 pass  403  403  403  403  403  403",
    "POST /v1/payouts/{payout_id}/rejections": " 401  403 pass  403  403  403  403  403  403",
    "POST /v1/payouts/{payout_id}/refunds":    OPERATE,
    "POST /v1/payouts/{payout_id}/retries":    OPERATE,
    "POST /v1/transfers":           WRITE,
    "GET /v1/transfers":            READ,
    "GET /v1/transfers/{transfer_id}": READ,
    "POST /v1/money-requests":      WRITE,
    "GET /v1/money-requests":       READ,
    "GET /v1/money-requests/{request_id}": READ,
    "GET /v1/money-requests/{request_id}/qr": READ,
    "POST /v1/money-requests/{request_id}/payment": WRITE,
    "POST /v1/money-requests/{request_id}/decline": WRITE,
    "POST /v1/money-requests/{request_id}/cancellation": WRITE,
    "PUT /v1/handles/me":           SESSION,
    "GET /v1/handles/me":           READ,
    "GET /v1/handles/me/qr":        READ,
    "GET /v1/handles/{recipient}":  READ,
    "GET /v1/pockets":              READ,
    "POST /v1/pockets":             WRITE,
    "GET /v1/pockets/{pocket_id}":  READ,
    "POST /v1/pocket-transfers":    WRITE,
    "GET /v1/pocket-transfers":     READ,
    "GET /v1/pocket-transfers/{transfer_id}": READ,
    "GET /v1/pocket-transfers/{transfer_id}/explain": READ,
    "POST /v1/pocket-transfers/{transfer_id}/cancellation": WRITE,
    "POST /v1/pocket-transfers/{transfer_id}/approvals": APPROVE,
    "POST /v1/pocket-transfers/{transfer_id}/rejections": APPROVE,
    "POST /v1/pocket-transfers/{transfer_id}/refunds":    OPERATE,
    "POST /v1/pocket-transfers/{transfer_id}/retries":    OPERATE,
    "POST /v1/payout-runs":         WRITE,
    "GET /v1/payout-runs":          READ,
    "GET /v1/payout-runs/{run_id}": READ,
    "DELETE /v1/payout-runs/{run_id}": WRITE,
    "GET /v1/payout-runs/{run_id}/lines": READ,
    "GET /v1/payout-runs/{run_id}/report": READ,
    "GET /v1/payout-runs/{run_id}/events": READ,
    "GET /v1/payout-runs/{run_id}/explain": READ,
    "POST /v1/payout-runs/{run_id}/start": WRITE,
    "POST /v1/payout-runs/{run_id}/cancellation": WRITE,
    "POST /v1/payout-runs/{run_id}/resumption": OPERATE,
    "POST /v1/payout-runs/{run_id}/lines/{number}/retries": WRITE,
    "POST /v1/payout-runs/{run_id}/approvals":  " 401  403 pass  403  403  403  403  403  403",
    "POST /v1/payout-runs/{run_id}/rejections": " 401  403 pass  403  403  403  403  403  403",
    "GET /v1/mixers":               READ,
    "POST /v1/mixers":              OWN,
    "GET /v1/mixers/{mixer_id}":    READ,
    "GET /v1/mixers/{mixer_id}/books": " 401  403  403 pass pass  403  403  403  403",
    "POST /v1/mixers/{mixer_id}/draining": OWN,
    "POST /v1/mixers/{mixer_id}/removal": OWN,
    "POST /v1/mixes":               WRITE,
    "GET /v1/mixes":                READ,
    "GET /v1/mixes/{mix_id}":       READ,
    "POST /v1/mixes/{mix_id}/cancellation": WRITE,
    "POST /v1/mixes/{mix_id}/pause": WRITE,
    "POST /v1/mixes/{mix_id}/resumption": WRITE,
    "POST /v1/mixes/{mix_id}/hold": OPERATE,
    "POST /v1/mixes/{mix_id}/hold/release": OPERATE,
    "GET /v1/mixes/{mix_id}/audit": " 401  403  403 pass pass  403  403  403  403",
    "GET /v1/fees":                 READ,
    "GET /v1/address-book":         READ,
    "POST /v1/address-book":        SESSION,
    "DELETE /v1/address-book/{entry_id}": SESSION,
    "GET /v1/address-book/preference": READ,
    "PUT /v1/address-book/preference": SESSION,
    "GET /v1/screening":            STAFF,
    "GET /v1/screening/{chain_id}/{address}": STAFF,
    "PUT /v1/screening/{chain_id}/{address}": OPERATE,
    "DELETE /v1/screening/{chain_id}/{address}": OPERATE,
    "GET /v1/policy":               " 401  403 pass pass pass pass pass  403  403",
    "GET /v1/policy/versions":      " 401  403 pass pass pass pass pass  403  403",
    "PUT /v1/policy":               " 401  403  403  403  403 pass  403  403  403",
    "GET /v1/rates":                READ,
    "GET /v1/rates/versions":       " 401  403 pass pass pass pass pass  403  403",
    "PUT /v1/rates":                " 401  403  403  403  403 pass  403  403  403",
    "POST /v1/quotes":              DEPOSIT,
    "GET /v1/quotes":               READ,
    "GET /v1/quotes/{quote_id}":    READ,
    "POST /v1/purchases":           DEPOSIT,
    "GET /v1/purchases":            READ,
    "GET /v1/purchases/{purchase_id}": READ,
    "POST /v1/purchases/{purchase_id}/cancellation": DEPOSIT,
    "POST /v1/purchases/{purchase_id}/refunds": OPERATE,
    "POST /v1/stripe/webhook":      PUBLIC,
    "GET /v1/kyc":                  READ,
    "POST /v1/kyc/applications":    SESSION,
    "GET /v1/kyc/applications":     SESSION,
    "GET /v1/kyc/applications/{application_id}": SESSION,
    "POST /v1/kyc/applications/{application_id}/documents": SESSION,
    "POST /v1/kyc/applications/{application_id}/withdrawal": SESSION,
    "POST /v1/kyc/applications/{application_id}/approvals":            APPROVE,
    "POST /v1/kyc/applications/{application_id}/rejections":           APPROVE,
    "POST /v1/kyc/applications/{application_id}/information-requests": APPROVE,
    "GET /v1/kyc/users/{user_id}":             " 401  403 pass  403 pass pass  403  403  403",
    "POST /v1/kyc/users/{user_id}/downgrades": " 401  403  403  403  403 pass  403  403  403",
    "GET /v1/limits":               " 401  403 pass pass pass pass pass  403  403",
    "GET /v1/limits/versions":      " 401  403 pass pass pass pass pass  403  403",
    "PUT /v1/limits":               " 401  403  403  403  403 pass  403  403  403",
    "POST /v1/deposit-addresses":   DEPOSIT,
    "GET /v1/deposit-addresses":    READ,
    "GET /v1/deposit-addresses/{address_id}": READ,
    "PATCH /v1/deposit-addresses/{address_id}": DEPOSIT,
    "GET /v1/deposit-addresses/{address_id}/qr": READ,
    "GET /v1/deposits":             READ,
    "GET /v1/deposits/{deposit_id}": READ,
    "GET /v1/deposits/{deposit_id}/explain": READ,
    "GET /v1/deposits/{deposit_id}/events": READ,
    "GET /v1/chains":               READ,
    "GET /v1/chains/{chain_id}":    READ,
    "POST /v1/chains/{chain_id}/rescans": OPERATE,
    "POST /v1/chains/{chain_id}/sweeps": OPERATE,
    "GET /v1/chains/{chain_id}/sweeps": STAFF,
    "GET /v1/chains/{chain_id}/rescans": STAFF,
    "GET /v1/chains/{chain_id}/rescans/{rescan_id}": STAFF,
    "GET /v1/freezes":              STAFF,
    "POST /v1/users/{user_id}/freezes/lift": OPERATE,
    "GET /v1/events":               READ,
    "POST /v1/webhook-endpoints":   SESSION,
    "GET /v1/webhook-endpoints":    READ,
    "GET /v1/webhook-endpoints/{endpoint_id}": READ,
    "PATCH /v1/webhook-endpoints/{endpoint_id}": SESSION,
    "DELETE /v1/webhook-endpoints/{endpoint_id}": SESSION,
    "POST /v1/webhook-endpoints/{endpoint_id}/secret-rotations": SESSION,
    "POST /v1/webhook-endpoints/{endpoint_id}/pings": SESSION,
    "GET /v1/webhook-endpoints/{endpoint_id}/deliveries": READ,
    "GET /v1/webhook-endpoints/{endpoint_id}/deliveries/{delivery_id}": READ,
    "POST /v1/webhook-endpoints/{endpoint_id}/deliveries/{delivery_id}/redeliveries": SESSION,
    "GET /health":                  PUBLIC,
    "GET /ready":                   PUBLIC,
    "GET /metrics":                 PUBLIC,
    "POST /v1/codec/decode":        " 401  403  403 pass pass pass  403  403  403",
}
# fmt: on

PATH_VALUES = {
    "number": "2",
    "session_id": "ses_01JD3ZQ6V9K3E8M5T2R7W4X1YB",
    "key_id": "key_01JD3ZQ6V9K3E8M5T2R7W4X1YB",
    "payout_id": "pay_01JD3ZQ6V9K3E8M5T2R7W4X1YB",
    "transfer_id": "tfr_01JD3ZQ6V9K3E8M5T2R7W4X1YB",
    "request_id": "mrq_01JD3ZQ6V9K3E8M5T2R7W4X1YB",
    "recipient": "@ada",
    "pocket_id": "pkt_01JD3ZQ6V9K3E8M5T2R7W4X1YB",
    "run_id": "run_01JD3ZQ6V9K3E8M5T2R7W4X1YB",
    "application_id": "kya_01JD3ZQ6V9K3E8M5T2R7W4X1YB",
    "address_id": "adr_01JD3ZQ6V9K3E8M5T2R7W4X1YB",
    "deposit_id": "dep_01JD3ZQ6V9K3E8M5T2R7W4X1YB",
    "rescan_id": "rsc_01JD3ZQ6V9K3E8M5T2R7W4X1YB",
    "quote_id": "quo_01JD3ZQ6V9K3E8M5T2R7W4X1YB",
    "purchase_id": "pur_01JD3ZQ6V9K3E8M5T2R7W4X1YB",
    "mixer_id": "mxr_01JD3ZQ6V9K3E8M5T2R7W4X1YB",
    "mix_id": "mix_01JD3ZQ6V9K3E8M5T2R7W4X1YB",
    "chain_id": "eip155:1",
    "endpoint_id": "whe_01JD3ZQ6V9K3E8M5T2R7W4X1YB",
    "delivery_id": "whd_01JD3ZQ6V9K3E8M5T2R7W4X1YB",
    "entry_id": "bok_01JD3ZQ6V9K3E8M5T2R7W4X1YB",
    "address": "0x70997970C51812dc3A010C7d01b50e0d17dc79C8",
    "asset": "ETH",
    "user_id": "usr_01JD3ZQ6V9K3E8M5T2R7W4X1YB",
    "transaction_id": "pay_01JD3ZQ6V9K3E8M5T2R7W4X1YB",
    "month": "2026-11",
}

AUTHORIZATION_CODES = {
    "unauthenticated": "401",
    "session_invalid": "401",
    "role_missing": "403",
    "scope_missing": "403",
    "forbidden": "403",
}

# What the framework serves by itself, open to all, with nothing in it that is not in this tree.
DOCUMENTATION = {"GET /openapi.json", "GET /docs", "GET /docs/oauth2-redirect"}


# Who may open a websocket is said by its first message; its own tests hold that.
SOCKETS = {"/v1/stream"}


def routes_of(app: FastAPI) -> set[str]:
    return {
        f"{method} {route.path}"
        for route in iter_route_contexts(app.routes)
        for method in (route.methods or set()) - {"HEAD"}
    } - DOCUMENTATION


async def verdict(client: httpx.AsyncClient, row: str) -> str:
    method, _, path = row.partition(" ")
    answer = await client.request(method, path.format(**PATH_VALUES))
    body = answer.json() if answer.content else {}
    code = body.get("code", "") if isinstance(body, dict) else ""
    return AUTHORIZATION_CODES.get(code, "pass")


class TestAuthorization:
    def test_has_a_row_for_every_route(self, app: FastAPI) -> None:
        assert routes_of(app) == set(TABLE)

    def test_knows_every_websocket(self, app: FastAPI) -> None:
        found = {route.path for route in iter_route_contexts(app.routes) if route.methods is None}

        assert {path for path in found if path is not None and path.startswith("/v1")} == SOCKETS

    @pytest.mark.parametrize("row", TABLE)
    async def test_lets_callers_through_as_the_table_says(
        self, app: FastAPI, client: httpx.AsyncClient, row: str
    ) -> None:
        verdicts = {}
        for name, caller in CALLERS.items():
            app.dependency_overrides.clear()
            if caller is not None:
                app.dependency_overrides[current_principal] = lambda caller=caller: caller
            verdicts[name] = await verdict(client, row)

        assert verdicts == dict(zip(CALLERS, TABLE[row].split(), strict=True))
