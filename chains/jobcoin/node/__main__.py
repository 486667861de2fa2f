"""``python -m chains.jobcoin.node``: what ``strongroom jobcoin node`` runs."""

from functools import partial

from chains.jobcoin.node.service import serve
from infra.processes import run_and_exit
from infra.settings import JobcoinSettings

if __name__ == "__main__":
    run_and_exit(partial(serve, JobcoinSettings()))
