from dataclasses import replace

import pytest
from eth_account import Account
from eth_account.typed_transactions.typed_transaction import TypedTransaction
from eth_utils.crypto import keccak
from hexbytes import HexBytes

from domain.errors import SigningRefusedError, WrongChainError
from domain.evm_calls import balance_of_data, evm_call, evm_chain_number
from domain.ports import Transfer, UnsignedAttempt
from signing.evm import identity_of, sign_evm

PRIVATE_KEY = (1).to_bytes(32)
# The generator point of secp256k1 (SEC 2, 2.4.1) is the public key of 1.
GENERATOR = (
    "0x0479be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"
    "483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8"
)
WALLET = "0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf"
DESTINATION = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
TOKEN = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
COIN = UnsignedAttempt(Transfer(WALLET, DESTINATION, 5, None), "eip155:31337", 7, 21_000, 99, 3)


class TestIdentity:
    def test_is_the_address_and_the_uncompressed_point(self) -> None:
        identity = identity_of(PRIVATE_KEY)

        assert identity.address == WALLET
        assert identity.pub_key == GENERATOR


class TestSignEvm:
    def test_gives_the_same_bytes_every_time(self) -> None:
        assert sign_evm(COIN, PRIVATE_KEY) == sign_evm(COIN, PRIVATE_KEY)

    def test_gives_other_bytes_for_anything_else(self) -> None:
        attempts = [
            COIN,
            replace(COIN, account_nonce=8),
            replace(COIN, max_fee_minor=100),
            replace(COIN, priority_fee_minor=4),
            replace(COIN, gas_limit=21_001),
            replace(COIN, chain_id="eip155:1"),
            replace(COIN, transfer=replace(COIN.transfer, amount_minor=6)),
            replace(COIN, transfer=replace(COIN.transfer, contract_address=TOKEN)),
        ]

        assert len({sign_evm(a, PRIVATE_KEY).txid for a in attempts}) == len(attempts)

    def test_is_from_the_wallet(self) -> None:
        signed = sign_evm(COIN, PRIVATE_KEY)

        assert Account.recover_transaction(signed.raw) == WALLET
        assert signed.txid == "0x" + keccak(signed.raw).hex()

    def test_signs_what_was_asked(self) -> None:
        fields = TypedTransaction.from_bytes(HexBytes(sign_evm(COIN, PRIVATE_KEY).raw)).as_dict()

        assert fields["chainId"] == 31337
        assert (fields["nonce"], fields["gas"], fields["value"]) == (7, 21_000, 5)
        assert (fields["maxFeePerGas"], fields["maxPriorityFeePerGas"]) == (99, 3)
        assert bytes(fields["to"]).hex() == DESTINATION[2:].lower()

    def test_refuses_the_key_of_another_wallet(self) -> None:
        with pytest.raises(SigningRefusedError):
            sign_evm(COIN, (2).to_bytes(32))


class TestCalls:
    def test_encode_a_token_transfer(self) -> None:
        call = evm_call(Transfer(WALLET, DESTINATION, 2**256 - 1, TOKEN))

        assert (call.to, call.value_minor) == (TOKEN, 0)
        assert call.data[:4] == keccak(text="transfer(address,uint256)")[:4]
        assert call.data[4:].hex() == "00" * 12 + DESTINATION[2:].lower() + "ff" * 32

    def test_encode_a_balance_question(self) -> None:
        data = balance_of_data(WALLET)

        assert data[:4] == keccak(text="balanceOf(address)")[:4]
        assert data[4:].hex() == "00" * 12 + WALLET[2:].lower()

    @pytest.mark.parametrize("chain_id", ["1", "eip155:", "eip155:-1", "bip122:1", "eip155:²"])
    def test_need_the_id_of_an_evm_chain(self, chain_id: str) -> None:
        with pytest.raises(WrongChainError):
            evm_chain_number(chain_id)
