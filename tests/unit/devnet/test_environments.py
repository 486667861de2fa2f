from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic_settings import BaseSettings

from devnet.environments import (
    api_environment,
    jobcoin_environment,
    migration_environment,
    signer_environment,
    worker_environment,
)
from devnet.site import Site
from infra.settings import (
    ApiSettings,
    JobcoinSettings,
    MigrationSettings,
    SignerSettings,
    WorkerSettings,
)

PREFIX = "STRONGROOM_"

Builder = Callable[[Site], dict[str, str]]
PROCESSES: list[tuple[type[BaseSettings], Builder]] = [
    (ApiSettings, api_environment),
    (WorkerSettings, lambda site: worker_environment(site, metrics_port=1)),
    (SignerSettings, lambda site: signer_environment(site, metrics_port=1)),
    (MigrationSettings, migration_environment),
    (JobcoinSettings, lambda site: jobcoin_environment(site, block_time_s="0.5")),
]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(state_dir=tmp_path)


@pytest.mark.parametrize(("settings", "build"), PROCESSES)
class TestEnvironment:
    def test_sets_nothing_that_its_process_does_not_read(
        self, site: Site, settings: type[BaseSettings], build: Builder
    ) -> None:
        given = {name for name in build(site) if name.startswith(PREFIX)}

        assert given <= {PREFIX + name.upper() for name in settings.model_fields}

    def test_is_enough_to_start(
        self,
        site: Site,
        settings: type[BaseSettings],
        build: Builder,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        for name, value in build(site).items():
            monkeypatch.setenv(name, value)

        settings()

    def test_hands_nothing_of_the_caller_down(
        self,
        site: Site,
        settings: type[BaseSettings],
        build: Builder,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setenv("STRONGROOM_WALLET_KEYS", "of-the-caller")
        monkeypatch.setenv("PYTHONSTARTUP", "of-the-caller")

        assert "of-the-caller" not in build(site).values(), settings


class TestWhoHoldsWhat:
    def test_gives_each_kind_of_key_to_one_process(self, site: Site) -> None:
        secrets = site.secrets
        holders = {
            key: [
                settings.__name__
                for settings, build in PROCESSES
                if any(key in value for value in build(site).values())
            ]
            for key in (secrets.wallet_keys, secrets.data_keys, secrets.postgres_password)
        }

        assert holders[secrets.wallet_keys] == ["SignerSettings"]
        assert holders[secrets.data_keys] == ["ApiSettings"]
        assert holders[secrets.postgres_password] == ["MigrationSettings"]
