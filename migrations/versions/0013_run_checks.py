"""Let the role that uploads write the lines of a draft: its guard locks the run."""

from migrations.sql import run_file

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_file("0013_run_checks.sql")


def downgrade() -> None:
    raise NotImplementedError("The books are never migrated backwards; restore a backup.")
