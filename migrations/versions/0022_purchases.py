"""Add rates, quotes, purchases and what a payment gateway said."""

from migrations.sql import run_file

revision = "0022"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_file("0022_purchases.sql")


def downgrade() -> None:
    raise NotImplementedError("The books are never migrated backwards; restore a backup.")
