"""``python -m devnet.stripe_server --port 12111``: one account, on loopback."""

import argparse
import logging
import os
from pathlib import Path

from aiohttp import web

from devnet.ports import LOOPBACK
from devnet.stripe_server.app import StripeServer
from devnet.stripe_server.store import Store
from devnet.stripe_server.webhooks import Courier

API_KEY, WEBHOOK_SECRET = "DEVNET_STRIPE_API_KEY", "DEVNET_STRIPE_WEBHOOK_SECRET"
"""Variables that hold the secrets: a command line is seen by everybody on the machine."""


async def opened(arguments: argparse.Namespace) -> web.Application:
    """Return the application; within the loop, which the courier belongs to."""
    store = Store(arguments.file)
    courier = Courier(store, os.environ[WEBHOOK_SECRET], arguments.webhook)
    return StripeServer(os.environ[API_KEY], courier, store).app()


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--webhook", help="where events are delivered")
    parser.add_argument("--file", type=Path, help="where everything is kept")
    arguments = parser.parse_args()
    logging.basicConfig(level="INFO", format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    web.run_app(opened(arguments), host=LOOPBACK, port=arguments.port, access_log=None, print=None)


if __name__ == "__main__":
    main()
