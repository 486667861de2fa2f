"""The stack's treatment of our own processes, shown with small ones in their places."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from devnet.ports import Ports
from devnet.services import Service
from devnet.stack import Stack

WORKER = """
import argparse, asyncio, json, os
from pathlib import Path
from temporalio import activity
from temporalio.client import Client
from temporalio.worker import Worker

@activity.defn
async def nothing() -> None: ...

async def main(queue):
    names = sorted(name for name in os.environ if name.startswith("STRONGROOM_"))
    Path(f"{queue}.json").write_text(json.dumps(names))
    client = await Client.connect(
        os.environ["STRONGROOM_TEMPORAL_ADDRESS"],
        namespace=os.environ["STRONGROOM_TEMPORAL_NAMESPACE"],
    )
    await Worker(client, task_queue=queue, activities=[nothing]).run()

parser = argparse.ArgumentParser()
parser.add_argument("--task-queue", default="wallet")
asyncio.run(main(parser.parse_args().task_queue))
"""

API = """
from fastapi import FastAPI

def create_app():
    app = FastAPI()

    @app.get("/ready")
    async def ready() -> str:
        return "ready"

    return app
"""

CHAINS = {Service.EVM, Service.BITCOIN, Service.LITECOIN, Service.JOBCOIN}
WITHOUT_CHAIN = frozenset(Service) - CHAINS


@pytest.fixture
def code_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "code"
    (folder / "api").mkdir(parents=True)
    (folder / "worker.py").write_text(WORKER)
    (folder / "api" / "__init__.py").touch()
    (folder / "api" / "app.py").write_text(API)
    (folder / "migrations.py").write_text("")
    return folder


@pytest.fixture
async def stack(state_dir: Path, code_dir: Path) -> AsyncIterator[Stack]:
    async with Stack(
        state_dir,
        ports=Ports.free(),
        services=WITHOUT_CHAIN,
        workers=(None, "chain-one"),
        code_dir=code_dir,
    ) as started:
        yield started


def holders_of(name: str, code_dir: Path) -> list[str]:
    """Return the task queues whose worker found this variable in its environment."""
    found = sorted(code_dir.glob("*.json"))
    return [path.stem for path in found if name in json.loads(path.read_text())]


class TestOwnProcesses:
    async def test_start_after_the_servers_each_with_its_own_secrets(
        self, stack: Stack, code_dir: Path
    ) -> None:
        assert set(stack.processes) == {
            *("postgres", "temporal", "stripe", "rates"),
            *("signer", "worker", "worker-chain-one", "api"),
        }
        assert holders_of("STRONGROOM_WALLET_KEYS", code_dir) == ["signing"]
        assert holders_of("STRONGROOM_CHAIN_RPC_URLS", code_dir) == ["chain-one", "wallet"]
        async with httpx.AsyncClient() as client:
            assert (await client.get(f"{stack.site.api_url}/ready")).json() == "ready"

    async def test_are_ready_again_only_when_the_new_process_polls(self, stack: Stack) -> None:
        """The server remembers the dead worker's polls; they must not count for its successor."""
        worker = stack.process("worker")
        former = worker.pid

        worker.kill()
        await worker.restart_until_ready()

        assert worker.is_alive
        assert worker.pid != former

    async def test_are_started_again_when_they_end_by_themselves(self, stack: Stack) -> None:
        said: list[str] = []
        back = asyncio.Event()

        def progress(line: str) -> None:
            said.append(line)
            if "is ready" in line:
                back.set()

        supervising = asyncio.create_task(stack.supervise(progress))
        stack.process("signer").kill()
        await asyncio.wait_for(back.wait(), 30)
        supervising.cancel()
        await asyncio.wait([supervising])

        assert said[0] == "signer ended with status -9; starting it again in 1 s"
        assert said[1].startswith("signer is ready")
        assert stack.process("signer").is_alive
