"""Hold runs to their uploads, batches to what can leave, and settlements to who was paid."""

import sqlalchemy as sa
from alembic import op

from migrations.sql import run_file

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("chain_transaction", sa.Column("failed_booked", sa.ARRAY(sa.Integer()), nullable=True))
    op.add_column("chain_transaction", sa.Column("refused_payouts", sa.ARRAY(sa.String()), nullable=True))
    op.execute("GRANT UPDATE (refused_payouts) ON chain_transaction TO strongroom_signer")
    op.add_column("payout", sa.Column("is_denied", sa.Boolean(), server_default="false", nullable=False))
    op.drop_index("payout_waiting", table_name="payout")
    op.drop_index("payout_urgent", table_name="payout")
    op.create_index("payout_waiting", "payout", ["chain_id", "asset", "priority", "user_id", "created_at", "id"], unique=False, postgresql_where=sa.text("status = 'ready' AND NOT is_denied"))
    op.create_index("payout_denied", "payout", ["chain_id", "destination"], unique=False, postgresql_where=sa.text("is_denied"))
    op.drop_constraint("payout_idempotency", "payout", type_="unique")
    op.create_index("payout_idempotency", "payout", ["principal", "idempotency_key"], unique=True, postgresql_where=sa.text("run_id IS NULL"))
    run_file("0023_run_guards.sql")


def downgrade() -> None:
    raise NotImplementedError("The books are never migrated backwards; restore a backup.")
