"""``easyimg migrate``: create or upgrade the metadata tables."""

from __future__ import annotations

import click

from easyimg.cli.session import Session, pass_session
from easyimg.reach import asked


@click.command()
@pass_session
def migrate(session: Session) -> None:
    """Create or upgrade the metadata tables; safe to run again."""
    from easyimg.metadata.sqlalchemy import SqlAlchemyMetadata

    store = session.unchecked.metadata
    if not isinstance(store, SqlAlchemyMetadata):
        raise click.UsageError("these rows are kept by the site's own framework: use its migrations")
    before, after = asked("metadata", store.migrate)
    if before is None:
        session.say(f"Metadata schema: version {after}, created")
    elif before == after:
        session.say(f"Metadata schema: version {after}, up to date")
    else:
        session.say(f"Metadata schema: version {after}, upgraded from {before}")
