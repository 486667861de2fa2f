"""
Settings of each process, from the environment (prefix ``STRONGROOM_``). No secret has a default.

Each process reads only its own class, so that the API never holds the wallet keys' key and the
signer never holds the TOTP secrets' key. ``.env.example`` lists every variable; a test holds it
against these classes.
"""

from datetime import timedelta
from typing import Annotated, Self

from pydantic import Field, SecretStr, TypeAdapter, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

_URLS = TypeAdapter(dict[str, Annotated[list[str], Field(min_length=1)]])


class _Process(BaseSettings):
    model_config = SettingsConfigDict(
        env_prefix="STRONGROOM_", frozen=True, extra="ignore", hide_input_in_errors=True
    )

    database_url: SecretStr = Field(
        description="PostgreSQL as this process's own role: postgresql://role:password@host/db."
    )
    database_pool_size: int = Field(default=10, ge=1, description="Connections kept open.")
    temporal_address: str = Field(description="host:port of the Temporal frontend.")
    temporal_namespace: str = Field(default="strongroom", description="Temporal namespace.")
    codec_keys: SecretStr = Field(
        description="Keys that encrypt workflow payloads, id:base64 of 32 bytes, newest first."
    )
    log_level: str = Field(default="INFO", description="Python logging level.")
    metrics_address: str | None = Field(
        default=None, description="host:port of the Prometheus endpoint of a worker; unset: none."
    )


class _WebhookProcess(_Process):
    webhook_keys: SecretStr = Field(
        description="Keys that encrypt webhook secrets, id:base64 of 32 bytes, newest first."
    )
    webhook_loopback: bool = Field(
        default=False,
        description="Let webhooks go to this machine, by http too; for development only.",
    )


class _MixingProcess(_WebhookProcess):
    mixer_enabled: bool = Field(
        default=False, description="Offer mixing to users with KYC level 2 and a second factor."
    )
    mixer_keys: SecretStr | None = Field(
        default=None,
        description="Keys that encrypt the trail of mixes, id:base64 of 32 bytes, newest first.",
    )

    @model_validator(mode="after")
    def _check_mixing(self) -> Self:
        if self.mixer_enabled and not (self.mixer_keys and self.mixer_keys.get_secret_value()):
            msg = "Mixing needs STRONGROOM_MIXER_KEYS: its audit trail is never kept in the clear."
            raise ValueError(msg)
        return self


class ApiSettings(_MixingProcess):
    """The HTTP API."""

    data_keys: SecretStr = Field(
        description="Keys that encrypt TOTP secrets, id:base64 of 32 bytes, newest first."
    )
    public_url: str = Field(description="Address that clients use, for Location headers.")
    temporal_ui_url: str = Field(
        default="", description="Address of the Temporal UI, for links and for CORS of the codec."
    )
    codec_anonymous: bool = Field(
        default=False,
        description="Let anybody who reaches the API decode payloads; for one machine only.",
    )
    session_lifetime: timedelta = Field(
        default=timedelta(hours=12), description="A session ends this long after login."
    )
    step_up_lifetime: timedelta = Field(
        default=timedelta(minutes=5), description="A step-up token lives this long."
    )
    accept_timeout: timedelta = Field(
        default=timedelta(seconds=15),
        description="How long a request waits for a workflow's answer before 503.",
    )
    deposit_addresses_max: int = Field(
        default=1_000, ge=1, description="Deposit addresses of one customer on one chain."
    )
    address_book_cooldown_s: int = Field(
        default=86_400,
        ge=0,
        description="Seconds before a new entry of an address book may be paid.",
    )
    totp_issuer: str = Field(default="Strongroom", description="Name shown by authenticator apps.")
    stream_interval: timedelta = Field(
        default=timedelta(seconds=1),
        gt=timedelta(0),
        description="How often a stream of events looks at the database.",
    )
    stream_lifetime: timedelta = Field(
        default=timedelta(minutes=5),
        description="A stream of events ends after this long; its client resumes it.",
    )
    streams_max: int = Field(
        default=100, ge=1, description="Streams of events open at once; one more is refused by 503."
    )
    streams_per_user_max: int = Field(
        default=10, ge=1, description="Streams of events open at once for one user."
    )
    upload_bytes_max: int = Field(
        default=32 * 1024 * 1024, ge=1, description="Largest upload of a bulk payout, in bytes."
    )
    upload_timeout: timedelta = Field(
        default=timedelta(minutes=2),
        gt=timedelta(0),
        description="How long the bytes of an upload may take to arrive.",
    )
    uploads_max: int = Field(
        default=2, ge=1, description="Uploads at once, one per user; one more is refused by 503."
    )
    run_drafts_max: int = Field(
        default=20, ge=1, description="Drafts of bulk payouts that one user may have."
    )
    stripe_webhook_secret: SecretStr | None = Field(
        default=None, description="Stripe signs its events with this; unset: none is taken."
    )
    stripe_publishable_key: str = Field(
        default="", description="Stripe's key for browsers, shown beside what a card pays with."
    )
    webhook_endpoints_max: int = Field(
        default=10, ge=1, description="Webhook endpoints that one user may have."
    )
    run_draft_lifetime: timedelta = Field(
        default=timedelta(days=7),
        gt=timedelta(0),
        description="A draft of a bulk payout that nobody started is deleted after this long.",
    )


class WorkerSettings(_MixingProcess):
    """Workers of the wallet, chain and gateways task queues."""

    chain_rpc_urls: SecretStr = Field(
        description='RPC endpoints by chain, JSON: {"eip155:1": ["https://…"]}; best first.'
    )
    watch_interval: timedelta = Field(
        default=timedelta(seconds=1), description="How often the chain's tip is looked at."
    )
    kyc_remind_every: timedelta = Field(
        default=timedelta(days=1),
        gt=timedelta(0),
        description="How often reviewers are reminded of a KYC application, and applicants asked.",
    )
    kyc_review_within: timedelta = Field(
        default=timedelta(days=30),
        gt=timedelta(0),
        description="A KYC application that nobody decides on expires after this long.",
    )
    kyc_inform_within: timedelta = Field(
        default=timedelta(days=14),
        gt=timedelta(0),
        description="It expires if the documents that were asked for do not come for this long.",
    )

    mixer_audit_days: int = Field(
        default=1_825, ge=1, description="The trail of a mix is purged after so many days."
    )
    mixer_check_interval: timedelta = Field(
        default=timedelta(minutes=1),
        gt=timedelta(0),
        description="How often the books of mixers are compared.",
    )
    stripe_api_key: SecretStr | None = Field(
        default=None, description="Stripe's secret or restricted key; unset: no card payments."
    )
    stripe_api_url: str | None = Field(
        default=None, description="Another address than Stripe's own, such as a test server's."
    )
    stripe_review_interval: timedelta = Field(
        default=timedelta(minutes=5),
        gt=timedelta(0),
        description="How often Stripe is asked for events that no webhook brought.",
    )
    rate_sources: SecretStr | None = Field(
        default=None,
        description='Sources of rates, JSON: [{"name": "a", "url": "https://…/{base}-{quote}"}].',
    )
    rate_interval: timedelta = Field(
        default=timedelta(seconds=15),
        gt=timedelta(0),
        description="How often the sources of rates are asked.",
    )

    @property
    def rpc_urls(self) -> dict[str, list[str]]:
        """The endpoints of each chain, by CAIP-2 id; they may hold credentials."""
        return _URLS.validate_json(self.chain_rpc_urls.get_secret_value())

    @field_validator("chain_rpc_urls")
    @classmethod
    def _check_urls(cls, value: SecretStr) -> SecretStr:
        _URLS.validate_json(value.get_secret_value())
        return value


class SignerSettings(_Process):
    """The signer: the only process that holds the wallet keys' key."""

    wallet_keys: SecretStr = Field(
        description="Key-encryption keys of the wallets, id:base64 of 32 bytes, newest first."
    )


class JobcoinSettings(BaseSettings):
    """A Jobcoin node: it knows its own chain and nothing else of us."""

    model_config = SettingsConfigDict(
        env_prefix="STRONGROOM_", frozen=True, extra="ignore", hide_input_in_errors=True
    )

    database_url: SecretStr = Field(
        description="PostgreSQL as this process's own role: postgresql://role:password@host/db."
    )
    log_level: str = Field(default="INFO", description="Python logging level.")
    jobcoin_chain_id: str = Field(
        default="jobcoin:local",
        pattern=r"^jobcoin:[-_a-zA-Z0-9]{1,32}$",
        description="CAIP-2 id of the network that the Jobcoin node serves.",
    )
    jobcoin_listen: str = Field(
        default="127.0.0.1:8546",
        pattern=r"^[^\s:]+:[0-9]{1,5}$",
        description="host:port where the Jobcoin node answers.",
    )
    jobcoin_block_time: timedelta = Field(
        default=timedelta(seconds=2),
        gt=timedelta(0),
        description="A block is made this often.",
    )
    jobcoin_miner: str | None = Field(
        default=None, description="Address that gets the reward of each block; unset: none is made."
    )
    jobcoin_mint_token: SecretStr | None = Field(
        default=None, description="Whoever shows this may mint, up to the cap; unset: nobody may."
    )


class MigrationSettings(BaseSettings):
    """The migration job, which owns the schema."""

    model_config = SettingsConfigDict(
        env_prefix="STRONGROOM_", frozen=True, extra="ignore", hide_input_in_errors=True
    )

    migration_database_url: SecretStr = Field(
        description="PostgreSQL as the schema's owner; only the migration job holds it."
    )
    api_database_password: SecretStr = Field(description="Password given to role strongroom_api.")
    worker_database_password: SecretStr = Field(
        description="Password given to role strongroom_worker."
    )
    signer_database_password: SecretStr = Field(
        description="Password given to role strongroom_signer."
    )
    jobcoin_database_password: SecretStr | None = Field(
        default=None,
        description="Password given to role strongroom_jobcoin; unset: it cannot log in.",
    )
