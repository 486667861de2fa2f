"""
The environment of each child: what it needs and nothing else.

Nothing of the caller's environment is handed down but the few names below, so that no process sees
another one's secrets, or a setting that a developer exported for something else.
"""

import json
import os

from devnet.ports import LOOPBACK
from devnet.site import JOBCOIN_CHAIN, NAMESPACE, Site

PUBLISHABLE_KEY = "pk_test_devnet"
RATE_SOURCES = ("a", "b", "c")

_HANDED_DOWN = ("HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "SSL_CERT_FILE", "TMPDIR")


def base_environment() -> dict[str, str]:
    """Return the environment of a program that has no settings of ours."""
    return {name: os.environ[name] for name in _HANDED_DOWN if name in os.environ}


def api_environment(site: Site) -> dict[str, str]:
    """Return the API's environment: no wallet keys, no chain node."""
    return {
        **_common(site, role="strongroom_api"),
        "STRONGROOM_DATA_KEYS": site.secrets.data_keys,
        **_webhooks(site),
        **_mixing(site),
        "STRONGROOM_PUBLIC_URL": site.api_url,
        "STRONGROOM_TEMPORAL_UI_URL": site.temporal_ui_url,
        # The UI beside it shows payloads without a login: the machine is the boundary here.
        "STRONGROOM_CODEC_ANONYMOUS": "true",
        "STRONGROOM_STRIPE_WEBHOOK_SECRET": site.secrets.stripe_webhook_secret,
        "STRONGROOM_STRIPE_PUBLISHABLE_KEY": PUBLISHABLE_KEY,
    }


def worker_environment(site: Site, *, metrics_port: int) -> dict[str, str]:
    """Return a worker's environment: no wallet keys, no TOTP keys."""
    return {
        **_common(site, role="strongroom_worker"),
        "STRONGROOM_CHAIN_RPC_URLS": json.dumps(site.rpc_urls),
        **_webhooks(site),
        **_mixing(site),
        "STRONGROOM_MIXER_CHECK_INTERVAL": "PT2S",
        "STRONGROOM_METRICS_ADDRESS": f"{LOOPBACK}:{metrics_port}",
        "STRONGROOM_STRIPE_API_KEY": site.secrets.stripe_api_key,
        "STRONGROOM_STRIPE_API_URL": site.stripe_url,
        "STRONGROOM_STRIPE_REVIEW_INTERVAL": "PT10S",
        "STRONGROOM_RATE_SOURCES": json.dumps([_rate_source(site, name) for name in RATE_SOURCES]),
        "STRONGROOM_RATE_INTERVAL": "PT5S",
    }


def stripe_environment(site: Site) -> dict[str, str]:
    """Return the environment of the Stripe-like server: its key, and what it signs with."""
    return {
        **_python(),
        "DEVNET_STRIPE_API_KEY": site.secrets.stripe_api_key,
        "DEVNET_STRIPE_WEBHOOK_SECRET": site.secrets.stripe_webhook_secret,
    }


def rates_environment() -> dict[str, str]:
    """Return the environment of the server of market prices, which has no secrets."""
    return _python()


def signer_environment(site: Site, *, metrics_port: int) -> dict[str, str]:
    """Return the signer's environment: the only one with wallet keys, and without a chain node."""
    return {
        **_common(site, role="strongroom_signer"),
        "STRONGROOM_WALLET_KEYS": site.secrets.wallet_keys,
        "STRONGROOM_METRICS_ADDRESS": f"{LOOPBACK}:{metrics_port}",
    }


def migration_environment(site: Site) -> dict[str, str]:
    """Return the migration job's environment: the schema's owner, and the roles' passwords."""
    return {
        **_python(),
        "STRONGROOM_MIGRATION_DATABASE_URL": site.database_url(),
        "STRONGROOM_API_DATABASE_PASSWORD": site.secrets.api_database_password,
        "STRONGROOM_WORKER_DATABASE_PASSWORD": site.secrets.worker_database_password,
        "STRONGROOM_SIGNER_DATABASE_PASSWORD": site.secrets.signer_database_password,
        "STRONGROOM_JOBCOIN_DATABASE_PASSWORD": site.secrets.jobcoin_database_password,
    }


def jobcoin_environment(site: Site, *, block_time_s: str) -> dict[str, str]:
    """Return the Jobcoin node's environment: its own part of the database, and who may mint."""
    return {
        **_python(),
        "STRONGROOM_DATABASE_URL": site.database_url("strongroom_jobcoin"),
        "STRONGROOM_LOG_LEVEL": site.log_level,
        "STRONGROOM_JOBCOIN_CHAIN_ID": JOBCOIN_CHAIN,
        "STRONGROOM_JOBCOIN_LISTEN": f"{LOOPBACK}:{site.ports.jobcoin}",
        "STRONGROOM_JOBCOIN_BLOCK_TIME": f"PT{block_time_s}S",
        "STRONGROOM_JOBCOIN_MINT_TOKEN": site.secrets.jobcoin_mint_token,
    }


def _rate_source(site: Site, name: str) -> dict[str, str]:
    url = f"{site.rates_url}/{name}/{{base}}-{{quote}}"
    return {"name": name, "url": url, "time_pointer": "/time"}


def _webhooks(site: Site) -> dict[str, str]:
    return {
        "STRONGROOM_WEBHOOK_KEYS": site.secrets.webhook_keys,
        # Receivers of a developer's stack are on the developer's machine.
        "STRONGROOM_WEBHOOK_LOOPBACK": "true",
    }


def _mixing(site: Site) -> dict[str, str]:
    if not site.mixing:
        return {}
    return {
        "STRONGROOM_MIXER_ENABLED": "true",
        "STRONGROOM_MIXER_KEYS": site.secrets.mixer_keys,
    }


def _common(site: Site, *, role: str) -> dict[str, str]:
    return {
        **_python(),
        "STRONGROOM_DATABASE_URL": site.database_url(role),
        "STRONGROOM_TEMPORAL_ADDRESS": site.temporal_address,
        "STRONGROOM_TEMPORAL_NAMESPACE": NAMESPACE,
        "STRONGROOM_CODEC_KEYS": site.secrets.codec_keys,
        "STRONGROOM_LOG_LEVEL": site.log_level,
    }


def _python() -> dict[str, str]:
    # Unbuffered, so that the log of a killed process ends where the process did.
    return {**base_environment(), "PYTHONUNBUFFERED": "1"}
