"""Let a run's lines be those that were uploaded; remember whom the books have as not paid."""

import sqlalchemy as sa
from alembic import op

from migrations.sql import run_file

revision = "0022"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("chain_transaction", sa.Column("failed_booked", sa.ARRAY(sa.Integer()), nullable=True))
    run_file("0022_run_guards.sql")


def downgrade() -> None:
    raise NotImplementedError("The books are never migrated backwards; restore a backup.")
