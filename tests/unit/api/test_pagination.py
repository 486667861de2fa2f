import base64
from datetime import UTC, datetime

import pytest

from api.pagination import decode_cursor, encode_cursor, listed
from domain.errors import InvalidCursorError
from domain.ids import new_id
from infra.paging import Page, Position

MOMENT = datetime(2026, 1, 2, 3, 4, 5, 678_901, UTC)


class TestCursor:
    def test_names_the_same_place_after_a_round_trip(self) -> None:
        position = Position(MOMENT, new_id("pay"))

        assert decode_cursor(encode_cursor(position)) == position

    @pytest.mark.parametrize(
        "cursor",
        [
            "",
            "!",
            "caf\u00e9",
            "A",
            *(
                base64.urlsafe_b64encode(text).decode()
                for text in (
                    b"1",
                    b"1:pay_x",
                    b"x:pay_01JD3ZQ6V9K3E8M5T2R7W4X1YB",
                    b"\xff",
                    b"\x00",
                )
            ),
        ],
    )
    def test_must_be_one_of_ours(self, cursor: str) -> None:
        with pytest.raises(InvalidCursorError):
            decode_cursor(cursor)


class TestListed:
    def page(self, rows: list[str], limit: int) -> tuple[list[str], bool]:
        answer = listed(
            rows, Page(limit=limit), item=str.upper, position=lambda row: Position(MOMENT, row)
        )
        return answer.items, answer.next_cursor is not None

    def test_tells_whether_another_page_follows(self) -> None:
        assert self.page(["a", "b", "c"], 2) == (["A", "B"], True)
        assert self.page(["a", "b"], 2) == (["A", "B"], False)
        assert self.page([], 2) == ([], False)
