"""The OpenAPI document: what the framework derives, and what it cannot know."""

from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from api.schemas.problems import Problem

DESCRIPTION: Final = """\
Every movement of money is a durable workflow: ask once, with an `Idempotency-Key`, and it happens
once or is refused.

Errors are `application/problem+json` (RFC 9457) with a stable `code`. Amounts are decimal strings
of minor units. Times are RFC 3339, UTC. Lists come newest first, by opaque cursor.
"""

TAGS: Final = [
    {"name": "users", "description": "Signing up, and who asks."},
    {"name": "sessions", "description": "Logging in and out."},
    {"name": "two-factor", "description": "Authenticator apps, recovery codes, step-up tokens."},
    {"name": "api-keys", "description": "Keys for programs, within scopes."},
    {"name": "admins", "description": "Who holds which role."},
    {"name": "wallets", "description": "Assets, balances, statements, hot wallets."},
    {
        "name": "transactions",
        "description": "Every operation of every unit, and monthly statements.",
    },
    {"name": "payouts", "description": "Paying external addresses: ask, approve, follow."},
    {"name": "transfers", "description": "Money between users: handles, transfers, requests."},
    {"name": "pockets", "description": "Wallets of a user's own on chains: fund, spend, redeem."},
    {"name": "payout-runs", "description": "Paying many at once: upload, start, approve, report."},
    {
        "name": "address-book",
        "description": "Destinations that a user named, and paying only those.",
    },
    {"name": "screening", "description": "Addresses that must not be paid."},
    {"name": "policy", "description": "How many approvals a payout needs, and limits."},
    {"name": "kyc", "description": "Who users are: levels, applications, decisions."},
    {"name": "limits", "description": "What users of each level may do."},
    {"name": "deposits", "description": "Receiving: addresses, and what arrived at them."},
    {"name": "mixing", "description": "Paying in at one address and out to others, unlinkably."},
    {"name": "purchases", "description": "Rates, quotes, and buying what we issue."},
    {"name": "chains", "description": "What was seen of each chain, and reading it again."},
    {"name": "freezes", "description": "Users whose deposit was taken back."},
    {"name": "events", "description": "What happened, as a list; a websocket tells it too."},
    {"name": "webhooks", "description": "Having events sent: endpoints, secrets, deliveries."},
    {"name": "operations", "description": "Health, metrics, and the Temporal UI's codec."},
]


def install_openapi(app: FastAPI) -> None:
    """Make the application describe itself, problems included."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = get_openapi(
                title=app.title,
                version=app.version,
                description=app.description,
                tags=app.openapi_tags,
                routes=app.routes,
            )
            _add_problem_schema(document)
            _drop_null_parameters(document)
            app.openapi_schema = document
        return app.openapi_schema

    # The documented way to extend the document; mypy sees only the assignment to a method.
    app.openapi = openapi  # type: ignore[method-assign]


def _add_problem_schema(document: dict[str, Any]) -> None:
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    schema = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(schema.pop("$defs", {}))
    schemas["Problem"] = schema


def _drop_null_parameters(document: dict[str, Any]) -> None:
    # ``str | None`` means "may be absent"; in a header or a query "null" is four letters.
    for path in document["paths"].values():
        for operation in path.values():
            for parameter in operation.get("parameters", []):
                schema = parameter["schema"]
                choices = [c for c in schema.pop("anyOf", []) if c != {"type": "null"}]
                if len(choices) == 1:
                    schema.update(choices[0])
                elif choices:
                    schema["anyOf"] = choices
