"""
Money on the development chain: the node's own unlocked account, which is rich and signs for us.

Its key is published with the node, so nothing here may ever meet a real chain.
"""

import asyncio
from dataclasses import dataclass
from typing import Any

import httpx
from eth_abi.abi import encode
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from contracts.artifacts import load_artifact
from devnet.errors import StackError

_POLL_S = 0.1
_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class RichUncle:
    """The first account of the development node at this address."""

    rpc_url: str

    async def send(self, destination: str, amount_minor: int) -> str:
        """Send native coin, in wei; return the txid once it is mined."""
        return await self._mined({"to": destination, "value": hex(amount_minor)})

    async def mint_token(self, contract: str, receiver: str, amount_minor: int) -> str:
        """Mint a token that the account deployed; return the txid once it is mined."""
        data = keccak(text="mint(address,uint256)")[:4] + encode(
            ["address", "uint256"], [receiver, amount_minor]
        )
        return await self._mined({"to": contract, "data": "0x" + data.hex()})

    async def deploy_token(self, *, name: str, symbol: str, decimals: int) -> str:
        """Deploy our plain ERC-20, which the account may mint; return its address."""
        artifact = load_artifact("Token")
        arguments = encode(["string", "string", "uint8"], [name, symbol, decimals])
        return await self.deploy(bytes.fromhex(artifact.bytecode.removeprefix("0x")) + arguments)

    async def deploy(self, code: bytes) -> str:
        """Deploy a contract by its creation code; return its address."""
        txid = await self._mined({"data": "0x" + code.hex()})
        receipt = await self.call("eth_getTransactionReceipt", txid)
        return str(to_checksum_address(receipt["contractAddress"]))

    async def balance_minor(self, address: str, contract: str | None = None) -> int:
        """Return an address's balance of the native coin or of a token."""
        if contract is None:
            return int(await self.call("eth_getBalance", address, "latest"), 16)
        data = keccak(text="balanceOf(address)")[:4] + encode(["address"], [address])
        call = {"to": contract, "data": "0x" + data.hex()}
        return int(await self.call("eth_call", call, "latest"), 16)

    async def sent_count(self, address: str) -> int:
        """Return how many transactions of this address are mined."""
        return int(await self.call("eth_getTransactionCount", address, "latest"), 16)

    async def call(self, method: str, *parameters: Any) -> Any:
        """
        Return a JSON-RPC result.

        Raises:
            StackError: The node answered with an error.
        """
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}
        async with httpx.AsyncClient(timeout=_TIMEOUT_S, trust_env=False) as client:
            answer = (await client.post(self.rpc_url, json=request)).json()
        if "error" in answer:
            msg = f"{method}: {answer['error'].get('message')}"
            raise StackError(msg)
        return answer["result"]

    async def _mined(self, transaction: dict[str, str]) -> str:
        account = (await self.call("eth_accounts"))[0]
        txid = str(await self.call("eth_sendTransaction", {"from": account, **transaction}))
        deadline = asyncio.get_running_loop().time() + _TIMEOUT_S
        while (receipt := await self.call("eth_getTransactionReceipt", txid)) is None:
            if asyncio.get_running_loop().time() > deadline:
                msg = f"{txid} was not mined in time."
                raise StackError(msg)
            await asyncio.sleep(_POLL_S)
        if int(receipt["status"], 16) != 1:
            msg = f"{txid} reverted."
            raise StackError(msg)
        return txid
