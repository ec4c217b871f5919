"""What the metadata store costs, at a small and at a large number of rows, on SQLite, PostgreSQL and MariaDB.

    python -m tests.benchmarks.rows [--rows 10000 1000000] [--databases sqlite postgres mysql] [--json FILE]

Wall time, the best of several runs of each call, the sizes in turns. Three variants a source; 1,000 sources are queued,
one in a thousand failed. The servers are those of TEST_POSTGRES_URL and TEST_MYSQL_URL, else on their standard ports;
databases are made there and dropped.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import create_engine, make_url

from easyimg.metadata.sqlalchemy import SqlAlchemyMetadata
from easyimg.source import Source
from easyimg.testing.metadata import INFO, SPECS, built, wanted
from easyimg.variant import Claim, Wanted
from tests import services

DATABASES = ("sqlite", "postgres", "mysql")
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


class Call(NamedTuple):
    """Something to be measured; what prepares it is not counted."""

    what: str
    call: Callable[[], Any]
    prepare: Callable[[], Any] = lambda: None


def calls(store: SqlAlchemyMetadata, variants: int) -> list[Call]:
    """Return what is measured of a filled store."""
    sources = variants // 3
    page = {source_id(n): [variant_key(n, i) for i in range(3)] for n in range(1000, sources, (sources - 1000) // 100)}
    return [
        Call("fetch 300 keys", lambda: store.fetch(page)),
        Call("due", lambda: store.due(limit=100)),
        Call("pending counts", lambda: pending(store)),
        Call("status", lambda: store.counts(stale_after=600)),
        *_claims(store),
        *_inserts(store),
    ]


def pending(store: SqlAlchemyMetadata) -> None:
    """Ask for the part of the status page that is never remembered."""
    with store.engine.connect() as conn:
        conn.exec_driver_sql(
            "SELECT status, count(*) FROM easyimg_variant WHERE due_at IS NOT NULL GROUP BY status"
        ).all()


def _claims(store: SqlAlchemyMetadata) -> list[Call]:
    taken: list[Any] = []

    def claim(limit: int) -> None:
        taken[:] = store.claim(lease=600, max_attempts=3, limit=limit)
        assert len(taken) == limit

    def give_back() -> None:
        for held in taken:
            store.release(held)
        taken.clear()

    def publish(held: Claim) -> None:
        assert len(store.publish(held, built(held), info=INFO)) == 3

    def claim_afresh() -> None:
        give_back()
        claim(1)

    return [
        Call("claim of 1", lambda: claim(1), give_back),
        Call("publish of 1", lambda: publish(taken.pop()), claim_afresh),
        Call("claim of 100, us/row", lambda: claim(100), give_back),
        Call("release of 1", lambda: store.release(taken.pop()), lambda: None if taken else claim(100)),
    ]


def _inserts(store: SqlAlchemyMetadata) -> list[Call]:
    fresh: list[Wanted] = []

    def think() -> None:
        fresh[:] = [wanted(f"{uuid.uuid4().hex}.jpg") for _ in range(100)]

    return [
        Call("enqueue of 100, us/row", lambda: store.enqueue(fresh), think),
        Call("replace", lambda: store.replace(Source("default", fresh[0].source.name))),
    ]


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


def measure(stores: Mapping[int, SqlAlchemyMetadata], runs: int) -> dict[int, dict[str, float]]:
    """Return size -> call -> the least it took, in milliseconds or, where its name says so, microseconds a row.

    The sizes take turns, so that all of them meet the same machine.
    """
    by_size = {size: calls(store, size) for size, store in stores.items()}
    costs: dict[int, dict[str, float]] = {size: {} for size in stores}
    for turn in zip(*by_size.values(), strict=True):
        for _ in range(runs):
            for size, (what, call, prepare) in zip(by_size, turn, strict=True):
                prepare()
                start = time.perf_counter()
                call()
                seconds = time.perf_counter() - start
                cost = seconds * (1e6 / 300 if "us/row" in what else 1e3)
                costs[size][what] = min(costs[size].get(what, cost), cost)
    return costs


def compare(name: str, sizes: Sequence[int], runs: int) -> dict[str, Any] | None:
    """Measure one database at every size; None where it does not run."""
    with contextlib.ExitStack() as stack:
        stores = {}
        for size in sizes:
            url = stack.enter_context(database(name))
            if url is None:
                return None
            store = SqlAlchemyMetadata(url)
            stack.callback(store.close)
            fill(store, name, size)
            store.counts(stale_after=600)  # large tables are remembered from now on
            stores[size] = store
        return {"database": name, "costs": measure(stores, runs)}


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
    parser.add_argument("--runs", type=int, default=20)
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
