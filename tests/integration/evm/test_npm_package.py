"""Fetching a program that ships in an npm package."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from devnet.errors import BinaryMissingError
from devnet.evm_node import _INTEGRITY, ANVIL_VERSION
from devnet.npm_package import CACHE_VARIABLE, NpmPackage, unpacked

ANVIL = NpmPackage("@foundry-rs/anvil-linux-amd64", ANVIL_VERSION, _INTEGRITY["linux-amd64"])


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    return tmp_path / "npm"


class TestUnpacked:
    def test_gives_parallel_callers_one_whole_folder(self, cache: Path) -> None:
        with ThreadPoolExecutor() as threads:
            folders = list(threads.map(unpacked, [ANVIL] * 2))

        assert folders == [cache / ANVIL.folder_name] * 2
        assert (folders[0] / "bin" / "anvil").stat().st_mode & 0o111
        assert list(cache.iterdir()) == [folders[0]]

    def test_refuses_what_was_not_pinned(self, cache: Path) -> None:
        with pytest.raises(BinaryMissingError, match="not the archive that was pinned"):
            unpacked(replace(ANVIL, integrity="sha512-AAAA"))

        assert list(cache.iterdir()) == []

    def test_says_when_there_is_no_npm(self, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", "")
        monkeypatch.setattr("sys.executable", str(cache / "python"))
        with pytest.raises(BinaryMissingError, match="no npm"):
            unpacked(ANVIL)
