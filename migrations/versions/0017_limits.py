"""Limits by KYC level, with what was used of them."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from migrations.sql import run_file

revision = '0017'
down_revision = "0016"
branch_labels = None
depends_on = None

AT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        'kyc_level',
        sa.Column('user_id', sa.String(), sa.ForeignKey('app_user.id'), primary_key=True),
        sa.Column('level', sa.Integer(), nullable=False),
        sa.Column('since', AT, nullable=False),
        sa.CheckConstraint('level BETWEEN 0 AND 3', name='kyc_level_known'),
    )
    op.create_table(
        'limits_version',
        sa.Column('version', sa.Integer(), primary_key=True),
        sa.Column('document', postgresql.JSONB(), nullable=False),
        sa.Column('created_by', sa.String(), sa.ForeignKey('app_user.id'), nullable=True),
        sa.Column('created_at', AT, nullable=False),
    )
    op.create_table(
        'limit_lock',
        sa.Column('user_id', sa.String(), sa.ForeignKey('app_user.id'), primary_key=True),
        sa.Column('operation', sa.String(), primary_key=True),
        sa.Column('reservations', sa.BigInteger(), nullable=False),
    )
    op.create_table(
        'limit_usage',
        sa.Column('id', sa.BigInteger(), primary_key=True),
        sa.Column('key', sa.String(), nullable=False),
        sa.Column('user_id', sa.String(), sa.ForeignKey('app_user.id'), nullable=False),
        sa.Column('operation', sa.String(), nullable=False),
        sa.Column('asset', sa.String(), nullable=False),
        sa.Column('amount_minor', sa.Numeric(78, 0), nullable=False),
        sa.Column('times', sa.Integer(), nullable=False),
        sa.Column('hold_id', sa.String(), nullable=True),
        sa.Column('resource_id', sa.String(), nullable=False),
        sa.Column('at', AT, nullable=False),
        sa.Column('recorded_at', AT, nullable=False),
        sa.UniqueConstraint('key', name='limit_usage_key_key'),
    )
    op.create_index('limit_usage_window', 'limit_usage', ['user_id', 'operation', 'at'], postgresql_include=['asset', 'amount_minor', 'times'])
    op.create_index('limit_usage_of_hold', 'limit_usage', ['hold_id'])
    op.create_index('limit_usage_of_resource', 'limit_usage', ['resource_id'])
    run_file('0017_limits.sql')


def downgrade() -> None:
    raise NotImplementedError("The books are never migrated backwards; restore a backup.")
