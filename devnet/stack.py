"""
The local stack: PostgreSQL, Temporal, chain nodes, and our own processes, started in order.

``async with Stack(folder) as stack`` is all a test needs; ``strongroom up`` adds ``supervise``.
Everything it keeps is in the state folder, so a stack that is started again goes on where it was.
"""

import asyncio
import shutil
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from devnet import pidfile, postgres, services
from devnet.errors import StackError
from devnet.ports import METRICS_PORTS_MAX, Ports, check_free
from devnet.rich_miner import RichMiner
from devnet.services import PORTS_OF, SERVERS, Service
from devnet.site import Site
from devnet.supervisor import ManagedProcess
from devnet.temporal import temporal_process
from domain.utxo.networks import BITCOIN_REGTEST

Progress = Callable[[str], None]
"""Told in one line what the stack does next."""

ALL_SERVICES = frozenset(Service) - {Service.LITECOIN}
"""All that runs unless told otherwise; the Litecoin node, which is fetched, only when asked for."""

JOBCOIN_BLOCK_TIME_S = "1"
"""Unless said otherwise: its blocks cost nothing."""

LEFTOVER_WAIT_S = 10.0
RESTART_DELAY_S = 1.0
RESTART_DELAY_MAX_S = 30.0
STEADY_S = 60.0
"""A process that ran for this long is started again without the delay of former failures."""


class Stack:
    """A local stack, or the chosen parts of one."""

    def __init__(
        self,
        state_dir: Path,
        *,
        ports: Ports | None = None,
        services: Collection[Service] = ALL_SERVICES,
        workers: Sequence[str | None] = (None,),
        block_time_s: str | None = None,
        prepare: Callable[["Stack"], Awaitable[None]] | None = None,
        code_dir: Path | None = None,
        log_level: str = "INFO",
        mixing: bool = False,
    ) -> None:
        """
        Describe the stack; nothing is started yet.

        ``workers`` has one entry per worker process: its task queue, or None for all but signing.
        Without ``block_time_s`` the EVM node mines a block per transaction, and Bitcoin none.
        ``mixing`` switches it on, which it is not otherwise.
        ``prepare`` is called when the servers run and the schema is there, before our own
        processes start.
        """
        place = {} if code_dir is None else {"code_dir": code_dir}
        self.site = Site(
            state_dir=state_dir,
            ports=ports or Ports(),
            log_level=log_level,
            mixing=mixing,
            **place,
        )
        self._services = frozenset(services)
        self._workers = tuple(workers)
        self._block_time_s = block_time_s
        self._prepare = prepare
        self._processes: dict[str, ManagedProcess] = {}
        self._held = ExitStack()
        self._mining: asyncio.Task[None] | None = None
        if len(self._workers) >= METRICS_PORTS_MAX:
            msg = f"At most {METRICS_PORTS_MAX - 1} workers."
            raise ValueError(msg)

    async def __aenter__(self) -> Self:
        await self.up()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.down()

    @property
    def processes(self) -> Mapping[str, ManagedProcess]:
        """The processes by name, in the order in which they were started."""
        return self._processes

    def process(self, name: str) -> ManagedProcess:
        """Return one process: a server's name (``SERVERS``), signer, worker, worker-…, api."""
        return self._processes[name]

    async def up(self, progress: Progress = lambda _line: None) -> None:
        """
        Start everything, each part when what it needs is ready; on failure nothing is left running.

        Raises:
            StackError: A port is taken, the folder is in use, a program is missing or fails.
        """
        self._held.enter_context(self.site.locked())
        try:
            await self._end_leftovers()
            check_free(self.site.ports, self._port_names())
            await self._start(await self._servers(progress), progress)
            await self._fill_database(progress)
            await self._start(self._nodes_in_database(), progress)
            await self._start_mining()
            if self._prepare is not None:
                await self._prepare(self)
            await self._start(self._own_processes(), progress)
        except BaseException:
            await self.down()
            raise

    async def down(self, progress: Progress = lambda _line: None) -> None:
        """Stop everything, ours before the servers, and give the state folder back."""
        if self._mining is not None:
            self._mining.cancel()
            await asyncio.wait([self._mining])
            self._mining = None
        ours = [p for name, p in self._processes.items() if name not in SERVERS]
        servers = [p for name, p in self._processes.items() if name in SERVERS]
        for group in (ours, servers):
            if any(process.is_alive for process in group):
                progress(f"stopping {', '.join(process.name for process in group)}")
            await asyncio.gather(*(process.stop() for process in group))
        self._processes.clear()
        self._held.close()

    async def supervise(self, progress: Progress) -> None:
        """Start again whatever ends by itself, later each time; runs until cancelled."""
        async with asyncio.TaskGroup() as group:
            for process in self._processes.values():
                group.create_task(_keep_running(process, progress))

    def has(self, service: Service) -> bool:
        """Tell whether the stack has this part."""
        return service in self._services

    async def _start_mining(self) -> None:
        """Make the miner of the Bitcoin chain rich, and let it mine where blocks have a time."""
        if not self.has(Service.BITCOIN):
            return
        miner = RichMiner(self.site.bitcoin_url, BITCOIN_REGTEST)
        try:
            await miner.make_rich()
        finally:
            await miner.close()
        if self._block_time_s is not None:
            self._mining = asyncio.create_task(self._keep_mining(float(self._block_time_s)))

    async def _keep_mining(self, interval_s: float) -> None:
        miner = RichMiner(self.site.bitcoin_url, BITCOIN_REGTEST)
        try:
            await miner.keep_mining(interval_s)
        finally:
            await miner.close()

    def erase(self) -> None:
        """Delete the state folder, with every key and every balance in it; not while it is up."""
        postgres.erase(self.site)
        shutil.rmtree(self.site.state_dir, ignore_errors=True)

    async def _end_leftovers(self) -> None:
        """End the processes of a supervisor that was killed; the state folder's lock is ours."""
        pid_paths = sorted(self.site.run_dir.glob("*.pid"))
        await asyncio.gather(
            *(pidfile.end_leftover(path, wait_s=LEFTOVER_WAIT_S) for path in pid_paths)
        )

    def _port_names(self) -> list[str]:
        names = {name for service in self._services for name in PORTS_OF.get(service, ())}
        return sorted(names)

    async def _servers(self, progress: Progress) -> list[ManagedProcess]:
        found: list[ManagedProcess] = []
        if Service.POSTGRES in self._services:
            found.append(await postgres.postgres_process(self.site))
        if Service.TEMPORAL in self._services:
            found.append(temporal_process(self.site))
        if Service.EVM in self._services:
            progress("looking for the EVM node (fetched once)")
            found.append(
                await asyncio.to_thread(
                    services.evm_process, self.site, block_time_s=self._block_time_s
                )
            )
        if Service.BITCOIN in self._services:
            found.append(await asyncio.to_thread(services.bitcoin_process, self.site))
        if Service.STRIPE in self._services:
            found.append(services.stripe_process(self.site))
        if Service.RATES in self._services:
            found.append(services.rates_process(self.site))
        if Service.LITECOIN in self._services:
            progress("looking for the Litecoin node (fetched once)")
            found.append(await asyncio.to_thread(services.litecoin_process, self.site))
        return found

    def _nodes_in_database(self) -> list[ManagedProcess]:
        """Return the nodes that keep their chain in the database: there must be one first."""
        if not self.has(Service.JOBCOIN):
            return []
        block_time_s = self._block_time_s or JOBCOIN_BLOCK_TIME_S
        return [services.jobcoin_process(self.site, block_time_s=block_time_s)]

    def _own_processes(self) -> list[ManagedProcess]:
        found: list[ManagedProcess] = []
        port = self.site.ports.metrics
        if Service.SIGNER in self._services:
            found.append(services.signer_process(self.site, metrics_port=port))
        if Service.WORKER in self._services:
            for index, queue in enumerate(self._workers):
                name = services.worker_name(self._workers, index)
                found.append(
                    services.worker_process(
                        self.site, name, queue=queue, metrics_port=port + 1 + index
                    )
                )
        if Service.API in self._services:
            found.append(services.api_process(self.site))
        return found

    async def _fill_database(self, progress: Progress) -> None:
        if Service.POSTGRES in self._services:
            await postgres.create_database(self.site)
        if Service.MIGRATIONS in self._services:
            progress("migrating the database")
            await services.migrate(self.site)

    async def _start(self, processes: list[ManagedProcess], progress: Progress) -> None:
        """Start these at the same time; when one fails the first failure is raised."""
        self._processes.update((process.name, process) for process in processes)
        tasks = [asyncio.create_task(_start_one(process, progress)) for process in processes]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _start_one(process: ManagedProcess, progress: Progress) -> None:
    began = time.monotonic()
    await process.start()
    progress(f"{process.name} is ready ({time.monotonic() - began:.1f} s)")


async def _keep_running(process: ManagedProcess, progress: Progress) -> None:
    delay_s = RESTART_DELAY_S
    while True:
        status = await process.wait()
        if process.stopped:
            return
        if time.monotonic() - process.started_at_s > STEADY_S:
            delay_s = RESTART_DELAY_S
        progress(f"{process.name} ended with status {status}; starting it again in {delay_s:g} s")
        await asyncio.sleep(delay_s)
        delay_s = min(2 * delay_s, RESTART_DELAY_MAX_S)
        try:
            await _start_one(process, progress)
        except StackError as error:
            progress(str(error))
