"""Seal what was signed."""

from migrations.sql import run_file

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_file("0004_sealing.sql")


def downgrade() -> None:
    raise NotImplementedError("The books are never migrated backwards; restore a backup.")
