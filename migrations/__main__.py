"""
The migration job: ``python -m migrations`` brings the schema up to date and sets role passwords.

It is the only process that owns the schema; see ``infra.settings.MigrationSettings``.
"""

from pathlib import Path

from alembic import command
from alembic.config import Config
from psycopg import connect, sql

from infra.settings import MigrationSettings


def alembic_config() -> Config:
    """Return Alembic's configuration for this folder."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    return config


def set_passwords(settings: MigrationSettings) -> None:
    """Give each process's role the password from the environment."""
    passwords = {
        "strongroom_api": settings.api_database_password,
        "strongroom_worker": settings.worker_database_password,
        "strongroom_signer": settings.signer_database_password,
        "strongroom_jobcoin": settings.jobcoin_database_password,
    }
    with connect(settings.migration_database_url.get_secret_value()) as connection:
        for role, password in passwords.items():
            if password is None:
                continue
            statement = sql.SQL("ALTER ROLE {} PASSWORD {}").format(
                sql.Identifier(role), sql.Literal(password.get_secret_value())
            )
            connection.execute(statement)


def main() -> None:
    """Migrate, then set the passwords."""
    settings = MigrationSettings()
    command.upgrade(alembic_config(), "head")
    set_passwords(settings)


if __name__ == "__main__":
    main()
