"""What can go wrong with the local stack; each error has a stable ``code`` and says what to do."""

from pathlib import Path


class StackError(Exception):
    """The local stack cannot do what was asked."""

    code = "stack_error"


class PortTakenError(StackError):
    """Another program listens on a port that a service of the stack needs."""

    code = "port_taken"

    def __init__(self, *, service: str, port: int, option: str) -> None:
        """Name the service, its port, and the option that moves it elsewhere."""
        super().__init__(
            f"Port {port}, which {service} needs, is taken. "
            f"Choose another one with {option}, or end the program that listens there."
        )
        self.service = service
        self.port = port
        self.option = option


class StateInUseError(StackError):
    """Another stack runs on the same state folder."""

    code = "state_in_use"

    def __init__(self, state_dir: Path, *, owner: str) -> None:
        """Name the folder and the process that holds it."""
        super().__init__(
            f"The state folder {state_dir} is in use by process {owner or 'unknown'}. "
            "Stop that stack, or choose another folder with --state."
        )


class StateDamagedError(StackError):
    """The state folder lacks something that cannot be made anew without losing money."""

    code = "state_damaged"


class BinaryMissingError(StackError):
    """A server's program is not installed."""

    code = "binary_missing"


class ProcessFailedError(StackError):
    """A process of the stack ended, or did not become ready in time."""

    code = "process_failed"

    def __init__(self, name: str, problem: str, *, log_path: Path) -> None:
        """Keep the end of the process's log, which usually names the cause."""
        super().__init__(f"{name} {problem}. The end of {log_path}:\n{log_tail(log_path)}")
        self.name = name


def log_tail(path: Path, *, lines_max: int = 15, bytes_max: int = 8_192) -> str:
    """Return the last lines of a log file, or an empty text where there is none."""
    if not path.exists():
        return ""
    with path.open("rb") as log:
        log.seek(max(0, path.stat().st_size - bytes_max))
        return "\n".join(log.read().decode(errors="replace").splitlines()[-lines_max:])
