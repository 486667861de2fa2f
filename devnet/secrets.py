"""
Secrets of one local stack: made at random on its first start, kept in its state folder.

The file is readable by its owner alone. Its keys are never made anew: whoever loses the wallets'
keys has lost the wallets.
"""

import json
import os
import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from devnet.errors import StateDamagedError
from infra.keyring import generate_key

FILE_NAME = "secrets.json"


def _keyring(key_id: str) -> Callable[[], str]:
    return lambda: f"{key_id}:{generate_key()}"


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Secrets:
    """Passwords, and keys in the form that ``infra.keyring`` reads."""

    postgres_password: str = field(default_factory=secrets.token_urlsafe)
    api_database_password: str = field(default_factory=secrets.token_urlsafe)
    worker_database_password: str = field(default_factory=secrets.token_urlsafe)
    signer_database_password: str = field(default_factory=secrets.token_urlsafe)
    codec_keys: str = field(default_factory=_keyring("codec-1"))
    data_keys: str = field(default_factory=_keyring("data-1"))
    wallet_keys: str = field(default_factory=_keyring("wallet-1"))
    webhook_keys: str = field(default_factory=_keyring("webhook-1"))
    bitcoin_rpc_password: str = field(default_factory=secrets.token_urlsafe)
    litecoin_rpc_password: str = field(default_factory=secrets.token_urlsafe)
    jobcoin_database_password: str = field(default_factory=secrets.token_urlsafe)
    jobcoin_mint_token: str = field(default_factory=secrets.token_urlsafe)
    mixer_keys: str = field(default_factory=_keyring("mixer-1"))
    stripe_api_key: str = field(default_factory=lambda: f"sk_test_{secrets.token_hex(16)}")
    stripe_webhook_secret: str = field(default_factory=lambda: f"whsec_{secrets.token_hex(16)}")


REPLACEABLE = frozenset(
    {
        "webhook_keys",
        "bitcoin_rpc_password",
        "litecoin_rpc_password",
        "jobcoin_database_password",
        "jobcoin_mint_token",
        "mixer_keys",
        "stripe_api_key",
        "stripe_webhook_secret",
    }
)
"""A folder from before these existed is given new ones: it holds nothing that needs them."""


def load_or_create(state_dir: Path) -> Secrets:
    """
    Return the secrets of the stack in this folder; its first start makes them.

    Raises:
        StateDamagedError: The file is there and cannot be read as secrets.
    """
    path = state_dir / FILE_NAME
    if not path.exists():
        chosen = Secrets()
        _write(path, chosen)
        return chosen
    try:
        stored = json.loads(path.read_text())
        needed = {item.name for item in fields(Secrets)} - (REPLACEABLE - stored.keys())
        chosen = Secrets(**{name: str(stored[name]) for name in needed})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        msg = f"{path} does not hold this stack's secrets; restore it from a backup."
        raise StateDamagedError(msg) from error
    if REPLACEABLE - stored.keys():
        _write(path, chosen)
    return chosen


def _write(path: Path, chosen: Secrets) -> None:
    partial = path.with_suffix(".new")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(asdict(chosen), file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
