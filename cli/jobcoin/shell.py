"""The interactive shell of ``strongroom jobcoin``: a prompt, until a blank line."""

import contextlib
import difflib
import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
import typer
from rich.console import Console
from rich.table import Table

from cli.client import ApiProblem
from cli.jobcoin.commands import Answer, JobcoinCommands
from domain.errors import StrongroomError

WELCOME = "[bold]Welcome to the Jobcoin network![/]\nPlease enter your command"
PROMPT = "[blank to quit] > "
HISTORY_MAX = 1_000


@dataclass(frozen=True, slots=True)
class ShellCommand:
    """What a word does, with what behind it."""

    arguments: str
    help: str
    least: int
    most: int | None
    """How many arguments it takes; None is any number."""
    run: Callable[[Sequence[str]], Answer]


class JobcoinShell:
    """Reads commands and shows answers, one line each, until a blank one."""

    def __init__(
        self,
        commands: JobcoinCommands,
        out: Console,
        log: Console,
        *,
        is_json: bool = False,
        read: Callable[[str], str] = input,
    ) -> None:
        """Take where answers go and where everything else goes; ``read`` asks for a line."""
        self._out = out
        self._log = log
        self._is_json = is_json
        self._read = read
        self.commands = _table_of(commands)

    def run(self) -> None:
        """Read and answer until a blank line or the end of the input."""
        self._log.print(WELCOME)
        while True:
            try:
                line = self._read(PROMPT)
            except EOFError:
                return
            except KeyboardInterrupt:
                # What was typed is thrown away, as in every shell.
                self._log.print()
                continue
            if not line.strip():
                return
            self.answer(line)

    def answer(self, line: str) -> bool:
        """Do what a line says; False where it cannot be done, which is said."""
        try:
            word, *arguments = shlex.split(line)
        except ValueError:
            return self._refuse("A quotation mark is missing.")
        name = word.lower().replace("-", "_")
        if name == "help":
            self._out.print(self._help())
            return True
        command = self.commands.get(name)
        if command is None:
            return self._refuse(f"There is no command {word!r}.{self._nearest(name)} Try: help")
        most = len(arguments) if command.most is None else command.most
        if not command.least <= len(arguments) <= most:
            return self._refuse(f"Say: {name} {command.arguments}".rstrip())
        return self._run(command, arguments)

    def _run(self, command: ShellCommand, arguments: Sequence[str]) -> bool:
        try:
            answer = command.run(arguments)
        except ApiProblem as problem:
            return self._refuse(f"{problem.code}: {problem.detail}")
        except StrongroomError as error:
            return self._refuse(f"{error.code}: {error.detail}")
        except httpx.HTTPError as error:
            return self._refuse(f"Nobody answers: {error}")
        except (KeyboardInterrupt, typer.Abort):
            return self._refuse("Given up.")
        if self._is_json:
            self._out.print_json(json.dumps(answer.data))
        else:
            self._out.print(answer.shown, highlight=False)
        return True

    def _refuse(self, text: str) -> bool:
        self._log.print(text, style="red", markup=False, highlight=False)
        return False

    def _nearest(self, name: str) -> str:
        near = difflib.get_close_matches(name, self.commands, n=1)
        return f" Did you mean {near[0]}?" if near else ""

    def _help(self) -> Table:
        table = Table(box=None, show_header=False, pad_edge=False)
        table.add_column(style="bold cyan", no_wrap=True)
        table.add_column(style="cyan")
        table.add_column()
        for name, command in self.commands.items():
            # A text in brackets is no markup.
            table.add_row(name, command.arguments.replace("[", r"\["), command.help)
        table.add_row("help", "", "Show this list.")
        return table


def remember_lines(path: Path, words: Sequence[str]) -> None:
    """
    Keep typed lines in a file from one shell to the next, and complete commands with Tab.

    Without readline, as on some platforms, a line is only read.
    """
    try:
        import readline  # noqa: PLC0415 - not everywhere there
    except ImportError:
        return
    import atexit  # noqa: PLC0415 - only with what is to be written at the end

    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with contextlib.suppress(OSError):
        readline.read_history_file(path)
    readline.set_history_length(HISTORY_MAX)
    readline.parse_and_bind("tab: complete")
    readline.set_completer(lambda text, state: _completions(text, words)[state])
    atexit.register(readline.write_history_file, path)


def _completions(text: str, words: Sequence[str]) -> list[str | None]:
    return [*(f"{word} " for word in sorted(words) if word.startswith(text)), None]


def _table_of(commands: JobcoinCommands) -> Mapping[str, ShellCommand]:
    return {
        "status": ShellCommand(
            "", "Show the network and its newest block.", 0, 0, lambda _a: commands.status()
        ),
        "new_address": ShellCommand(
            "[NAME]", "Make a key and show its address.", 0, 1, lambda a: commands.new_address(*a)
        ),
        "addresses": ShellCommand(
            "", "List your addresses and what they have.", 0, 0, lambda _a: commands.addresses()
        ),
        "balance": ShellCommand(
            "ADDRESS", "Show what an address has.", 1, 1, lambda a: commands.balance(*a)
        ),
        "get_transactions": ShellCommand(
            "[ADDRESS]", "List transactions, newest first.", 0, 1, lambda a: _listed(commands, a)
        ),
        "send": ShellCommand(
            "FROM TO AMOUNT [TO AMOUNT …]",
            "Send coins to one or several.",
            3,
            None,
            lambda a: commands.send(a[0], a[1:]),
        ),
        "mint": ShellCommand(
            "ADDRESS AMOUNT", "Make coins; for the owner.", 2, 2, lambda a: commands.mint(*a)
        ),
        "add_addresses": ShellCommand(
            "ADDRESS …",
            "Have a mixer pay out to these; shows where to pay in.",
            1,
            None,
            commands.add_addresses,
        ),
    }


def _listed(commands: JobcoinCommands, arguments: Sequence[str]) -> Answer:
    return commands.transactions(*arguments)
