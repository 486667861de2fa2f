import pytest
from eth_abi.abi import encode

from chains.evm.errors import NodeError, Verdict, classify

SAID = [
    # geth and reth
    ("already known", Verdict.KNOWN),
    ("nonce too low: address 0xAb, tx: 1 state: 2", Verdict.NONCE_USED),
    ("replacement transaction underpriced", Verdict.REPLACEMENT_UNDERPRICED),
    (
        "replacement transaction underpriced: new tx gas fee cap 2 <= 2 queued",
        Verdict.REPLACEMENT_UNDERPRICED,
    ),
    ("transaction underpriced: tip needed 1, tip permitted 0", Verdict.FEE_TOO_LOW),
    ("transaction underpriced", Verdict.FEE_TOO_LOW),
    ("transaction gas price below minimum: gas tip cap 0, minimum needed 1", Verdict.FEE_TOO_LOW),
    (
        "max fee per gas less than block base fee: address 0xAb, maxFeePerGas: 1, baseFee: 2",
        Verdict.FEE_TOO_LOW,
    ),
    (
        "insufficient funds for gas * price + value: balance 0, tx cost 2, overshot 2",
        Verdict.SHORT_OF_FUNDS,
    ),
    ("insufficient funds for transfer", Verdict.SHORT_OF_FUNDS),
    ("intrinsic gas too low: gas 20999, minimum needed 21000", Verdict.REJECTED),
    ("exceeds block gas limit", Verdict.REJECTED),
    ("transaction gas limit too high (cap: 16777216, tx: 20000000)", Verdict.REJECTED),
    ("max priority fee per gas higher than max fee per gas", Verdict.REJECTED),
    ("tx fee (1.20 ether) exceeds the configured cap (1.00 ether)", Verdict.REJECTED),
    ("invalid sender", Verdict.REJECTED),
    ("invalid chain id for signer: have 1 want 31337", Verdict.REJECTED),
    ("only replay-protected (EIP-155) transactions allowed over RPC", Verdict.REJECTED),
    ("txpool is full", Verdict.NODE_BUSY),
    ("account limit exceeded", Verdict.NODE_BUSY),
    ("execution reverted: insufficient funds in the vault", Verdict.REVERTED),
    ("gas required exceeds allowance (30000000)", Verdict.REVERTED),
    ("finalized block not found", Verdict.BLOCK_UNKNOWN),
    # anvil
    ("transaction already imported", Verdict.KNOWN),
    ("Insufficient funds for gas * price + value", Verdict.SHORT_OF_FUNDS),
    # Nethermind
    ("AlreadyKnown", Verdict.KNOWN),
    ("OldNonce, Current nonce: 5, nonce of rejected tx: 4", Verdict.NONCE_USED),
    ("ReplacementNotAllowed", Verdict.REPLACEMENT_UNDERPRICED),
    ("FeeTooLow, MaxFeePerGas too low. MaxFeePerGas: 1, BaseFee: 2", Verdict.FEE_TOO_LOW),
    ("FeeTooLowToCompete", Verdict.FEE_TOO_LOW),
    ("InsufficientFunds, Account balance: 0, cumulative cost: 2", Verdict.SHORT_OF_FUNDS),
    ("GasLimitExceeded, Gas limit: 1, gas limit of rejected tx: 2", Verdict.REJECTED),
    ("NonceGap, Future nonce. Expected nonce: 1", Verdict.NODE_BUSY),
    ("Syncing", Verdict.NODE_BUSY),
    # Erigon
    ("existing tx with same hash", Verdict.KNOWN),
    ("could not replace existing tx", Verdict.REPLACEMENT_UNDERPRICED),
    ("fee too low", Verdict.FEE_TOO_LOW),
    ("underpriced", Verdict.FEE_TOO_LOW),
    ("insufficient funds", Verdict.SHORT_OF_FUNDS),
    ("pending sub-pool is full", Verdict.NODE_BUSY),
    # Besu
    ("Known transaction", Verdict.KNOWN),
    ("Nonce too low", Verdict.NONCE_USED),
    ("Transaction replacement underpriced", Verdict.REPLACEMENT_UNDERPRICED),
    ("Upfront cost exceeds account balance", Verdict.SHORT_OF_FUNDS),
    ("Gas price below current base fee", Verdict.FEE_TOO_LOW),
    ("Gas price below configured minimum gas price", Verdict.FEE_TOO_LOW),
    ("Intrinsic gas exceeds gas limit", Verdict.REJECTED),
    ("Transaction gas limit exceeds block gas limit", Verdict.REJECTED),
    ("Wrong chainId", Verdict.REJECTED),
    # Hosted gateways
    ("Too Many Requests", Verdict.NODE_BUSY),
    ("daily request limit exceeded", Verdict.NODE_BUSY),
    # Words that nobody taught us
    ("", Verdict.UNKNOWN),
    ("Internal error", Verdict.UNKNOWN),
]


class TestClassify:
    @pytest.mark.parametrize(("text", "verdict"), SAID)
    def test_knows_what_nodes_say(self, text: str, verdict: Verdict) -> None:
        assert classify(text) is verdict


class TestNodeError:
    def test_takes_the_revert_code_over_the_contracts_words(self) -> None:
        error = NodeError.parse({"code": 3, "message": "already known"})

        assert error.verdict is Verdict.REVERTED

    def test_reads_the_reason_from_the_data(self) -> None:
        data = "0x08c379a0" + encode(["string"], ["token is paused"]).hex()
        nested = {"code": -32015, "message": "VM execution error.", "data": f"Reverted {data}"}
        wrapped = {"code": 3, "message": "execution reverted", "data": {"data": data}}

        assert NodeError.parse(nested).revert_reason == "token is paused"
        assert NodeError.parse(nested).verdict is Verdict.REVERTED
        assert NodeError.parse(wrapped).revert_reason == "token is paused"

    @pytest.mark.parametrize("data", ["0x08c379a0", "0x08c379a0zz", "0x08c379a0" + "ff" * 32])
    def test_survives_malformed_data(self, data: str) -> None:
        error = NodeError.parse({"code": 3, "message": "execution reverted", "data": data})

        assert error.revert_reason == "execution reverted"

    def test_reads_a_bare_string(self) -> None:
        assert NodeError.parse("nonce too low").verdict is Verdict.NONCE_USED
