"""Add handles, transfers between users and money requests."""

import sqlalchemy as sa
import sqlmodel
from alembic import op

import models.columns
from migrations.sql import run_file

revision = '0018'
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('lookup_throttle',
    sa.Column('user_id', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('busy_until', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['user_id'], ['app_user.id'], ),
    sa.PrimaryKeyConstraint('user_id')
    )
    op.create_table('permit_key',
    sa.Column('key_id', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('inner_pad', sa.LargeBinary(), nullable=False),
    sa.Column('outer_pad', sa.LargeBinary(), nullable=False),
    sa.Column('registered_at', sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('key_id')
    )
    op.create_table('user_handle',
    sa.Column('name', sqlmodel.sql.sqltypes.AutoString(length=30), nullable=False),
    sa.Column('shown', sqlmodel.sql.sqltypes.AutoString(length=30), nullable=False),
    sa.Column('user_id', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('claimed_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('released_at', sa.DateTime(timezone=True), nullable=True),
    sa.ForeignKeyConstraint(['user_id'], ['app_user.id'], ),
    sa.PrimaryKeyConstraint('name')
    )
    op.create_index('user_handle_current', 'user_handle', ['user_id'], unique=True, postgresql_where=sa.text('released_at IS NULL'))
    op.create_table('money_request',
    sa.Column('id', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('user_id', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('payer_id', sqlmodel.sql.sqltypes.AutoString(), nullable=True),
    sa.Column('principal', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('idempotency_key', sqlmodel.sql.sqltypes.AutoString(length=255), nullable=False),
    sa.Column('request_hash', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('asset', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('amount_minor', models.columns.MinorUnits(precision=78, scale=0), nullable=True),
    sa.Column('note', sqlmodel.sql.sqltypes.AutoString(length=200), nullable=True),
    sa.Column('status', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('expires_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('updated_at', sa.DateTime(timezone=True), nullable=False),
    sa.CheckConstraint('amount_minor > 0', name='money_request_amount'),
    sa.CheckConstraint('payer_id <> user_id', name='money_request_parties'),
    sa.ForeignKeyConstraint(['asset'], ['asset.code'], ),
    sa.ForeignKeyConstraint(['payer_id'], ['app_user.id'], ),
    sa.ForeignKeyConstraint(['user_id'], ['app_user.id'], ),
    sa.PrimaryKeyConstraint('id'),
    sa.UniqueConstraint('principal', 'idempotency_key', name='money_request_idempotency')
    )
    op.create_index('money_request_received', 'money_request', ['payer_id', 'created_at', 'id'], unique=False)
    op.create_index('money_request_sent', 'money_request', ['user_id', 'created_at', 'id'], unique=False)
    op.create_table('transfer',
    sa.Column('id', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('user_id', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('recipient_id', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('principal', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('idempotency_key', sqlmodel.sql.sqltypes.AutoString(length=255), nullable=False),
    sa.Column('request_hash', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('asset', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('amount_minor', models.columns.MinorUnits(precision=78, scale=0), nullable=False),
    sa.Column('fee_minor', models.columns.MinorUnits(precision=78, scale=0), nullable=False),
    sa.Column('note', sqlmodel.sql.sqltypes.AutoString(length=200), nullable=True),
    sa.Column('sender_handle', sqlmodel.sql.sqltypes.AutoString(length=30), nullable=True),
    sa.Column('recipient_handle', sqlmodel.sql.sqltypes.AutoString(length=30), nullable=True),
    sa.Column('money_request_id', sqlmodel.sql.sqltypes.AutoString(), nullable=True),
    sa.Column('second_factor', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('status', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('updated_at', sa.DateTime(timezone=True), nullable=False),
    sa.CheckConstraint('amount_minor > 0 AND fee_minor = 0', name='transfer_amount'),
    sa.CheckConstraint('user_id <> recipient_id', name='transfer_parties'),
    sa.ForeignKeyConstraint(['asset'], ['asset.code'], ),
    sa.ForeignKeyConstraint(['money_request_id'], ['money_request.id'], ),
    sa.ForeignKeyConstraint(['recipient_id'], ['app_user.id'], ),
    sa.ForeignKeyConstraint(['user_id'], ['app_user.id'], ),
    sa.PrimaryKeyConstraint('id'),
    sa.UniqueConstraint('money_request_id'),
    sa.UniqueConstraint('principal', 'idempotency_key', name='transfer_idempotency')
    )
    op.create_index('transfer_list', 'transfer', ['created_at', 'id'], unique=False)
    op.create_index('transfer_of_recipient', 'transfer', ['recipient_id', 'created_at', 'id'], unique=False)
    op.create_index('transfer_of_sender', 'transfer', ['user_id', 'created_at', 'id'], unique=False)
    op.create_table('transfer_event',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('transfer_id', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('status', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('detail', sqlmodel.sql.sqltypes.AutoString(), nullable=True),
    sa.Column('at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['transfer_id'], ['transfer.id'], ),
    sa.PrimaryKeyConstraint('id')
    )
    op.create_index(op.f('ix_transfer_event_transfer_id'), 'transfer_event', ['transfer_id'], unique=False)
    run_file("0018_transfers.sql")


def downgrade() -> None:
    raise NotImplementedError("The books are never migrated backwards; restore a backup.")
