"""What clients rely on, of every Bitcoin-like node alike: ours must behave as the real ones do."""

import pytest

from tests.support.utxo_nodes import (
    COIN_SAT,
    FINAL,
    KINDS,
    Coin,
    Key,
    NodeKind,
    RegtestNode,
    running_node,
    to_sat,
)

FEE_SAT = 1_000
LARGE_FEE_SAT = 50_000
UNKNOWN = "ab" * 32
NOT_FULL = [kind for kind in KINDS if kind is not NodeKind.BITCOIND]
REPLACING = [kind for kind in KINDS if kind is not NodeKind.LITECOIND]


@pytest.fixture
def key() -> Key:
    return Key()


@pytest.fixture
async def coin(utxo_node: RegtestNode, key: Key) -> Coin:
    return await utxo_node.fund_key(key, COIN_SAT)


async def chain_of(node: RegtestNode, key: Key, coin: Coin, *, length: int) -> Coin:
    """Send transactions that depend on each other; return the last one's coin."""
    for _ in range(length):
        txid = await node.send(key.move(coin))
        coin = Coin(txid, 0, coin.value_sat - FEE_SAT)
    return coin


class TestBroadcast:
    async def test_takes_the_same_bytes_again(
        self, utxo_node: RegtestNode, key: Key, coin: Coin
    ) -> None:
        raw = key.move(coin)

        assert await utxo_node.send(raw) == await utxo_node.send(raw)

    async def test_says_when_it_is_in_the_chain(
        self, utxo_node: RegtestNode, key: Key, coin: Coin
    ) -> None:
        raw = key.move(coin)
        await utxo_node.confirm(await utxo_node.send(raw))

        fault = await utxo_node.fault("sendrawtransaction", raw)

        assert fault.code == -27
        assert "already in" in fault.message

    # From version 28 on bitcoind replaces what does not signal it too.
    @pytest.mark.parametrize("utxo_node", NOT_FULL, indirect=True)
    async def test_refuses_to_spend_a_coin_twice(
        self, utxo_node: RegtestNode, key: Key, coin: Coin
    ) -> None:
        await utxo_node.send(key.move(coin, sequence=FINAL))

        fault = await utxo_node.fault("sendrawtransaction", key.move(coin, fee_sat=LARGE_FEE_SAT))

        assert (fault.code, fault.message) == (-26, "txn-mempool-conflict")

    async def test_refuses_a_coin_that_was_spent_in_the_chain(
        self, utxo_node: RegtestNode, key: Key, coin: Coin
    ) -> None:
        await utxo_node.confirm(await utxo_node.send(key.move(coin)))

        fault = await utxo_node.fault("sendrawtransaction", key.move(coin, fee_sat=9_999))

        assert (fault.code, fault.message) == (-25, "bad-txns-inputs-missingorspent")

    async def test_refuses_a_false_signature(
        self, utxo_node: RegtestNode, key: Key, coin: Coin
    ) -> None:
        signed_for_less = Coin(coin.txid, coin.vout, coin.value_sat - 1)

        fault = await utxo_node.fault("sendrawtransaction", key.move(signed_for_less))

        assert fault.code == -26
        assert "script-verify-flag" in fault.message

    @pytest.mark.parametrize(
        ("fee_sat", "code", "words"),
        [
            (0, -26, "min relay fee not met"),
            (-1, -26, "bad-txns-in-belowout"),
            (COIN_SAT // 2, -25, "Fee exceeds maximum"),
            (COIN_SAT - 293, -26, "dust"),
        ],
    )
    async def test_refuses_a_wrong_amount(
        self,
        *,
        utxo_node: RegtestNode,
        key: Key,
        coin: Coin,
        fee_sat: int,
        code: int,
        words: str,
    ) -> None:
        fault = await utxo_node.fault("sendrawtransaction", key.move(coin, fee_sat=fee_sat))

        assert fault.code == code
        assert words in fault.message

    async def test_refuses_what_is_no_transaction(self, utxo_node: RegtestNode) -> None:
        fault = await utxo_node.fault("sendrawtransaction", "00" * 20)

        assert fault.code == -22
        assert "TX decode failed" in fault.message

    async def test_refuses_a_young_coinbase(self, utxo_node: RegtestNode, key: Key) -> None:
        [block_hash] = await utxo_node.mine(address=key.address(utxo_node.network))
        block = await utxo_node.rpc("getblock", block_hash, 2)
        output = block["tx"][0]["vout"][0]
        coin = Coin(block["tx"][0]["txid"], 0, to_sat(output["value"]))

        fault = await utxo_node.fault("sendrawtransaction", key.move(coin))

        assert fault.code == -26
        assert "bad-txns-premature-spend-of-coinbase" in fault.message

    async def test_tries_without_keeping(
        self, utxo_node: RegtestNode, key: Key, coin: Coin
    ) -> None:
        [good] = await utxo_node.rpc("testmempoolaccept", [key.move(coin)])
        [bad] = await utxo_node.rpc("testmempoolaccept", [key.move(coin, fee_sat=0)])
        [lost] = await utxo_node.rpc("testmempoolaccept", [key.move(Coin(UNKNOWN, 0, 10**6))])

        assert (good["allowed"], to_sat(good["fees"]["base"])) == (True, FEE_SAT)
        assert (bad["allowed"], bad["reject-reason"]) == (False, "min relay fee not met")
        assert (lost["allowed"], lost["reject-reason"]) == (False, "missing-inputs")
        assert good["txid"] not in await utxo_node.mempool()


class TestReplacement:
    @pytest.mark.parametrize("utxo_node", [NodeKind.LITECOIND], indirect=True)
    async def test_is_not_done_by_litecoin_nodes(
        self, utxo_node: RegtestNode, key: Key, coin: Coin
    ) -> None:
        await utxo_node.send(key.move(coin))

        fault = await utxo_node.fault("sendrawtransaction", key.move(coin, fee_sat=LARGE_FEE_SAT))

        assert (fault.code, fault.message) == (-26, "txn-mempool-conflict")
        assert not utxo_node.has_replacement

    @pytest.mark.parametrize("utxo_node", REPLACING, indirect=True)
    async def test_takes_a_higher_fee(self, utxo_node: RegtestNode, key: Key, coin: Coin) -> None:
        old = await utxo_node.send(key.move(coin))

        new = await utxo_node.send(key.move(coin, fee_sat=LARGE_FEE_SAT))

        mempool = await utxo_node.mempool()
        assert new in mempool
        assert old not in mempool

    @pytest.mark.parametrize("utxo_node", REPLACING, indirect=True)
    @pytest.mark.parametrize("added_sat", [0, 1, 100])
    async def test_refuses_a_bump_that_does_not_pay_its_own_relay(
        self, utxo_node: RegtestNode, key: Key, coin: Coin, added_sat: int
    ) -> None:
        await utxo_node.send(key.move(coin))
        bump = key.move(coin, fee_sat=FEE_SAT + added_sat, sequence=FINAL - 1 - added_sat)

        fault = await utxo_node.fault("sendrawtransaction", bump)

        assert fault.code == -26
        assert fault.message.startswith("insufficient fee, rejecting replacement")

    @pytest.mark.parametrize("utxo_node", REPLACING, indirect=True)
    async def test_must_pay_for_descendants_too(
        self, utxo_node: RegtestNode, key: Key, coin: Coin
    ) -> None:
        parent = Coin(await utxo_node.send(key.move(coin)), 0, COIN_SAT - FEE_SAT)
        child = await utxo_node.send(key.move(parent, fee_sat=LARGE_FEE_SAT))

        fault = await utxo_node.fault("sendrawtransaction", key.move(coin, fee_sat=20_000))
        await utxo_node.send(key.move(coin, fee_sat=2 * LARGE_FEE_SAT))

        assert "less fees than conflicting txs" in fault.message
        assert not {parent.txid, child} & set(await utxo_node.mempool())


class TestMempool:
    async def test_counts_a_child_that_pays_for_its_parent(
        self, utxo_node: RegtestNode, key: Key, coin: Coin
    ) -> None:
        parent = await utxo_node.send(key.move(coin))
        child = await utxo_node.send(
            key.move(Coin(parent, 0, COIN_SAT - FEE_SAT), fee_sat=LARGE_FEE_SAT)
        )

        entry = await utxo_node.rpc("getmempoolentry", child)
        parent_entry = await utxo_node.rpc("getmempoolentry", parent)

        assert entry["ancestorcount"] == parent_entry["descendantcount"] == 2
        assert entry["ancestorsize"] == entry["vsize"] + parent_entry["vsize"] == 220
        assert to_sat(entry["fees"]["base"]) == LARGE_FEE_SAT
        assert to_sat(entry["fees"]["ancestor"]) == LARGE_FEE_SAT + FEE_SAT
        assert (entry["depends"], parent_entry["spentby"]) == ([parent], [child])
        assert entry["bip125-replaceable"]

    async def test_refuses_the_26th_of_a_chain(
        self, utxo_node: RegtestNode, key: Key, coin: Coin
    ) -> None:
        last = await chain_of(utxo_node, key, coin, length=25)

        fault = await utxo_node.fault("sendrawtransaction", key.move(last))

        assert fault.code == -26
        assert "too-long-mempool-chain" in fault.message
        await utxo_node.confirm(last.txid)

    async def test_does_not_know_what_was_never_sent(self, utxo_node: RegtestNode) -> None:
        fault = await utxo_node.fault("getmempoolentry", UNKNOWN)
        raw_fault = await utxo_node.fault("getrawtransaction", UNKNOWN)

        assert (fault.code, fault.message) == (-5, "Transaction not in mempool")
        assert raw_fault.code == -5
        assert raw_fault.message.startswith("No such mempool or blockchain transaction")

    async def test_tells_the_fees_it_asks_for(self, utxo_node: RegtestNode) -> None:
        info = await utxo_node.rpc("getmempoolinfo")
        network = await utxo_node.rpc("getnetworkinfo")

        assert info["mempoolminfee"] == info["minrelaytxfee"] == network["relayfee"]
        assert to_sat(network["relayfee"]) > 0
        assert to_sat(network["incrementalfee"]) > 0

    @pytest.mark.parametrize("kind", KINDS)
    async def test_has_no_data_for_an_estimate(self, kind: NodeKind) -> None:
        async with running_node(kind) as fresh:
            estimate = await fresh.rpc("estimatesmartfee", 6)

        assert estimate["errors"] == ["Insufficient data or no feerate found"]


class TestCoins:
    async def test_are_unspent_until_the_mempool_spends_them(
        self, utxo_node: RegtestNode, key: Key, coin: Coin
    ) -> None:
        before = await utxo_node.rpc("gettxout", coin.txid, coin.vout)
        sent = await utxo_node.send(key.move(coin))

        assert (to_sat(before["value"]), before["confirmations"]) == (COIN_SAT, 1)
        assert before["scriptPubKey"]["hex"] == key.script.hex()
        assert await utxo_node.rpc("gettxout", coin.txid, coin.vout) is None
        in_chain = await utxo_node.rpc("gettxout", coin.txid, coin.vout, False)  # noqa: FBT003
        assert to_sat(in_chain["value"]) == COIN_SAT
        new = await utxo_node.rpc("gettxout", sent, 0)
        assert (to_sat(new["value"]), new["confirmations"]) == (COIN_SAT - FEE_SAT, 0)

    async def test_are_found_by_address_and_by_script(
        self, utxo_node: RegtestNode, key: Key, coin: Coin
    ) -> None:
        wanted = [f"raw({key.script.hex()})", {"desc": f"addr({key.address(utxo_node.network)})"}]

        found = await utxo_node.rpc("scantxoutset", "start", wanted)

        [unspent] = found["unspents"]
        assert (unspent["txid"], unspent["vout"]) == (coin.txid, coin.vout)
        assert unspent["height"] == found["height"] == await utxo_node.height()
        assert found["bestblock"] == await utxo_node.rpc("getbestblockhash")
        assert to_sat(found["total_amount"]) == await utxo_node.balance(
            key.address(utxo_node.network)
        )


class TestBlocks:
    async def test_shows_a_block_in_each_verbosity(
        self, utxo_node: RegtestNode, key: Key, coin: Coin
    ) -> None:
        txid = await utxo_node.send(key.move(coin))
        block_hash = await utxo_node.confirm(txid)

        raw = await utxo_node.rpc("getblock", block_hash, 0)
        short = await utxo_node.rpc("getblock", block_hash, 1)
        full = await utxo_node.rpc("getblock", block_hash, 2)
        header = await utxo_node.rpc("getblockheader", block_hash)

        assert [tx["txid"] for tx in full["tx"]] == short["tx"]
        assert len(raw) == 2 * short["size"]
        assert full["tx"][short["tx"].index(txid)]["vin"][0]["txid"] == coin.txid
        shared = ("height", "time", "previousblockhash", "merkleroot", "mediantime", "nTx")
        assert {name: header[name] for name in shared} == {name: short[name] for name in shared}
        assert (header["confirmations"], "nextblockhash" in header) == (1, False)
        assert raw.startswith(await utxo_node.rpc("getblockheader", block_hash, False))  # noqa: FBT003

    async def test_finds_a_transaction_with_and_without_its_block(
        self, utxo_node: RegtestNode, key: Key, coin: Coin
    ) -> None:
        raw = key.move(coin)
        txid = await utxo_node.send(raw)
        unconfirmed = await utxo_node.rpc("getrawtransaction", txid, True)  # noqa: FBT003
        block_hash = await utxo_node.confirm(txid)
        await utxo_node.mine()

        found = await utxo_node.rpc("getrawtransaction", txid, True)  # noqa: FBT003

        assert "confirmations" not in unconfirmed
        assert (found["blockhash"], found["confirmations"]) == (block_hash, 2)
        assert await utxo_node.rpc("getrawtransaction", txid) == raw
        assert await utxo_node.rpc("getrawtransaction", txid, False, block_hash) == raw  # noqa: FBT003

    async def test_says_what_it_does_not_have(self, utxo_node: RegtestNode) -> None:
        beyond = await utxo_node.fault("getblockhash", 10**6)
        unknown = await utxo_node.fault("getblock", UNKNOWN)

        assert (beyond.code, beyond.message) == (-8, "Block height out of range")
        assert (unknown.code, unknown.message) == (-5, "Block not found")

    async def test_mines_exactly_what_it_is_told(
        self, utxo_node: RegtestNode, key: Key, coin: Coin
    ) -> None:
        other_key = Key()
        other = await utxo_node.fund_key(other_key, COIN_SAT)
        left = await utxo_node.send(key.move(coin))
        raw = other_key.move(other)

        made = await utxo_node.rpc("generateblock", utxo_node.fresh_address(), [raw])

        block = await utxo_node.rpc("getblock", made["hash"])
        assert len(block["tx"]) == 2
        assert left in await utxo_node.mempool()

    async def test_never_mines_a_block_that_is_not_valid(
        self, utxo_node: RegtestNode, key: Key, coin: Coin
    ) -> None:
        twice = [key.move(coin), key.move(coin, fee_sat=LARGE_FEE_SAT)]
        height = await utxo_node.height()

        fault = await utxo_node.fault("generateblock", utxo_node.fresh_address(), twice)

        assert fault.code == -25
        assert await utxo_node.height() == height


class TestReorg:
    async def test_gives_transactions_back_to_the_mempool(
        self, utxo_node: RegtestNode, key: Key, coin: Coin
    ) -> None:
        parent = await utxo_node.send(key.move(coin))
        block_hash = await utxo_node.confirm(parent)
        child = await utxo_node.send(key.move(Coin(parent, 0, COIN_SAT - FEE_SAT)))
        tip_before = await utxo_node.rpc("getblockheader", block_hash)

        await utxo_node.rpc("invalidateblock", block_hash)

        assert await utxo_node.rpc("getbestblockhash") == tip_before["previousblockhash"]
        assert {parent, child} <= set(await utxo_node.mempool())
        assert (await utxo_node.rpc("getblockheader", block_hash))["confirmations"] == -1
        assert (await utxo_node.rpc("getmempoolentry", child))["ancestorcount"] == 2
        await utxo_node.mine(2)
        assert await utxo_node.confirmations(parent) == 2

    async def test_can_be_taken_back(self, utxo_node: RegtestNode, key: Key, coin: Coin) -> None:
        txid = await utxo_node.send(key.move(coin))
        block_hash = await utxo_node.confirm(txid)

        await utxo_node.rpc("invalidateblock", block_hash)
        await utxo_node.rpc("reconsiderblock", block_hash)

        assert await utxo_node.rpc("getbestblockhash") == block_hash
        assert txid not in await utxo_node.mempool()

    async def test_moves_to_a_longer_chain(self, utxo_node: RegtestNode, key: Key) -> None:
        txid = await utxo_node.fund(key.address(utxo_node.network), COIN_SAT)
        old = await utxo_node.confirm(txid)
        height = await utxo_node.height()

        new = await utxo_node.reorg(1)

        assert await utxo_node.height() == height + 1
        assert await utxo_node.confirmations(txid) == 2
        assert await utxo_node.rpc("getblockhash", height) == new[0] != old

    async def test_can_leave_transactions_unconfirmed(
        self, utxo_node: RegtestNode, key: Key
    ) -> None:
        txid = await utxo_node.fund(key.address(utxo_node.network), COIN_SAT)
        await utxo_node.confirm(txid)

        await utxo_node.reorg(1, is_remining=False)

        assert txid in await utxo_node.mempool()
        assert await utxo_node.balance(key.address(utxo_node.network)) == 0
        await utxo_node.confirm(txid)

    async def test_can_double_spend_a_deposit_and_what_followed(
        self, utxo_node: RegtestNode, key: Key
    ) -> None:
        txid = await utxo_node.fund(key.address(utxo_node.network), COIN_SAT)
        await utxo_node.confirm(txid)
        child = await utxo_node.send(key.move(Coin(txid, 0, COIN_SAT)))
        await utxo_node.confirm(child)

        await utxo_node.reorg(2, drop=[txid])

        assert not {txid, child} & set(await utxo_node.mempool())
        # An index of all transactions still has those of stale blocks.
        assert [await utxo_node.confirmations(lost) for lost in (txid, child)] == [0, 0]
        stale = await utxo_node.rpc("getrawtransaction", txid, True)  # noqa: FBT003
        assert (await utxo_node.rpc("getblockheader", stale["blockhash"]))["confirmations"] == -1
        assert "blocktime" not in stale
        assert await utxo_node.balance(key.address(utxo_node.network)) == 0
