import json
import stat
from dataclasses import asdict, astuple
from pathlib import Path

import pytest

from devnet.errors import StateDamagedError
from devnet.secrets import FILE_NAME, REPLACEABLE, load_or_create
from infra.keyring import Keyring


class TestLoadOrCreate:
    def test_returns_the_same_secrets_again(self, tmp_path: Path) -> None:
        assert astuple(load_or_create(tmp_path)) == astuple(load_or_create(tmp_path))

    def test_differs_from_folder_to_folder(self, tmp_path: Path) -> None:
        (tmp_path / "other").mkdir()

        here, there = load_or_create(tmp_path), load_or_create(tmp_path / "other")

        assert not set(astuple(here)) & set(astuple(there))

    def test_is_readable_by_the_owner_alone(self, tmp_path: Path) -> None:
        load_or_create(tmp_path)

        assert stat.S_IMODE((tmp_path / FILE_NAME).stat().st_mode) == 0o600

    def test_makes_keys_that_the_keyring_reads(self, tmp_path: Path) -> None:
        made = load_or_create(tmp_path)

        ids = [
            Keyring.parse(text).sealing_key_id
            for text in (made.codec_keys, made.data_keys, made.wallet_keys)
        ]
        assert ids == ["codec-1", "data-1", "wallet-1"]

    @pytest.mark.parametrize("content", ["", "{}", "[]", '{"wallet_keys": "a:b"}'])
    def test_never_replaces_what_it_cannot_read(self, tmp_path: Path, content: str) -> None:
        (tmp_path / FILE_NAME).write_text(content)

        with pytest.raises(StateDamagedError):
            load_or_create(tmp_path)
        assert (tmp_path / FILE_NAME).read_text() == content

    def test_gives_an_older_folder_the_passwords_it_lacks(self, tmp_path: Path) -> None:
        made = asdict(load_or_create(tmp_path))
        older = {name: value for name, value in made.items() if name not in REPLACEABLE}
        (tmp_path / FILE_NAME).write_text(json.dumps(older))

        mended = asdict(load_or_create(tmp_path))

        assert older.items() <= mended.items()
        assert json.loads((tmp_path / FILE_NAME).read_text()) == mended
        assert all(mended[name] for name in REPLACEABLE)

    def test_does_not_show_secrets_when_printed(self, tmp_path: Path) -> None:
        made = load_or_create(tmp_path)

        stored = json.loads((tmp_path / FILE_NAME).read_text())
        assert not any(value in repr(made) for value in stored.values())
