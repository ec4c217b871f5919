"""What the metadata store costs, at a small and at a large number of rows, on SQLite, PostgreSQL and MariaDB.

    python -m tests.benchmarks.rows [--rows 10000 1000000] [--databases sqlite postgres mysql] [--json FILE]

Wall time, the best of several runs of each call. Three variants a source; 1,000 sources are queued, one in a thousand
failed. The servers are those of TEST_POSTGRES_URL and TEST_MYSQL_URL, else on their standard ports; a
database is made there and dropped.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, make_url

from easyimg.metadata.sqlalchemy import SqlAlchemyMetadata
from easyimg.source import Source
from easyimg.testing.metadata import INFO, SPECS, built, wanted
from easyimg.variant import Wanted
from tests import services

DATABASES = ("sqlite", "postgres", "mysql")
GOALS = {"sqlite": 15.0, "postgres": 30.0}
"""Microseconds a row when 100 sources are claimed at once."""

_FILL_SOURCES = """
INSERT INTO easyimg_source (id, storage, name, generation, version, width, height, format, has_alpha, frames,
  interlaced, crashes, error, created_at, updated_at)
SELECT {hex_s}, 'default', {name}, 1, '0123456789ab', 4000, 3000, 'jpeg', {false}, 1, {false}, 0, '', {now}, {now}
FROM {numbers}"""

_FILL_VARIANTS = """
INSERT INTO easyimg_variant ({key}, source_id, spec, status, attempts, error_kind, error, due_at, file_storage,
  file_name, format, width, height, bytes, created_at, built_at)
SELECT {hex_v}, {hex_s}, '{spec}', CASE WHEN n < 1000 THEN 0 WHEN n % 1000 = 1 THEN 4 ELSE 2 END,
  CASE WHEN n % 1000 = 1 THEN 3 ELSE 0 END, CASE WHEN n % 1000 = 1 THEN 'BuildError' ELSE '' END, '',
  CASE WHEN n < 1000 THEN {now} END,
  'default', {file}, 'webp', 448, 252, 14000, {now}, {now}
FROM {numbers}, (SELECT 0 AS i UNION ALL SELECT 1 UNION ALL SELECT 2) parts"""

_WORDS: dict[str, dict[str, str]] = {
    "sqlite": {
        "numbers": "(WITH RECURSIVE c(n) AS (SELECT {a} UNION ALL SELECT n + 1 FROM c WHERE n < {b} - 1)"
        " SELECT n FROM c) numbers",
        "hex_s": "printf('%08x%024x', (n * 2654435761) % 4294967296, n)",
        "hex_v": "printf('%08x%08x%016x', (n * 2246822519 + i * 3266489917) % 4294967296, i, n)",
        "name": "'photos/' || n || '.jpg'",
        "file": "'img/' || n || '.' || i || '.0123456789ab.webp'",
        "now": "strftime('%Y-%m-%d %H:%M:%f', 'now', '-1 hour')",
        "false": "0",
        "key": "key",
    },
    "postgres": {
        "numbers": "generate_series({a}::bigint, {b}::bigint - 1) AS numbers(n)",
        "hex_s": "lpad(to_hex((n * 2654435761) % 4294967296), 8, '0') || lpad(to_hex(n), 24, '0')",
        "hex_v": "lpad(to_hex((n * 2246822519 + i * 3266489917) % 4294967296), 8, '0') || lpad(to_hex(i), 8, '0')"
        " || lpad(to_hex(n), 16, '0')",
        "name": "'photos/' || n || '.jpg'",
        "file": "'img/' || n || '.' || i || '.0123456789ab.webp'",
        "now": "statement_timestamp() - interval '1 hour'",
        "false": "false",
        "key": "key",
    },
    "mysql": {
        "numbers": "(SELECT seq AS n FROM seq_{a}_to_{last}) numbers",
        "hex_s": "CONCAT(LPAD(LOWER(HEX((n * 2654435761) % 4294967296)), 8, '0'), LPAD(LOWER(HEX(n)), 24, '0'))",
        "hex_v": "CONCAT(LPAD(LOWER(HEX((n * 2246822519 + i * 3266489917) % 4294967296)), 8, '0'),"
        " LPAD(HEX(i), 8, '0'), LPAD(LOWER(HEX(n)), 16, '0'))",
        "name": "CONCAT('photos/', n, '.jpg')",
        "file": "CONCAT('img/', n, '.', i, '.0123456789ab.webp')",
        "now": "UTC_TIMESTAMP(6) - INTERVAL 1 HOUR",
        "false": "0",
        "key": "`key`",
    },
}
"""How each database says what filling needs."""

_STEP = 100_000
"""Sources filled in by one statement."""


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
    words = _WORDS[name] | {"spec": SPECS[0].canonical}
    sources = variants // 3
    with store.engine.connect() as conn:
        for a in range(first, sources, _STEP):
            b = min(sources, a + _STEP)
            numbers = words["numbers"].format(a=a, b=b, last=b - 1)
            for text in (_FILL_SOURCES, _FILL_VARIANTS):
                sql = text.format(**(words | {"numbers": numbers}))
                conn.exec_driver_sql(sql if name == "sqlite" else sql.replace("%", "%%"))
        for sql in {"sqlite": (), "postgres": ("VACUUM ANALYZE",), "mysql": _ANALYZE_MYSQL}[name]:
            conn.exec_driver_sql(sql)


_ANALYZE_MYSQL = ("ANALYZE TABLE easyimg_source", "ANALYZE TABLE easyimg_variant")


def best(call: Callable[[], Any], runs: int, prepare: Callable[[], Any] = lambda: None) -> float:
    """Return the least seconds that one call took; what prepares it is not counted."""
    least = float("inf")
    for _ in range(runs):
        prepare()
        start = time.perf_counter()
        call()
        least = min(least, time.perf_counter() - start)
    return least


def measure(store: SqlAlchemyMetadata, name: str, variants: int, runs: int) -> dict[str, float]:
    """Return what each call costs, in milliseconds or, where its name says so, in microseconds a row."""
    fill(store, name, variants)
    sources = variants // 3
    page = {source_id(n): [variant_key(n, i) for i in range(3)] for n in range(1000, sources, (sources - 1000) // 100)}
    store.counts(stale_after=600)  # large tables are remembered from now on
    found = {
        "fetch 300 keys": best(lambda: store.fetch(page), runs * 3),
        "due": best(lambda: store.due(limit=100), runs),
        "pending counts": best(lambda: pending(store), runs),
        "status": best(lambda: store.counts(stale_after=600), runs),
    }
    found |= _claims(store, runs) | _inserts(store, runs)
    return {what: seconds * (1e6 / 300 if "us/row" in what else 1e3) for what, seconds in found.items()}


def pending(store: SqlAlchemyMetadata) -> None:
    """Ask for the part of the status page that is never remembered."""
    with store.engine.connect() as conn:
        conn.exec_driver_sql(
            "SELECT status, count(*) FROM easyimg_variant WHERE due_at IS NOT NULL GROUP BY status"
        ).all()


def _claims(store: SqlAlchemyMetadata, runs: int) -> dict[str, float]:
    taken: list[Any] = []

    def claim(limit: int) -> None:
        taken[:] = store.claim(lease=600, max_attempts=3, limit=limit)
        assert len(taken) == limit

    def give_back() -> None:
        for held in taken:
            store.release(held)
        taken.clear()

    single = best(lambda: claim(1), runs * 3, give_back)
    publish = best(lambda: store.publish(taken[0], built(taken[0]), info=INFO), runs, lambda: claim(1))
    taken.clear()
    many = best(lambda: claim(100), runs, give_back)
    give_back()
    return {"claim of 1": single, "publish of 1": publish, "claim of 100, us/row": many}


def _inserts(store: SqlAlchemyMetadata, runs: int) -> dict[str, float]:
    fresh: list[Wanted] = []

    def think() -> None:
        fresh[:] = [wanted(f"{uuid.uuid4().hex}.jpg") for _ in range(100)]

    return {
        "enqueue of 100, us/row": best(lambda: store.enqueue(fresh), runs, think),
        "replace": best(lambda: store.replace(Source("default", fresh[0].source.name)), runs),
    }


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


def compare(name: str, sizes: Sequence[int], runs: int) -> dict[str, Any] | None:
    """Measure one database at every size."""
    by_size = {}
    for size in sizes:
        with database(name) as url:
            if url is None:
                return None
            store = SqlAlchemyMetadata(url)
            try:
                by_size[size] = measure(store, name, size, runs)
            finally:
                store.close()
    return {"database": name, "costs": by_size}


def show(found: dict[str, Any]) -> None:
    """Print one database's table: a line a call, a column a size, and how much more the last costs than the first."""
    costs = found["costs"]
    sizes = list(costs)
    print(f"{found['database']:<26}" + "".join(f"{size:>14,}" for size in sizes) + "         ratio")
    for what in costs[sizes[0]]:
        values = [costs[size][what] for size in sizes]
        unit = "us" if "us/row" in what else "ms"
        print(f"  {what:<24}" + "".join(f"{v:>11.2f} {unit}" for v in values) + f"{values[-1] / values[0]:>13.2f}x")
    print(flush=True)


def main(arguments: list[str] | None = None) -> None:
    """Measure, print the tables, and write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 1_000_000], help="variants")
    parser.add_argument("--databases", nargs="+", choices=DATABASES, default=list(DATABASES))
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    results = []
    for name in options.databases:
        found = compare(name, options.rows, options.runs)
        if found is None:
            print(f"{name}: no server is running\n")
            continue
        results.append(found)
        show(found)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main(sys.argv[1:])
