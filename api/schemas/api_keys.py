"""API keys as clients see them."""

from typing import Annotated, Self

from pydantic import AwareDatetime, Field

from api.schemas.base import PLAIN_TEXT_PATTERN, Answer, StrictModel
from models.identity import ApiKey, Scope


class ApiKeyRequest(StrictModel):
    """What the new key is for."""

    name: str = Field(
        min_length=1, max_length=100, pattern=PLAIN_TEXT_PATTERN, examples=["shop back end"]
    )
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=10)]
    expires_at: AwareDatetime | None = Field(
        default=None, description="When it ends; null: only by revocation."
    )


class ApiKeyView(Answer):
    """An API key, without its secret."""

    id: str
    name: str
    scopes: list[Scope]
    created_at: AwareDatetime
    expires_at: AwareDatetime | None
    revoked_at: AwareDatetime | None

    @classmethod
    def of(cls, key: ApiKey) -> Self:
        """Return what may be shown of a key."""
        return cls(
            id=key.id,
            name=key.name,
            scopes=[Scope(scope) for scope in key.scopes],
            created_at=key.created_at,
            expires_at=key.expires_at,
            revoked_at=key.revoked_at,
        )


class IssuedApiKeyView(Answer):
    """A new API key."""

    key: ApiKeyView
    token: str = Field(
        description="Bearer token; shown this once.", examples=["srk_01JD3….Vb4X…"], repr=False
    )
