"""Keep what the destination of a transfer got: between our own addresses the books need both ends."""

import sqlalchemy as sa
from alembic import op

import models.columns

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    minor_units = models.columns.MinorUnits(precision=78, scale=0)
    op.add_column("chain_transaction", sa.Column("received_minor", minor_units, nullable=True))
    op.add_column(
        "chain_transaction",
        sa.Column("received_booked_minor", minor_units, nullable=False, server_default="0"),
    )
    # What was booked between our own addresses so far, the books took for received in full.
    op.execute(
        "UPDATE chain_transaction SET received_minor = outflow_minor,"
        " received_booked_minor = outflow_booked_minor WHERE outflow_minor IS NOT NULL"
    )


def downgrade() -> None:
    raise NotImplementedError("The books are never migrated backwards; restore a backup.")
