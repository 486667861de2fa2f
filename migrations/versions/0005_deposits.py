"""Add addresses, deposits, coins and what sweeps need."""

import sqlalchemy as sa
import sqlmodel
from alembic import op
from sqlalchemy.dialects import postgresql

import models.columns

revision = '0005'
down_revision = '0004'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('hd_account',
    sa.Column('chain_id', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('path', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('xpub', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('fingerprint', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('encrypted_seed', sa.LargeBinary(), nullable=True),
    sa.Column('next_external_index', sa.Integer(), nullable=False),
    sa.Column('next_internal_index', sa.Integer(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['chain_id'], ['chain.id'], ),
    sa.PrimaryKeyConstraint('chain_id')
    )
    op.create_table('rescan',
    sa.Column('id', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('chain_id', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('from_height', sa.Integer(), nullable=False),
    sa.Column('to_height', sa.Integer(), nullable=False),
    sa.Column('next_height', sa.Integer(), nullable=False),
    sa.Column('found', sa.Integer(), nullable=False),
    sa.Column('requested_by', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('finished_at', sa.DateTime(timezone=True), nullable=True),
    sa.ForeignKeyConstraint(['chain_id'], ['chain.id'], ),
    sa.ForeignKeyConstraint(['requested_by'], ['app_user.id'], ),
    sa.PrimaryKeyConstraint('id')
    )
    op.create_index(op.f('ix_rescan_chain_id'), 'rescan', ['chain_id'], unique=False)
    op.create_table('chain_address',
    sa.Column('id', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('chain_id', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('address', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('lookup_key', sa.LargeBinary(), nullable=False),
    sa.Column('branch', sa.Integer(), nullable=False),
    sa.Column('index', sa.Integer(), nullable=False),
    sa.Column('user_id', sqlmodel.sql.sqltypes.AutoString(), nullable=True),
    sa.Column('asset', sqlmodel.sql.sqltypes.AutoString(), nullable=True),
    sa.Column('label', sqlmodel.sql.sqltypes.AutoString(length=100), nullable=True),
    sa.Column('next_account_nonce', sa.Integer(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['asset'], ['asset.code'], ),
    sa.ForeignKeyConstraint(['chain_id'], ['chain.id'], ),
    sa.ForeignKeyConstraint(['user_id'], ['app_user.id'], ),
    sa.PrimaryKeyConstraint('id'),
    sa.UniqueConstraint('chain_id', 'branch', 'index', name='chain_address_position'),
    sa.UniqueConstraint('chain_id', 'lookup_key', name='chain_address_lookup')
    )
    op.create_index('chain_address_of_user', 'chain_address', ['user_id', 'created_at', 'id'], unique=False)
    op.create_index(op.f('ix_chain_address_address'), 'chain_address', ['address'], unique=False)
    op.create_table('chain_deposit',
    sa.Column('id', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('chain_id', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('address_id', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('user_id', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('asset', sqlmodel.sql.sqltypes.AutoString(), nullable=True),
    sa.Column('contract_address', sqlmodel.sql.sqltypes.AutoString(), nullable=True),
    sa.Column('txid', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('position', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('amount_minor', models.columns.MinorUnits(precision=78, scale=0), nullable=False),
    sa.Column('is_coinbase', sa.Boolean(), nullable=False),
    sa.Column('status', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('reason_code', sqlmodel.sql.sqltypes.AutoString(), nullable=True),
    sa.Column('confirmations_required', sa.Integer(), nullable=False),
    sa.Column('block_height', sa.Integer(), nullable=True),
    sa.Column('block_hash', sqlmodel.sql.sqltypes.AutoString(), nullable=True),
    sa.Column('missing_since', sa.DateTime(timezone=True), nullable=True),
    sa.Column('is_booked', sa.Boolean(), nullable=False),
    sa.Column('credits', sa.Integer(), nullable=False),
    sa.Column('credited_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('swept_by', sqlmodel.sql.sqltypes.AutoString(), nullable=True),
    sa.Column('started_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('notified_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('seen_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('updated_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['address_id'], ['chain_address.id'], ),
    sa.ForeignKeyConstraint(['asset'], ['asset.code'], ),
    sa.ForeignKeyConstraint(['chain_id'], ['chain.id'], ),
    sa.ForeignKeyConstraint(['swept_by'], ['chain_transaction.id'], ),
    sa.ForeignKeyConstraint(['user_id'], ['app_user.id'], ),
    sa.PrimaryKeyConstraint('id')
    )
    op.create_index('chain_deposit_by_block', 'chain_deposit', ['chain_id', 'block_hash'], unique=False)
    op.create_index('chain_deposit_by_status', 'chain_deposit', ['chain_id', 'status'], unique=False)
    op.create_index('chain_deposit_due', 'chain_deposit', ['chain_id', 'block_height'], unique=False, postgresql_where=sa.text('NOT is_booked AND asset IS NOT NULL'))
    op.create_index('chain_deposit_list', 'chain_deposit', ['seen_at', 'id'], unique=False)
    op.create_index('chain_deposit_missing', 'chain_deposit', ['chain_id'], unique=False, postgresql_where=sa.text('missing_since IS NOT NULL'))
    op.create_index('chain_deposit_of_user', 'chain_deposit', ['user_id', 'seen_at', 'id'], unique=False)
    op.create_index('chain_deposit_place', 'chain_deposit', ['chain_id', 'txid'], unique=False)
    op.create_index('chain_deposit_to_sweep', 'chain_deposit', ['address_id'], unique=False, postgresql_where=sa.text('is_booked AND swept_by IS NULL'))
    op.create_index(op.f('ix_chain_deposit_address_id'), 'chain_deposit', ['address_id'], unique=False)
    op.create_table('utxo',
    sa.Column('chain_id', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('txid', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('output_index', sa.Integer(), nullable=False),
    sa.Column('address_id', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('amount_minor', models.columns.MinorUnits(precision=78, scale=0), nullable=False),
    sa.Column('is_coinbase', sa.Boolean(), nullable=False),
    sa.Column('is_hot', sa.Boolean(), nullable=False),
    sa.Column('block_height', sa.Integer(), nullable=True),
    sa.Column('block_hash', sqlmodel.sql.sqltypes.AutoString(), nullable=True),
    sa.Column('locked_by', sqlmodel.sql.sqltypes.AutoString(), nullable=True),
    sa.Column('spent_txid', sqlmodel.sql.sqltypes.AutoString(), nullable=True),
    sa.Column('spent_block_hash', sqlmodel.sql.sqltypes.AutoString(), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['address_id'], ['chain_address.id'], ),
    sa.ForeignKeyConstraint(['chain_id'], ['chain.id'], ),
    sa.ForeignKeyConstraint(['locked_by'], ['chain_transaction.id'], ),
    sa.PrimaryKeyConstraint('chain_id', 'txid', 'output_index')
    )
    op.create_index(op.f('ix_utxo_locked_by'), 'utxo', ['locked_by'], unique=False)
    op.create_index('utxo_by_block', 'utxo', ['chain_id', 'block_hash'], unique=False)
    op.create_index('utxo_by_spender', 'utxo', ['chain_id', 'spent_block_hash'], unique=False)
    op.create_index('utxo_spendable', 'utxo', ['chain_id', 'is_hot'], unique=False, postgresql_where=sa.text('locked_by IS NULL AND spent_txid IS NULL'))
    op.create_table('chain_deposit_event',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('deposit_id', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('status', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('detail', sqlmodel.sql.sqltypes.AutoString(), nullable=True),
    sa.Column('at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['deposit_id'], ['chain_deposit.id'], ),
    sa.PrimaryKeyConstraint('id')
    )
    op.create_index(op.f('ix_chain_deposit_event_deposit_id'), 'chain_deposit_event', ['deposit_id'], unique=False)
    op.create_table('user_freeze',
    sa.Column('id', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('user_id', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('deposit_id', sqlmodel.sql.sqltypes.AutoString(), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('lifted_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('lifted_by', sqlmodel.sql.sqltypes.AutoString(), nullable=True),
    sa.ForeignKeyConstraint(['deposit_id'], ['chain_deposit.id'], ),
    sa.ForeignKeyConstraint(['user_id'], ['app_user.id'], ),
    sa.PrimaryKeyConstraint('id')
    )
    op.create_index('user_freeze_active', 'user_freeze', ['user_id'], unique=False, postgresql_where=sa.text('lifted_at IS NULL'))
    op.add_column('asset', sa.Column('deposit_min_minor', models.columns.MinorUnits(precision=78, scale=0), nullable=False, server_default='1'))
    op.add_column('asset', sa.Column('deposit_tiers', postgresql.JSONB(astext_type=sa.Text()), server_default='[]', nullable=False))
    op.add_column('asset', sa.Column('sweep_min_minor', models.columns.MinorUnits(precision=78, scale=0), nullable=False, server_default='1'))
    op.add_column('asset', sa.Column('sweep_fee_max_minor', models.columns.MinorUnits(precision=78, scale=0), nullable=True))
    op.add_column('chain', sa.Column('outputs_max', sa.Integer(), nullable=False, server_default='1'))
    op.add_column('chain', sa.Column('sweep_interval_s', sa.Integer(), nullable=False, server_default='3600'))
    op.add_column('chain', sa.Column('sweep_fee_max_bps', sa.Integer(), nullable=False, server_default='200'))
    op.add_column('chain_attempt', sa.Column('change_minor', models.columns.MinorUnits(precision=78, scale=0), nullable=True))
    op.add_column('chain_attempt', sa.Column('fee_minor', models.columns.MinorUnits(precision=78, scale=0), nullable=True))
    op.drop_constraint(op.f('chain_batch_wallet_address_fkey'), 'chain_batch', type_='foreignkey')
    op.add_column('chain_head', sa.Column('fee_rate_minor', models.columns.MinorUnits(precision=78, scale=0), nullable=True))
    op.add_column('chain_head', sa.Column('tip_height', sa.Integer(), nullable=True))
    op.add_column('chain_head', sa.Column('reorg_at', sa.DateTime(timezone=True), nullable=True))
    op.add_column('chain_head', sa.Column('reorg_depth', sa.Integer(), nullable=True))
    op.add_column('chain_transaction', sa.Column('change_address', sqlmodel.sql.sqltypes.AutoString(), nullable=True))
    op.add_column('chain_transaction', sa.Column('parent_id', sqlmodel.sql.sqltypes.AutoString(), nullable=True))
    op.alter_column('chain_transaction', 'destination',
               existing_type=sa.VARCHAR(),
               nullable=True)
    op.drop_constraint(op.f('chain_transaction_wallet_address_fkey'), 'chain_transaction', type_='foreignkey')
    op.create_foreign_key('chain_transaction_parent_id_fkey', 'chain_transaction', 'chain_transaction', ['parent_id'], ['id'])
    op.add_column('ledger_account', sa.Column('floor_minor', models.columns.MinorUnits(precision=78, scale=0), nullable=False, server_default='0'))
    op.add_column('payout', sa.Column('is_alone', sa.Boolean(), nullable=False, server_default='false'))


def downgrade() -> None:
    raise NotImplementedError("The books are never migrated backwards; restore a backup.")
