"""Estimates of network fees; pure, though they read rows."""

from datetime import UTC, datetime, timedelta

from domain.payouts import Priority
from models.chain_transactions import ChainHead
from models.wallets import Asset, AssetKind, Chain
from payouts.fee_estimates import FeeEstimate, estimates

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
ETHER = Asset(code="ETH", chain_id="c", kind=AssetKind.NATIVE, decimals=18, name="Ether")
TOKEN = Asset(code="USD", chain_id="c", kind=AssetKind.ERC20, decimals=6, name="Dollar")


def chain(family: str = "evm", *, normal: int | None = None, economy: int | None = None) -> Chain:
    return Chain(
        id="c",
        family=family,
        name="C",
        native_asset="ETH",
        max_fee_ceiling_minor=1_000,
        normal_fee_ceiling_minor=normal,
        economy_fee_ceiling_minor=economy,
    )


def head(rate_minor: int | None = 210, base_minor: int | None = 100) -> ChainHead:
    return ChainHead(
        chain_id="c", height=1, fee_rate_minor=rate_minor, base_fee_minor=base_minor, seen_at=NOW
    )


def estimated(
    asset: Asset, on: Chain, seen: ChainHead | None, *, now: datetime = NOW
) -> dict[Priority, FeeEstimate]:
    return {e.priority: e for e in estimates(asset, on, seen, now=now)}


class TestEstimates:
    def test_count_what_the_block_takes_not_what_is_offered(self) -> None:
        found = estimated(ETHER, chain(), head())
        assert {e.network_fee_minor for e in found.values()} == {21_000 * 110}
        assert estimated(TOKEN, chain(), head())[Priority.NORMAL].network_fee_minor == 65_000 * 110

    def test_tell_who_would_wait_and_what_they_would_pay_then(self) -> None:
        dear = chain(normal=105, economy=50)
        found = estimated(ETHER, dear, head())
        waits = {p: e.would_wait for p, e in found.items()}
        assert waits == {Priority.ECONOMY: True, Priority.NORMAL: True, Priority.URGENT: False}
        assert [e.ceiling_minor for e in found.values()] == [50, 105, 1_000]
        assert found[Priority.ECONOMY].network_fee_minor == 21_000 * 50

    def test_of_coins_go_by_size(self) -> None:
        found = estimated(ETHER, chain("utxo"), head(1_000, 100))
        # One input, a payment and change: 141 virtual bytes at a satoshi each.
        assert found[Priority.NORMAL].network_fee_minor == 141

    def test_say_nothing_when_nobody_has_looked_lately(self) -> None:
        for seen in (None, head(None)):
            assert estimated(ETHER, chain(), seen)[Priority.NORMAL].network_fee_minor is None
        later = NOW + timedelta(minutes=1)
        dear = chain(normal=1)
        stale = estimated(ETHER, dear, head(), now=later)[Priority.NORMAL]
        assert (stale.network_fee_minor, stale.would_wait) == (None, False)
