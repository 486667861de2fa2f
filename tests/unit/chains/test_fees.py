from hypothesis import given
from hypothesis import strategies as st

from chains.evm.fees import PRIORITY_FLOOR_MINOR, bumped, quote
from domain.ports import FeeQuote

WEI = st.integers(min_value=0, max_value=10**15)


class TestQuote:
    def test_takes_the_base_fee_of_the_block_to_come(self) -> None:
        fee = quote(
            {
                "baseFeePerGas": ["0x64", "0xc8"],
                "reward": [["0x3b9aca00"]],
                "gasUsedRatio": [0.5],
            }
        )

        assert fee == FeeQuote(200, 400 + 10**9, 10**9)

    def test_passes_over_the_tips_of_empty_blocks(self) -> None:
        fee = quote(
            {
                "baseFeePerGas": ["0x1"] * 4,
                "reward": [["0x0"], ["0x77359400"], ["0x0"]],
                "gasUsedRatio": [0.0, 0.3, 0],
            }
        )

        assert fee.priority_fee_minor == 2 * 10**9

    def test_offers_the_floor_on_an_idle_chain(self) -> None:
        fee = quote({"baseFeePerGas": ["0x0", "0x0"], "reward": None, "gasUsedRatio": [0.0]})

        assert fee == FeeQuote(0, PRIORITY_FLOOR_MINOR, PRIORITY_FLOOR_MINOR)


class TestBumped:
    @given(WEI, WEI, WEI, WEI)
    def test_raises_both_fields_by_what_pools_demand(
        self, max_minor: int, tip_minor: int, now_max_minor: int, now_tip_minor: int
    ) -> None:
        previous = FeeQuote(0, max_minor, tip_minor)
        now = FeeQuote(5, now_max_minor, now_tip_minor)
        fee = bumped(now, previous=previous)

        assert fee.max_fee_minor * 10 >= max_minor * 11
        assert fee.priority_fee_minor * 10 >= tip_minor * 11
        assert fee.max_fee_minor > max_minor
        assert fee.priority_fee_minor > tip_minor
        assert fee.max_fee_minor >= max(fee.priority_fee_minor, now_max_minor)
        assert fee.priority_fee_minor >= now_tip_minor

    def test_raises_by_an_eighth_and_no_more(self) -> None:
        fee = bumped(FeeQuote(0, 1, 1), previous=FeeQuote(0, 800, 80))

        assert (fee.max_fee_minor, fee.priority_fee_minor) == (900, 90)
