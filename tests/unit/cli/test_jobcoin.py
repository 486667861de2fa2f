"""The shell of ``strongroom jobcoin`` and its purse, with a node that only remembers."""

import io
import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, override

import httpx
import pytest
from rich.console import Console

from cli.client import ApiClient, ApiProblem
from cli.jobcoin.commands import JobcoinCommands
from cli.jobcoin.purse import Purse
from cli.jobcoin.shell import JobcoinShell
from domain.errors import ConflictError, InvalidAddressError, NotFoundError, ValidationError
from domain.jobcoin.addresses import account_of
from domain.jobcoin.transactions import Output, read_transaction

CHAIN = "jobcoin:local"
JOB = 10**8


class RememberingNode(ApiClient):
    """Takes everything, and tells what it was asked."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:1")
        self.posted: list[tuple[str, Any]] = []
        self.codes: list[str | None] = []
        self.failures: list[Exception] = []

    @override
    def get(self, path: str, **query: object) -> Any:
        if path == "/v1/status":
            status = {"chain_id": CHAIN, "height": 7, "hash": "00", "minted": "500000000"}
            return {**status, "cap": "2100000000000000", "timestamp": "2026-01-02T03:04:05+00:00"}
        if path == "/v1/transactions":
            paid = {"address": "tjob1x", "amount": "150000000"}
            shown = {"kind": "transfer", "from": "tjob1y", "to": [paid, paid], "height": None}
            return {"items": [{**shown, "timestamp": "2026-01-02T03:04:05+00:00"}]}
        address = path.rpartition("/")[2]
        balances = {"balance": "300000000", "available": "200000000"}
        return {"address": address, **balances, "next_nonce": 3, "next_free_nonce": 4}

    @override
    def send(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        code: str | None = None,
        idempotency_key: str | None = None,
    ) -> Any:
        self.posted.append((path, body))
        self.codes.append(code)
        if self.failures:
            raise self.failures.pop(0)
        if path == "/v1/mixes":
            return {"deposit_address": "tjob1deposit"}
        return {"txid": "ab" * 32, "is_new": True}


class Typed:
    """Lines that somebody types."""

    def __init__(self, *lines: str | type[BaseException]) -> None:
        self._lines: Iterator[str | type[BaseException]] = iter(lines)
        self.prompts: list[str] = []

    def __call__(self, prompt: str) -> str:
        self.prompts.append(prompt)
        line = next(self._lines, EOFError)
        if isinstance(line, str):
            return line
        raise line


@pytest.fixture
def node() -> RememberingNode:
    return RememberingNode()


@pytest.fixture
def commands(node: RememberingNode, tmp_path: Path) -> JobcoinCommands:
    return JobcoinCommands(
        node, Purse(tmp_path / "cli" / "keys.json"), lambda: node, lambda: "123456"
    )


def said(
    commands: JobcoinCommands, *lines: str | type[BaseException], is_json: bool = False
) -> tuple[str, str]:
    """Type lines; return what went to stdout and what to stderr."""
    out, log = (Console(file=io.StringIO(), width=200, no_color=True) for _ in range(2))
    JobcoinShell(commands, out, log, is_json=is_json, read=Typed(*lines)).run()
    return tuple(console.file.getvalue() for console in (out, log))  # type: ignore[attr-defined]


class TestShell:
    def test_ends_at_a_blank_line(self, commands: JobcoinCommands) -> None:
        typed = Typed("   ", "status")
        JobcoinShell(commands, Console(quiet=True), Console(quiet=True), read=typed).run()

        assert typed.prompts == ["[blank to quit] > "]

    def test_ends_with_the_input(self, commands: JobcoinCommands) -> None:
        out, log = said(commands, "status")

        assert "jobcoin:local block 7 of 2026-01-02 03:04:05" in out
        assert "5 of at most 21000000 JOB exist" in out
        assert "Welcome to the Jobcoin network!" in log

    def test_throws_a_line_away_that_was_interrupted(self, commands: JobcoinCommands) -> None:
        out, _ = said(commands, KeyboardInterrupt, "status")

        assert "block 7" in out

    def test_helps(self, commands: JobcoinCommands) -> None:
        out, _ = said(commands, "help")

        for name in ("get_transactions [ADDRESS]", "add_addresses", "send", "mint", "help"):
            assert name.split()[0] in out
        assert "[ADDRESS]" in out

    def test_says_which_command_was_meant(self, commands: JobcoinCommands) -> None:
        _, log = said(commands, "get_transaction", "xyz")

        assert "Did you mean get_transactions?" in log
        assert "There is no command 'xyz'. Try: help" in log

    @pytest.mark.parametrize("line", ["balance", "send a b", "mint a", "status now"])
    def test_says_how_a_command_is_used(self, commands: JobcoinCommands, line: str) -> None:
        _, log = said(commands, line)

        assert f"Say: {line.split(maxsplit=1)[0]}" in log

    def test_says_that_a_quotation_mark_is_missing(self, commands: JobcoinCommands) -> None:
        assert "quotation mark" in said(commands, 'balance "ada')[1]

    def test_goes_on_after_a_refusal(
        self, commands: JobcoinCommands, node: RememberingNode
    ) -> None:
        problem = {"code": "insufficient_balance", "detail": "The sender has 5 to spend."}
        node.failures = [ApiProblem(409, problem)]
        out, log = said(commands, "new_address ada", "send ada ada 1", "status")

        assert "insufficient_balance: The sender has 5 to spend." in log
        assert "block 7" in out

    def test_takes_words_with_hyphens_as_well(self, commands: JobcoinCommands) -> None:
        out, _ = said(commands, "get-transactions")

        assert out.count("1.5") == 2
        assert "waits" in out

    def test_answers_in_json(self, commands: JobcoinCommands) -> None:
        out, _ = said(commands, "status", is_json=True)

        assert json.loads(out)["height"] == 7


class TestSend:
    def test_signs_what_was_typed(self, commands: JobcoinCommands, node: RememberingNode) -> None:
        ada, bob = (commands.purse.make(CHAIN, name) for name in ("ada", "bob"))
        answer = commands.send("ada", ["bob", "1.5", bob.address, "0.00000001"])
        ((path, body),) = node.posted
        transaction, _ = read_transaction(bytes.fromhex(body["raw"]))

        assert path == "/v1/transactions"
        assert transaction.sender == account_of(ada.address, CHAIN)
        assert transaction.account_nonce == 4
        account = account_of(bob.address, CHAIN)
        assert transaction.outputs == (Output(account, 150_000_000), Output(account, 1))
        assert "1.50000001 JOB" in str(answer.shown)

    def test_hands_in_the_same_bytes_when_the_answer_is_lost(
        self, commands: JobcoinCommands, node: RememberingNode
    ) -> None:
        commands.purse.make(CHAIN, "ada")
        node.failures = [httpx.ReadTimeout("gone")] * 2
        assert commands.send("ada", ["ada", "1"]).data["is_new"]

        assert len(node.posted) == 3
        assert node.posted[0] == node.posted[1] == node.posted[2]

    def test_names_the_transaction_when_nobody_answers(
        self, commands: JobcoinCommands, node: RememberingNode
    ) -> None:
        commands.purse.make(CHAIN, "ada")
        node.failures = [httpx.ReadTimeout("gone")] * 3
        _, log = said(commands, "send ada ada 1")
        txid = read_transaction(bytes.fromhex(node.posted[0][1]["raw"]))[0].txid

        assert f"broadcast_unknown: The node's answer was lost: look for {txid}" in log

    @pytest.mark.parametrize(
        ("line", "code"),
        [
            ("send ada ada", "Say: send"),
            ("send ada ada 1 ada", "bad_request"),
            ("send ada ada 0", "invalid_amount"),
            ("send ada ada 0.000000001", "invalid_amount"),
            ("send ada eve 1", "invalid_address"),
            ("send tjob1qqqsyqcyq5rqwzqfpg9scrgwpugpzysnfrq5wy ada 1", "not_found"),
        ],
    )
    def test_refuses(
        self, commands: JobcoinCommands, node: RememberingNode, line: str, code: str
    ) -> None:
        commands.purse.make(CHAIN, "ada")

        assert code in said(commands, line)[1]
        assert node.posted == []


class TestOthers:
    def test_mints(self, commands: JobcoinCommands, node: RememberingNode) -> None:
        ada = commands.purse.make(CHAIN, "ada")
        commands.mint("ada", "2.5", reference="first")

        assert node.posted == [("/v1/mint", {"address": ada.address, "amount": "250000000"})]

    def test_gives_a_mixer_addresses_and_shows_where_it_is_paid(
        self, commands: JobcoinCommands, node: RememberingNode
    ) -> None:
        made = [commands.purse.make(CHAIN, name).address for name in ("ada", "bob")]

        assert "tjob1deposit" in said(commands, f"add_addresses ada {made[1]}")[0]
        assert node.posted == [("/v1/mixes", {"asset": "JOB", "addresses": made})]
        assert node.codes == ["123456"]

    def test_says_that_no_mixer_is_there(
        self, commands: JobcoinCommands, node: RememberingNode
    ) -> None:
        node.failures = [ApiProblem(404, {"code": "not_found", "detail": "There is no such page."})]
        commands.purse.make(CHAIN, "ada")

        assert "not_found: There is no such page." in said(commands, "add_addresses ada")[1]

    def test_shows_what_there_is(self, commands: JobcoinCommands) -> None:
        commands.purse.make(CHAIN, "ada")
        out, _ = said(commands, "addresses", "balance ada")

        assert "has 3 JOB, 2 of it to spend" in out
        assert out.count("tjob1") == 2


class TestPurse:
    def test_is_for_its_owner_alone(self, tmp_path: Path) -> None:
        purse = Purse(tmp_path / "cli" / "keys.json")
        assert purse.keys(CHAIN) == []
        made = purse.make(CHAIN)

        assert stat.S_IMODE((tmp_path / "cli" / "keys.json").stat().st_mode) == 0o600
        assert Purse(tmp_path / "cli" / "keys.json").keys(CHAIN) == [made]
        assert made.private_key not in repr(made)

    def test_keeps_networks_apart(self, tmp_path: Path) -> None:
        purse = Purse(tmp_path / "keys.json")
        names = [purse.make(chain_id).name for chain_id in (CHAIN, CHAIN, "jobcoin:main")]

        assert names == ["key1", "key2", "key1"]
        assert [key.address[:4] for key in purse.keys("jobcoin:main")] == ["job1"]
        with pytest.raises(InvalidAddressError):
            purse.address("jobcoin:main", "key2")

    def test_refuses_a_name_twice_or_one_that_is_none(self, tmp_path: Path) -> None:
        purse = Purse(tmp_path / "keys.json")
        purse.make(CHAIN, "ada")
        with pytest.raises(ConflictError):
            purse.make(CHAIN, "ada")
        with pytest.raises(ValidationError):
            purse.make(CHAIN, "two words")

    def test_signs_for_nobody_else(self, tmp_path: Path) -> None:
        purse = Purse(tmp_path / "keys.json")
        stranger = purse.make("jobcoin:main", "eve").address
        with pytest.raises(NotFoundError):
            purse.sign(CHAIN, stranger, 0, [(stranger, 1)])
