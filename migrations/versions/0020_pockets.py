"""Add users' own on-chain pockets, and payouts that move money to and from them."""

import sqlalchemy as sa
import sqlmodel
from alembic import op

import models.columns
from migrations.sql import run_file

revision = '0020'
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    minor_units = models.columns.MinorUnits(precision=78, scale=0)
    op.add_column('chain_address', sa.Column('purpose', sqlmodel.sql.sqltypes.AutoString(), nullable=False, server_default='deposit'))
    op.create_index('pocket_of_user', 'chain_address', ['user_id', 'chain_id'], unique=True, postgresql_where=sa.text("purpose = 'pocket'"))
    op.add_column('hold', sa.Column('pocket', sqlmodel.sql.sqltypes.AutoString(), nullable=True))
    op.add_column('payout', sa.Column('route', sqlmodel.sql.sqltypes.AutoString(), nullable=False, server_default='payout'))
    op.add_column('payout', sa.Column('pocket_id', sqlmodel.sql.sqltypes.AutoString(), nullable=True))
    op.add_column('payout', sa.Column('gas_hold_id', sqlmodel.sql.sqltypes.AutoString(), nullable=True))
    op.add_column('payout', sa.Column('gas_max_minor', minor_units, nullable=True))
    op.add_column('payout', sa.Column('left_booked_minor', minor_units, nullable=False, server_default='0'))
    op.add_column('payout', sa.Column('arrived_booked_minor', minor_units, nullable=False, server_default='0'))
    op.create_foreign_key('payout_pocket_id_fkey', 'payout', 'chain_address', ['pocket_id'], ['id'])
    run_file("0020_pockets.sql")


def downgrade() -> None:
    raise NotImplementedError("The books are never migrated backwards; restore a backup.")
