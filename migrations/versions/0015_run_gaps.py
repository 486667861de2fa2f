"""
Keep what a screening provider said, what a run's start waits for, what cancelled a run,
and which payout pays a failed line again.
"""

import sqlalchemy as sa
import sqlmodel
from alembic import op

revision = '0015'
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('screening_answer',
    sa.Column('chain_id', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('address', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('verdict', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('reason', sqlmodel.sql.sqltypes.AutoString(length=500), nullable=False),
    sa.Column('answered_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['chain_id'], ['chain.id'], ),
    sa.PrimaryKeyConstraint('chain_id', 'address')
    )
    op.create_table('run_cancellation',
    sa.Column('id', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('run_id', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('lines', sqlmodel.sql.sqltypes.AutoString(), nullable=True),
    sa.Column('cancelled_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['run_id'], ['payout_run.id'], ),
    sa.PrimaryKeyConstraint('id')
    )
    op.create_index(op.f('ix_run_cancellation_run_id'), 'run_cancellation', ['run_id'], unique=False)
    op.add_column('chain_transaction', sa.Column('screened_at', sa.DateTime(timezone=True), nullable=True))
    op.add_column('payout_run', sa.Column('waiting_for', sqlmodel.sql.sqltypes.AutoString(), nullable=True))
    op.add_column('payout_run', sa.Column('waiting_since', sa.DateTime(timezone=True), nullable=True))
    op.execute("GRANT SELECT ON screening_answer TO strongroom_api, strongroom_worker, strongroom_signer")
    op.execute("GRANT INSERT, UPDATE ON screening_answer TO strongroom_worker")
    op.add_column('payout', sa.Column('retry_of', sqlmodel.sql.sqltypes.AutoString(), nullable=True))
    op.create_foreign_key(None, 'payout', 'payout', ['retry_of'], ['id'])
    op.create_index('payout_retried_once', 'payout', ['retry_of'], unique=True, postgresql_where=sa.text("status IN ('awaiting_approval', 'ready', 'batched', 'settled')"))
    op.execute("CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON run_cancellation EXECUTE FUNCTION append_only()")
    op.execute("GRANT SELECT ON run_cancellation TO strongroom_api, strongroom_worker")
    op.execute("GRANT INSERT ON run_cancellation TO strongroom_worker")
    op.execute("GRANT UPDATE (waiting_for, waiting_since) ON payout_run TO strongroom_worker")


def downgrade() -> None:
    raise NotImplementedError("The books are never migrated backwards; restore a backup.")
