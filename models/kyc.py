"""What is known of who a user is."""

from datetime import datetime

from sqlmodel import Field, SQLModel

from models.columns import timestamp


class KycLevel(SQLModel, table=True):
    """A user's level; a user without a row is unverified (0)."""

    __tablename__ = "kyc_level"

    user_id: str = Field(primary_key=True, foreign_key="app_user.id")
    level: int
    since: datetime = timestamp()
