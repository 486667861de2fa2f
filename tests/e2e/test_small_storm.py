"""A small storm; ``make crash`` is the large one."""

import tempfile
from pathlib import Path

import pytest

from tests.faults.crash import stack_below
from tests.faults.storm import RUN_LINES, VICTIMS, WORKERS, storm
from tests.faults.units import Load


@pytest.mark.long
class TestSmallStorm:
    # Each kill costs seconds, and a busy machine doubles them.
    @pytest.mark.timeout(600)
    async def test_pays_everybody_once_whoever_is_killed(self) -> None:
        said: list[str] = []
        with tempfile.TemporaryDirectory(prefix="strongroom-storm-") as folder:
            async with stack_below(Path(folder) / "stack", workers=WORKERS) as stack:
                load = Load(payouts=20, purchases=12, transfers=6)
                result = await storm(stack, load, kills=len(VICTIMS), seed=7, say=said.append)
            stack.erase()

        assert result.findings.is_clean, result.findings.notes
        assert result.kills == len(VICTIMS)
        counts = result.counts
        assert (counts["payouts"], counts["purchases"], counts["transfers"]) == (20, 12, 6)
        assert counts["lines"] == 3 * RUN_LINES
        assert counts["deposits"] >= 10
        assert counts["webhooks"] >= 50
