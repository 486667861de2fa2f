"""What a person sees when the stack is up: where everything is."""

from collections.abc import Collection

from rich.table import Table

from devnet.ports import LOOPBACK
from devnet.services import Service
from devnet.site import DATABASE, EVM_CHAIN_ID, Site


def addresses(site: Site, services: Collection[Service]) -> list[tuple[str, str]]:
    """Return what is where, as pairs of a name and an address; no password is among them."""
    server = f"{LOOPBACK}:{site.ports.postgres}"
    rows = {
        Service.API: [("API", site.api_url), ("API documentation", f"{site.api_url}/docs")],
        Service.TEMPORAL: [
            ("Temporal UI", site.temporal_ui_url),
            ("Temporal", site.temporal_address),
        ],
        Service.EVM: [(f"EVM node (chain {EVM_CHAIN_ID})", site.evm_url)],
        Service.BITCOIN: [("Bitcoin node (regtest)", f"http://{LOOPBACK}:{site.ports.bitcoin}")],
        Service.LITECOIN: [("Litecoin node (regtest)", f"http://{LOOPBACK}:{site.ports.litecoin}")],
        Service.JOBCOIN: [("Jobcoin node", site.jobcoin_url)],
        Service.POSTGRES: [("PostgreSQL", f"postgresql://postgres@{server}/{DATABASE}")],
    }
    shown = [row for service, group in rows.items() if service in services for row in group]
    state = site.state_dir.resolve()
    return [
        *shown,
        ("Passwords and keys", str(state / "secrets.json")),
        ("Logs", str(state / "logs")),
    ]


def table(site: Site, services: Collection[Service]) -> Table:
    """Return the addresses for a terminal."""
    found = Table(show_header=False, box=None, pad_edge=False)
    found.add_column(style="bold", no_wrap=True)
    # Folded and never cut: an address is there to be copied.
    found.add_column(overflow="fold")
    for name, address in addresses(site, services):
        found.add_row(name, address)
    return found
