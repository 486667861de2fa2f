"""Let the end of book-only payouts wait for its cool-down; index what waits by customer."""

import sqlalchemy as sa
from alembic import op

revision = '0014'
down_revision = '0013'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('payout_preference', sa.Column('book_only_until', sa.DateTime(timezone=True), nullable=True))
    op.drop_index('payout_ready', table_name='payout')
    for name, half in (('payout_waiting', "<> 'urgent'"), ('payout_urgent', "= 'urgent'")):
        op.create_index(name, 'payout', ['chain_id', 'user_id', 'created_at', 'id'], unique=False, postgresql_where=sa.text(f"status = 'ready' AND priority {half}"))
    # What a UTXO attempt costs is shown by explain; its bytes stay out of the API's reach.
    op.execute("GRANT SELECT (fee_minor) ON chain_attempt TO strongroom_api")


def downgrade() -> None:
    raise NotImplementedError("The books are never migrated backwards; restore a backup.")
