"""Versions of the approval policy."""

from datetime import datetime

from api.schemas.base import Answer
from domain.policy import PolicyDocument


class PolicyView(Answer):
    """A stored version of the policy."""

    version: int
    document: PolicyDocument
    created_by: str | None
    created_at: datetime


class PolicyList(Answer):
    """A page of versions, newest first."""

    items: list[PolicyView]
    next_cursor: str | None = None
