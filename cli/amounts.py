"""Amounts as people write and read them: in whole units, by the scales of the catalog."""

import typer

from cli.client import ApiClient
from domain.money import format_units, parse_units


class Scales:
    """The scale of every asset, asked for once."""

    def __init__(self, api: ApiClient) -> None:
        """Ask the API for its catalog."""
        items = api.get("/v1/assets")["items"]
        self._decimals = {asset["code"]: int(asset["decimals"]) for asset in items}

    def minor(self, asset: str, amount: str) -> str:
        """Return an amount in minor units, as the API takes it; refuses an unknown asset."""
        if asset not in self._decimals:
            msg = f"There is no asset {asset}."
            raise typer.BadParameter(msg)
        return str(parse_units(amount, decimals=self._decimals[asset]))

    def shown(self, asset: str, amount_minor: str) -> str:
        """Return an amount with its asset, for people; one that was taken out is in minor units."""
        decimals = self._decimals.get(asset)
        if decimals is None:
            return f"{amount_minor} minor units of {asset}"
        return f"{format_units(int(amount_minor), decimals=decimals)} {asset}"
