"""Admins as other admins see them."""

from typing import Annotated, Self

from pydantic import AwareDatetime, Field

from api.schemas.base import Answer, StrictModel
from models.identity import Role, User


class RolesRequest(StrictModel):
    """The roles that the user shall have, all of them; an empty list takes every role away."""

    roles: Annotated[list[Role], Field(max_length=len(Role), examples=[["approver"]])]


class AdminView(Answer):
    """A user with roles."""

    id: str
    email: str
    roles: list[Role]
    created_at: AwareDatetime

    @classmethod
    def of(cls, user: User) -> Self:
        """Return what admins see of each other."""
        return cls(
            id=user.id,
            email=user.email,
            roles=[Role(role) for role in user.roles],
            created_at=user.created_at,
        )
