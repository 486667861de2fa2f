"""KYC: levels, applications, decisions; limits by level, with what was used of them."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from migrations.sql import run_file

revision = '0017'
down_revision = "0016"
branch_labels = None
depends_on = None

AT = sa.DateTime(timezone=True)


def _text(name, length=None, nullable=False):
    return sa.Column(name, sa.String(length), nullable=nullable)


def _of(table, name, nullable=False, primary_key=False):
    return sa.Column(name, sa.String(), sa.ForeignKey(f'{table}.id'), nullable=nullable, primary_key=primary_key)


def _kyc() -> None:
    op.create_table(
        'kyc_application',
        sa.Column('id', sa.String(), primary_key=True),
        _of('app_user', 'user_id'),
        sa.Column('level', sa.Integer(), nullable=False),
        _text('status'),
        sa.Column('revision', sa.Integer(), nullable=False),
        _text('details_sha256'),
        sa.Column('granted_level', sa.Integer(), nullable=True),
        _text('note', 500, nullable=True),
        sa.Column('expires_at', AT, nullable=True),
        sa.Column('remind_at', AT, nullable=True),
        sa.Column('documents_expire_at', AT, nullable=True),
        sa.Column('created_at', AT, nullable=False),
        sa.Column('updated_at', AT, nullable=False),
        sa.CheckConstraint('level BETWEEN 1 AND 3', name='kyc_application_level'),
        sa.CheckConstraint('granted_level BETWEEN 0 AND level', name='kyc_application_granted'),
    )
    op.create_index('kyc_application_list', 'kyc_application', ['created_at', 'id'])
    op.create_index('kyc_application_of_user', 'kyc_application', ['user_id', 'created_at', 'id'])
    op.create_index('kyc_application_open', 'kyc_application', ['user_id'], unique=True, postgresql_where=sa.text("status IN ('submitted', 'in_review', 'information_requested')"))
    op.create_table(
        'kyc_details',
        _of('kyc_application', 'application_id', primary_key=True),
        sa.Column('sealed', sa.LargeBinary(), nullable=False),
    )
    op.create_table(
        'kyc_document',
        _of('kyc_application', 'application_id', primary_key=True),
        sa.Column('number', sa.Integer(), primary_key=True),
        sa.Column('revision', sa.Integer(), nullable=False),
        _text('kind'),
        sa.Column('sealed_file_name', sa.LargeBinary(), nullable=False),
        _text('sha256', 64),
        sa.Column('size_bytes', sa.BigInteger(), nullable=False),
        _text('issued_country', 2),
        sa.Column('expires_on', sa.Date(), nullable=True),
        sa.Column('created_at', AT, nullable=False),
        sa.UniqueConstraint('application_id', 'sha256', name='kyc_document_once'),
    )
    op.create_table(
        'kyc_application_event',
        sa.Column('id', sa.Integer(), primary_key=True),
        _of('kyc_application', 'application_id'),
        _text('status'),
        _text('detail', nullable=True),
        sa.Column('at', AT, nullable=False),
    )
    op.create_index('ix_kyc_application_event_application_id', 'kyc_application_event', ['application_id'])
    op.create_table(
        'kyc_decision',
        sa.Column('id', sa.String(), primary_key=True),
        _of('kyc_application', 'application_id'),
        _of('app_user', 'admin_id'),
        _text('decision'),
        sa.Column('revision', sa.Integer(), nullable=False),
        sa.Column('level', sa.Integer(), nullable=False),
        _text('content_hash'),
        _text('second_factor'),
        _text('note', 500, nullable=True),
        sa.Column('decided_at', AT, nullable=False),
    )
    op.create_index('ix_kyc_decision_application_id', 'kyc_decision', ['application_id'])
    op.create_table(
        'kyc_level',
        _of('app_user', 'user_id', primary_key=True),
        sa.Column('level', sa.Integer(), nullable=False),
        _of('kyc_application', 'application_id', nullable=True),
        sa.Column('since', AT, nullable=False),
        sa.CheckConstraint('level BETWEEN 0 AND 3', name='kyc_level_known'),
    )
    op.create_table(
        'kyc_level_change',
        sa.Column('id', sa.Integer(), primary_key=True),
        _of('app_user', 'user_id'),
        sa.Column('level_before', sa.Integer(), nullable=False),
        sa.Column('level_after', sa.Integer(), nullable=False),
        _text('cause'),
        _of('kyc_application', 'application_id'),
        _of('kyc_decision', 'decision_id', nullable=True),
        sa.Column('at', AT, nullable=False),
    )
    op.create_index('ix_kyc_level_change_user_id', 'kyc_level_change', ['user_id'])


def upgrade() -> None:
    _kyc()
    op.create_table(
        'limits_version',
        sa.Column('version', sa.Integer(), primary_key=True),
        sa.Column('document', postgresql.JSONB(), nullable=False),
        sa.Column('created_by', sa.String(), nullable=True),
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
    run_file('0017_kyc.sql')
    run_file('0017_limits.sql')


def downgrade() -> None:
    raise NotImplementedError("The books are never migrated backwards; restore a backup.")
