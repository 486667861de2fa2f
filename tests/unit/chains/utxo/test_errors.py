import pytest

from chains.utxo.errors import NodeError, Verdict
from domain.errors import ChainUnavailableError, NodePrunedError, NodeSyncingError

SAID = [
    # sendrawtransaction, Bitcoin Core 25 to 29
    (-27, "Transaction already in block chain", Verdict.KNOWN),
    (-27, "Transaction outputs already in utxo set", Verdict.KNOWN),
    (-26, "txn-already-in-mempool", Verdict.KNOWN),
    (-26, "txn-already-known", Verdict.KNOWN),
    (-26, "txn-same-nonwitness-data-in-mempool", Verdict.KNOWN),
    (-25, "bad-txns-inputs-missingorspent", Verdict.INPUTS_USED),
    (-26, "txn-mempool-conflict", Verdict.CONFLICT),
    (
        -26,
        "insufficient fee, rejecting replacement 11ff; new feerate 0.00001 <= old feerate 0.00002",
        Verdict.CONFLICT,
    ),
    (
        -26,
        "insufficient fee, rejecting replacement 11ff, not enough additional fees to relay; 1 < 2",
        Verdict.CONFLICT,
    ),
    (-26, "too many potential replacements, rejecting replacement 11ff; ...", Verdict.CONFLICT),
    (-26, "replacement-adds-unconfirmed, replacement 11ff adds unconfirmed", Verdict.CONFLICT),
    (
        -26,
        "replacement-failed, insufficient feerate: does not improve feerate diagram",
        Verdict.CONFLICT,
    ),
    (-26, "min relay fee not met, 10 < 141", Verdict.FEE_TOO_LOW),
    (-26, "mempool min fee not met, 141 < 1410", Verdict.FEE_TOO_LOW),
    (-26, "mempool full", Verdict.FEE_TOO_LOW),
    (-26, "too-long-mempool-chain, too many unconfirmed ancestors [limit: 25]", Verdict.NODE_BUSY),
    (
        -26,
        "bad-txns-premature-spend-of-coinbase, tried to spend coinbase at depth 3",
        Verdict.NODE_BUSY,
    ),
    (-26, "non-final", Verdict.NODE_BUSY),
    (-26, "non-BIP68-final", Verdict.NODE_BUSY),
    (-26, "dust", Verdict.REJECTED),
    (-26, "scriptpubkey", Verdict.REJECTED),
    (-26, "tx-size", Verdict.REJECTED),
    (-26, "bad-txns-in-belowout, value in (1.0) < value out (2.0)", Verdict.REJECTED),
    (-26, "bad-txns-inputs-duplicate", Verdict.REJECTED),
    (-26, "bad-witness-nonstandard", Verdict.REJECTED),
    (-26, "mandatory-script-verify-flag-failed (Signature must be zero)", Verdict.REJECTED),
    (-26, "mempool-script-verify-flag-failed (Script failed an OP_EQUALVERIFY)", Verdict.REJECTED),
    (-25, "Fee exceeds maximum configured by user (e.g. -maxtxfee, maxfeerate)", Verdict.REJECTED),
    (
        -25,
        "Unspendable output exceeds maximum configured by user (maxburnamount)",
        Verdict.REJECTED,
    ),
    (-22, "TX decode failed. Make sure the tx has at least one input.", Verdict.REJECTED),
    # Litecoin Core 0.21
    (-25, "Missing inputs", Verdict.INPUTS_USED),
    (-26, "bad-txns-inputs-missing, CheckTxInputs: MWEB inputs missing", Verdict.INPUTS_USED),
    (
        -26,
        "bad-txns-premature-spend-of-pegout, tried to spend pegout output at depth 2",
        Verdict.NODE_BUSY,
    ),
    (-26, "absurdly-high-fee", Verdict.REJECTED),
    # testmempoolaccept
    (0, "missing-inputs", Verdict.INPUTS_USED),
    (0, "max-fee-exceeded", Verdict.REJECTED),
    # Reading
    (
        -5,
        "No such mempool or blockchain transaction. Use gettransaction for ...",
        Verdict.NOT_FOUND,
    ),
    (-5, "Transaction not in mempool", Verdict.NOT_FOUND),
    (-5, "Block not found", Verdict.NOT_FOUND),
    (-8, "Block height out of range", Verdict.NOT_FOUND),
    (-1, "Block not available (pruned data)", Verdict.PRUNED),
    (-1, "Block not available (not fully downloaded)", Verdict.SYNCING),
    (-8, 'Scan already in progress, use action "abort" or "status"', Verdict.NODE_BUSY),
    (-28, "Loading block index…", Verdict.SYNCING),
    (-28, "Verifying blocks…", Verdict.SYNCING),
    (-9, "Bitcoin Core is not connected!", Verdict.SYNCING),
    (-10, "Bitcoin Core is in initial sync and waiting for blocks...", Verdict.SYNCING),
    # Words that nobody taught us
    (-26, "a rule of tomorrow", Verdict.UNKNOWN),
    (-32601, "Method not found", Verdict.UNKNOWN),
    (-1, "", Verdict.UNKNOWN),
]


class TestVerdict:
    @pytest.mark.parametrize(("code", "text", "verdict"), SAID)
    def test_knows_what_nodes_say(self, code: int, text: str, verdict: Verdict) -> None:
        assert NodeError.parse({"code": code, "message": text}).verdict is verdict

    def test_reads_a_bare_string(self) -> None:
        assert NodeError.parse("txn-mempool-conflict").verdict is Verdict.CONFLICT

    def test_reads_an_error_without_members(self) -> None:
        assert NodeError.parse({}).verdict is Verdict.UNKNOWN


class TestFailure:
    @pytest.mark.parametrize(
        ("code", "text", "failure"),
        [
            (-1, "Block not available (pruned data)", NodePrunedError),
            (-28, "Loading wallet…", NodeSyncingError),
            (-8, "Scan already in progress", ChainUnavailableError),
        ],
    )
    def test_says_what_a_node_lacks(self, code: int, text: str, failure: type[Exception]) -> None:
        error = NodeError(code, text)
        assert error.is_busy
        assert type(error.failure) is failure

    @pytest.mark.parametrize("text", ["Block not found", "dust", "txn-mempool-conflict"])
    def test_is_not_for_answers_that_every_node_would_give(self, text: str) -> None:
        assert not NodeError(-5, text).is_busy
