"""What differs between SQLite, PostgreSQL and MariaDB/MySQL: connecting, locking, bulk statements, passing errors."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError
from sqlalchemy.pool import QueuePool

from easyimg.errors import ConfigError, MissingDependency
from easyimg.metadata.rows import FACTS, NewVariant, records
from easyimg.variant import Wanted

LOCK_WAIT = 5.0
"""Seconds a write normally waits for a lock."""

_SOURCE = "INSERT INTO easyimg_source (id, storage, name, {facts}, generation, version, crashes, error, {times})"
_SOURCE = _SOURCE.format(facts=", ".join(FACTS), times="created_at, updated_at")
_FILL = "DO UPDATE SET {} WHERE easyimg_source.width IS NULL AND excluded.width IS NOT NULL".format(
    ", ".join(f"{column} = excluded.{column}" for column in FACTS)
)
_VARIANT = (
    "({key}, source_id, spec, priority, status, attempts, error_kind, error, due_at,"
    " file_storage, file_name, format, width, height, bytes, created_at)"
    " SELECT d.k, d.sid, d.spec, d.priority, CASE WHEN s.error = '' THEN 0 ELSE 3 END, 0,"
    " CASE WHEN s.error = '' THEN '' ELSE 'GaveUp' END, s.error, CASE WHEN s.error = '' THEN {now} END,"
    " '', '', '', 0, 0, 0, {now}"
)
"""New variants are QUEUED and due now; SOURCE_ERROR with the source's own words when that was given up."""


class Dialect:
    """The statements that cannot be said alike everywhere. Subclasses speak one database each."""

    name: ClassVar[str]
    begin: ClassVar[str]
    drivers: ClassVar[tuple[str, ...]]
    package: ClassVar[str] = ""
    extra: ClassVar[str] = ""
    engine_options: ClassVar[Mapping[str, Any]] = {}
    numbered: ClassVar[bool] = False
    """Whether a row is found by its number sooner than by its primary key."""
    locks_rows: ClassVar[bool] = True
    """Whether rows are locked one after the other, therefore always in the same order; else the whole file is."""
    forbids_forks: bool = False
    """Whether no connection may be open while this process forks."""
    look: ClassVar[str] = ""
    """Begins a transaction in which rows are read along an index; ``""`` = they are anyhow, without one."""

    fetch_sql: str
    preview_sql: str
    """The same with previews, each a colour, a space and what is blurred."""

    def engine(self, url: URL) -> Engine:
        """Return an engine of our own, in autocommit, that has not connected yet."""
        options: dict[str, Any] = {"isolation_level": "AUTOCOMMIT", **self.engine_options}
        try:
            return create_engine(url, **options)
        except (ImportError, NoSuchModuleError) as exc:
            package = self.package if url.drivername.endswith(self.drivers[0]) else url.get_driver_name()
            raise MissingDependency(package, f"metadata in {self.name}", self.extra) from exc

    def many(self, values: Sequence[str]) -> Any:
        """Return a list as one parameter, as ``fetch_sql`` and ``statements.among`` take it."""
        raise NotImplementedError

    def start(self, conn: Connection, wait: float | None) -> None:
        """Begin a write transaction that waits that many seconds for locks; None = as long as usual."""
        raise NotImplementedError

    def end(self, conn: Connection, wait: float | None) -> None:
        """Undo what ``start`` left behind on the connection."""

    def is_transient(self, error: BaseException) -> bool:
        """Return whether a lock, a deadlock or a serialization failure is to blame, so that a retry helps."""
        raise NotImplementedError

    def insert_sources(self, conn: Connection, wanted: Sequence[Wanted]) -> None:
        """Insert the sources that have no row, and fill empty facts, in one statement."""
        raise NotImplementedError

    def insert_variants(self, conn: Connection, rows: Sequence[NewVariant]) -> set[str] | None:
        """Insert variants where absent, in one statement; return the keys of those that were.

        None = the database cannot say.
        """
        raise NotImplementedError

    def create_lock(self, conn: Connection) -> None:
        """Let no other process create tables until this transaction ends (or the connection is closed)."""

    def create_unlock(self, conn: Connection) -> None:
        """Give that back."""

    def tune(self, conn: Connection) -> None:
        """Set how the database looks after tables that were just created or upgraded."""


class Sqlite(Dialect):
    """SQLite 3.35 or newer: WAL, one writer at a time, no lock upgrades."""

    name = "SQLite"
    drivers = ("pysqlite",)
    extra = "all"
    numbered = True
    locks_rows = False
    _NOW = "strftime('%Y-%m-%d %H:%M:%f', 'now')"
    # CROSS JOIN fixes the order: each asked key is looked up once.
    fetch_sql, preview_sql = records(
        sources="json_each(?) j CROSS JOIN easyimg_source s ON s.id = j.value",
        variants="json_each(?) j CROSS JOIN easyimg_variant v ON v.key = j.value",
    )
    _items = ", ".join(f"json_extract(value, '$[{i}]')" for i in range(3 + len(FACTS)))
    _sources_sql = f"{_SOURCE} SELECT {_items}, 1, '', 0, '', {_NOW}, {_NOW} FROM json_each(?) WHERE true"
    _variants_sql = (
        "INSERT INTO easyimg_variant "
        + _VARIANT.format(key="key", now=_NOW)
        + " FROM (SELECT json_extract(value, '$[0]') AS k, json_extract(value, '$[1]') AS sid,"
        " json_extract(value, '$[2]') AS spec, json_extract(value, '$[3]') AS priority FROM json_each(?)) d"
        " JOIN easyimg_source s ON s.id = d.sid WHERE true ON CONFLICT (key) DO NOTHING RETURNING key"
    )

    def engine(self, url: URL) -> Engine:
        """As for all; a database in memory has one connection that all threads take turns with."""
        if sqlite3.sqlite_version_info < (3, 35):
            raise ConfigError(f"SQLite {sqlite3.sqlite_version} is too old for metadata; 3.35 or newer is needed")
        in_memory = is_in_memory(url)
        self.directory = None if in_memory else Path(str(url.database)).absolute().parent
        self.forbids_forks = not in_memory  # closed, that would be gone
        size = {"pool_size": 1, "max_overflow": 0} if in_memory else {"pool_size": 8, "max_overflow": -1}
        arguments = {"check_same_thread": False, "timeout": LOCK_WAIT}
        engine = create_engine(url, isolation_level="AUTOCOMMIT", poolclass=QueuePool, connect_args=arguments, **size)
        event.listen(engine, "connect", self._connected)
        return engine

    @staticmethod
    def _connected(connection: Any, record: Any) -> None:
        cursor = connection.cursor()
        if cursor.execute("PRAGMA journal_mode").fetchone()[0] not in ("wal", "memory"):
            cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=NORMAL")
        # Twice SQLite's own: a page's rows lie all over a big file. Not more, since each thread fills one of its own.
        cursor.execute("PRAGMA cache_size=-4000")
        cursor.close()

    def many(self, values: Sequence[str]) -> Any:
        """A JSON array: the statement's text, and with it its plan, never changes."""
        return _json(values)

    def start(self, conn: Connection, wait: float | None) -> None:
        """BEGIN IMMEDIATE: taking the write lock later, over a read one, could only fail."""
        cursor = conn.connection.cursor()
        if wait is not None:
            cursor.execute(f"PRAGMA busy_timeout={round(wait * 1000)}")
        cursor.execute("BEGIN IMMEDIATE")
        cursor.close()

    def end(self, conn: Connection, wait: float | None) -> None:
        """Wait as long as usual again."""
        if wait is not None:
            cursor = conn.connection.cursor()
            cursor.execute(f"PRAGMA busy_timeout={round(LOCK_WAIT * 1000)}")
            cursor.close()

    def is_transient(self, error: BaseException) -> bool:
        """SQLITE_BUSY and SQLITE_LOCKED, in all their extended forms."""
        code = getattr(error, "sqlite_errorcode", None)
        return code is not None and code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)

    def insert_sources(self, conn: Connection, wanted: Sequence[Wanted]) -> None:
        """One JSON parameter holds all rows."""
        conflict = _FILL if any(w.info for w in wanted) else "DO NOTHING"
        rows = _json([source_row(w) for w in wanted])
        conn.exec_driver_sql(f"{self._sources_sql} ON CONFLICT (id) {conflict}", (rows,))

    def insert_variants(self, conn: Connection, rows: Sequence[NewVariant]) -> set[str] | None:
        """One JSON parameter holds all rows."""
        return {row[0] for row in conn.exec_driver_sql(self._variants_sql, (_json(rows),))}


class Postgres(Dialect):
    """PostgreSQL through psycopg 3."""

    name = "PostgreSQL"
    drivers = ("psycopg", "psycopg2", "pg8000")
    package = "psycopg"
    extra = "postgres"
    engine_options: ClassVar[Mapping[str, Any]] = {
        "pool_pre_ping": True,
        "max_overflow": 20,
        "connect_args": {"connect_timeout": 5},
    }
    fetch_sql, preview_sql = records(
        sources="easyimg_source s WHERE s.id = ANY(%s)", variants="easyimg_variant v WHERE v.key = ANY(%s)"
    )
    # Plans are kept, and the first ones are of nearly empty tables: best read whole, gathered and sorted. Until those
    # are analyzed, a minute later, each claim would read all of a backlog that came meanwhile.
    look = "BEGIN READ ONLY; SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off"
    _NOW = "statement_timestamp()"
    _sources_sql = (
        f"{_SOURCE} SELECT d.*, 1, '', 0, '', {_NOW}, {_NOW} FROM unnest(%s::text[], %s::text[], %s::text[],"
        " %s::int[], %s::int[], %s::text[], %s::bool[], %s::int[], %s::bool[]) AS d"
    )
    _variants_sql = (
        "INSERT INTO easyimg_variant "
        + _VARIANT.format(key="key", now=_NOW)
        + " FROM unnest(%s::text[], %s::text[], %s::text[], %s::int[]) AS d (k, sid, spec, priority)"
        ' JOIN easyimg_source s ON s.id = d.sid COLLATE "C" ON CONFLICT (key) DO NOTHING RETURNING key'
    )

    def many(self, values: Sequence[str]) -> Any:
        """An array."""
        return list(values)

    def start(self, conn: Connection, wait: float | None) -> None:
        """One round trip begins the transaction, bounds its waiting, and has rows found by index; see ``look``."""
        millis = max(1, round((LOCK_WAIT if wait is None else wait) * 1000))
        cursor = conn.connection.cursor()
        cursor.execute(
            f"BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = {millis}; SET LOCAL enable_seqscan = off"
        )
        cursor.close()

    def is_transient(self, error: BaseException) -> bool:
        """Serialization failure, deadlock, lock not available."""
        state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
        return state in ("40001", "40P01", "55P03")

    def insert_sources(self, conn: Connection, wanted: Sequence[Wanted]) -> None:
        """DO NOTHING where no facts are known: DO UPDATE would lock rows even if it changes none."""
        conflict = _FILL if any(w.info for w in wanted) else "DO NOTHING"
        columns = tuple(map(list, zip(*(source_row(w) for w in wanted), strict=True)))
        conn.exec_driver_sql(f"{self._sources_sql} ON CONFLICT (id) {conflict}", columns)

    def insert_variants(self, conn: Connection, rows: Sequence[NewVariant]) -> set[str] | None:
        """One array per column."""
        columns = tuple(map(list, zip(*rows, strict=True)))
        return {row[0] for row in conn.exec_driver_sql(self._variants_sql, columns)}

    def create_lock(self, conn: Connection) -> None:
        """CREATE TABLE IF NOT EXISTS alone fails when two run at once."""
        conn.exec_driver_sql("SELECT pg_advisory_xact_lock(2036429427)")

    def tune(self, conn: Connection) -> None:
        """Vacuum after 1 % of the rows changed, not 20: until then, the search for work passes by what was built."""
        conn.exec_driver_sql(
            "ALTER TABLE easyimg_variant"
            " SET (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 10000)"
        )


class Mysql(Dialect):
    """MariaDB 10.6 or MySQL 8.0, or newer, through PyMySQL."""

    name = "MariaDB/MySQL"
    drivers = ("pymysql", "mysqldb", "mariadbconnector", "mysqlconnector")
    package = "PyMySQL"
    extra = "mysql"
    engine_options: ClassVar[Mapping[str, Any]] = {
        "pool_pre_ping": True,
        "pool_recycle": 1800,
        "max_overflow": 20,
        "connect_args": {"connect_timeout": 5},
    }
    fetch_sql, preview_sql = records(
        sources="easyimg_source s WHERE s.id IN %s",
        variants="easyimg_variant v WHERE v.key IN %s",
        preview="CONCAT(s.color, ' ', COALESCE(s.blur, ''))",
    )
    _NOW = "UTC_TIMESTAMP(6)"
    _TYPES = ("CHAR(32)", "VARCHAR(100)", "VARCHAR(1024)", "INT", "INT", "VARCHAR(16)", "INT", "INT", "INT")
    _columns = ", ".join(f"c{i} {kind} PATH '$[{i}]'" for i, kind in enumerate(_TYPES))
    _values = ", ".join(f"d.c{i}" for i in range(len(_TYPES)))
    _sources_sql = (
        f"{_SOURCE} SELECT {_values}, 1, '', 0, '', {_NOW}, {_NOW} FROM JSON_TABLE(%s, '$[*]' COLUMNS ({_columns})) d"
        " ON DUPLICATE KEY UPDATE "
        + ", ".join(f"easyimg_source.{c} = COALESCE(easyimg_source.{c}, VALUES({c}))" for c in FACTS)
    )
    _variants_sql = (
        "INSERT IGNORE INTO easyimg_variant "
        + _VARIANT.format(key="`key`", now=_NOW)
        + " FROM JSON_TABLE(%s, '$[*]' COLUMNS (k CHAR(32) PATH '$[0]', sid CHAR(32) PATH '$[1]',"
        " spec TEXT PATH '$[2]', priority INT PATH '$[3]')) d"
        " JOIN easyimg_source s ON s.id = CONVERT(d.sid USING ascii) COLLATE ascii_bin"
    )

    is_ours: bool = False
    """Whether the connections are, so that they can be told once how long to wait."""

    def engine(self, url: URL) -> Engine:
        """As for all; a lock is waited for as long as elsewhere, not for the server's 50 seconds."""
        engine = super().engine(url)
        self.is_ours = True
        event.listen(engine, "connect", self._connected)
        return engine

    @staticmethod
    def _connected(connection: Any, record: Any) -> None:
        cursor = connection.cursor()
        cursor.execute(f"SET SESSION innodb_lock_wait_timeout = {LOCK_WAIT:.0f}")
        cursor.close()

    def many(self, values: Sequence[str]) -> Any:
        """PyMySQL writes a tuple as ``('a','b')``; an empty one needs something that no key equals."""
        return tuple(values) or ("",)

    def start(self, conn: Connection, wait: float | None) -> None:
        """READ COMMITTED: the default would lock gaps, and read from before it got its locks."""
        cursor = conn.connection.cursor()
        wait = self._wait(wait)
        if wait is not None:
            # Whole seconds only; 0 means "do not wait" to MariaDB, MySQL's least is 1.
            seconds = math.floor(wait + 0.5) if conn.dialect.is_mariadb else max(1, round(wait))  # type: ignore[attr-defined]
            cursor.execute(
                "SET @easyimg_wait = @@innodb_lock_wait_timeout, SESSION innodb_lock_wait_timeout = " + str(seconds)
            )
        cursor.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
        cursor.execute("START TRANSACTION")
        cursor.close()

    def end(self, conn: Connection, wait: float | None) -> None:
        """Wait as long as usual again."""
        if self._wait(wait) is not None:
            cursor = conn.connection.cursor()
            cursor.execute("SET SESSION innodb_lock_wait_timeout = @easyimg_wait")
            cursor.close()

    def _wait(self, wait: float | None) -> float | None:
        """Return what to tell a connection; None = it knows."""
        return LOCK_WAIT if wait is None and not self.is_ours else wait

    def is_transient(self, error: BaseException) -> bool:
        """1213 deadlock, 1205 lock wait timeout, 1020 record has changed, 3572 NOWAIT."""
        return bool(error.args) and error.args[0] in (1213, 1205, 1020, 3572)

    def insert_sources(self, conn: Connection, wanted: Sequence[Wanted]) -> None:
        """Not INSERT IGNORE, which would cut a long name short."""
        conn.exec_driver_sql(self._sources_sql, (_json([source_row(w) for w in wanted]),))

    def insert_variants(self, conn: Connection, rows: Sequence[NewVariant]) -> set[str] | None:
        """MariaDB can return the inserted rows; MySQL only how many there were."""
        returning = conn.dialect.is_mariadb  # type: ignore[attr-defined]
        result = conn.exec_driver_sql(self._variants_sql + (" RETURNING `key`" if returning else ""), (_json(rows),))
        if returning:
            return {row[0] for row in result}
        return None if result.rowcount else set()

    def create_lock(self, conn: Connection) -> None:
        """CREATE TABLE ends a transaction here, so the lock is one by name."""
        conn.exec_driver_sql("SELECT GET_LOCK('easyimg_setup', 30)")

    def create_unlock(self, conn: Connection) -> None:
        """Give the named lock back."""
        conn.exec_driver_sql("SELECT RELEASE_LOCK('easyimg_setup')")


_BACKENDS: dict[str, type[Dialect]] = {"sqlite": Sqlite, "postgresql": Postgres, "mysql": Mysql, "mariadb": Mysql}


def parse_url(text: str | URL) -> tuple[Dialect, URL]:
    """Return who speaks to this database, and the URL with a driver that is ours and not asynchronous.

    Raises:
        ConfigError: not a database URL, or of a database that is not supported. Never shows the URL: it may hold a
            password.
    """
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise ConfigError("metadata: not a database URL; write e.g. 'sqlite:///easyimg.db'") from None
    backend, _, driver = url.drivername.partition("+")
    backend = {"postgres": "postgresql"}.get(backend, backend)
    if backend not in _BACKENDS:
        raise ConfigError(f"metadata: {backend!r} is not supported; use one of {', '.join(_BACKENDS)}")
    dialect = _BACKENDS[backend]()
    if driver not in dialect.drivers:
        driver = dialect.drivers[0]
    return dialect, url.set(drivername=f"{backend}+{driver}")


def is_in_memory(url: URL) -> bool:
    """Return whether an SQLite URL names no file."""
    return url.database in (None, "", ":memory:") or url.query.get("mode") == "memory"


def source_row(wanted: Wanted) -> tuple[Any, ...]:
    """Return id, storage, name and the facts (None where unknown)."""
    source, info = wanted.source, wanted.info
    if info is None:
        return (source.id, source.storage, source.name, None, None, None, None, None, None)
    facts = (info.width, info.height, info.format, info.has_alpha, info.frames, info.interlaced)
    return (source.id, source.storage, source.name, *facts)


def _json(rows: Sequence[Any]) -> str:
    # Not ASCII-escaped: a lone surrogate shall fail in Python, not reach the database as broken UTF-8.
    return json.dumps(rows, ensure_ascii=False)
