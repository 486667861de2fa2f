"""``strongroom run``: pay many at once from a file."""

import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
)
from rich.table import Table

from cli.client import ApiClient
from cli.context import Context, context_of
from cli.streams import standings
from domain.ids import new_id
from domain.money import format_units
from domain.payouts import PayoutStatus, Priority
from domain.runs import RunStatus

app = typer.Typer(help="Bulk payouts: upload, start, approve, report.", no_args_is_help=True)

RunId = Annotated[str, typer.Argument(help="run_…")]
Code = Annotated[
    str, typer.Option(prompt="One-time code", envvar="STRONGROOM_TOTP_CODE", help="One-time code.")
]
Note = Annotated[str | None, typer.Option(help="A note for the record.")]
Key = Annotated[str | None, typer.Option(help="Repeat it when you repeat the command.")]
Lines = Annotated[str | None, typer.Option(help="Only these, such as 2-500,701; else all.")]

MEDIA_TYPES = {
    ".csv": "text/csv",
    ".jsonl": "application/x-ndjson",
    ".ndjson": "application/x-ndjson",
}
PIECE_BYTES = 64 * 1024
PAGE_MAX = 100


@app.command()
def upload(
    typer_context: typer.Context,
    file: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="A .csv, .jsonl or .ndjson file.")
    ],
    name: Annotated[str | None, typer.Option(help="What the run is called; else the file.")] = None,
    priority: Annotated[Priority, typer.Option(help="How soon it leaves.")] = Priority.NORMAL,
) -> None:
    """Store a file as a draft and show its dry run; exit 1 if it cannot start as it is."""
    context = context_of(typer_context)
    media_type = MEDIA_TYPES.get(file.suffix.lower())
    if media_type is None:
        msg = f"{file.name} is none of {', '.join(MEDIA_TYPES)}."
        raise typer.BadParameter(msg)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with context.api() as api, Progress(*columns, console=context.log) as progress:
        run = api.upload(
            "/v1/payout-runs",
            _pieces(file, progress),
            media_type=media_type,
            name=name or file.name,
            priority=priority,
        )
    check = run["check"]
    context.show(run, "\n".join(_dry_run(context, run)))
    if not check["can_start"]:
        raise typer.Exit(1)


@app.command()
def start(
    typer_context: typer.Context,
    run_id: RunId,
    code: Code,
    idempotency_key: Key = None,
    watch: Annotated[bool, typer.Option("--watch", help="Follow it to its end.")] = False,
) -> None:
    """Freeze all of a draft and pay it out once approved."""
    context = context_of(typer_context)
    key = idempotency_key or new_id("cli")
    with context.api() as api:
        path = f"/v1/payout-runs/{run_id}/start"
        run = api.send("POST", path, code=code, idempotency_key=key)
    context.show(run, f"{run_id} is {run['status']}.")
    if watch:
        follow(typer_context, run_id)


@app.command("list")
def list_runs(
    typer_context: typer.Context,
    status: Annotated[RunStatus | None, typer.Option(help="Only these.")] = None,
    everybody: Annotated[bool, typer.Option("--all", help="Of all users; needs a role.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=PAGE_MAX)] = 20,
) -> None:
    """List runs, newest first."""
    context = context_of(typer_context)
    with context.api() as api:
        scope = "all" if everybody else "mine"
        page = api.get("/v1/payout-runs", status=status, scope=scope, limit=limit)
        decimals = _decimals(api)
    if context.is_json:
        context.show(page)
        return
    table = Table()
    for heading in ("run", "name", "lines", "total", "status", "created"):
        table.add_column(heading)
    for r in page["items"]:
        total = f"{format_units(int(r['total']), decimals=decimals[r['asset']])} {r['asset']}"
        count = str(r["line_count"])
        table.add_row(r["id"], r["name"], count, total, r["status"], r["created_at"][:19])
    context.out.print(table)


@app.command()
def show(typer_context: typer.Context, run_id: RunId) -> None:
    """Show everything about a run but its lines."""
    context = context_of(typer_context)
    with context.api() as api:
        context.show(api.get(f"/v1/payout-runs/{run_id}"))


@app.command()
def lines(
    typer_context: typer.Context,
    run_id: RunId,
    problems: Annotated[bool, typer.Option("--problems", help="Only what cannot be paid.")] = False,
    status: Annotated[PayoutStatus | None, typer.Option(help="Only these.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = PAGE_MAX,
) -> None:
    """List the lines of a run, in the file's order."""
    context = context_of(typer_context)
    with context.api() as api:
        found = list(islice(_lines(api, run_id, only_problems=problems, status=status), limit))
        if context.is_json:
            context.show({"items": found})
            return
        asset = api.get(f"/v1/payout-runs/{run_id}")["asset"]
        decimals = _decimals(api)[asset]
    table = Table()
    for heading in ("line", "destination", f"amount {asset}", "reference", "status", "why"):
        table.add_column(heading, overflow="fold")
    for x in found:
        why = x["problem"]["detail"] if x["problem"] else x["reason_code"] or ""
        amount = format_units(int(x["amount"]), decimals=decimals)
        cells = (str(x["number"]), x["destination"], amount, x["reference"] or "")
        table.add_row(*cells, x["status"] or "draft", why)
    context.out.print(table)


@app.command("watch")
def follow(typer_context: typer.Context, run_id: RunId) -> None:
    """Follow a run to its end; exit 0 if every line settled, 1 otherwise."""
    context = context_of(typer_context)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    counts: dict[str, int] = {}
    with context.api() as api:
        with Progress(*columns, console=context.log) as progress:
            task = progress.add_task("waiting", total=None)
            for event in standings(api, f"/v1/payout-runs/{run_id}/events"):
                counts = event["lines"]
                text = f"{event['status']}: {_counted(counts)}" if counts else event["status"]
                progress.update(
                    task, description=text, completed=event["ended"], total=event["line_count"]
                )
        run = api.get(f"/v1/payout-runs/{run_id}")
    context.show(run, f"{run_id} {run['status']}: {_counted(counts)}")
    if set(counts) != {PayoutStatus.SETTLED}:
        raise typer.Exit(1)


@app.command()
def report(
    typer_context: typer.Context,
    run_id: RunId,
    form: Annotated[str, typer.Option("--format", help="csv or json.")] = "csv",
    output: Annotated[Path | None, typer.Option(help="Where to; else stdout.")] = None,
) -> None:
    """Write what became of every line."""
    context = context_of(typer_context)
    with context.api() as api:
        pieces = api.download(f"/v1/payout-runs/{run_id}/report", format=form)
        if output is None:
            for piece in pieces:
                sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
            return
        first = next(pieces, b"")  # a refusal comes before the file is made
        with output.open("wb") as file:
            file.write(first)
            file.writelines(pieces)
    context.log.print(f"Wrote {output}.", highlight=False)


@app.command()
def approve(
    typer_context: typer.Context, run_id: RunId, code: Code, lines: Lines = None, note: Note = None
) -> None:
    """Approve a run, or lines of it."""
    _act(typer_context, run_id, "approvals", code, {"lines": lines, "note": note})


@app.command()
def reject(
    typer_context: typer.Context, run_id: RunId, code: Code, lines: Lines = None, note: Note = None
) -> None:
    """Reject a run, or lines of it."""
    _act(typer_context, run_id, "rejections", code, {"lines": lines, "note": note})


@app.command()
def cancel(
    typer_context: typer.Context,
    run_id: RunId,
    code: Code,
    lines: Lines = None,
    idempotency_key: Key = None,
) -> None:
    """Take back what no batch has taken, or lines of it."""
    key = idempotency_key or new_id("cli")
    _act(typer_context, run_id, "cancellation", code, {"lines": lines}, key=key)


@app.command()
def retry(
    typer_context: typer.Context,
    run_id: RunId,
    line: Annotated[int, typer.Argument(min=1, help="Where it is in the file.")],
    code: Code,
    idempotency_key: Key = None,
) -> None:
    """Pay a line again that the chain did not pay, by a new payout."""
    context = context_of(typer_context)
    key = idempotency_key or new_id("cli")
    path = f"/v1/payout-runs/{run_id}/lines/{line}/retries"
    with context.api() as api:
        payout = api.send("POST", path, code=code, idempotency_key=key)
    context.show(payout, f"Line {line} is paid again by {payout['id']}: {payout['status']}.")


@app.command()
def resume(typer_context: typer.Context, run_id: RunId, code: Code) -> None:
    """Start the workflow of a run again that was ended from outside (operators)."""
    context = context_of(typer_context)
    with context.api() as api:
        run = api.send("POST", f"/v1/payout-runs/{run_id}/resumption", code=code)
    context.show(run, f"{run_id} goes on; it is {run['status']}.")


@app.command()
def discard(typer_context: typer.Context, run_id: RunId) -> None:
    """Delete a draft."""
    context = context_of(typer_context)
    with context.api() as api:
        api.send("DELETE", f"/v1/payout-runs/{run_id}")
    context.show({"id": run_id}, f"{run_id} is gone.")


def _act(
    typer_context: typer.Context,
    run_id: str,
    action: str,
    code: str,
    body: Any,
    *,
    key: str | None = None,
) -> None:
    context = context_of(typer_context)
    path = f"/v1/payout-runs/{run_id}/{action}"
    with context.api() as api:
        answer = api.send("POST", path, body, code=code, idempotency_key=key)
    context.show(answer, f"{run_id} is {answer['status']}: {_counted(answer['lines'])}")


def _pieces(path: Path, progress: Progress) -> Iterator[bytes]:
    task = progress.add_task("uploading", total=path.stat().st_size)
    with path.open("rb") as file:
        while piece := file.read(PIECE_BYTES):
            yield piece
            progress.advance(task, len(piece))
    progress.update(task, description="checking")


def _lines(
    api: ApiClient, run_id: str, *, only_problems: bool, status: PayoutStatus | None
) -> Iterator[dict[str, Any]]:
    cursor = None
    while True:
        page = api.get(
            f"/v1/payout-runs/{run_id}/lines",
            only_problems=only_problems,
            status=status,
            limit=PAGE_MAX,
            cursor=cursor,
        )
        yield from page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            return


def _dry_run(context: Context, run: dict[str, Any]) -> Iterator[str]:
    with context.api() as api:
        decimals = _decimals(api)[run["asset"]]
    check = run["check"]

    def units(amount: str) -> str:
        return f"{format_units(int(amount), decimals=decimals)} {run['asset']}"

    yield f"{run['id']}: {run['line_count']} lines, {units(run['total'])}"
    yield f"service fees {units(run['fee_total'])}, available {units(check['available'])}"
    yield f"approvals needed: {check['approvals_required']}"
    if check["problem_count"]:
        yield f"{check['problem_count']} lines have problems: strongroom run lines --problems"
    yield from (f"{p['code']}: {p['detail']}" for p in check["problems"])
    yield "It can start." if check["can_start"] else "It cannot start."


def _decimals(api: ApiClient) -> dict[str, int]:
    return {asset["code"]: asset["decimals"] for asset in api.get("/v1/assets")["items"]}


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {status}" for status, count in sorted(counts.items())) or "no lines"
