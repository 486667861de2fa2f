from datetime import UTC, datetime, timedelta

import pytest

from domain.jobcoin.chain import (
    CAP_MINOR,
    NO_PARENT,
    REFERENCE,
    REWARD_MINOR,
    genesis,
    mint_txid,
    next_header,
    reward_minor,
    reward_txid,
)
from domain.jobcoin.transactions import Output

CHAIN = "jobcoin:local"
NOW = datetime(2026, 5, 1, tzinfo=UTC)
OUTPUT = Output(b"\x11" * 20, 5)


class TestHeader:
    def test_begins_each_network_with_a_block_of_its_own(self) -> None:
        assert genesis(CHAIN) == genesis(CHAIN)
        assert genesis(CHAIN).hash != genesis("jobcoin:main").hash
        assert (genesis(CHAIN).height, genesis(CHAIN).parent_hash) == (0, NO_PARENT)

    def test_stands_on_its_parent(self) -> None:
        parent = genesis(CHAIN)
        header = next_header(CHAIN, parent, ["aa"], mined_at=NOW)

        assert (header.height, header.parent_hash) == (1, parent.hash)

    def test_is_another_where_anything_is(self) -> None:
        parent = genesis(CHAIN)
        other_parent = next_header(CHAIN, parent, [], mined_at=NOW)
        hashes = {
            next_header(CHAIN, on, txids, mined_at=at).hash
            for on in (parent, other_parent)
            for txids in ([], ["aa"], ["aa", "bb"], ["bb", "aa"], ["aabb"])
            for at in (NOW, NOW + timedelta(microseconds=1))
        }

        assert len(hashes) == 20


class TestCoins:
    @pytest.mark.parametrize(
        ("minted_minor", "reward"),
        [(0, REWARD_MINOR), (CAP_MINOR - 5, 5), (CAP_MINOR, 0), (CAP_MINOR + 1, 0)],
    )
    def test_come_with_blocks_until_the_cap(self, minted_minor: int, reward: int) -> None:
        assert reward_minor(minted_minor) == reward

    def test_of_a_mint_are_the_same_only_for_the_same_reference(self) -> None:
        others = {
            mint_txid(CHAIN, "a", OUTPUT),
            mint_txid(CHAIN, "b", OUTPUT),
            mint_txid("jobcoin:main", "a", OUTPUT),
            mint_txid(CHAIN, "a", Output(OUTPUT.account, 6)),
            mint_txid(CHAIN, "a", Output(b"\x12" * 20, 5)),
            reward_txid(CHAIN, genesis(CHAIN), OUTPUT),
        }

        assert len(others) == 6
        assert mint_txid(CHAIN, "a", OUTPUT) in others

    @pytest.mark.parametrize("text", ["", "two words", "line\n", "é", "x" * 129])
    def test_have_a_reference_that_can_be_written(self, text: str) -> None:
        assert not REFERENCE.fullmatch(text)
