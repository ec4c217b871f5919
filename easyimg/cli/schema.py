"""``easyimg migrate``: create or upgrade the metadata tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from easyimg.cli.session import Session, pass_session
from easyimg.reach import ask, asked

if TYPE_CHECKING:
    from easyimg.metadata.sqlalchemy import SqlAlchemyMetadata


@click.command()
@pass_session
def migrate(session: Session) -> None:
    """Create or upgrade the metadata tables; safe to run again."""
    from easyimg.metadata.sqlalchemy import SqlAlchemyMetadata

    store = session.unchecked.metadata
    if not isinstance(store, SqlAlchemyMetadata):
        raise click.UsageError("these rows are kept by the site's own framework: use its migrations")
    ask("metadata", lambda: _connect(store))
    before, after = asked("metadata", store.migrate)
    if before is None:
        session.say(f"Metadata schema: version {after}, created")
    elif before == after:
        session.say(f"Metadata schema: version {after}, up to date")
    else:
        session.say(f"Metadata schema: version {after}, upgraded from {before}")


def _connect(store: SqlAlchemyMetadata) -> None:
    """Let a database that does not answer show within seconds; migrating itself may take as long as it needs."""
    with store._connect():  # noqa: SLF001  # no public method connects without a look at the tables' version
        pass
