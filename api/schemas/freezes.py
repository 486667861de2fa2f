"""Freezes of users whose deposit was taken back."""

from datetime import datetime

from api.schemas.base import Answer, UserIdText
from api.schemas.deposits import DepositIdText
from models.deposits import UserFreeze


class FreezeView(Answer):
    """Why nothing leaves that a user asks for."""

    id: str
    user_id: UserIdText
    deposit_id: DepositIdText | None
    created_at: datetime

    @classmethod
    def of(cls, freeze: UserFreeze) -> "FreezeView":
        """Return a freeze as the API shows it."""
        return cls(
            id=freeze.id,
            user_id=freeze.user_id,
            deposit_id=freeze.deposit_id,
            created_at=freeze.created_at,
        )


class FreezeList(Answer):
    """Every freeze that is not lifted, oldest first; there is no paging."""

    items: list[FreezeView]


class LiftedView(Answer):
    """How many freezes of a user were lifted; 0: there was none."""

    user_id: UserIdText
    lifted: int
