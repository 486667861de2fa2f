"""
Money on a Bitcoin-like regtest chain: a miner with a published key, who is rich and mines for us.

Anybody can derive the key, so nothing here may ever meet a real chain.
"""

import asyncio
import logging
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from chains.json_rpc import LostReplyError, NotSentError, RefusalError
from chains.utxo.rpc import open_rpc
from devnet.errors import StackError
from domain.coins import Coin, CoinOutput, KeyPosition, UnsignedCoinAttempt
from domain.errors import StrongroomError
from domain.hd import EXTERNAL, derive_address
from domain.scanning import Outpoint
from domain.utxo.networks import Network
from domain.utxo.scripts import output_script
from signing.hd import account_xpub
from signing.utxo import sign_coins

SEED = b"the rich miner of local stacks".ljust(32, b".")
POSITION = KeyPosition(EXTERNAL, 0)
FEE_MINOR = 10_000
"""What each of its transactions pays, whatever their size."""

MATURE_BLOCKS = 100
RICH_BLOCKS = 20
"""As many mined blocks are spendable from the start."""

COIN_MINOR = 10**8
_MINING_RETRY_S = 1.0

logger = logging.getLogger(__name__)


class RichMiner:
    """A miner on the regtest node at this address (with credentials)."""

    def __init__(self, rpc_url: str, network: Network) -> None:
        """Take the node's address and its network; connects on the first call."""
        self.network = network
        self._rpc = open_rpc([rpc_url], network)
        derived = derive_address(network.chain_id, account_xpub(SEED, network.chain_id), POSITION)
        self.address, self._script = derived.address, derived.lookup_key

    async def make_rich(self) -> None:
        """Mine what is needed to have coins to spend; does nothing the second time."""
        height = int(await self.call("getblockcount"))
        if height < MATURE_BLOCKS + RICH_BLOCKS:
            await self.mine(MATURE_BLOCKS + RICH_BLOCKS - height)

    async def mine(self, blocks: int = 1) -> None:
        """Append blocks; the first takes what the pool holds."""
        await self.call("generatetoaddress", blocks, self.address)

    async def keep_mining(self, interval_s: float) -> None:
        """Mine a block at each interval until cancelled, whatever becomes of the node."""
        try:
            while True:
                await asyncio.sleep(interval_s)
                try:
                    await self.mine()
                except (StrongroomError, StackError) as error:
                    logger.debug("no block of %s: %s", self.network.name, error)
                    await asyncio.sleep(_MINING_RETRY_S)
        finally:
            await self.close()

    async def send(self, destination: str, amount_minor: int) -> str:
        """Pay an address from mined coins; return the txid, which the next block takes."""
        coins = await self._coins(amount_minor + FEE_MINOR)
        change_minor = sum(coin.amount_minor for coin in coins) - amount_minor - FEE_MINOR
        outputs = [CoinOutput(destination, amount_minor)]
        if change_minor > FEE_MINOR:
            outputs.append(CoinOutput(self.address, change_minor))
        attempt = UnsignedCoinAttempt(self.network.chain_id, tuple(coins), tuple(outputs))
        signed = sign_coins(attempt, SEED)
        return str(await self.call("sendrawtransaction", signed.raw.hex()))

    async def balance_minor(self, address: str) -> int:
        """Return the confirmed coins of an address, in satoshi."""
        found = await self.call("scantxoutset", "start", [f"addr({address})"])
        return _satoshi(found["total_amount"])

    async def balances_minor(self, addresses: Sequence[str]) -> dict[str, int]:
        """Return the confirmed coins of each of these addresses, in satoshi."""
        by_script = {output_script(address, self.network).hex(): address for address in addresses}
        found = await self.call("scantxoutset", "start", [f"addr({a})" for a in addresses])
        held = dict.fromkeys(addresses, 0)
        for entry in found["unspents"]:
            held[by_script[entry["scriptPubKey"]]] += _satoshi(entry["amount"])
        return held

    async def vbytes(self, txid: str, block_hash: str) -> int:
        """Return the virtual bytes of a transaction that this block holds."""
        found = await self.call("getrawtransaction", txid, 1, block_hash)
        return int(found["vsize"])

    async def call(self, method: str, *parameters: Any) -> Any:
        """
        Return a JSON-RPC result.

        Raises:
            StackError: The node answered with an error, or lost its answer.
        """
        try:
            return await self._rpc.send(method, *parameters)
        except (RefusalError, LostReplyError, NotSentError) as error:
            msg = f"{method}: {error}"
            raise StackError(msg) from None

    async def close(self) -> None:
        """Close the connections."""
        await self._rpc.close()

    async def _coins(self, needed_minor: int) -> Sequence[Coin]:
        """Return mature coins that the pool does not spend yet, the largest first."""
        found = await self.call("scantxoutset", "start", [f"addr({self.address})"])
        mature_height = int(found["height"]) - MATURE_BLOCKS + 1
        chosen: list[Coin] = []
        for entry in sorted(found["unspents"], key=lambda e: (-e["amount"], e["height"])):
            if entry["height"] > mature_height:
                continue
            if await self.call("gettxout", entry["txid"], entry["vout"], True) is None:  # noqa: FBT003
                continue
            outpoint = Outpoint(entry["txid"], int(entry["vout"]))
            chosen.append(Coin(outpoint, _satoshi(entry["amount"]), POSITION))
            if sum(coin.amount_minor for coin in chosen) >= needed_minor:
                return chosen
        msg = f"The miner of {self.network.name} is not that rich."
        raise StackError(msg)


def _satoshi(coins: Any) -> int:
    return int((Decimal(str(coins)) * COIN_MINOR).to_integral_value())
