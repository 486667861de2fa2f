"""Let a run's lines be those that were uploaded."""

from migrations.sql import run_file

revision = "0022"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_file("0022_run_guards.sql")


def downgrade() -> None:
    raise NotImplementedError("The books are never migrated backwards; restore a backup.")
