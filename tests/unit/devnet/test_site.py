from dataclasses import astuple
from pathlib import Path

import pytest

from devnet.errors import StateInUseError
from devnet.services import Service, worker_name
from devnet.site import Site
from devnet.status import addresses
from devnet.temporal import temporal_argv
from infra.search_attributes import SEARCH_ATTRIBUTES


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(state_dir=tmp_path / "state")


class TestLock:
    def test_refuses_a_second_holder_and_says_who_is_first(self, site: Site) -> None:
        with (
            site.locked(),
            pytest.raises(StateInUseError, match=r"in use by process \d+") as refusal,
            site.locked(),
        ):
            pass
        assert refusal.value.code == "state_in_use"

    def test_is_given_back(self, site: Site) -> None:
        with site.locked():
            pass
        with site.locked():
            pass


class TestAddresses:
    def test_shows_no_secret(self, site: Site) -> None:
        shown = str(addresses(site, frozenset(Service)))

        secrets = astuple(site.secrets)
        assert not any(secret in shown for secret in secrets)
        assert f":{site.ports.bitcoin}" in shown
        assert f":{site.ports.litecoin}" in shown
        assert str(site.ports.api) in shown

    def test_leaves_out_what_does_not_run(self, site: Site) -> None:
        shown = dict(addresses(site, {Service.POSTGRES}))

        assert "PostgreSQL" in shown
        assert "API" not in shown


class TestTemporalArgv:
    def test_registers_every_search_attribute(self, site: Site) -> None:
        argv = temporal_argv(site)

        given = [argv[at + 1] for at, word in enumerate(argv) if word == "--search-attribute"]
        assert given == [f"{name}={kind}" for name, kind in SEARCH_ATTRIBUTES.items()]

    def test_listens_on_this_machine_alone(self, site: Site) -> None:
        argv = temporal_argv(site)

        assert argv[argv.index("--ip") + 1] == "127.0.0.1"


class TestWorkerName:
    def test_tells_several_workers_apart(self) -> None:
        queues = [None, "wallet", None, "wallet"]

        names = [worker_name(queues, index) for index in range(len(queues))]

        assert names == ["worker", "worker-wallet", "worker-2", "worker-wallet-2"]
