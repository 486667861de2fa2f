import re

from domain.ids import derived_id, new_id
from domain.payouts import (
    OPEN_STATUSES,
    PayoutStatus,
    approved_content_hash,
    request_hash,
)

SHAPE = re.compile(r"pay_[0-7][0-9A-HJKMNP-TV-Z]{25}")


class TestIds:
    def test_have_one_shape_whether_drawn_or_derived(self) -> None:
        assert SHAPE.fullmatch(new_id("pay"))
        assert SHAPE.fullmatch(derived_id("pay", "user", "key"))

    def test_are_never_drawn_twice(self) -> None:
        assert len({new_id("pay") for _ in range(1_000)}) == 1_000

    def test_are_derived_the_same_from_the_same_parts_only(self) -> None:
        assert derived_id("pay", "u", "k") == derived_id("pay", "u", "k")
        assert derived_id("pay", "u", "k") != derived_id("pay", "uk", "")
        assert derived_id("pay", "u", "k") != derived_id("pay", "k", "u")
        assert derived_id("pay", "u", "k")[4:] == derived_id("hld", "u", "k")[4:]


class TestHashes:
    def test_of_a_request_ignore_the_order_of_fields(self) -> None:
        assert request_hash({"a": 1, "b": "ü"}) == request_hash({"b": "ü", "a": 1})
        assert request_hash({"a": 1}) != request_hash({"a": "1"})

    def test_of_an_approval_cover_everything_that_is_paid(self) -> None:
        base = {"payout_id": "p", "asset": "ETH", "amount_minor": 1, "destination": "d"}
        changed = [{**base, key: 2 if key == "amount_minor" else "x"} for key in base]
        hashes = {approved_content_hash(**values) for values in [base, *changed]}  # type: ignore[arg-type]
        assert len(hashes) == 5


class TestStatus:
    def test_is_final_unless_it_is_open(self) -> None:
        assert {s for s in PayoutStatus if not s.is_final} == OPEN_STATUSES
        assert len(OPEN_STATUSES) == 3
