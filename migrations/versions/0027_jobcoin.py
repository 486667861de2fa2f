"""The chain of a Jobcoin network, with a role of its own."""

from migrations.sql import run_file

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_file("0027_jobcoin.sql")


def downgrade() -> None:
    raise NotImplementedError("The books are never migrated backwards; restore a backup.")
