"""The metadata store on SQLAlchemy Core: SQLite, PostgreSQL, MariaDB and MySQL."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from threading import Lock
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, MetaData, insert, or_, select, update
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from easyimg import _fork
from easyimg.errors import ConfigError, MetadataError, shown
from easyimg.geometry import Focus
from easyimg.metadata import claims, enqueuing, fetching, reports, schema, totals
from easyimg.metadata.claimed import Terms
from easyimg.metadata.clock import now
from easyimg.metadata.dialects import LOCK_WAIT, Sqlite, parse_url
from easyimg.metadata.rows import (
    FORGOTTEN,
    by_source,
    check_source,
    chunks,
    collect,
    collect_previews,
    facts,
    new_variants,
)
from easyimg.metadata.statements import Statements
from easyimg.metadata.tables import define_tables
from easyimg.metadata.transactions import transaction
from easyimg.metadata.upkeep import Upkeep, in_chunks
from easyimg.preview import Preview
from easyimg.source import Source, SourceInfo
from easyimg.variant import Built, Claim, ClaimOrder, Counts, Failure, GivenUp, SourceDetail, SourceRecord, Wanted

T = TypeVar("T")

_TRIES = 8
"""How often a write is tried when a lock, a deadlock or a lost connection is to blame."""

_PASSING_BY, _LOOKS = 3, 50
"""How often a claim passes by what others are claiming; how often it looks at all, if it only closes what it finds."""

_ABANDONED: list[Any] = []
"""Connection pools inherited over a fork: kept, because closing their connections here would disturb the parent's."""


class SqlAlchemyMetadata(Upkeep):
    """The rows in a database of their own, or beside a site's tables.

    Connects at first use, and creates the tables then. Safe to use from threads and after a fork.

    Args:
        url_or_engine: a database URL (drivers are chosen here: psycopg, PyMySQL), or an Engine whose connections are
            borrowed for one short transaction each. Of an SQLite engine only the URL is used, since its connections
            cannot be shared with a caller's open transaction; one in memory therefore stays a database of its own.
            An AsyncEngine gives its URL alone.
        auto_create: False = the first use only checks the schema; ``setup()`` or a migration must have made it.
        metadata: the MetaData that shall know our tables.
    """

    def __init__(self, url_or_engine: str | Any, *, auto_create: bool = True, metadata: MetaData | None = None) -> None:
        self._borrowed, url = _split(url_or_engine)
        self._dialect, self._url = parse_url(url)
        self._auto_create = auto_create
        self._tables = define_tables(metadata)
        self._engine = self._make_engine()
        self._sql = Statements(self._tables, self._dialect, self._engine.dialect)
        self._lock = Lock()
        self._ready = False
        _fork.before_fork(self._before_fork)
        _fork.after_fork(self._after_fork)

    def __repr__(self) -> str:
        return f"SqlAlchemyMetadata({self._url.render_as_string(hide_password=True)!r})"

    @property
    def engine(self) -> Engine:
        """The engine in use, in autocommit."""
        return self._engine

    # Connections and transactions.

    def _make_engine(self) -> Engine:
        if self._borrowed is not None and not isinstance(self._dialect, Sqlite):
            return self._borrowed.execution_options(isolation_level="AUTOCOMMIT")
        self._borrowed = None
        return self._dialect.engine(self._url)

    @contextmanager
    def _connect(self) -> Iterator[Connection]:
        """Lend a connection in autocommit; whatever the database raises becomes MetadataError."""
        driver_error = self._engine.dialect.loaded_dbapi.Error
        try:
            with _fork.no_fork if self._dialect.forbids_forks else nullcontext(), self._engine.connect() as conn:
                yield conn
        except (SQLAlchemyError, driver_error, UnicodeError) as exc:
            raise self._translated(exc) from exc

    def _before_fork(self) -> None:
        """Close what a forked process must not inherit; whoever goes on here opens it again."""
        if self._dialect.forbids_forks:
            self._engine.dispose()

    def _after_fork(self) -> None:
        """Leave the parent's connections alone and start afresh."""
        _ABANDONED.append(self._engine.pool)
        self._engine.dispose(close=False)
        self._lock = Lock()
        self._ready = False

    def _translated(self, exc: BaseException) -> MetadataError:
        cause = getattr(exc, "orig", None) or exc
        text = str(cause)
        if self._url.password:
            text = text.replace(str(self._url.password), "***")
        directory = getattr(self._dialect, "directory", None)
        if directory is not None and "unable to open" in text:
            reason = "cannot be opened" if directory.is_dir() else f"its directory {str(directory)!r} does not exist"
            text = f"{self._url.database}: {reason}"
        return MetadataError(f"{self._dialect.name}: {type(cause).__name__}: {shown(text, 500)}")

    def _ensure(self) -> None:
        """Create or check the schema before the first statement."""
        if self._ready:
            return
        if self._auto_create:
            self.setup()
        else:
            self._retrying(self._check_only)

    def _read(self, work: Callable[[Connection], T]) -> T:
        """Run single statements in autocommit."""

        def attempt(tried: int) -> T:
            with self._connect() as conn:
                return work(conn)

        self._ensure()
        return self._retrying(attempt)

    def _write(self, work: Callable[[Connection, int], T], *, wait: float | None = None) -> T:
        """Run one short transaction; with ``wait`` it is tried once. ``work`` is told how often it was lost before."""

        def attempt(lost: int) -> T:
            with self._connect() as conn, transaction(conn, self._dialect, wait):
                return work(conn, lost)

        self._ensure()
        return self._retrying(attempt, tries=_TRIES if wait is None else 1)

    def _retrying(self, attempt: Callable[[int], T], tries: int = _TRIES) -> T:
        """Try again, a little later each time, while a lock or a lost connection is to blame."""
        lost = 0
        for tried in range(1, tries + 1):
            try:
                return attempt(lost)
            except MetadataError as exc:
                gone = bool(getattr(exc.__cause__, "connection_invalidated", False))
                cause = getattr(exc.__cause__, "orig", None) or exc.__cause__
                transient = cause is not None and self._dialect.is_transient(cause)
                if tried == tries or not (transient or (gone and not lost)):
                    raise
                lost += gone
            time.sleep(random.uniform(0.005, 0.015) * 2**tried)  # noqa: S311 - jitter, no secret
        raise AssertionError("unreachable")

    def close(self) -> None:
        """Close all connections, except those of an engine that was lent. A database in memory is gone then."""
        if self._borrowed is None:
            self._engine.dispose()
            self._ready = False

    # Schema.

    def setup(self) -> None:
        """Create what is missing and check the schema's version."""
        with self._lock:
            self._retrying(self._create_and_check)
            self._ready = True

    def migrate(self) -> tuple[str | None, str]:
        """Create or upgrade the tables; return the schema's versions before (None = no tables) and after.

        Does nothing when all is up to date. Stop whatever still runs an older easyimg first.

        Raises:
            MetadataError: the schema is newer than this code.
        """

        def attempt(_: int) -> tuple[str | None, str]:
            with self._connect() as conn:
                return schema.migrate(conn, self._dialect, self._tables)

        with self._lock:
            versions = self._retrying(attempt)
            self._ready = True
        return versions

    def _create_and_check(self, _: int) -> None:
        with self._connect() as conn:
            if schema.stored_version(conn, self._tables) is None:
                schema.create(conn, self._dialect, self._tables)
            schema.check(conn, self._tables)

    def _check_only(self, _: int) -> None:
        with self._connect() as conn:
            schema.check(conn, self._tables)
        self._ready = True

    # Rendering.

    def fetch(self, wanted: Mapping[str, Sequence[str]], *, previews: bool = False) -> dict[str, SourceRecord]:
        """Return records by source id, from plain tuples of one prepared SELECT per 5,000 keys."""
        records: dict[str, SourceRecord] = {}
        for ids, keys in chunks(wanted):
            rows = self._read(partial(fetching.select, self._dialect, ids, keys, previews))
            collect(records, rows)
            if previews:
                collect_previews(records, rows)
        return records

    def enqueue(self, wanted: Sequence[Wanted], *, wait: float | None = None) -> list[str]:
        """Insert what is missing; MySQL (not MariaDB) returns all given ids if anything at all is new."""
        unique = by_source(wanted)
        if not unique:
            return []
        rows = new_variants(wanted)

        def work(conn: Connection, _: int) -> set[str]:
            self._dialect.insert_sources(conn, list(unique.values()))
            return enqueuing.insert_or_raise(conn, self._sql, self._dialect, rows)

        new = self._write(work, wait=wait)
        return [id_ for id_ in dict.fromkeys(w.source.id for w in wanted) if id_ in new]

    # Sources.

    def record_info(self, source: Source, info: SourceInfo, version: str = "") -> None:
        """Insert or update a source's facts."""
        row = facts(info) | ({"version": version} if version else {})
        self._write(lambda conn, _: self._save_source(conn, source, row))

    def set_focus(self, source: Source, focus: Focus | None) -> None:
        """Record the focus point; nothing is built again if it is the one already known."""
        point = {"focus_x": focus.x if focus else None, "focus_y": focus.y if focus else None}

        def work(conn: Connection, _: int) -> None:
            s = self._tables.source.c
            query = select(s.focus_x, s.focus_y).where(s.id == source.id).with_for_update()
            known = conn.execute(query).one_or_none()
            if known is None:
                self._save_source(conn, source, point)
            elif tuple(known) != tuple(point.values()):
                self._start_over(conn, source, point)

        self._write(work)

    def replace(self, source: Source, info: SourceInfo | None = None) -> int:
        """Raise the generation; the focus point stays. A source without a row gets one.

        The rows forget the old picture's files; the files themselves stay until ``clean``.
        """
        row = facts(info) | {"version": "", "color": None, "blur": None}
        return self._write(lambda conn, _: self._start_over(conn, source, row))

    def _start_over(self, conn: Connection, source: Source, row: dict[str, Any]) -> int:
        s, v = self._tables.source.c, self._tables.variant.c
        self._save_source(conn, source, row | {"generation": s.generation + 1, "crashes": 0, "error": ""})
        again = reports.queued_again() | FORGOTTEN | {"errors": 0}
        conn.execute(update(self._tables.variant).where(v.source_id == source.id).values(**again))
        return int(conn.execute(select(s.generation).where(s.id == source.id)).scalar_one())

    def _save_source(self, conn: Connection, source: Source, row: dict[str, Any]) -> None:
        """Update a source's row, after inserting it where it is absent (a rival may do so at the same moment)."""
        check_source(source)
        change = update(self._tables.source).where(self._tables.source.c.id == source.id).values(**row)
        if conn.execute(change).rowcount == 0:
            self._dialect.insert_sources(conn, [Wanted(source, {})])
            conn.execute(change)

    # The queue.

    def claim(
        self,
        *,
        lease: float,
        max_attempts: int,
        source_id: str | None = None,
        keys: Sequence[str] | None = None,
        limit: int = 1,
        order: ClaimOrder = ClaimOrder.OLDEST_FIRST,
        gave_up: Callable[[GivenUp], object] = lambda given_up: None,
    ) -> list[Claim]:
        """Claim in one short transaction, after a look without locks; passes by sources that others are claiming."""
        terms = Terms(lease, max_attempts, source_id, keys, limit, order)
        closed: list[GivenUp] = []

        def attempt(_: int) -> list[Claim]:
            with self._connect() as conn:
                for tried in range(_LOOKS):
                    found = claims.candidates(conn, self._sql, terms)
                    if not found:
                        break
                    with transaction(conn, self._dialect, None):
                        taken = claims.claim(conn, self._sql, terms, found, block=tried >= _PASSING_BY)
                    closed.extend(taken.given_up)
                    if taken.claims:
                        return taken.claims
            return []

        self._ensure()
        try:
            return self._retrying(attempt)
        finally:
            for given_up in closed:  # no connection is lent now: who is told may want one
                gave_up(given_up)

    def renew(self, claim: Claim, lease: float) -> bool:
        """Push the lease's end; tried once, as one thread renews all leases: none waits long for another's lock."""
        wait = min(LOCK_WAIT, lease / 6)
        return self._write(lambda conn, _: claims.renew(conn, self._sql, claim, lease), wait=wait)

    def publish(
        self,
        claim: Claim,
        built: Sequence[Built],
        failed: Sequence[Failure] = (),
        *,
        info: SourceInfo | None = None,
        version: str = "",
        preview: Preview | None = None,
        crashed: bool = False,
        again: bool = False,
    ) -> frozenset[str]:
        """Settle claimed variants; after a connection lost at the commit, what was committed counts as accepted."""
        verdict = claims.Verdict(claim, built, failed, info, version, preview, crashed)
        return self._write(lambda conn, lost: claims.publish(conn, self._sql, verdict, repeated=again or lost > 0))

    def release(self, claim: Claim) -> None:
        """Give unfinished variants back in one statement."""
        self._write(lambda conn, _: claims.release(conn, self._sql, claim))

    def due(self, *, overdue: float = 0.0, limit: int = 1000) -> list[str]:
        """Return ids of sources owed too long, oldest due first."""
        return self._read(lambda conn: claims.due_sources(conn, self._sql, limit, overdue=overdue))

    def elect(self, role: str, owner: str, seconds: float) -> bool:
        """Take or keep a role: whoever updates its row, or is first to insert it."""
        m = self._tables.meta.c
        row = {"owner": owner, "due_at": now(seconds)}
        free = or_(m.owner == owner, m.due_at <= now())
        take = update(self._tables.meta).where(m.name == f"role:{role}", free).values(**row)

        def work(conn: Connection) -> bool:
            if conn.execute(take).rowcount:
                return True
            try:
                conn.execute(insert(self._tables.meta).values(name=f"role:{role}", **row))
            except IntegrityError:
                return False
            return True

        return self._write(lambda conn, _: work(conn))

    # People.

    def counts(self, *, stale_after: float) -> Counts:
        """Return the totals for status; of large tables ``sources`` and ``generated`` are remembered ones."""
        return self._read(lambda conn: totals.counts(conn, self._sql, stale_after))

    def recount(self) -> None:
        """Count large tables again."""
        self._read(lambda conn: totals.recount(conn, self._sql))

    def requeue(
        self,
        *,
        kinds: Sequence[str] | None = None,
        max_errors: int | None = None,
        include_stale: bool = False,
        stale_after: float = 600.0,
        source_id: str | None = None,
    ) -> int:
        """Queue failed variants again; ``kinds`` and ``max_errors`` do not narrow the stale ones.

        They are found first, then changed in short transactions: what fails again meanwhile is not queued twice.
        """
        choice = reports.Choice(kinds, max_errors, include_stale, stale_after, source_id)
        keys = self._read(lambda conn: reports.chosen(conn, self._sql, choice))
        return sum(
            self._write(lambda conn, _, some=some: reports.requeue(conn, self._sql, some, stale_after))  # type: ignore[misc]
            for some in in_chunks(keys)
        )

    def inspect(self, source: Source) -> SourceDetail | None:
        """Return everything the rows say about a source."""
        return self._read(lambda conn: reports.inspect(conn, self._tables, source))


def _split(url_or_engine: Any) -> tuple[Engine | None, Any]:
    """Return the engine to borrow connections from, if any, and the database's URL."""
    if isinstance(url_or_engine, Engine):
        return url_or_engine, url_or_engine.url
    if hasattr(url_or_engine, "sync_engine"):
        return None, url_or_engine.sync_engine.url
    if not isinstance(url_or_engine, str) and not hasattr(url_or_engine, "drivername"):
        raise ConfigError(f"metadata: {shown(type(url_or_engine))} is neither a database URL nor an Engine")
    return None, url_or_engine
