"""Logins as clients see them."""

from typing import Self

from pydantic import AwareDatetime, Field

from api.schemas.base import Answer, StrictModel
from api.schemas.users import EmailText, PasswordText
from models.identity import UserSession


class LoginRequest(StrictModel):
    """Email and password."""

    email: EmailText
    password: PasswordText


class OpenedSessionView(Answer):
    """A new login."""

    id: str
    token: str = Field(
        description="Bearer token; shown this once.", examples=["srs_Vb4X…"], repr=False
    )
    expires_at: AwareDatetime


class SessionView(Answer):
    """A login that is alive."""

    id: str
    created_at: AwareDatetime
    expires_at: AwareDatetime
    is_current: bool = Field(description="The login with which this was asked.")

    @classmethod
    def of(cls, session: UserSession, *, current_id: str | None) -> Self:
        """Return what may be shown of a login."""
        return cls(
            id=session.id,
            created_at=session.created_at,
            expires_at=session.expires_at,
            is_current=session.id == current_id,
        )
