"""``strongroom user``: sign up, log in, enable the second factor, look at one's money."""

import sys
from typing import Annotated

import segno
import typer
from rich.table import Table

from cli.client import ApiClient
from cli.context import Context, context_of
from domain.money import format_units

app = typer.Typer(help="Users: sign up, log in, second factor, balances.", no_args_is_help=True)
two_factor = typer.Typer(help="The second factor.", no_args_is_help=True)
app.add_typer(two_factor, name="2fa")

Email = Annotated[str, typer.Argument(help="The user's email.")]
Password = Annotated[
    str, typer.Option(prompt=True, hide_input=True, envvar="STRONGROOM_PASSWORD", help="Password.")
]


@app.command()
def create(typer_context: typer.Context, email: Email, password: Password) -> None:
    """Sign up and log in."""
    context = context_of(typer_context)
    with context.api() as api:
        user = api.send("POST", "/v1/users", {"email": email, "password": password})
        log_in(context, api, email, password)
    context.show(user, f"Signed up {email} as {user['id']}; logged in as {context.profile}.")


@app.command()
def login(typer_context: typer.Context, email: Email, password: Password) -> None:
    """Log in; the session is kept in the profile."""
    context = context_of(typer_context)
    with context.api() as api:
        session = log_in(context, api, email, password)
    context.show(session, f"Logged in as {email}; the session is kept as {context.profile}.")


def log_in(context: Context, api: ApiClient, email: str, password: str) -> object:
    """Open a session and keep its token in the profile; return the session without the token."""
    opened = api.send("POST", "/v1/sessions", {"email": email, "password": password})
    context.store_profile(token=opened["token"], email=email)
    return {name: value for name, value in opened.items() if name != "token"}


@app.command()
def me(typer_context: typer.Context) -> None:
    """Show who this profile is, and what they have."""
    context = context_of(typer_context)
    with context.api() as api:
        user = api.get("/v1/users/me")
        wallet = api.get("/v1/wallets")
        decimals = {asset["code"]: asset["decimals"] for asset in api.get("/v1/assets")["items"]}
    if context.is_json:
        context.show({"user": user, "wallet": wallet})
        return
    table = Table(title=f"{user['email']} ({user['id']})")
    for heading in ("asset", "available", "held"):
        table.add_column(heading, justify="left" if heading == "asset" else "right")
    for balance in wallet["balances"]:
        amounts = [
            format_units(int(balance[name]), decimals=decimals[balance["asset"]])
            for name in ("available", "held")
        ]
        table.add_row(balance["asset"], *amounts)
    context.out.print(table)


@two_factor.command("enable")
def enable_two_factor(typer_context: typer.Context, password: Password) -> None:
    """Enrol an authenticator app and confirm its first code."""
    context = context_of(typer_context)
    with context.api() as api:
        enrolment = api.send("POST", "/v1/2fa/enrolment", {"password": password})
        context.log.print(f"Secret: {enrolment['secret']}\n{enrolment['otpauth_uri']}")
        segno.make(enrolment["otpauth_uri"]).terminal(out=sys.stderr, compact=True)
        code = typer.prompt("Code shown by the app", err=True)
        codes = api.send("POST", "/v1/2fa/confirmation", {"code": code})
    lines = "\n".join(codes["recovery_codes"])
    context.show(codes, f"The second factor is on. Recovery codes, each good once:\n{lines}")


@two_factor.command("status")
def two_factor_status(typer_context: typer.Context) -> None:
    """Show whether the second factor is on."""
    context = context_of(typer_context)
    with context.api() as api:
        context.show(api.get("/v1/2fa"))
