"""Find addresses by hash: a run of blocks asks for thousands of keys, among millions of ours."""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "chain_address_by_lookup", "chain_address", ["lookup_key"], postgresql_using="hash"
    )


def downgrade() -> None:
    raise NotImplementedError("The books are never migrated backwards; restore a backup.")
