"""``.env.example`` says of every setting what the settings classes say."""

import re
from pathlib import Path

import pytest
from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from infra.keyring import Keyring
from infra.settings import (
    ApiSettings,
    JobcoinSettings,
    MigrationSettings,
    SignerSettings,
    WorkerSettings,
)

PREFIX = "STRONGROOM_"
CLASSES: tuple[type[BaseSettings], ...] = (
    ApiSettings,
    WorkerSettings,
    SignerSettings,
    MigrationSettings,
    JobcoinSettings,
)
FIELDS: dict[str, FieldInfo] = {
    PREFIX + name.upper(): field for cls in CLASSES for name, field in cls.model_fields.items()
}

LINES = (Path(__file__).parents[2] / ".env.example").read_text().splitlines()
VARIABLE = re.compile(r"^(?P<off># )?(?P<name>STRONGROOM_\w+)=(?P<value>.+)$")
FOUND = [(at, match) for at, line in enumerate(LINES) if (match := VARIABLE.match(line))]


def names(*, required: bool) -> list[str]:
    return [name for name, field in FIELDS.items() if field.is_required() is required]


def value(name: str) -> str:
    return next(match["value"] for _, match in FOUND if match["name"] == name)


class TestEnvExample:
    def test_lists_every_setting_once_and_nothing_else(self) -> None:
        assert sorted(match["name"] for _, match in FOUND) == sorted(FIELDS)

    def test_sets_what_is_required_and_shows_the_rest_as_comments(self) -> None:
        assert {m["name"] for _, m in FOUND if not m["off"]} == set(names(required=True))

    def test_explains_each_setting_in_its_own_words(self) -> None:
        said = {match["name"]: LINES[at - 1].removeprefix("# ") for at, match in FOUND}

        assert said == {name: field.description for name, field in FIELDS.items()}

    @pytest.mark.parametrize("settings", CLASSES)
    def test_is_read_by_the_settings_classes(
        self, settings: type[BaseSettings], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for _, match in FOUND:
            monkeypatch.setenv(match["name"], match["value"])

        read = settings()

        for name, field in settings.model_fields.items():
            # A default of "none" is shown by an example.
            if not field.is_required() and field.default not in (None, ""):
                assert getattr(read, name) == field.default, name

    @pytest.mark.parametrize("name", [name for name in FIELDS if name.endswith("_KEYS")])
    def test_holds_no_key_that_works(self, name: str) -> None:
        with pytest.raises(ValueError, match=r"base64|32 bytes"):
            Keyring.parse(value(name))

    def test_marks_every_secret_as_one_to_be_changed(self) -> None:
        secrets = [name for name, field in FIELDS.items() if field.annotation is SecretStr]

        assert secrets
        assert all("change-me" in value(name) for name in secrets)
