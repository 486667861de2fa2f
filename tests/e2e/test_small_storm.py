"""A small storm on every run; ``make crash`` is the large one."""

import tempfile
from pathlib import Path

import pytest

from tests.faults.crash import stack_below
from tests.faults.storm import RUN_LINES, VICTIMS, storm


class TestSmallStorm:
    # Each kill costs seconds, and a busy machine doubles them.
    @pytest.mark.timeout(420)
    async def test_pays_everybody_once_whoever_is_killed(self) -> None:
        said: list[str] = []
        with tempfile.TemporaryDirectory(prefix="strongroom-storm-") as folder:
            async with stack_below(Path(folder) / "stack") as stack:
                result = await storm(stack, payouts=20, kills=len(VICTIMS), seed=7, say=said.append)
            stack.erase()

        assert result.findings.is_clean, result.findings.notes
        assert (result.kills, result.payouts) == (len(VICTIMS), 20)
        assert result.lines == 3 * RUN_LINES
        assert result.deposits >= 5
