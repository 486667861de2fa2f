"""Keep what a screening provider said of the lines of runs, and what their start waits for."""

import sqlalchemy as sa
import sqlmodel
from alembic import op

revision = '0015'
down_revision = '0014'
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
    op.add_column('chain_transaction', sa.Column('screened_at', sa.DateTime(timezone=True), nullable=True))
    op.add_column('payout_run', sa.Column('waiting_for', sqlmodel.sql.sqltypes.AutoString(), nullable=True))
    op.add_column('payout_run', sa.Column('waiting_since', sa.DateTime(timezone=True), nullable=True))
    op.execute("GRANT SELECT ON screening_answer TO strongroom_api, strongroom_worker, strongroom_signer")
    op.execute("GRANT INSERT, UPDATE ON screening_answer TO strongroom_worker")
    op.execute("GRANT UPDATE (waiting_for, waiting_since) ON payout_run TO strongroom_worker")


def downgrade() -> None:
    raise NotImplementedError("The books are never migrated backwards; restore a backup.")
