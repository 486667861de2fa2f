"""A small storm on every run; ``make crash`` is the large one."""

import tempfile
from pathlib import Path

import pytest

from tests.faults.crash import stack_below
from tests.faults.storm import RUN_LINES, VICTIMS, Load, storm


class TestSmallStorm:
    # Each kill costs seconds, and a busy machine doubles them.
    @pytest.mark.timeout(420)
    async def test_pays_everybody_once_whoever_is_killed(self) -> None:
        said: list[str] = []
        with tempfile.TemporaryDirectory(prefix="strongroom-storm-") as folder:
            async with stack_below(Path(folder) / "stack") as stack:
                load = Load(payouts=20, purchases=12, transfers=6)
                result = await storm(stack, load, kills=len(VICTIMS), seed=7, say=said.append)
            stack.erase()

        assert result.findings.is_clean, result.findings.notes
        sends = 2
        assert (result.kills, result.payouts) == (len(VICTIMS), 20 + sends)
        assert (result.purchases, result.transfers) == (12, 6)
        assert result.webhooks >= 100
        assert result.lines == 3 * RUN_LINES
        assert result.deposits >= 5
