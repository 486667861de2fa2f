import asyncio
import os
import pwd
import shutil
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.client import Client

from devnet.errors import PortTakenError, ProcessFailedError, StateDamagedError, StateInUseError
from devnet.ports import Ports
from devnet.services import Service
from devnet.site import NAMESPACE
from devnet.stack import Stack
from domain.utxo.networks import BITCOIN_REGTEST, LITECOIN_REGTEST
from infra.search_attributes import SEARCH_ATTRIBUTES
from tests.support.utxo_nodes import Key

POSTGRES = frozenset({Service.POSTGRES})

DIES_WHEN_UP = """
import asyncio, os, signal, sys
from pathlib import Path
from devnet.ports import Ports
from devnet.stack import Stack

async def main():
    stack = Stack(Path(sys.argv[1]), ports=Ports(postgres=int(sys.argv[2])), services={"postgres"})
    await stack.up()
    print(stack.process("postgres").pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""

UP = """
import sys
from pathlib import Path
from devnet.ports import Ports
from devnet.services import Service
from devnet.up import UpOptions, run_up
from infra.processes import run_and_exit

ports = Ports(postgres=int(sys.argv[2]))
options = UpOptions(
    state_dir=Path(sys.argv[1]), ports=ports, services=frozenset({Service.POSTGRES})
)
run_and_exit(lambda: run_up(options))
"""


@pytest.fixture
async def postgres(state_dir: Path) -> AsyncIterator[Stack]:
    async with Stack(state_dir, ports=Ports.free(), services=POSTGRES) as stack:
        yield stack


def execute(stack: Stack, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(stack.site.database_url(), autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def owner_of(path: str) -> str:
    return Path(path).owner()


def call(url: str, method: str, *params: object) -> Any:
    answer = httpx.post(url, json={"id": 1, "method": method, "params": params}).json()
    assert answer["error"] is None, answer
    return answer["result"]


def coins_bytes(stack: Stack, service: Service) -> int:
    """Return how much of the coins' database is on disk."""
    folder = stack.site.state_dir / service / "regtest" / "chainstate"
    return sum(path.stat().st_size for path in folder.glob("*.log"))


def wait_for_coins(stack: Stack, service: Service, *, other_than: int) -> None:
    while coins_bytes(stack, service) == other_than:
        time.sleep(0.05)


def status_of(url: str) -> int:
    return httpx.post(url, json={"method": "getblockcount"}).status_code


def exists(path: Path) -> bool:
    return path.exists()


class TestPostgres:
    async def test_asks_for_the_password(self, postgres: Stack) -> None:
        port = postgres.site.ports.postgres

        with pytest.raises(psycopg.OperationalError, match="no password supplied"):
            psycopg.connect(f"postgresql://postgres@127.0.0.1:{port}/strongroom")
        with pytest.raises(psycopg.OperationalError, match="authentication failed"):
            psycopg.connect(f"postgresql://postgres:guess@127.0.0.1:{port}/strongroom")

    async def test_keeps_what_was_committed_when_it_is_killed(self, postgres: Stack) -> None:
        execute(postgres, "CREATE TABLE kept (value int)")
        execute(postgres, "INSERT INTO kept VALUES (7)")

        postgres.process("postgres").kill()
        await postgres.process("postgres").restart_until_ready()

        assert execute(postgres, "SELECT value FROM kept") == [(7,)]

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root has somebody else run PostgreSQL")
    async def test_gives_its_data_to_nobody_out_of_a_folder_nobody_can_reach(
        self, postgres: Stack
    ) -> None:
        # pytest's folders are closed to others, as /root is.
        [(data_dir,)] = execute(postgres, "SHOW data_directory")

        assert str(data_dir).startswith("/var/tmp/strongroom-")  # noqa: S108
        assert owner_of(str(data_dir)) == pwd.getpwnam("nobody").pw_name
        assert postgres.site.state_dir.joinpath("postgres").resolve() == Path(str(data_dir))


class TestState:
    async def test_goes_on_where_it_was(self, state_dir: Path) -> None:
        ports = Ports.free()
        async with Stack(state_dir, ports=ports, services=POSTGRES) as first:
            execute(first, "CREATE TABLE kept (value int)")

        async with Stack(state_dir, ports=ports, services=POSTGRES) as second:
            assert execute(second, "SELECT count(*) FROM kept") == [(0,)]

    async def test_belongs_to_one_stack_at_a_time(self, postgres: Stack) -> None:
        other = Stack(postgres.site.state_dir, ports=Ports.free(), services=POSTGRES)

        with pytest.raises(StateInUseError):
            await other.up()

    async def test_is_not_replaced_by_an_empty_database(self, state_dir: Path) -> None:
        async with Stack(state_dir, ports=Ports.free(), services=POSTGRES):
            pass
        data_dir = (state_dir / "postgres").resolve()
        data_dir.rename(data_dir.with_name("lost"))

        with pytest.raises(StateDamagedError, match="is gone"):
            await Stack(state_dir, ports=Ports.free(), services=POSTGRES).up()

    async def test_begins_anew_when_its_folder_was_deleted(self, state_dir: Path) -> None:
        """By hand, so that data kept elsewhere stays behind: it must not be taken for the new."""
        async with Stack(state_dir, ports=Ports.free(), services=POSTGRES) as first:
            execute(first, "CREATE TABLE kept (value int)")
        left_behind = (state_dir / "postgres").resolve()
        shutil.rmtree(state_dir)

        async with Stack(state_dir, ports=Ports.free(), services=POSTGRES) as second:
            with pytest.raises(psycopg.errors.UndefinedTable):
                execute(second, "SELECT * FROM kept")
        if left_behind.exists():
            shutil.rmtree(left_behind.parent)

    async def test_is_gone_when_erased(self, state_dir: Path) -> None:
        stack = Stack(state_dir, ports=Ports.free(), services=POSTGRES)
        async with stack:
            [(data_dir,)] = execute(stack, "SHOW data_directory")

        stack.erase()

        assert not any(exists(path) for path in (state_dir, Path(str(data_dir))))


class TestUp:
    async def test_names_the_service_whose_port_is_taken(self, state_dir: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            ports = replace(Ports.free(), postgres=listener.getsockname()[1])
            stack = Stack(state_dir, ports=ports, services=POSTGRES)

            with pytest.raises(PortTakenError, match=r"PostgreSQL.*--postgres-port"):
                await stack.up()
        assert not stack.processes

    async def test_ends_what_a_killed_supervisor_left(self, state_dir: Path) -> None:
        port = Ports.free().postgres
        former = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", DIES_WHEN_UP, str(state_dir), str(port)),
            stdout=asyncio.subprocess.PIPE,
        )
        printed, _ = await former.communicate()

        ports = replace(Ports.free(), postgres=port)
        async with Stack(state_dir, ports=ports, services=POSTGRES) as stack:
            assert former.returncode == -signal.SIGKILL
            assert execute(stack, "SELECT 1") == [(1,)]
            assert stack.process("postgres").pid != int(printed)

    async def test_leaves_nothing_running_when_a_part_fails(
        self, state_dir: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "migrations.py").write_text("raise SystemExit('bad revision')")
        services = {Service.POSTGRES, Service.MIGRATIONS}
        stack = Stack(state_dir, ports=Ports.free(), services=services, code_dir=tmp_path)

        with pytest.raises(ProcessFailedError, match=r"migrations ended.*\n(.*\n)*bad revision"):
            await stack.up()

        assert not stack.processes
        async with Stack(state_dir, ports=Ports.free(), services=POSTGRES):
            pass

    async def test_calls_prepare_when_the_servers_run(self, state_dir: Path) -> None:
        async def prepare(stack: Stack) -> None:
            execute(stack, "CREATE TABLE prepared (value int)")

        stack = Stack(state_dir, ports=Ports.free(), services=POSTGRES, prepare=prepare)
        async with stack:
            assert execute(stack, "SELECT * FROM prepared") == []


class TestTemporal:
    async def test_keeps_its_namespace_and_attributes_when_it_is_killed(
        self, state_dir: Path
    ) -> None:
        stack = Stack(state_dir, ports=Ports.free(), services={Service.TEMPORAL})
        async with stack:
            stack.process("temporal").kill()
            await stack.process("temporal").restart_until_ready()

            client = await Client.connect(stack.site.temporal_address, namespace=NAMESPACE)
            known = await client.operator_service.list_search_attributes(
                ListSearchAttributesRequest(namespace=NAMESPACE)
            )
        assert set(SEARCH_ATTRIBUTES) <= set(known.custom_attributes)


@pytest.mark.parametrize("service", [Service.BITCOIN, Service.LITECOIN])
class TestUtxoNodes:
    async def test_keep_their_chain_when_they_are_killed(
        self, state_dir: Path, service: Service
    ) -> None:
        async with Stack(state_dir, ports=Ports.free(), services={service}) as stack:
            url = getattr(stack.site, f"{service}_url")
            network = {Service.BITCOIN: BITCOIN_REGTEST}.get(service, LITECOIN_REGTEST)
            written_bytes = coins_bytes(stack, service)
            before = call(url, "getblockcount")
            call(url, "generatetoaddress", 3, Key().address(network))
            # The development node has no such folder: it writes each block down at once.
            if written_bytes:
                await asyncio.to_thread(wait_for_coins, stack, service, other_than=written_bytes)

            stack.process(service).kill()
            await stack.process(service).restart_until_ready()

            assert call(url, "getblockcount") == before + 3

    async def test_goes_on_with_the_same_login(self, state_dir: Path, service: Service) -> None:
        ports = Ports.free()
        async with Stack(state_dir, ports=ports, services={service}) as first:
            url = getattr(first.site, f"{service}_url")

        async with Stack(state_dir, ports=ports, services={service}):
            assert call(url, "getblockchaininfo")["chain"] == "regtest"
            assert status_of(url.replace("strongroom:", "strongroom:x")) == 401


class TestRunUp:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    async def test_stops_everything_when_told_to(
        self, state_dir: Path, number: signal.Signals
    ) -> None:
        port = Ports.free().postgres
        command = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", UP, str(state_dir), str(port)),
            stdout=asyncio.subprocess.PIPE,
        )
        assert command.stdout is not None
        await command.stdout.readuntil(b"Everything is up")

        command.send_signal(number)
        rest, _ = await command.communicate()

        assert command.returncode == 0
        assert b"stopping postgres" in rest
        async with Stack(state_dir, ports=Ports.free(), services=POSTGRES):
            pass

    async def test_says_in_one_line_what_hinders_it(self, postgres: Stack) -> None:
        command = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", UP, str(postgres.site.state_dir), "1"),
            stdout=asyncio.subprocess.PIPE,
        )
        printed, _ = await command.communicate()

        assert command.returncode == 1
        assert printed.startswith(b"state_in_use: ")
