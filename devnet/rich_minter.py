"""Money on the local Jobcoin network: the stack owns its node, and may mint."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import httpx

from devnet.errors import StackError
from devnet.site import Site
from domain.ids import new_id

_POLL_S = 0.1
_ASKED_AT_ONCE = 16
_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class RichMinter:
    """Whoever holds the token of the node at this address."""

    url: str
    token: str = field(repr=False)

    @classmethod
    def of(cls, site: Site) -> "RichMinter":
        """Return the minter of a local stack."""
        return cls(site.jobcoin_url, site.secrets.jobcoin_mint_token)

    async def send(self, address: str, amount_minor: int) -> str:
        """Mint for an address; return the txid once it is in a block."""
        txid = await self.mint(address, amount_minor, reference=new_id("mint"))
        deadline = asyncio.get_running_loop().time() + _TIMEOUT_S
        while (await self._ask("GET", f"/v1/transactions/{txid}"))["height"] is None:
            if asyncio.get_running_loop().time() > deadline:
                msg = f"{txid} was not mined in time."
                raise StackError(msg)
            await asyncio.sleep(_POLL_S)
        return txid

    async def mint(self, address: str, amount_minor: int, *, reference: str) -> str:
        """Mint for an address; return the txid. The same reference again mints no more."""
        body = {"address": address, "amount": str(amount_minor)}
        headers = {"Authorization": f"Bearer {self.token}", "Idempotency-Key": reference}
        return str((await self._ask("POST", "/v1/mint", json=body, headers=headers))["txid"])

    async def balance_minor(self, address: str) -> int:
        """Return what an address has in blocks."""
        return int((await self._ask("GET", f"/v1/addresses/{address}"))["balance"])

    async def balances_minor(self, addresses: Sequence[str]) -> Mapping[str, int]:
        """Return what each of these addresses has in blocks."""
        gate = asyncio.Semaphore(_ASKED_AT_ONCE)

        async def one(client: httpx.AsyncClient, address: str) -> int:
            async with gate:
                answer = await _answer(client, "GET", f"/v1/addresses/{address}")
                return int(answer["balance"])

        async with self._client() as client:
            found = await asyncio.gather(*(one(client, address) for address in addresses))
        return dict(zip(addresses, found, strict=True))

    async def height(self) -> int:
        """Return the height of the newest block."""
        return int((await self._ask("GET", "/v1/status"))["height"])

    async def _ask(self, method: str, path: str, **options: Any) -> Any:
        async with self._client() as client:
            return await _answer(client, method, path, **options)

    def _client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.url, timeout=_TIMEOUT_S, trust_env=False)


async def _answer(client: httpx.AsyncClient, method: str, path: str, **options: Any) -> Any:
    answer = await client.request(method, path, **options)
    if answer.status_code >= HTTPStatus.BAD_REQUEST:
        msg = f"{method} {path}: {answer.text}"
        raise StackError(msg)
    return answer.json()
