"""What every command shares: where the API is, who asks, and how answers are shown."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from cli.client import ApiClient
from devnet.ports import Ports
from devnet.site import DATABASE, DEFAULT_STATE_DIR, Site

PROFILE_FOLDER = "cli"


@dataclass
class Context:
    """Global options."""

    api_url: str
    profile: str
    state_dir: Path
    is_json: bool
    out: Console
    log: Console
    jobcoin_url: str | None = None
    """Where the Jobcoin node answers, if that was said."""

    @property
    def profile_path(self) -> Path:
        """The file that holds this profile's session token, readable by its owner alone."""
        return self.state_dir / PROFILE_FOLDER / f"{self.profile}.json"

    def open_api(self) -> ApiClient:
        """Return a client as this profile's user."""
        return ApiClient(self.api_url, token=self.load_profile().get("token"))

    @contextmanager
    def api(self) -> Iterator[ApiClient]:
        """Yield a client as this profile's user."""
        with self.open_api() as client:
            yield client

    def load_profile(self) -> dict[str, str]:
        """Return what is stored of this profile; empty before the first login."""
        if not self.profile_path.exists():
            return {}
        stored: dict[str, str] = json.loads(self.profile_path.read_text())
        return stored

    def store_profile(self, **values: str) -> None:
        """Keep values of this profile: the session token, never a TOTP secret."""
        self.profile_path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        content = json.dumps({**self.load_profile(), **values}, indent=2)
        partial = self.profile_path.with_suffix(".new")
        partial.unlink(missing_ok=True)
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(content)
        partial.replace(self.profile_path)

    def show(self, answer: Any, text: str | None = None) -> None:
        """Print an answer: JSON for programs, or the text for people."""
        if self.is_json or text is None:
            self.out.print_json(json.dumps(answer, default=str))
        else:
            self.out.print(text, highlight=False)

    def owner_database_url(self) -> str:
        """Return the database as the schema's owner: from the environment, or the local stack's."""
        given = os.environ.get("STRONGROOM_MIGRATION_DATABASE_URL")
        return given or self.local_site().database_url(database=DATABASE)

    def wallet_keys(self) -> str:
        """Return the wallets' key-encryption keys: from the environment, or the local stack's."""
        return os.environ.get("STRONGROOM_WALLET_KEYS") or self.local_site().secrets.wallet_keys

    def signer_database_url(self) -> str:
        """Return the database as the signer's role."""
        given = os.environ.get("STRONGROOM_DATABASE_URL")
        return given or self.local_site().database_url("strongroom_signer")

    def local_site(self) -> Site:
        """Return the local stack of the state folder, or refuse when there is none."""
        if not (self.state_dir / "secrets.json").exists():
            msg = (
                f"There is no local stack in {self.state_dir}; give --state, or set the"
                " STRONGROOM_… variables of the process you act for."
            )
            raise typer.BadParameter(msg)
        return Site(state_dir=self.state_dir, ports=self.local_ports())

    def jobcoin_mint_token(self) -> str | None:
        """Return what lets its holder mint: from the environment, or the local stack's."""
        given = os.environ.get("STRONGROOM_JOBCOIN_MINT_TOKEN")
        if given or not (self.state_dir / "secrets.json").exists():
            return given
        return self.local_site().secrets.jobcoin_mint_token

    def local_ports(self) -> Ports:
        """Return the ports of the local stack; those of any other where there is none."""
        return local_ports(self.state_dir)


def context_of(typer_context: typer.Context) -> Context:
    """Return the global options of this call."""
    found: Context = typer_context.obj
    return found


def default_state_dir() -> Path:
    """Return the local stack's folder."""
    return Path(os.environ.get("STRONGROOM_STATE_DIR", str(DEFAULT_STATE_DIR)))


def local_ports(state_dir: Path) -> Ports:
    """Return the ports of the local stack of this folder; the usual ones where there is none."""
    path = state_dir / "ports.json"
    return Ports(**json.loads(path.read_text())) if path.exists() else Ports()


def local_api_url(state_dir: Path) -> str:
    """Return where the API of the local stack of this folder answers."""
    return Site(state_dir=state_dir, ports=local_ports(state_dir)).api_url
