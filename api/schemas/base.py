"""What every request and answer shares. Requests say exactly what is allowed; nothing else is."""

import re
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

ULID_PATTERN = "[0-7][0-9A-HJKMNP-TV-Z]{25}"

PLAIN_TEXT_PATTERN = r"^[^\x00]*$"
"""Any text but NUL, which PostgreSQL cannot store."""


_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
"""NUL, and surrogates: JSON can spell one alone (``\\ud800``), UTF-8 cannot."""


def id_pattern(prefix: str) -> str:
    """Return the pattern of ids with this prefix, such as ``usr_01J9…``."""
    return f"^{prefix}_{ULID_PATTERN}$"


UserIdText = Annotated[
    str, Field(pattern=id_pattern("usr"), examples=["usr_01JD3ZQ6V9K3E8M5T2R7W4X1YB"])
]


class StrictModel(BaseModel):
    """Base of request bodies: unknown fields and text that cannot be stored are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_unstorable_text(cls, value: Any) -> Any:
        if _holds_unstorable_text(value):
            msg = "NUL characters and unpaired surrogates are not allowed."
            raise ValueError(msg)
        return value


class Answer(BaseModel):
    """Base of answers."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Listed[Item](Answer):
    """A page of a list, newest first."""

    items: list[Item]
    next_cursor: str | None = Field(
        default=None, description="Ask again with this `cursor` for the next page; null: the end."
    )


def _holds_unstorable_text(value: object) -> bool:
    # A stack, not recursion: the caller decides how deeply the value is nested.
    pending = [value]
    while pending:
        match pending.pop():
            case str() as text if _UNSTORABLE.search(text):
                return True
            case dict() as mapping:
                pending.extend(mapping.keys())
                pending.extend(mapping.values())
            case list() as items:
                pending.extend(items)
            case _:
                pass
    return False
