"""Databases with as many rows as wanted: 1,000 sources queued, one in a thousand failed, the rest built.

The queued ones came one after the other, a millisecond apart, half of them wanted by pages. A source's variants lie
beside each other, as one order leaves them.
"""

from __future__ import annotations

import contextlib
import tempfile
import uuid
from collections.abc import Iterator, Sequence

from sqlalchemy import create_engine, make_url

from easyimg.metadata.sqlalchemy import SqlAlchemyMetadata
from easyimg.testing.metadata import SPECS
from tests import services

DATABASES = ("sqlite", "postgres", "mysql")
_FILL_SOURCES = """
INSERT INTO easyimg_source (id, storage, name, generation, version, width, height, format, has_alpha, frames,
  interlaced, crashes, error, created_at, updated_at)
SELECT {hex_s}, 'default', {name}, 1, '0123456789ab', 4000, 3000, 'jpeg', {false}, 1, {false}, 0, '', {now}, {now}
FROM {numbers}"""

_FILL_VARIANTS = """
INSERT INTO easyimg_variant ({key}, source_id, spec, priority, status, attempts, error_kind, error, due_at,
  file_storage, file_name, format, width, height, bytes, created_at, built_at)
SELECT {hex_v}, {hex_s}, '{spec}', CASE WHEN n < 500 THEN 1 ELSE 0 END,
  CASE WHEN n < 1000 THEN 0 WHEN n % 1000 = 1 THEN 4 ELSE 2 END,
  CASE WHEN n % 1000 = 1 THEN 3 ELSE 0 END, CASE WHEN n % 1000 = 1 THEN 'BuildError' ELSE '' END, '',
  CASE WHEN n < 1000 THEN {queued} END,
  'default', {file}, 'webp', 448, 252, 14000, {now}, {now}
FROM {numbers} CROSS JOIN (SELECT 0 AS i UNION ALL SELECT 1 UNION ALL SELECT 2) parts"""

WORDS: dict[str, dict[str, str]] = {
    "sqlite": {
        "numbers": "(WITH RECURSIVE c(n) AS (SELECT {a} UNION ALL SELECT n + 1 FROM c WHERE n < {b} - 1)"
        " SELECT n FROM c) numbers",
        "hex_s": "printf('%08x%024x', (n * 2654435761) % 4294967296, n)",
        "hex_v": "printf('%08x%08x%016x', (n * 2246822519 + i * 3266489917) % 4294967296, i, n)",
        "name": "'photos/' || n || '.jpg'",
        "file": "'img/' || n || '.' || i || '.0123456789ab.webp'",
        "now": "strftime('%Y-%m-%d %H:%M:%f', 'now', '-1 hour')",
        "queued": "strftime('%Y-%m-%d %H:%M:%f', 'now', '-1 hour', (n / 1000.0) || ' seconds')",
        "false": "0",
        "key": "key",
        "among": "IN (SELECT value FROM json_each(?))",
        "soon": "strftime('%Y-%m-%d %H:%M:%f', 'now', '600 seconds')",
        "at_once": "strftime('%Y-%m-%d %H:%M:%f', 'now')",
    },
    "postgres": {
        "numbers": "generate_series({a}::bigint, {b}::bigint - 1) AS numbers(n)",
        "hex_s": "lpad(to_hex((n * 2654435761) % 4294967296), 8, '0') || lpad(to_hex(n), 24, '0')",
        "hex_v": "lpad(to_hex((n * 2246822519 + i * 3266489917) % 4294967296), 8, '0') || lpad(to_hex(i), 8, '0')"
        " || lpad(to_hex(n), 16, '0')",
        "name": "'photos/' || n || '.jpg'",
        "file": "'img/' || n || '.' || i || '.0123456789ab.webp'",
        "now": "statement_timestamp() - interval '1 hour'",
        "queued": "statement_timestamp() - interval '1 hour' + n * interval '1 millisecond'",
        "false": "false",
        "key": "key",
        "among": "= ANY(%s)",
        "soon": "statement_timestamp() + interval '10 minutes'",
        "at_once": "statement_timestamp()",
    },
    "mysql": {
        "numbers": "(SELECT seq AS n FROM seq_{a}_to_{last}) numbers",
        "hex_s": "CONCAT(LPAD(LOWER(HEX((n * 2654435761) % 4294967296)), 8, '0'), LPAD(LOWER(HEX(n)), 24, '0'))",
        "hex_v": "CONCAT(LPAD(LOWER(HEX((n * 2246822519 + i * 3266489917) % 4294967296)), 8, '0'),"
        " LPAD(HEX(i), 8, '0'), LPAD(LOWER(HEX(n)), 16, '0'))",
        "name": "CONCAT('photos/', n, '.jpg')",
        "file": "CONCAT('img/', n, '.', i, '.0123456789ab.webp')",
        "now": "UTC_TIMESTAMP(6) - INTERVAL 1 HOUR",
        "queued": "UTC_TIMESTAMP(6) - INTERVAL 1 HOUR + INTERVAL n * 1000 MICROSECOND",
        "false": "0",
        "key": "`key`",
        "among": "IN %s",
        "soon": "UTC_TIMESTAMP(6) + INTERVAL 10 MINUTE",
        "at_once": "UTC_TIMESTAMP(6)",
    },
}
"""How each database says what filling and bare statements need."""

_BEFORE: dict[str, Sequence[str]] = {
    "sqlite": ("PRAGMA cache_size=-500000", "PRAGMA synchronous=OFF"),
    "postgres": (),
    "mysql": ("SET unique_checks=0, foreign_key_checks=0",),  # an empty table is then filled sorted, without undo log
}
_AFTER: dict[str, Sequence[str]] = {
    "sqlite": ("PRAGMA cache_size=-16000", "PRAGMA synchronous=NORMAL", "PRAGMA wal_checkpoint(TRUNCATE)"),
    "postgres": ("VACUUM ANALYZE",),
    "mysql": (
        "SET unique_checks=1, foreign_key_checks=1",
        "ANALYZE TABLE easyimg_source",
        "ANALYZE TABLE easyimg_variant",
    ),
}
"""What makes filling quick, and what undoes it and has the database look at its rows."""


def source_id(n: int) -> str:
    """Return the id of a filled-in source."""
    return f"{n * 2654435761 % 4294967296:08x}{n:024x}"


def variant_key(n: int, i: int) -> str:
    """Return the key of a filled-in variant."""
    return f"{(n * 2246822519 + i * 3266489917) % 4294967296:08x}{i:08x}{n:016x}"


def fill(store: SqlAlchemyMetadata, name: str, variants: int, first: int = 0) -> None:
    """Make that many variants, of a third as many sources, and have the database look at them.

    Args:
        first: how many sources there are already.
    """
    store.setup()
    words = WORDS[name] | {"spec": SPECS[0].canonical}
    sources = variants // 3
    numbers = words["numbers"].format(a=first, b=sources, last=sources - 1)
    with store.engine.connect() as conn:
        for sql in (*_BEFORE[name], "BEGIN"):
            conn.exec_driver_sql(sql)
        for text in (_FILL_SOURCES, _FILL_VARIANTS):
            sql = text.format(**(words | {"numbers": numbers}))
            conn.exec_driver_sql(sql if name == "sqlite" else sql.replace("%", "%%"))
        for sql in ("COMMIT", *_AFTER[name]):
            conn.exec_driver_sql(sql)


@contextlib.contextmanager
def database(name: str) -> Iterator[str | None]:
    """Lend the URL of an empty database; None where no such server runs."""
    if name == "sqlite":
        with tempfile.TemporaryDirectory() as folder:
            yield f"sqlite:///{folder}/rows.db"
        return
    server = services.find(services.BY_NAME[name])
    if server is None:
        yield None
        return
    made = f"easyimg_{uuid.uuid4().hex[:12]}"
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as conn:
        conn.exec_driver_sql(f"CREATE DATABASE {made}" + (" CHARACTER SET utf8mb4" if name == "mysql" else ""))
        try:
            yield make_url(server).set(database=made).render_as_string(hide_password=False)
        finally:
            conn.exec_driver_sql(f"DROP DATABASE {made}" + (" WITH (FORCE)" if name == "postgres" else ""))
    engine.dispose()
