"""
Gas of paying many through ``contracts/Disperse.vy``, beside the least that any contract could take.

The floor of a payment of native coin made by a call, from the gas schedule:

- 9,000 for a call that moves value (Yellow Paper, G_callvalue), less the 2,300 of it that come
  back from an account without code (G_callstipend);
- 2,600 for the first call to an address in a transaction (EIP-2929);
- 25,000 if the account was empty (EIP-161);
- its 32 bytes of calldata, an address and an amount: 4 for a zero byte and 16 for any other
  (EIP-2028);
- its share of the transaction's own 21,000 (EIP-2).

What the contract adds is its loop, its checks, the lock, the calldata beside the payments, and the
summary that says what was paid. Nothing is timed: the figures do not depend on the machine, but on
the node's rules, which are Cancun's. Prague's floor on calldata (EIP-7623) is far below what the
calls take.
"""

import random
from dataclasses import dataclass
from typing import Any

from eth_abi.abi import encode
from eth_utils.address import to_canonical_address, to_checksum_address

from devnet.rich_uncle import RichUncle
from devnet.site import Site
from domain.disperse import Dispersal, Payment, approval_call, deployment_code, dispersal_call
from domain.disperse_logs import outcome_of
from domain.evm_call import EvmCall
from domain.evm_calls import TRANSFER_SELECTOR

RECIPIENTS = 200
GAS_LIMIT = 16_000_000
AMOUNTS_MINOR = (10**15, 10**18)
"""From a thousandth of a coin to one, to the last wei: eight bytes, hardly any of them zero."""

TRANSACTION_GAS = 21_000
CALL_GAS = 9_000 - 2_300 + 2_600
NEW_ACCOUNT_GAS = 25_000
BYTE_GAS, ZERO_BYTE_GAS = 16, 4

BATCH_ID = bytes(range(32))
MINTED_MINOR = 10**24
AUTOMINE = False


@dataclass(frozen=True, slots=True)
class DisperseFigures:
    """Gas per recipient, of batches of ``RECIPIENTS``."""

    known_gas: float
    """Native coin to accounts that have some."""
    known_floor_gas: float
    new_gas: float
    """Native coin to accounts that nobody has used before."""
    new_floor_gas: float
    token_known_gas: float
    """Our plain token to accounts that hold some of it; the sender's allowance is written."""
    token_new_gas: float
    token_alone_known_gas: float
    """A transaction of its own for the same transfer."""
    token_alone_new_gas: float

    @property
    def gas_vs_floor(self) -> float:
        """The worse of known and new accounts."""
        return max(self.known_gas / self.known_floor_gas, self.new_gas / self.new_floor_gas)

    @property
    def gas_vs_plain_known(self) -> float:
        """Beside a plain transfer for each recipient, which takes 21,000."""
        return self.known_gas / TRANSACTION_GAS

    @property
    def gas_vs_plain_new(self) -> float:
        """The same for new accounts: only calls pay for making one, so here batches lose."""
        return self.new_gas / TRANSACTION_GAS

    @property
    def token_gas_vs_alone(self) -> float:
        """The worse of known and new holders, beside a transaction for each."""
        return max(
            self.token_known_gas / self.token_alone_known_gas,
            self.token_new_gas / self.token_alone_new_gas,
        )


async def measure(site: Site) -> DisperseFigures:
    """Deploy the contract, then pay the same recipients twice: as new accounts and as known."""
    payer = _Payer(RichUncle(site.evm_url))
    await payer.open()
    payments, stranger = _payments(), _payments(seed=2)[0]
    new_gas, known_gas = [await payer.paid_gas(payments) for _ in range(2)]
    token_new_gas, token_known_gas = [await payer.paid_gas(payments, payer.token) for _ in range(2)]
    alone_new_gas, alone_known_gas = [await payer.alone_gas(stranger) for _ in range(2)]
    floor_gas = CALL_GAS + (_calldata_gas(payments) + TRANSACTION_GAS) / RECIPIENTS
    return DisperseFigures(
        known_gas=known_gas / RECIPIENTS,
        known_floor_gas=floor_gas,
        new_gas=new_gas / RECIPIENTS,
        new_floor_gas=floor_gas + NEW_ACCOUNT_GAS,
        token_known_gas=token_known_gas / RECIPIENTS,
        token_new_gas=token_new_gas / RECIPIENTS,
        token_alone_known_gas=alone_known_gas,
        token_alone_new_gas=alone_new_gas,
    )


class _Payer:
    """The node's rich account, with the contract, and a token that it has allowed to be moved."""

    def __init__(self, uncle: RichUncle) -> None:
        self._uncle = uncle
        self._account = self._contract = ""
        self.token = ""

    async def open(self) -> None:
        self._account = (await self._uncle.call("eth_accounts"))[0]
        self.token = await self._uncle.deploy_token(name="Bench", symbol="BEN", decimals=18)
        await self._uncle.mint_token(self.token, self._account, MINTED_MINOR)
        await self._uncle.call("evm_setAutomine", AUTOMINE)
        deployed = await self._mined({"data": "0x" + deployment_code().hex()})
        self._contract = str(to_checksum_address(deployed["contractAddress"]))
        await self._sent(approval_call(self.token, self._contract))

    async def paid_gas(self, payments: tuple[Payment, ...], token: str | None = None) -> int:
        """Pay a batch, check that all were paid, and return what it took."""
        batch = Dispersal(BATCH_ID, self._contract, self._account, payments, token)
        receipt = await self._sent(dispersal_call(batch))
        assert outcome_of(batch, receipt["logs"]).paid_count == len(payments)
        return int(receipt["gasUsed"], 16)

    async def alone_gas(self, payment: Payment) -> int:
        """Return what a transaction takes that pays this in tokens."""
        arguments = encode(["address", "uint256"], [payment.recipient, payment.amount_minor])
        receipt = await self._sent(EvmCall(self.token, 0, TRANSFER_SELECTOR + arguments))
        return int(receipt["gasUsed"], 16)

    async def _sent(self, call: EvmCall) -> dict[str, Any]:
        data = "0x" + call.data.hex()
        return await self._mined({"to": call.to, "value": hex(call.value_minor), "data": data})

    async def _mined(self, fields: dict[str, str]) -> dict[str, Any]:
        common = {"from": self._account, "gas": hex(GAS_LIMIT)}
        txid = await self._uncle.call("eth_sendTransaction", common | fields)
        await self._uncle.call("evm_mine")
        receipt: dict[str, Any] = await self._uncle.call("eth_getTransactionReceipt", txid)
        assert int(receipt["status"], 16) == 1
        return receipt


def _payments(*, seed: int = 1) -> tuple[Payment, ...]:
    chance = random.Random(seed)  # noqa: S311 - a reproducible workload
    return tuple(
        Payment(str(to_checksum_address(chance.randbytes(20))), chance.randint(*AMOUNTS_MINOR))
        for _ in range(RECIPIENTS)
    )


def _calldata_gas(payments: tuple[Payment, ...]) -> int:
    """Return what the packed payments take as calldata, and nothing beside them."""
    words = b"".join(
        to_canonical_address(payment.recipient) + payment.amount_minor.to_bytes(12)
        for payment in payments
    )
    return sum(BYTE_GAS if byte else ZERO_BYTE_GAS for byte in words)
