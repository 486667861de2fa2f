"""What the documentation lists is what the code has, and its links lead somewhere."""

import ast
import importlib
import json
import re
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

import pytest
import typer.core
import typer.main
from pydantic import BaseModel, SecretStr
from pydantic_settings import BaseSettings
from sqlmodel import SQLModel

from api.app import create_app
from api.event_stream import Close
from api.problems import problem_type
from cli.main import app as command_line
from domain.deposits import DepositStatus
from domain.errors import StrongroomError
from domain.events import KINDS
from domain.kyc import KycStatus
from domain.limits import Limit, LimitsDocument, parse_limits
from domain.payouts import PayoutStatus
from domain.policy import ApprovalRule, PayoutLimit, PolicyDocument
from domain.runs import RunStatus
from infra.search_attributes import SEARCH_ATTRIBUTES
from infra.settings import (
    ApiSettings,
    JobcoinSettings,
    MigrationSettings,
    SignerSettings,
    WorkerSettings,
)
from models.chain_transactions import ChainTransactionKind, ChainTransactionStatus
from models.identity import Role, Scope
from models.ledger import HoldStatus
from outgoing.operator import OPERATOR_REFUND
from outgoing.settlement import RECIPIENT_FAILED, REVERTED_ON_CHAIN
from payouts.catalog import AssetEntry, ChainEntry
from worker import WORKFLOWS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])

PROCESSES: dict[str, type[BaseSettings]] = {
    "api": ApiSettings,
    "worker": WorkerSettings,
    "signer": SignerSettings,
    "migrations": MigrationSettings,
    "jobcoin": JobcoinSettings,
}
PREFIX = "STRONGROOM_"
FIELDS = {
    PREFIX + name.upper(): field
    for settings in PROCESSES.values()
    for name, field in settings.model_fields.items()
}
SETTING_CELLS = 4
LINK = re.compile(r"\]\((?!https?:|mailto:)([^)\s]+)\)")
CALL = re.compile(
    r"(?:`|^|migrations |signer )strongroom"
    r"(?: --json| --(?:api|profile|state) \S+)* (?P<words>[a-z](?:[a-z0-9 ]|-(?=[a-z]))*)",
    re.MULTILINE,
)
"""A command line of ours: at the start of a code span or of a line, or run in a container."""
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def rows(page: str) -> list[list[str]]:
    """Return the cells of every table row of a page, without backticks; headings too."""
    lines = (REFERENCE / page).read_text().splitlines()
    return [
        [cell.strip().replace("`", "") for cell in line.strip("|").split("|")]
        for line in lines
        if line.startswith("|") and not line.startswith("|-")
    ]


def first_cells(page: str) -> list[str]:
    return [row[0].strip() for row in rows(page)]


def errors(base: type[StrongroomError]) -> Iterator[type[StrongroomError]]:
    yield base
    for child in base.__subclasses__():
        yield from errors(child)


def calls(path: str, function: str) -> Iterator[ast.Call]:
    """Yield every call of a function by name in a source file."""
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == function:
            yield node


def constants(path: str, function: str, position: int) -> set[str]:
    """Return the literal texts given to a function at one position."""
    given = (call.args[position] for call in calls(path, function))
    return {a.value for a in given if isinstance(a, ast.Constant) and isinstance(a.value, str)}


def options_of(command: object, path: str) -> Iterator[tuple[str, str, str | None]]:
    """Yield command, option and the variable that stands for it, of a command and those below."""
    assert isinstance(command, typer.core.TyperGroup | typer.core.TyperCommand)
    for parameter in command.params:
        if isinstance(parameter, typer.core.TyperOption):
            variable = parameter.envvar if isinstance(parameter.envvar, str) else None
            yield path, max(parameter.opts, key=len), variable
    if isinstance(command, typer.core.TyperGroup):
        for name, child in command.commands.items():
            yield from options_of(child, f"{path} {name}")


def leaves_of(command: object, path: str) -> Iterator[str]:
    """Yield the words that call each command which does something."""
    if not isinstance(command, typer.core.TyperGroup):
        yield path
        return
    for name, child in command.commands.items():
        yield from leaves_of(child, f"{path} {name}")


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


COMMAND = typer.main.get_command(command_line)
COMMANDS = set(leaves_of(COMMAND, "strongroom"))
OPTIONS = list(options_of(COMMAND, "strongroom"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
class TestPage:
    def test_has_no_dead_link(self, page: Path) -> None:
        dead = []
        for link in LINK.findall(FENCE.sub("", page.read_text())):
            name, _, anchor = link.partition("#")
            target = page.parent / name if name else page
            is_dead = not target.exists() or (anchor and anchor not in anchors(target))
            dead += [link] if is_dead else []

        assert dead == []

    def test_names_only_settings_that_exist(self, page: Path) -> None:
        of_options = {variable for _, _, variable in OPTIONS if variable}
        known = {*FIELDS, *of_options, PREFIX + "STATE_DIR"}

        assert set(re.findall(r"STRONGROOM_[A-Z_]*[A-Z]", page.read_text())) <= known

    def test_names_only_make_targets_that_exist(self, page: Path) -> None:
        targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

        assert set(re.findall(r"(?:`|^)make ([a-z]+)", page.read_text(), re.MULTILINE)) <= targets

    def test_names_only_commands_that_exist(self, page: Path) -> None:
        called = [match["words"] for match in CALL.finditer(page.read_text())]
        unknown = [
            words
            for words in called
            if not any(_agree(f"strongroom {words}".split(), c.split()) for c in COMMANDS)
        ]

        assert unknown == []

    def test_is_reached_from_another_page(self, page: Path) -> None:
        found_by_convention = {"README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"}
        linked = {
            (other.parent / link.partition("#")[0]).resolve()
            for other in PAGES
            if other != page
            for link in LINK.findall(other.read_text())
        }

        assert page.resolve() in linked or page.name in found_by_convention


class TestSettings:
    def test_are_all_listed_and_nothing_else(self) -> None:
        listed = [row[0] for row in rows("settings.md") if len(row) == SETTING_CELLS]

        assert sorted(listed) == sorted(["variable", *FIELDS])

    @pytest.mark.parametrize("process", PROCESSES)
    def test_of_each_process_are_those_it_reads(self, process: str) -> None:
        read = {PREFIX + name.upper() for name in PROCESSES[process].model_fields}
        listed = {row[0] for row in rows("settings.md") if process in row[1].split(", ")}

        assert listed == read

    def test_are_described_in_their_own_words(self) -> None:
        said = {row[0]: row[-1] for row in rows("settings.md") if row[0] in FIELDS}

        assert said == {name: field.description for name, field in FIELDS.items()}

    def test_say_which_are_required(self) -> None:
        said = {row[0] for row in rows("settings.md") if row[0] in FIELDS and row[2] == "required"}

        assert said == {name for name, field in FIELDS.items() if field.is_required()}


class TestProblems:
    def test_are_all_listed_with_status_and_title(self) -> None:
        listed = {tuple(row[:3]) for row in rows("problems.md") if row[0] != "code"}

        assert listed == {
            (error.code, str(error.http_status), error.title) for error in errors(StrongroomError)
        }

    def test_say_what_the_code_says(self) -> None:
        said = {row[0]: row[3] for row in rows("problems.md")}
        meant = {e.code: _sentence(e.__doc__ or "") for e in errors(StrongroomError)}

        assert {code: said[code] for code in meant} == meant

    def test_say_what_to_do(self) -> None:
        assert all(len(row) == 5 and row[4] for row in rows("problems.md"))

    def test_have_the_type_that_the_page_explains(self) -> None:
        assert problem_type("payout_state") in (REFERENCE / "problems.md").read_text()


class TestApi:
    def test_lists_every_route_and_nothing_else(self) -> None:
        secret = SecretStr("unused")
        settings = ApiSettings(
            database_url=secret,
            temporal_address="unused",
            codec_keys=secret,
            data_keys=secret,
            webhook_keys=secret,
            public_url="unused",
            mixer_enabled=True,
            mixer_keys=secret,
        )
        paths = create_app(settings).openapi()["paths"]
        served = {f"{method.upper()} {path}" for path, item in paths.items() for method in item}
        listed = {
            cell
            for cell in first_cells("api.md")
            if re.match(r"(GET|POST|PUT|PATCH|DELETE) /", cell)
        }

        assert listed == served

    @pytest.mark.parametrize("name", [*Role, *Scope])
    def test_explains_every_role_and_scope(self, name: str) -> None:
        assert name in first_cells("api.md")

    def test_counts_every_metric(self) -> None:
        sources = [
            (ROOT / "api" / f"{name}.py").read_text() for name in ("metrics", "unit_metrics")
        ]
        named = set(re.findall(r'"(strongroom_\w+)"', "".join(sources)))

        assert named <= set(first_cells("metrics.md"))


POSTING_RULES = (
    constants("ledger/rules.py", "Posting", 1)
    | constants("ledger/pocket_rules.py", "Posting", 1)
    | constants("ledger/mix_rules.py", "Posting", 1)
)


class TestLedger:
    @pytest.mark.parametrize("rule", sorted(POSTING_RULES))
    def test_explains_every_posting_rule(self, rule: str) -> None:
        assert rule in first_cells("ledger.md")

    def test_explains_no_rule_that_is_gone(self) -> None:
        keyed = {row[0] for row in rows("ledger.md") if len(row) == 4 and row[0] != "rule"}

        assert keyed == POSTING_RULES

    def test_lists_every_account(self) -> None:
        chart = ast.parse((ROOT / "ledger" / "chart.py").read_text())
        makers = {node.name for node in chart.body if isinstance(node, ast.FunctionDef)}
        fixed = {
            ast.literal_eval(node.value)
            for node in chart.body
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        }
        listed = [row for row in rows("ledger.md") if len(row) == 3 and row[0] != "account"]

        assert fixed <= {row[0] for row in listed}
        assert len(listed) == len(makers) + len(fixed)


class TestStates:
    @pytest.mark.parametrize("status", [*PayoutStatus, *ChainTransactionStatus])
    def test_are_all_explained(self, status: str) -> None:
        assert status in first_cells("states.md")

    @pytest.mark.parametrize("status", KycStatus)
    def test_of_applications_are_all_explained(self, status: str) -> None:
        assert status in first_cells("kyc.md")

    @pytest.mark.parametrize("kind", ChainTransactionKind)
    def test_name_both_kinds_of_chain_transaction(self, kind: str) -> None:
        assert kind in (REFERENCE / "states.md").read_text()

    def test_name_every_reason_of_a_refund(self) -> None:
        reasons = (OPERATOR_REFUND, RECIPIENT_FAILED, REVERTED_ON_CHAIN)

        assert [r for r in reasons if r not in (REFERENCE / "states.md").read_text()] == []

    @pytest.mark.parametrize(
        "states", [PayoutStatus, ChainTransactionStatus, HoldStatus, RunStatus, DepositStatus]
    )
    def test_name_every_state(self, states: type[StrEnum]) -> None:
        page = (REFERENCE / "states.md").read_text()

        assert [state for state in states if f"`{state}`" not in page] == []

    def test_say_how_the_hold_of_a_run_ends(self) -> None:
        _, _, hold = (REFERENCE / "states.md").read_text().partition("## A hold")

        assert "part by part" in hold


class TestEvents:
    def test_are_all_listed_in_their_own_words_and_nothing_else(self) -> None:
        listed = {row[0]: row[1] for row in rows("events.md") if "." in row[0]}

        assert listed == dict(KINDS)

    def test_explain_every_way_in_which_the_stream_ends(self) -> None:
        assert {str(code.value) for code in Close} <= set(first_cells("events.md"))


class TestWorkflows:
    @pytest.mark.parametrize("workflow", WORKFLOWS)
    def test_are_all_listed(self, workflow: type) -> None:
        assert workflow.__name__ in first_cells("workflows.md")

    def test_activities_are_all_listed_and_nothing_else(self) -> None:
        defined = {
            name
            for path in (ROOT / "activities").glob("*.py")
            for name in re.findall(r'@activity\.defn\(name="([^"]+)"\)', path.read_text())
        }
        listed = {c for c in first_cells("workflows.md") if re.fullmatch(r"[a-z]+\.[a-z_]+", c)}

        assert listed == defined

    @pytest.mark.parametrize("attribute", SEARCH_ATTRIBUTES)
    def test_search_attributes_are_all_listed(self, attribute: str) -> None:
        assert attribute in first_cells("workflows.md")


class TestDatabase:
    def test_lists_every_table_and_nothing_else(self) -> None:
        for path in (ROOT / "models").glob("*.py"):
            importlib.import_module(f"models.{path.stem}")
        listed = {row[0] for row in rows("database.md") if len(row) == 5 and row[0] != "table"}

        assert listed == set(SQLModel.metadata.tables)


class TestDocuments:
    @pytest.mark.parametrize("model", [PolicyDocument, ApprovalRule, PayoutLimit])
    def test_policy_page_explains_every_field(self, model: type[PolicyDocument]) -> None:
        assert set(model.model_fields) <= set(first_cells("policy.md"))

    @pytest.mark.parametrize("model", [LimitsDocument, Limit])
    def test_limits_page_explains_every_field(self, model: type[BaseModel]) -> None:
        assert set(model.model_fields) <= set(first_cells("limits.md"))

    @pytest.mark.parametrize("page", ["reference/limits.md", "how-to/verify-users.md"])
    def test_limits_in_the_pages_are_valid(self, page: str) -> None:
        samples = re.findall(r"```json\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)

        assert all(parse_limits(json.loads(sample)).limits for sample in samples)
        assert samples

    @pytest.mark.parametrize("model", [ChainEntry, AssetEntry])
    def test_catalog_page_explains_every_field(self, model: type[ChainEntry]) -> None:
        assert set(model.model_fields) <= set(first_cells("catalog.md"))


class TestCommandLine:
    def test_lists_every_command_and_nothing_else(self) -> None:
        listed = {c for c in first_cells("cli.md") if c.startswith("strongroom ")}

        assert listed == COMMANDS

    def test_lists_every_option(self) -> None:
        page = (REFERENCE / "cli.md").read_text()
        options = {name for _, name, _ in OPTIONS} - {"--install-completion", "--show-completion"}

        assert {option for option in options if f"`{option}" not in page} == set()


class TestRunbooks:
    def test_stuck_payouts_are_explained_by_code(self) -> None:
        source = "payouts/explain.py"
        known = constants(source, "Explanation", 1)
        page = (DOCS / "runbooks" / "payout-stuck.md").read_text()

        assert {code for code in known if f"| `{code}` |" not in page} == set()


def _sentence(docstring: str) -> str:
    """Return the first paragraph of a docstring on one line, as Markdown shows it."""
    return re.sub(r"\s+", " ", docstring.strip().partition("\n\n")[0]).replace("`", "")


def _agree(words: list[str], command: list[str]) -> bool:
    """Tell whether one begins with the other: arguments may follow, or the group alone is named."""
    length = min(len(words), len(command))
    return words[:length] == command[:length]
