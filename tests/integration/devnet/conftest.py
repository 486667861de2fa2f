from collections.abc import Iterator
from pathlib import Path

import pytest

from devnet.stack import Stack


@pytest.fixture
def state_dir(tmp_path: Path) -> Iterator[Path]:
    """Yield a folder for a stack's state; what the stack keeps elsewhere is removed as well."""
    folder = tmp_path / "state"
    yield folder
    Stack(folder).erase()
