"""Let the end of book-only payouts wait for its cool-down."""

import sqlalchemy as sa
from alembic import op

revision = '0014'
down_revision = '0013'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('payout_preference', sa.Column('book_only_until', sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    raise NotImplementedError("The books are never migrated backwards; restore a backup.")
