"""A few mixes while everybody is killed; ``make crash ARGS="--mixes 1000"`` is the long one."""

import pytest

from tests.faults.crash import mixing_stack_below, scratch_folder
from tests.faults.mixers import WAYS
from tests.faults.mixing import VICTIMS, mixing


@pytest.mark.long
class TestSmallSoak:
    # Each kill costs seconds, and a busy machine doubles them.
    @pytest.mark.timeout(900)
    async def test_pays_every_mix_to_the_unit_whoever_is_killed(self) -> None:
        said: list[str] = []
        with scratch_folder() as folder:
            async with mixing_stack_below(folder / "stack") as stack:
                result = await mixing(stack, mixes=len(WAYS), seed=7, say=said.append)
            stack.erase()

        assert result.findings.is_clean, (result.findings.notes, said)
        assert result.kills >= len(VICTIMS)
        assert result.violations == 0
        assert result.polls >= 10
        assert result.doles >= 4 * len(WAYS)
