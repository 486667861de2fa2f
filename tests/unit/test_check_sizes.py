from pathlib import Path

import pytest

from tools.check_sizes import FILE_LINES_MAX, FUNCTION_LINES_MAX, main

LONGEST_BODY = "    pass\n" * (FUNCTION_LINES_MAX - 1)


class TestCheckSizes:
    def test_accepts_what_is_just_within_the_limits(self, tmp_path: Path) -> None:
        (tmp_path / "a.py").write_text(f"def longest():\n{LONGEST_BODY}")
        (tmp_path / "b.py").write_text("x = 1\n" * FILE_LINES_MAX)

        assert main([str(tmp_path)]) == 0

    def test_names_a_function_that_is_too_long(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "a.py").write_text(f"x = 1\nasync def longer():\n{LONGEST_BODY}    pass\n")

        assert main([str(tmp_path)]) == 1
        assert f"a.py:2: {FUNCTION_LINES_MAX + 1} lines" in capsys.readouterr().out

    def test_names_a_file_that_is_too_long(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "b.py").write_text("x = 1\n" * (FILE_LINES_MAX + 1))

        assert main([str(tmp_path)]) == 1
        assert f"b.py:1: {FILE_LINES_MAX + 1} lines" in capsys.readouterr().out
