"""Users as clients see them."""

from typing import Annotated, Self

from pydantic import AwareDatetime, Field

from api.schemas.base import PLAIN_TEXT_PATTERN, Answer, StrictModel
from identity.emails import EMAIL_LENGTH_MAX, EMAIL_PATTERN
from identity.passwords import PASSWORD_LENGTH_MAX, PASSWORD_LENGTH_MIN
from models.identity import Role, User

EmailText = Annotated[
    str,
    Field(max_length=EMAIL_LENGTH_MAX, pattern=EMAIL_PATTERN, examples=["ada@example.org"]),
]
PasswordText = Annotated[
    str,
    Field(
        min_length=1,
        max_length=PASSWORD_LENGTH_MAX,
        pattern=PLAIN_TEXT_PATTERN,
        examples=["correct horse battery staple"],
        json_schema_extra={"format": "password"},
    ),
]


class SignUpRequest(StrictModel):
    """A new user's email and password."""

    email: EmailText
    password: Annotated[PasswordText, Field(min_length=PASSWORD_LENGTH_MIN)]


class UserView(Answer):
    """The user who asks."""

    id: str
    email: str
    roles: list[Role]
    second_factor_enabled: bool
    created_at: AwareDatetime

    @classmethod
    def of(cls, user: User, *, second_factor_enabled: bool) -> Self:
        """Return what may be shown of a user."""
        return cls(
            id=user.id,
            email=user.email,
            roles=[Role(role) for role in user.roles],
            second_factor_enabled=second_factor_enabled,
            created_at=user.created_at,
        )
