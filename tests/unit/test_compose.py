"""``docker-compose.temporal.yml`` gives each process what it reads, and nothing of the others."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import SecretStr
from pydantic_settings import BaseSettings

from infra.search_attributes import SEARCH_ATTRIBUTES
from infra.settings import (
    ApiSettings,
    JobcoinSettings,
    MigrationSettings,
    SignerSettings,
    WorkerSettings,
)

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docker-compose.temporal.yml"
EXAMPLE = ROOT / "deploy" / "compose.env.example"
PREFIX = "STRONGROOM_"

COMPOSE: dict[str, Any] = yaml.safe_load(FILE.read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
PROCESSES: dict[str, type[BaseSettings]] = {
    "api": ApiSettings,
    "worker": WorkerSettings,
    "signer": SignerSettings,
    "migrations": MigrationSettings,
}


def variables(service: str) -> dict[str, str]:
    found: dict[str, str] = SERVICES[service].get("environment", {})
    return found


def field_names(settings: type[BaseSettings], *, required: bool = False) -> set[str]:
    fields = settings.model_fields.items()
    return {PREFIX + name.upper() for name, f in fields if f.is_required() or not required}


@pytest.mark.parametrize("service", PROCESSES)
class TestEnvironment:
    def test_is_read_by_the_process(self, service: str) -> None:
        given = {name for name in variables(service) if name.startswith(PREFIX)}

        assert given <= field_names(PROCESSES[service])

    def test_has_everything_required(self, service: str) -> None:
        assert field_names(PROCESSES[service], required=True) <= set(variables(service))

    def test_takes_every_secret_from_outside_and_insists_on_it(self, service: str) -> None:
        for name, field in PROCESSES[service].model_fields.items():
            if field.annotation is SecretStr:
                assert re.search(r"\$\{\w+:\?[^}]+\}", variables(service)[PREFIX + name.upper()])


class TestServices:
    @pytest.mark.parametrize("service", SERVICES)
    def test_are_hardened(self, service: str) -> None:
        described = SERVICES[service]

        assert described["read_only"] is True
        assert described["security_opt"] == ["no-new-privileges:true"]
        assert described["cap_drop"] == ["ALL"]

    @pytest.mark.parametrize("service", SERVICES)
    def test_are_published_to_this_machine_alone(self, service: str) -> None:
        assert all(port.startswith("127.0.0.1:") for port in SERVICES[service].get("ports", []))

    def test_give_the_wallet_keys_to_the_signer_alone(self) -> None:
        holders = [name for name in SERVICES if "WALLET_KEYS" in str(variables(name))]

        assert holders == ["signer"]

    def test_run_a_pinned_version(self) -> None:
        images = {described["image"] for described in SERVICES.values()}

        assert not [image for image in images if image.endswith(":latest") or ":" not in image]

    def test_mount_files_that_exist(self) -> None:
        for described in SERVICES.values():
            for volume in described.get("volumes", []):
                source = volume.split(":")[0]
                assert source in COMPOSE["volumes"] or (ROOT / source).is_file()


class TestSigner:
    def test_publishes_no_port(self) -> None:
        assert "ports" not in SERVICES["signer"]

    def test_reaches_temporal_and_postgres_and_nothing_else(self) -> None:
        [network] = SERVICES["signer"]["networks"]

        neighbors = {name for name, other in SERVICES.items() if network in other["networks"]}
        assert neighbors == {"signer", "temporal", "postgres"}
        assert COMPOSE["networks"][network] == {"internal": True}


class TestJobcoin:
    NODE = yaml.safe_load((ROOT / "deploy" / "compose.jobcoin.yml").read_text())["services"]

    def test_gets_what_it_reads_and_nothing_else(self) -> None:
        given = set(self.NODE["jobcoin"]["environment"])

        assert field_names(JobcoinSettings, required=True) <= given
        assert given <= field_names(JobcoinSettings)
        assert set(self.NODE["migrations"]["environment"]) <= field_names(MigrationSettings)

    def test_is_hardened_as_the_others_are(self) -> None:
        node, worker = self.NODE["jobcoin"], SERVICES["worker"]

        for name in ("read_only", "cap_drop", "security_opt", "tmpfs", "restart"):
            assert node[name] == worker[name]
        assert node["networks"] == ["data"]
        assert "ports" not in node


class TestNamespace:
    def test_gets_every_search_attribute(self) -> None:
        given = variables("temporal-namespace")["SEARCH_ATTRIBUTES"].split()

        assert given == [f"{name}={kind}" for name, kind in SEARCH_ATTRIBUTES.items()]

    def test_is_the_one_that_the_processes_use(self) -> None:
        used = {
            variables(service)["STRONGROOM_TEMPORAL_NAMESPACE"]
            for service in ("api", "worker", "signer")
        }

        assert used == {variables("temporal-namespace")["NAMESPACE"]}


class TestExample:
    def test_names_exactly_what_is_asked_for(self) -> None:
        named = set(re.findall(r"^#? ?(\w+)=", EXAMPLE.read_text(), re.MULTILINE))

        assert named == set(re.findall(r"\$\{(\w+)", FILE.read_text()))

    def test_holds_no_secret(self) -> None:
        lines = EXAMPLE.read_text().splitlines()
        secrets = [line for line in lines if re.match(r"\w+(PASSWORD|KEYS)=", line)]

        assert secrets
        assert all(line.endswith("change-me") for line in secrets)


def _has_compose() -> bool:
    docker = shutil.which("docker")
    if docker is None:
        return False
    found = subprocess.run([docker, "compose", "version"], capture_output=True, check=False)
    return found.returncode == 0


@pytest.mark.skipif(not _has_compose(), reason="docker with its compose plugin is not installed")
class TestDockerCompose:
    def test_accepts_the_file(self) -> None:
        found = compose("--env-file", str(EXAMPLE), "config", "--format", "json")

        assert found.returncode == 0, found.stderr
        services = yaml.safe_load(found.stdout)["services"]
        assert set(services) == set(SERVICES)
        url = services["api"]["environment"]["STRONGROOM_DATABASE_URL"]
        assert url == "postgresql://strongroom_api:change-me@postgres:5432/strongroom"

    def test_refuses_to_go_on_without_secrets(self) -> None:
        found = compose("--env-file", "/dev/null", "config")

        assert found.returncode != 0
        assert "is missing a value" in found.stderr


def compose(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["docker", "compose", "--file", str(FILE), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.environ["PATH"], "HOME": str(Path.home())},
    )
