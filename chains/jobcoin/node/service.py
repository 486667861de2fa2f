"""A Jobcoin node as a process: serves its chain over HTTP, and makes a block every few seconds."""

import asyncio
import contextlib
import logging

from aiohttp import web

from chains.jobcoin.node.app import JobcoinApp
from chains.jobcoin.node.book import JobcoinBook
from domain.clock import SystemClock
from domain.errors import StrongroomError, TransientError
from infra.database import Database
from infra.processes import stop_on_signals
from infra.settings import JobcoinSettings

RETRY_S = 1.0

logger = logging.getLogger(__name__)


async def serve(settings: JobcoinSettings) -> int:
    """Serve until told to stop; the database is waited for as long as it takes."""
    stop = stop_on_signals()
    logging.basicConfig(
        level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    database = Database(settings.database_url.get_secret_value())
    book = JobcoinBook(
        database, settings.jobcoin_chain_id, SystemClock(), miner=settings.jobcoin_miner
    )
    token = settings.jobcoin_mint_token
    routes = JobcoinApp(book, database, mint_token=token.get_secret_value() if token else None)
    host, _, port = settings.jobcoin_listen.rpartition(":")
    runner = web.AppRunner(routes.app(), access_log=None)
    try:
        if not await _opened(book, stop):
            return 0
        await runner.setup()
        await web.TCPSite(runner, host, int(port)).start()
        logger.info("%s is served at %s", settings.jobcoin_chain_id, settings.jobcoin_listen)
        await keep_mining(book, stop, interval_s=settings.jobcoin_block_time.total_seconds())
    finally:
        await runner.cleanup()
        await database.close()
    return 0


async def keep_mining(book: JobcoinBook, stop: asyncio.Event, *, interval_s: float) -> None:
    """Make a block at each interval until told to stop, whatever becomes of the database."""
    while not await _is_told(stop, within_s=interval_s):
        try:
            header = await book.mine()
            logger.debug("block %d is %s", header.height, header.hash)
        except StrongroomError as error:
            logger.warning("no block: %s", error.detail)


async def _opened(book: JobcoinBook, stop: asyncio.Event) -> bool:
    while not stop.is_set():
        try:
            await book.open()
        except TransientError as error:
            logger.info("waiting for the database: %s", error.detail)
            await _is_told(stop, within_s=RETRY_S)
        else:
            return True
    return False


async def _is_told(stop: asyncio.Event, *, within_s: float) -> bool:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), within_s)
    return stop.is_set()
