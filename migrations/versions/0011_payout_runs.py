"""Add bulk payouts, screening and the address book, and holds that end part by part."""

import sqlalchemy as sa
import sqlmodel
from alembic import op

import models.columns

revision = '0011'
down_revision = '0010'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('address_book_entry',
    sa.Column('id', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('user_id', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('chain_id', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('address', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('name', sqlmodel.sql.sqltypes.AutoString(length=100), nullable=False),
    sa.Column('usable_from', sa.DateTime(timezone=True), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('removed_at', sa.DateTime(timezone=True), nullable=True),
    sa.ForeignKeyConstraint(['chain_id'], ['chain.id'], ),
    sa.ForeignKeyConstraint(['user_id'], ['app_user.id'], ),
    sa.PrimaryKeyConstraint('id')
    )
    op.create_index('address_book_of_user', 'address_book_entry', ['user_id', 'created_at', 'id'], unique=False)
    op.create_index('address_book_once', 'address_book_entry', ['user_id', 'chain_id', 'address'], unique=True, postgresql_where=sa.text('removed_at IS NULL'))
    op.create_table('address_screening',
    sa.Column('chain_id', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('address', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('verdict', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('reason', sqlmodel.sql.sqltypes.AutoString(length=500), nullable=False),
    sa.Column('created_by', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['chain_id'], ['chain.id'], ),
    sa.ForeignKeyConstraint(['created_by'], ['app_user.id'], ),
    sa.PrimaryKeyConstraint('chain_id', 'address')
    )
    op.create_table('payout_preference',
    sa.Column('user_id', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('is_book_only', sa.Boolean(), nullable=False),
    sa.Column('updated_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['user_id'], ['app_user.id'], ),
    sa.PrimaryKeyConstraint('user_id')
    )
    op.create_table('payout_run',
    sa.Column('id', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('user_id', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('principal', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('name', sqlmodel.sql.sqltypes.AutoString(length=200), nullable=False),
    sa.Column('asset', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('chain_id', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('priority', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('content_sha256', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('line_count', sa.Integer(), nullable=False),
    sa.Column('total_minor', models.columns.MinorUnits(precision=78, scale=0), nullable=False),
    sa.Column('fee_total_minor', models.columns.MinorUnits(precision=78, scale=0), nullable=False),
    sa.Column('problem_count', sa.Integer(), nullable=False),
    sa.Column('status', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('idempotency_key', sqlmodel.sql.sqltypes.AutoString(length=255), nullable=True),
    sa.Column('policy_version', sa.Integer(), nullable=True),
    sa.Column('approvals_required', sa.Integer(), nullable=False),
    sa.Column('approval_expires_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('hold_id', sqlmodel.sql.sqltypes.AutoString(), nullable=True),
    sa.Column('content_hash', sqlmodel.sql.sqltypes.AutoString(), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('started_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('finished_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('updated_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['asset'], ['asset.code'], ),
    sa.ForeignKeyConstraint(['chain_id'], ['chain.id'], ),
    sa.ForeignKeyConstraint(['policy_version'], ['policy.version'], ),
    sa.ForeignKeyConstraint(['user_id'], ['app_user.id'], ),
    sa.PrimaryKeyConstraint('id'),
    sa.UniqueConstraint('principal', 'idempotency_key', name='payout_run_idempotency')
    )
    op.create_index('payout_run_list', 'payout_run', ['created_at', 'id'], unique=False)
    op.create_index('payout_run_of_user', 'payout_run', ['user_id', 'created_at', 'id'], unique=False)
    op.create_table('payout_run_line',
    sa.Column('run_id', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('number', sa.Integer(), nullable=False),
    sa.Column('payout_id', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('destination', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('amount_minor', models.columns.MinorUnits(precision=78, scale=0), nullable=False),
    sa.Column('reference', sqlmodel.sql.sqltypes.AutoString(length=100), nullable=True),
    sa.Column('note', sqlmodel.sql.sqltypes.AutoString(length=200), nullable=True),
    sa.Column('problem_code', sqlmodel.sql.sqltypes.AutoString(), nullable=True),
    sa.Column('problem_detail', sqlmodel.sql.sqltypes.AutoString(), nullable=True),
    sa.ForeignKeyConstraint(['run_id'], ['payout_run.id'], ),
    sa.PrimaryKeyConstraint('run_id', 'number'),
    sa.UniqueConstraint('payout_id')
    )
    op.create_index('payout_run_line_problem', 'payout_run_line', ['run_id', 'number'], unique=False, postgresql_where=sa.text('problem_code IS NOT NULL'))
    op.create_table('run_decision',
    sa.Column('id', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('run_id', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('approver_id', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('decision', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('line_numbers', sa.ARRAY(sa.Integer()), nullable=True),
    sa.Column('content_hash', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('policy_version', sa.Integer(), nullable=False),
    sa.Column('second_factor', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('note', sqlmodel.sql.sqltypes.AutoString(length=500), nullable=True),
    sa.Column('decided_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['approver_id'], ['app_user.id'], ),
    sa.ForeignKeyConstraint(['policy_version'], ['policy.version'], ),
    sa.ForeignKeyConstraint(['run_id'], ['payout_run.id'], ),
    sa.PrimaryKeyConstraint('id')
    )
    op.create_index(op.f('ix_run_decision_run_id'), 'run_decision', ['run_id'], unique=False)
    op.add_column('chain', sa.Column('disperse_address', sqlmodel.sql.sqltypes.AutoString(), nullable=True))
    op.add_column('chain', sa.Column('normal_fee_ceiling_minor', models.columns.MinorUnits(precision=78, scale=0), nullable=True))
    op.add_column('chain', sa.Column('economy_fee_ceiling_minor', models.columns.MinorUnits(precision=78, scale=0), nullable=True))
    op.add_column('chain', sa.Column('economy_wait_ms', sa.Integer(), nullable=False, server_default='60000'))
    op.add_column('chain', sa.Column('batch_value_minor', models.columns.MinorUnits(precision=78, scale=0), nullable=True))
    op.add_column('chain', sa.Column('bump_fee_max_minor', models.columns.MinorUnits(precision=78, scale=0), nullable=True))
    op.add_column('chain_transaction', sa.Column('disperse_address', sqlmodel.sql.sqltypes.AutoString(), nullable=True))
    op.add_column('chain_transaction', sa.Column('failed_places', sa.ARRAY(sa.Integer()), nullable=True))
    op.add_column('hold', sa.Column('released_minor', models.columns.MinorUnits(precision=78, scale=0), nullable=False, server_default='0'))
    op.add_column('payout', sa.Column('priority', sqlmodel.sql.sqltypes.AutoString(), nullable=False, server_default='normal'))
    op.add_column('payout', sa.Column('run_id', sqlmodel.sql.sqltypes.AutoString(), nullable=True))
    op.add_column('payout', sa.Column('line_number', sa.Integer(), nullable=True))
    op.add_column('payout', sa.Column('is_captured', sa.Boolean(), nullable=False, server_default='false'))
    op.add_column('payout', sa.Column('network_fee_estimate_minor', models.columns.MinorUnits(precision=78, scale=0), nullable=True))
    op.add_column('payout', sa.Column('network_fee_minor', models.columns.MinorUnits(precision=78, scale=0), nullable=True))
    op.create_index('payout_of_run', 'payout', ['run_id', 'line_number'], unique=True, postgresql_where=sa.text('run_id IS NOT NULL'))
    op.create_index('payout_ready', 'payout', ['chain_id', 'priority', 'created_at'], unique=False, postgresql_where=sa.text("status = 'ready'"))
    op.create_foreign_key('payout_run_id_fkey', 'payout', 'payout_run', ['run_id'], ['id'])


def downgrade() -> None:
    raise NotImplementedError("The books are never migrated backwards; restore a backup.")
