"""``strongroom kyc``: levels, and deciding on applications."""

from typing import Annotated, Any

import typer
from rich.table import Table

from cli.context import context_of
from domain.kyc import KycStatus

app = typer.Typer(help="KYC: levels, applications, decisions.", no_args_is_help=True)

Code = Annotated[
    str, typer.Option(prompt="One-time code", envvar="STRONGROOM_TOTP_CODE", help="One-time code.")
]
ApplicationId = Annotated[str, typer.Argument(help="kya_…")]
Revision = Annotated[
    int, typer.Option(help="Of the application as `show` showed it; another one is refused.")
]
Note = Annotated[str, typer.Option(help="What the applicant reads.")]


@app.command("list")
def list_applications(
    typer_context: typer.Context,
    status: Annotated[KycStatus | None, typer.Option(help="Only these.")] = None,
    mine: Annotated[bool, typer.Option("--mine", help="Only your own.")] = False,
) -> None:
    """List applications (reviewers), or your own."""
    context = context_of(typer_context)
    items: list[Any] = []
    cursor = None
    with context.api() as api:
        while True:
            page = api.get(
                "/v1/kyc/applications",
                scope="mine" if mine else "all",
                status=status,
                limit=100,
                cursor=cursor,
            )
            items += page["items"]
            cursor = page["next_cursor"]
            if cursor is None:
                break
    if context.is_json:
        context.show({"items": items, "next_cursor": None})
        return
    table = Table()
    for heading in ("application", "user", "level", "status", "since"):
        table.add_column(heading, no_wrap=True)
    for e in items:
        since = e["updated_at"][:19]
        table.add_row(e["id"], e["user_id"], str(e["level"]), e["status"], since)
    context.out.print(table)


@app.command()
def show(typer_context: typer.Context, application_id: ApplicationId) -> None:
    """Show an application with its documents (its applicant, and reviewers)."""
    context = context_of(typer_context)
    with context.api() as api:
        a = api.get(f"/v1/kyc/applications/{application_id}")
    if context.is_json:
        context.show(a)
        return
    context.out.print(
        f"{a['id']} is {a['status']}: level {a['level']} for {a['user_id']}, revision"
        f" {a['revision']}\n{a['full_name']}, born {a['born_on']}, of {a['residence_country']}",
        highlight=False,
        markup=False,
    )
    table = Table()
    for heading in ("revision", "document", "file", "issued by", "expires", "sha256"):
        table.add_column(heading)
    for d in a["documents"]:
        expiry = d["expires_on"] or "never"
        row = (str(d["revision"]), d["kind"], d["file_name"], d["issued_country"], expiry)
        table.add_row(*row, d["sha256"][:16] + "…")
    context.out.print(table)


@app.command()
def approve(
    typer_context: typer.Context,
    application_id: ApplicationId,
    code: Code,
    revision: Revision,
    note: Annotated[str | None, typer.Option(help="What the applicant reads.")] = None,
) -> None:
    """Grant the level that somebody else asked for (approvers)."""
    _decide(typer_context, application_id, "approvals", {"revision": revision, "note": note}, code)


@app.command()
def reject(
    typer_context: typer.Context,
    application_id: ApplicationId,
    code: Code,
    revision: Revision,
    note: Note,
) -> None:
    """Reject an application (approvers)."""
    _decide(typer_context, application_id, "rejections", {"revision": revision, "note": note}, code)


@app.command()
def ask(
    typer_context: typer.Context,
    application_id: ApplicationId,
    code: Code,
    revision: Revision,
    note: Note,
) -> None:
    """Ask the applicant for more documents (approvers)."""
    body = {"revision": revision, "note": note}
    _decide(typer_context, application_id, "information-requests", body, code)


@app.command()
def level(
    typer_context: typer.Context,
    user_id: Annotated[str | None, typer.Argument(help="usr_…; without: you.")] = None,
) -> None:
    """Show a level, and what remains of its limits; somebody else's to reviewers."""
    context = context_of(typer_context)
    with context.api() as api:
        answer = api.get("/v1/kyc" if user_id is None else f"/v1/kyc/users/{user_id}")
    if context.is_json:
        context.show(answer)
        return
    context.out.print(f"level {answer['level']}")
    table = Table()
    for heading in ("operation", "asset", "window", "used", "remaining", "more at"):
        table.add_column(heading)
    for e in answer["limits"]:
        for kind in ("count", "amount"):
            if (part := e[kind]) is not None:
                used = f"{part['used']} of {part['cap']}"
                named = (e["operation"], e["asset"], e["window"], used, str(part["remaining"]))
                table.add_row(*named, (e["renews_at"] or "")[:19])
    context.out.print(table)


@app.command()
def downgrade(
    typer_context: typer.Context,
    user_id: Annotated[str, typer.Argument(help="usr_…")],
    code: Code,
    reason: Annotated[str, typer.Option(help="Why; the user reads it.")],
    to: Annotated[int, typer.Option(help="The level that remains.", min=0, max=2)] = 0,
) -> None:
    """Lower a user's level (owners)."""
    context = context_of(typer_context)
    body = {"level": to, "reason": reason}
    with context.api() as api:
        answer = api.send("POST", f"/v1/kyc/users/{user_id}/downgrades", body, code=code)
    context.show(answer, f"{user_id} has level {answer['level']}.")


def _decide(
    typer_context: typer.Context, application_id: str, what: str, body: object, code: str
) -> None:
    context = context_of(typer_context)
    path = f"/v1/kyc/applications/{application_id}/{what}"
    with context.api() as api:
        answer = api.send("POST", path, body, code=code)
    text = f"{application_id} is {answer['status']}; the user has level {answer['level']}."
    context.show(answer, text)
