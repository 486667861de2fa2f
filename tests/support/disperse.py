"""The disperse contract on a real node, and recipients that behave as badly as code can."""

from collections.abc import Sequence
from typing import Any

import httpx
from eth_abi.abi import encode
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from contracts.artifacts import load_artifact
from domain.disperse import Dispersal, Payment, approval_call, deployment_code, dispersal_call
from domain.disperse_gas import Kind, gas_limit_for
from domain.disperse_logs import Outcome, outcome_of
from domain.evm_call import EvmCall
from domain.evm_calls import balance_of_data
from domain.ids import new_id
from tests.support.evm import AUTOMINE, DEV_ACCOUNT

RICH_MINOR = 10**28
MINTED_MINOR = 10**30

# Runtime code by hand. fe: INVALID, uses up all gas; 5b 5f 56: JUMPDEST PUSH0 JUMP, runs until the
# gas is out; 62 .. 5f f3 and 62 .. 5f fd: RETURN and REVERT with 128 KiB; 33 ff: destroys itself in
# favor of its caller, with 30 ff of itself; 5f 5f 5f f0: CREATE of an empty contract.
HOSTILE_CODES = {
    "reverts": "5f5ffd",
    "is_invalid": "fe",
    "burns_gas": "5b5f56",
    "reverts_with_much": "620200005ffd",
}
"""Recipients that refuse."""
ODD_CODES = {
    "returns_much": "610800" + "5ff3",
    "destroys_itself": "30ff",
    "creates": "5f5f5ff000",
    # SLOAD and SSTORE of slot 0: counts its payments, for 22,100 gas the first time.
    "counts": "5f54600101" + "5f5500",
}
"""Recipients that take it."""
PICKY = "62" + "00c350" + "5a10600a57005b" + "5f5ffd"
"""Refuses at once, with most of its gas left, when it has less than 50,000."""
GIVES_BACK = "33ff"
"""Destroys itself in favor of whoever pays it."""


def fresh_address() -> str:
    return str(to_checksum_address(keccak(text=new_id("test"))[:20]))


def fresh_batch_id() -> bytes:
    return keccak(text=new_id("batch"))


def call_data(signature: str, types: Sequence[str], values: Sequence[Any]) -> bytes:
    return keccak(text=signature)[:4] + encode(types, values)


class DisperseWorld:
    """A deployed contract and a sender with money; each transaction is mined at once."""

    def __init__(self, url: str) -> None:
        self._client = httpx.Client(base_url=url, timeout=30)
        self.sender = fresh_address()
        self.rpc("evm_setAutomine", AUTOMINE)
        self.rpc("anvil_dropAllTransactions")
        for account in (self.sender, DEV_ACCOUNT):
            self.rpc("anvil_setBalance", account, hex(RICH_MINOR))
        self.rpc("anvil_impersonateAccount", self.sender)
        self.contract = self.deploy(deployment_code())

    def close(self) -> None:
        self._client.close()

    def rpc(self, method: str, *params: Any) -> Any:
        return self.batch((method, *params))[0]

    def batch(self, *calls: tuple[Any, ...]) -> list[Any]:
        requests = [
            {"jsonrpc": "2.0", "id": place, "method": call[0], "params": call[1:]}
            for place, call in enumerate(calls)
        ]
        answers = {answer["id"]: answer for answer in self._client.post("/", json=requests).json()}
        for answer in answers.values():
            assert "error" not in answer, answer
        return [answers[place]["result"] for place in range(len(calls))]

    def transact(self, fields: dict[str, Any], *, sender: str = DEV_ACCOUNT) -> dict[str, Any]:
        """Mine one transaction and return its receipt, whatever its status."""
        gas = {"from": sender, "gas": hex(15_000_000), "gasPrice": hex(10**10)}
        txid = self.rpc("eth_sendTransaction", gas | fields)
        self.rpc("evm_mine")
        receipt = self.rpc("eth_getTransactionReceipt", txid)
        assert receipt is not None, "it was not mined"
        return dict(receipt)

    def deploy(self, code: bytes) -> str:
        receipt = self.transact({"data": "0x" + code.hex()})
        assert receipt["status"] == "0x1"
        return str(to_checksum_address(receipt["contractAddress"]))

    def deploy_named(self, name: str, arguments: bytes = b"") -> str:
        return self.deploy(bytes.fromhex(load_artifact(name).bytecode[2:]) + arguments)

    def account(self, code: str) -> str:
        """Return an address with this runtime code."""
        address = fresh_address()
        self.rpc("anvil_setCode", address, "0x" + code)
        return address

    def invoke(
        self, to: str, signature: str, *values: Any, sender: str = DEV_ACCOUNT
    ) -> dict[str, Any]:
        types = signature[signature.index("(") + 1 : -1].split(",")
        data = call_data(signature, types, values)
        receipt = self.transact({"to": to, "data": "0x" + data.hex()}, sender=sender)
        assert receipt["status"] == "0x1"
        return receipt

    def token(self, name: str = "OddToken", arguments: bytes = b"") -> str:
        """Deploy a token of which the sender has plenty and has allowed the contract all."""
        token = self.deploy_named(name, arguments)
        self.invoke(token, "mint(address,uint256)", self.sender, MINTED_MINOR)
        assert self.send(approval_call(token, self.contract))["status"] == "0x1"
        return token

    def set_entry(
        self, caller: str, entry: bytes, *, coins: int = 0, is_strict: bool = False
    ) -> None:
        """Let ``contracts/Reenterer.vy`` call the contract so, when it is paid."""
        signature = "set_entry(address,bytes,uint256,bool)"
        self.invoke(caller, signature, self.contract, entry, coins, is_strict)

    def dispersal(self, *payments: tuple[str, int], token: str | None = None) -> Dispersal:
        batch = tuple(Payment(*payment) for payment in payments)
        return Dispersal(fresh_batch_id(), self.contract, self.sender, batch, token)

    def send(self, call: EvmCall, *, gas: int = 15_000_000) -> dict[str, Any]:
        fields = {
            "to": call.to,
            "value": hex(call.value_minor),
            "data": "0x" + call.data.hex(),
            "gas": hex(gas),
        }
        return self.transact(fields, sender=self.sender)

    def disperse(self, dispersal: Dispersal) -> tuple[Outcome, dict[str, Any]]:
        """Pay a batch with the gas limit that is said to be enough for any; see that it is."""
        kind = Kind.NATIVE if dispersal.token_address is None else Kind.TOKEN
        gas = gas_limit_for(len(dispersal.payments), kind)
        receipt = self.send(dispersal_call(dispersal), gas=gas)
        assert receipt["status"] == "0x1"
        return outcome_of(dispersal, receipt["logs"]), receipt

    def balances(self, *addresses: str, token: str | None = None) -> list[int]:
        calls = [_balance_call(address, token) for address in addresses]
        return [int(answer, 16) for answer in self.batch(*calls)]

    def balance(self, address: str, token: str | None = None) -> int:
        return self.balances(address, token=token)[0]


def fee_minor(receipt: dict[str, Any]) -> int:
    return int(receipt["gasUsed"], 16) * int(receipt["effectiveGasPrice"], 16)


def _balance_call(address: str, token: str | None) -> tuple[Any, ...]:
    if token is None:
        return "eth_getBalance", address, "latest"
    data = "0x" + balance_of_data(address).hex()
    return "eth_call", {"to": token, "data": data}, "latest"
