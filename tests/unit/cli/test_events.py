import pytest

from cli.events import ServerEvent, parse_events


def events(text: str) -> list[ServerEvent]:
    return list(parse_events(text.splitlines()))


class TestParseEvents:
    def test_reads_what_the_api_sends(self) -> None:
        text = 'retry: 2000\n\nid: 7.0\nevent: deposit\ndata: {"a": 1}\n\n: still here\n\n'

        assert events(text) == [ServerEvent("7.0", "deposit", '{"a": 1}')]

    def test_joins_lines_and_takes_one_space_away(self) -> None:
        assert events("data:  a\ndata:b\n\n") == [ServerEvent(None, "message", " a\nb")]

    def test_keeps_the_last_id_and_forgets_the_kind(self) -> None:
        text = "id: 1\nevent: x\ndata: a\n\ndata: b\n\n"

        assert events(text) == [ServerEvent("1", "x", "a"), ServerEvent("1", "message", "b")]

    @pytest.mark.parametrize("text", ["", ": hi\n\n", "event: x\n\n", "data: cut off", "data\n"])
    def test_yields_nothing_that_is_not_whole(self, text: str) -> None:
        assert events(text) == []
