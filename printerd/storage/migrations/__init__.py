"""The schema's history: one revision a file in ``versions/``, applied in order, never edited once released.

A new table or column goes into ``schema.py`` and, as a revision, here; a test
compares the two. Only :func:`upgrade` imports Alembic, because that costs a
second; :func:`current` is what a start asks first.
"""

from __future__ import annotations

import sqlalchemy as sa

from printerd.errors import ConfigurationError
from printerd.storage.database import Database

HEAD = "0001"
"""The revision that this code works on."""


def current(database: Database) -> str:
    """The revision that the database is at; empty when it is new."""
    if not sa.inspect(database.engine).has_table("alembic_version"):
        return ""
    with database.read() as connection:
        return str(connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar() or "")


def upgrade(database: Database) -> None:
    """Bring the database to :data:`HEAD`. One that is newer than the program is refused."""
    found = current(database)
    if found == HEAD:
        return
    if found > HEAD:
        raise ConfigurationError(
            f"The database is at revision {found}, this program knows {HEAD}.",
            where=str(database.url),
            remedy="Install the newer version of invoice-printer again, or restore the backup made before it.",
        )
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "printerd.storage:migrations")
    with database.write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, HEAD)
