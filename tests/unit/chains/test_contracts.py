"""The committed artifacts are what the sources compile to."""

import shutil
from pathlib import Path

import pytest

from contracts import compile as compiling
from contracts.artifacts import load_artifact


class TestArtifacts:
    def test_match_their_sources(self) -> None:
        assert compiling.stale_artifacts() == {}

    def test_of_a_changed_source_are_stale(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for source in compiling.SOURCES.glob("*.vy"):
            shutil.copy(source, tmp_path)
        changed = tmp_path / "FalseToken.vy"
        changed.write_text(changed.read_text().replace("return False", "return True"))
        (tmp_path / "Token.vy").unlink()
        monkeypatch.setattr(compiling, "SOURCES", tmp_path)

        stale = compiling.stale_artifacts()
        assert {path.stem for path in stale} == {"FalseToken", "Token"}

    def test_can_be_loaded_by_name(self) -> None:
        artifact = load_artifact("Token")

        assert artifact.bytecode.startswith("0x")
        assert "transfer" in {entry.get("name") for entry in artifact.abi}
