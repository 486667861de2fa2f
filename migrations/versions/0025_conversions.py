"""Let transfers of pockets convert one asset into another, at a quoted rate."""

from migrations.sql import run_file

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_file("0025_conversions.sql")


def downgrade() -> None:
    raise NotImplementedError("The books are never migrated backwards; restore a backup.")
