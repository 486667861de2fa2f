"""Create the tables."""

import sqlalchemy as sa
import sqlmodel
from alembic import op
from sqlalchemy.dialects import postgresql

import models.columns

revision = '0001'
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    _create_app_user()
    _create_audit_chain()
    _create_chain()
    _create_hold()
    _create_ledger_account()
    _create_ledger_entry()
    _create_ledger_transaction()
    _create_limit_counter()
    _create_login_throttle()
    _create_policy()
    _create_process_heartbeat()
    _create_setting()
    _create_api_key()
    _create_asset()
    _create_blockchain_wallet()
    _create_chain_block()
    _create_chain_head()
    _create_recovery_code()
    _create_second_factor()
    _create_step_up_token()
    _create_user_session()
    _create_chain_batch()
    _create_signer_ceiling()
    _create_chain_transaction()
    _create_chain_attempt()
    _create_payout()
    _create_approval_decision()
    _create_payout_event()


def downgrade() -> None:
    raise NotImplementedError("The books are never migrated backwards; restore a backup.")


def _create_app_user() -> None:
    op.create_table('app_user',
    sa.Column('id', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('email', sqlmodel.sql.sqltypes.AutoString(length=254), nullable=False),
    sa.Column('password_hash', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('roles', sa.ARRAY(sa.String()), nullable=False),
    sa.Column('disabled_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('id'),
    sa.UniqueConstraint('email')
    )


def _create_audit_chain() -> None:
    op.create_table('audit_chain',
    sa.Column('sequence', sa.BigInteger(), nullable=False),
    sa.Column('kind', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('reference', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('content_hash', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('hash', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.PrimaryKeyConstraint('sequence')
    )


def _create_chain() -> None:
    op.create_table('chain',
    sa.Column('id', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('family', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('name', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('native_asset', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('finality', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('confirmations_min', sa.Integer(), nullable=False),
    sa.Column('max_fee_ceiling_minor', models.columns.MinorUnits(precision=78, scale=0), nullable=False),
    sa.Column('bump_after_s', sa.Integer(), nullable=False),
    sa.Column('batch_size', sa.Integer(), nullable=False),
    sa.Column('batch_wait_ms', sa.Integer(), nullable=False),
    sa.PrimaryKeyConstraint('id')
    )


def _create_hold() -> None:
    op.create_table('hold',
    sa.Column('id', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('owner', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('asset', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('amount_minor', models.columns.MinorUnits(precision=78, scale=0), nullable=False),
    sa.Column('captured_minor', models.columns.MinorUnits(precision=78, scale=0), nullable=False),
    sa.Column('status', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('expires_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('limits', postgresql.JSONB(astext_type=sa.Text()), nullable=False),
    sa.Column('placed_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('ended_at', sa.DateTime(timezone=True), nullable=True),
    sa.PrimaryKeyConstraint('id')
    )


def _create_ledger_account() -> None:
    op.create_table('ledger_account',
    sa.Column('id', sa.BigInteger(), nullable=False),
    sa.Column('code', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('asset', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('normal_side', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('balance_minor', models.columns.MinorUnits(precision=78, scale=0), nullable=False),
    sa.Column('is_floored', sa.Boolean(), nullable=False),
    sa.Column('version', sa.Integer(), nullable=False),
    sa.CheckConstraint('NOT is_floored OR balance_minor >= 0', name='balance_floor'),
    sa.PrimaryKeyConstraint('id'),
    sa.UniqueConstraint('code', 'asset', name='ledger_account_code')
    )


def _create_ledger_entry() -> None:
    op.create_table('ledger_entry',
    sa.Column('id', sa.BigInteger(), nullable=False),
    sa.Column('transaction_id', sa.BigInteger(), nullable=False),
    sa.Column('account_id', sa.BigInteger(), nullable=False),
    sa.Column('asset', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('amount_minor', models.columns.MinorUnits(precision=78, scale=0), nullable=False),
    sa.Column('balance_after_minor', models.columns.MinorUnits(precision=78, scale=0), nullable=False),
    sa.Column('account_version', sa.Integer(), nullable=False),
    sa.Column('effective_at', sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('id')
    )
    op.create_index(op.f('ix_ledger_entry_transaction_id'), 'ledger_entry', ['transaction_id'], unique=False)
    op.create_index('ledger_entry_as_of', 'ledger_entry', ['account_id', 'effective_at'], unique=False)
    op.create_index('ledger_entry_statement', 'ledger_entry', ['account_id', 'account_version'], unique=False)


def _create_ledger_transaction() -> None:
    op.create_table('ledger_transaction',
    sa.Column('id', sa.BigInteger(), nullable=False),
    sa.Column('key', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('rule', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('resource', sqlmodel.sql.sqltypes.AutoString(), nullable=True),
    sa.Column('reverses', sa.BigInteger(), nullable=True),
    sa.Column('content_hash', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('effective_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('recorded_at', sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('id'),
    sa.UniqueConstraint('key'),
    sa.UniqueConstraint('reverses')
    )
    op.create_index(op.f('ix_ledger_transaction_resource'), 'ledger_transaction', ['resource'], unique=False)


def _create_limit_counter() -> None:
    op.create_table('limit_counter',
    sa.Column('subject', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('name', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('window_start', sa.DateTime(timezone=True), nullable=False),
    sa.Column('amount_minor', models.columns.MinorUnits(precision=78, scale=0), nullable=False),
    sa.Column('count', sa.Integer(), nullable=False),
    sa.PrimaryKeyConstraint('subject', 'name', 'window_start')
    )


def _create_login_throttle() -> None:
    op.create_table('login_throttle',
    sa.Column('email', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('failures', sa.Integer(), nullable=False),
    sa.Column('locked_until', sa.DateTime(timezone=True), nullable=True),
    sa.PrimaryKeyConstraint('email')
    )


def _create_policy() -> None:
    op.create_table('policy',
    sa.Column('version', sa.Integer(), nullable=False),
    sa.Column('document', postgresql.JSONB(astext_type=sa.Text()), nullable=False),
    sa.Column('created_by', sqlmodel.sql.sqltypes.AutoString(), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('version')
    )


def _create_process_heartbeat() -> None:
    op.create_table('process_heartbeat',
    sa.Column('role', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('instance', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('started_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('seen_at', sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('role', 'instance')
    )


def _create_setting() -> None:
    op.create_table('setting',
    sa.Column('key', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('value', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('inserted_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('updated_at', sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('key')
    )


def _create_api_key() -> None:
    op.create_table('api_key',
    sa.Column('id', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('user_id', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('name', sqlmodel.sql.sqltypes.AutoString(length=100), nullable=False),
    sa.Column('secret_hash', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('scopes', sa.ARRAY(sa.String()), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('expires_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('revoked_at', sa.DateTime(timezone=True), nullable=True),
    sa.ForeignKeyConstraint(['user_id'], ['app_user.id'], ),
    sa.PrimaryKeyConstraint('id')
    )
    op.create_index(op.f('ix_api_key_user_id'), 'api_key', ['user_id'], unique=False)


def _create_asset() -> None:
    op.create_table('asset',
    sa.Column('code', sqlmodel.sql.sqltypes.AutoString(length=32), nullable=False),
    sa.Column('chain_id', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('kind', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('contract_address', sqlmodel.sql.sqltypes.AutoString(), nullable=True),
    sa.Column('decimals', sa.Integer(), nullable=False),
    sa.Column('name', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('payout_fee_minor', models.columns.MinorUnits(precision=78, scale=0), nullable=False),
    sa.Column('payout_min_minor', models.columns.MinorUnits(precision=78, scale=0), nullable=False),
    sa.Column('payout_max_minor', models.columns.MinorUnits(precision=78, scale=0), nullable=True),
    sa.Column('enabled', sa.Boolean(), nullable=False),
    sa.CheckConstraint("(kind = 'native') = (contract_address IS NULL)", name='asset_kind'),
    sa.ForeignKeyConstraint(['chain_id'], ['chain.id'], ),
    sa.PrimaryKeyConstraint('code'),
    sa.UniqueConstraint('chain_id', 'contract_address', name='asset_contract_unique')
    )


def _create_blockchain_wallet() -> None:
    op.create_table('blockchain_wallet',
    sa.Column('uuid', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('chain_id', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('address', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('pub_key', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('type', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('primary', sa.Boolean(), nullable=False),
    sa.Column('encrypted_priv_key', sa.LargeBinary(), nullable=True),
    sa.Column('next_account_nonce', sa.Integer(), nullable=False),
    sa.Column('inserted_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('updated_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['chain_id'], ['chain.id'], ),
    sa.PrimaryKeyConstraint('uuid'),
    sa.UniqueConstraint('address')
    )


def _create_chain_block() -> None:
    op.create_table('chain_block',
    sa.Column('chain_id', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('height', sa.Integer(), nullable=False),
    sa.Column('hash', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('parent_hash', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('seen_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['chain_id'], ['chain.id'], ),
    sa.PrimaryKeyConstraint('chain_id', 'height')
    )


def _create_chain_head() -> None:
    op.create_table('chain_head',
    sa.Column('chain_id', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('height', sa.Integer(), nullable=False),
    sa.Column('finalized_height', sa.Integer(), nullable=True),
    sa.Column('base_fee_minor', models.columns.MinorUnits(precision=78, scale=0), nullable=True),
    sa.Column('seen_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['chain_id'], ['chain.id'], ),
    sa.PrimaryKeyConstraint('chain_id')
    )


def _create_recovery_code() -> None:
    op.create_table('recovery_code',
    sa.Column('user_id', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('code_hash', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('used_at', sa.DateTime(timezone=True), nullable=True),
    sa.ForeignKeyConstraint(['user_id'], ['app_user.id'], ),
    sa.PrimaryKeyConstraint('user_id', 'code_hash')
    )


def _create_second_factor() -> None:
    op.create_table('second_factor',
    sa.Column('user_id', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('sealed_secret', sa.LargeBinary(), nullable=False),
    sa.Column('enabled_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('last_step', sa.Integer(), nullable=False),
    sa.Column('last_step_fingerprint', sqlmodel.sql.sqltypes.AutoString(), nullable=True),
    sa.Column('failures', sa.Integer(), nullable=False),
    sa.Column('locked_until', sa.DateTime(timezone=True), nullable=True),
    sa.ForeignKeyConstraint(['user_id'], ['app_user.id'], ),
    sa.PrimaryKeyConstraint('user_id')
    )


def _create_step_up_token() -> None:
    op.create_table('step_up_token',
    sa.Column('id', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('user_id', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('token_hash', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('fingerprint', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('expires_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['user_id'], ['app_user.id'], ),
    sa.PrimaryKeyConstraint('id'),
    sa.UniqueConstraint('token_hash')
    )
    op.create_index(op.f('ix_step_up_token_user_id'), 'step_up_token', ['user_id'], unique=False)


def _create_user_session() -> None:
    op.create_table('user_session',
    sa.Column('id', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('user_id', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('token_hash', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('expires_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('revoked_at', sa.DateTime(timezone=True), nullable=True),
    sa.ForeignKeyConstraint(['user_id'], ['app_user.id'], ),
    sa.PrimaryKeyConstraint('id'),
    sa.UniqueConstraint('token_hash')
    )
    op.create_index(op.f('ix_user_session_user_id'), 'user_session', ['user_id'], unique=False)


def _create_chain_batch() -> None:
    op.create_table('chain_batch',
    sa.Column('id', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('claim_key', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('chain_id', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('wallet_address', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('waiting_for', sqlmodel.sql.sqltypes.AutoString(), nullable=True),
    sa.Column('waiting_since', sa.DateTime(timezone=True), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['chain_id'], ['chain.id'], ),
    sa.ForeignKeyConstraint(['wallet_address'], ['blockchain_wallet.address'], ),
    sa.PrimaryKeyConstraint('id'),
    sa.UniqueConstraint('claim_key')
    )


def _create_signer_ceiling() -> None:
    op.create_table('signer_ceiling',
    sa.Column('address', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('asset', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('per_hour_minor', models.columns.MinorUnits(precision=78, scale=0), nullable=False),
    sa.ForeignKeyConstraint(['address'], ['blockchain_wallet.address'], ),
    sa.ForeignKeyConstraint(['asset'], ['asset.code'], ),
    sa.PrimaryKeyConstraint('address', 'asset')
    )


def _create_chain_transaction() -> None:
    op.create_table('chain_transaction',
    sa.Column('id', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('batch_id', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('chain_id', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('wallet_address', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('kind', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('asset', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('destination', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('amount_minor', models.columns.MinorUnits(precision=78, scale=0), nullable=False),
    sa.Column('gas_limit', sa.Integer(), nullable=True),
    sa.Column('account_nonce', sa.Integer(), nullable=True),
    sa.Column('status', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('reason_code', sqlmodel.sql.sqltypes.AutoString(), nullable=True),
    sa.Column('txid', sqlmodel.sql.sqltypes.AutoString(), nullable=True),
    sa.Column('block_height', sa.Integer(), nullable=True),
    sa.Column('block_hash', sqlmodel.sql.sqltypes.AutoString(), nullable=True),
    sa.Column('network_fee_minor', models.columns.MinorUnits(precision=78, scale=0), nullable=True),
    sa.Column('fee_booked_minor', models.columns.MinorUnits(precision=78, scale=0), nullable=False),
    sa.Column('outflow_booked_minor', models.columns.MinorUnits(precision=78, scale=0), nullable=False),
    sa.Column('outflow_minor', models.columns.MinorUnits(precision=78, scale=0), nullable=True),
    sa.Column('settled_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('settlements', sa.Integer(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('updated_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['asset'], ['asset.code'], ),
    sa.ForeignKeyConstraint(['batch_id'], ['chain_batch.id'], ),
    sa.ForeignKeyConstraint(['chain_id'], ['chain.id'], ),
    sa.ForeignKeyConstraint(['wallet_address'], ['blockchain_wallet.address'], ),
    sa.PrimaryKeyConstraint('id'),
    sa.UniqueConstraint('chain_id', 'wallet_address', 'account_nonce', name='account_nonce_unique')
    )
    op.create_index('chain_transaction_by_status', 'chain_transaction', ['chain_id', 'status'], unique=False)
    op.create_index(op.f('ix_chain_transaction_batch_id'), 'chain_transaction', ['batch_id'], unique=False)


def _create_chain_attempt() -> None:
    op.create_table('chain_attempt',
    sa.Column('id', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('chain_transaction_id', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('sequence', sa.Integer(), nullable=False),
    sa.Column('txid', sqlmodel.sql.sqltypes.AutoString(), nullable=True),
    sa.Column('raw', sa.LargeBinary(), nullable=True),
    sa.Column('max_fee_minor', models.columns.MinorUnits(precision=78, scale=0), nullable=False),
    sa.Column('priority_fee_minor', models.columns.MinorUnits(precision=78, scale=0), nullable=False),
    sa.Column('signed_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('broadcast_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('last_error', sqlmodel.sql.sqltypes.AutoString(), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['chain_transaction_id'], ['chain_transaction.id'], ),
    sa.PrimaryKeyConstraint('id'),
    sa.UniqueConstraint('chain_transaction_id', 'sequence', name='attempt_sequence'),
    sa.UniqueConstraint('txid')
    )


def _create_payout() -> None:
    op.create_table('payout',
    sa.Column('id', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('user_id', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('principal', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('idempotency_key', sqlmodel.sql.sqltypes.AutoString(length=255), nullable=False),
    sa.Column('request_hash', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('asset', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('chain_id', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('amount_minor', models.columns.MinorUnits(precision=78, scale=0), nullable=False),
    sa.Column('fee_minor', models.columns.MinorUnits(precision=78, scale=0), nullable=False),
    sa.Column('destination', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('note', sqlmodel.sql.sqltypes.AutoString(length=200), nullable=True),
    sa.Column('status', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('reason_code', sqlmodel.sql.sqltypes.AutoString(), nullable=True),
    sa.Column('policy_version', sa.Integer(), nullable=True),
    sa.Column('approvals_required', sa.Integer(), nullable=False),
    sa.Column('approval_expires_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('hold_id', sqlmodel.sql.sqltypes.AutoString(), nullable=True),
    sa.Column('chain_transaction_id', sqlmodel.sql.sqltypes.AutoString(), nullable=True),
    sa.Column('notified_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('updated_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['asset'], ['asset.code'], ),
    sa.ForeignKeyConstraint(['chain_id'], ['chain.id'], ),
    sa.ForeignKeyConstraint(['chain_transaction_id'], ['chain_transaction.id'], ),
    sa.ForeignKeyConstraint(['policy_version'], ['policy.version'], ),
    sa.ForeignKeyConstraint(['user_id'], ['app_user.id'], ),
    sa.PrimaryKeyConstraint('id'),
    sa.UniqueConstraint('principal', 'idempotency_key', name='payout_idempotency')
    )
    op.create_index(op.f('ix_payout_user_id'), 'payout', ['user_id'], unique=False)
    op.create_index('payout_by_status', 'payout', ['status', 'created_at'], unique=False)
    op.create_index('payout_list', 'payout', ['created_at', 'id'], unique=False)
    op.create_index('payout_of_chain_transaction', 'payout', ['chain_transaction_id'], unique=False)
    op.create_index('payout_of_user', 'payout', ['user_id', 'created_at', 'id'], unique=False)


def _create_approval_decision() -> None:
    op.create_table('approval_decision',
    sa.Column('id', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('payout_id', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('approver_id', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('decision', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('policy_version', sa.Integer(), nullable=False),
    sa.Column('payout_hash', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('second_factor', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('note', sqlmodel.sql.sqltypes.AutoString(length=500), nullable=True),
    sa.Column('decided_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['approver_id'], ['app_user.id'], ),
    sa.ForeignKeyConstraint(['payout_id'], ['payout.id'], ),
    sa.ForeignKeyConstraint(['policy_version'], ['policy.version'], ),
    sa.PrimaryKeyConstraint('id'),
    sa.UniqueConstraint('payout_id', 'approver_id', name='decision_once')
    )
    op.create_index(op.f('ix_approval_decision_payout_id'), 'approval_decision', ['payout_id'], unique=False)


def _create_payout_event() -> None:
    op.create_table('payout_event',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('payout_id', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('status', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('detail', sqlmodel.sql.sqltypes.AutoString(), nullable=True),
    sa.Column('at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['payout_id'], ['payout.id'], ),
    sa.PrimaryKeyConstraint('id')
    )
    op.create_index(op.f('ix_payout_event_payout_id'), 'payout_event', ['payout_id'], unique=False)
