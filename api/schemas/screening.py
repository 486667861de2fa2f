"""Screening as the API speaks of it."""

from datetime import datetime

from pydantic import Field

from api.schemas.base import Answer, StrictModel, UserIdText
from domain.ports import ScreeningVerdict
from models.runs import AddressScreening


class ScreeningBody(StrictModel):
    """What is to be said of an address."""

    verdict: ScreeningVerdict = ScreeningVerdict.DENY
    reason: str = Field(min_length=1, max_length=500, examples=["sanctions list of 2026-01-31"])


class ScreeningView(Answer):
    """What our list says of an address."""

    chain_id: str
    address: str
    verdict: ScreeningVerdict
    reason: str
    created_by: UserIdText
    created_at: datetime

    @classmethod
    def of(cls, entry: AddressScreening) -> "ScreeningView":
        """Return an entry as the API shows it."""
        return cls(
            chain_id=entry.chain_id,
            address=entry.address,
            verdict=ScreeningVerdict(entry.verdict),
            reason=entry.reason,
            created_by=entry.created_by,
            created_at=entry.created_at,
        )
