"""
What can be done on a Jobcoin network from the command line: the same for one call and the shell.

Each returns the node's answer for programs, and what to show to people.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table

from cli.client import ApiClient
from cli.jobcoin.purse import Purse
from domain.errors import BroadcastUnknownError, RequestError
from domain.ids import new_id
from domain.jobcoin.chain import ASSET, DECIMALS
from domain.money import format_units, parse_units
from domain.ports import SignedAttempt

SENDINGS = 3
"""The same bytes are handed in this often when answers are lost; they are taken once."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command found or did."""

    data: Any
    shown: RenderableType


@dataclass
class JobcoinCommands:
    """One network through its node, with the keys of a purse."""

    node: ApiClient
    purse: Purse
    mixer: Callable[[], ApiClient]
    """Opens the product's API, for what a mixer does."""
    ask_code: Callable[[], str]
    """Asks for the one-time code that a mix needs."""
    _chain_id: str = field(default="", init=False)

    @property
    def chain_id(self) -> str:
        """The network that the node serves."""
        if not self._chain_id:
            self._chain_id = str(self.node.get("/v1/status")["chain_id"])
        return self._chain_id

    def status(self) -> Answer:
        """Show the network, its newest block, and how many coins there are."""
        found = self.node.get("/v1/status")
        minted, cap = (whole(found[name]) for name in ("minted", "cap"))
        text = (
            f"[bold]{found['chain_id']}[/] block {found['height']} of {when(found['timestamp'])}\n"
            f"{minted} of at most {cap} JOB exist"
        )
        return Answer(found, text)

    def new_address(self, name: str | None = None) -> Answer:
        """Make a key in the purse, and show its address."""
        key = self.purse.make(self.chain_id, name)
        data = {"name": key.name, "address": key.address, "chain_id": key.chain_id}
        return Answer(data, f"[bold]{escape(key.name)}[/] is {key.address}")

    def addresses(self) -> Answer:
        """List the purse's addresses with what they have."""
        data = [
            {"name": key.name, **self.node.get(f"/v1/addresses/{key.address}")}
            for key in self.purse.keys(self.chain_id)
        ]
        table = _table("name", "address", "JOB", "to spend")
        for each in data:
            balances = (whole(each["balance"]), whole(each["available"]))
            table.add_row(escape(each["name"]), each["address"], *balances)
        return Answer({"items": data}, table)

    def balance(self, address: str) -> Answer:
        """Show what an address, or a key's name, has."""
        known = self.purse.address(self.chain_id, address)
        found = self.node.get(f"/v1/addresses/{known}")
        text = f"{known} has [bold]{whole(found['balance'])} JOB[/]"
        if found["available"] != found["balance"]:
            text += f", {whole(found['available'])} of it to spend"
        return Answer(found, text)

    def transactions(self, address: str | None = None) -> Answer:
        """List transactions, of one address or all, the newest first."""
        known = None if address is None else self.purse.address(self.chain_id, address)
        found = self.node.get("/v1/transactions", address=known, limit=50)
        table = _table("time", "from", "to", "JOB", "block")
        for each in found["items"]:
            _add_rows(table, each)
        return Answer(found, table)

    def send(self, sender: str, payments: Sequence[str]) -> Answer:
        """Send to one or several: address and amount in whole coins, in turn."""
        if not payments or len(payments) % 2:
            msg = "Say to whom and how much: ADDRESS AMOUNT, and so on for others."
            raise RequestError(msg)
        known = self.purse.address(self.chain_id, sender)
        outputs = [
            (self.purse.address(self.chain_id, to), parse_units(amount, decimals=DECIMALS))
            for to, amount in zip(payments[::2], payments[1::2], strict=True)
        ]
        nonce = self.node.get(f"/v1/addresses/{known}")["next_free_nonce"]
        signed = self.purse.sign(self.chain_id, known, nonce, outputs)
        sent = self._handed_in(signed)
        total = format_units(sum(minor for _, minor in outputs), decimals=DECIMALS)
        return Answer(sent, f"[green]Sent[/] {total} JOB in {sent['txid']}")

    def mint(self, address: str, amount: str, *, reference: str | None = None) -> Answer:
        """Make coins for an address; only the node's owner may."""
        body = {
            "address": self.purse.address(self.chain_id, address),
            "amount": str(parse_units(amount, decimals=DECIMALS)),
        }
        key = reference or new_id("mint")
        minted = self.node.send("POST", "/v1/mint", body, idempotency_key=key)
        return Answer(minted, f"[green]Minted[/] {amount} JOB in {minted['txid']}")

    def add_addresses(self, addresses: Sequence[str]) -> Answer:
        """Give withdrawal addresses to a mixer, and show the deposit address it answers with."""
        if not addresses:
            msg = "Give one address or more that nobody has used before."
            raise RequestError(msg)
        known = [self.purse.address(self.chain_id, address) for address in addresses]
        with self.mixer() as api:
            mix = api.send(
                "POST",
                "/v1/mixes",
                {"asset": ASSET, "addresses": known},
                code=self.ask_code(),
                idempotency_key=new_id("cli"),
            )
        return Answer(mix, f"Pay to [bold]{mix['deposit_address']}[/] what is to be mixed")

    def _handed_in(self, signed: SignedAttempt) -> Any:
        for _ in range(SENDINGS):
            try:
                return self.node.send("POST", "/v1/transactions", {"raw": signed.raw.hex()})
            except httpx.ConnectError:
                raise
            except httpx.TransportError:
                continue
        msg = f"The node's answer was lost: look for {signed.txid} before you send again."
        raise BroadcastUnknownError(msg)


def whole(amount: str) -> str:
    """Return an amount of minor units in whole coins."""
    return format_units(int(amount), decimals=DECIMALS)


def when(timestamp: str) -> str:
    """Return a moment as people read it, in UTC."""
    return timestamp[:19].replace("T", " ")


def _table(*headings: str) -> Table:
    table = Table(box=None, header_style="bold cyan", pad_edge=False)
    for heading in headings:
        is_amount = heading in ("JOB", "to spend", "block")
        table.add_column(heading, justify="right" if is_amount else "left", overflow="fold")
    return table


def _add_rows(table: Table, found: Mapping[str, Any]) -> None:
    """Add a row for each payment of a transaction; what they share is said once."""
    sender = found["from"] or f"({found['kind']})"
    height = "waits" if found["height"] is None else str(found["height"])
    for place, output in enumerate(found["to"]):
        shared = (when(found["timestamp"]), sender) if place == 0 else ("", "")
        amount = whole(output["amount"])
        table.add_row(*shared, output["address"], amount, height if place == 0 else "")
