"""Add mixers, mixes, their dole-outs, and the sealed audit trail."""

from migrations.sql import run_file

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_file("0028_mixing.sql")


def downgrade() -> None:
    raise NotImplementedError("The books are never migrated backwards; restore a backup.")
