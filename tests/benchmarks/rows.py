"""What the metadata store costs, at a small and at a large number of rows, on SQLite, PostgreSQL and MariaDB.

    python -m tests.benchmarks.rows [--rows 10000 1000000] [--databases sqlite postgres mysql] [--json FILE]

Wall time, the best of several runs of each call, the sizes in turns. Three variants a source; 1,000 sources are queued,
one in a thousand failed. The floor is what the rows themselves cost: one statement of the driver without SQLAlchemy, in
the same run, on rows that were left alone as long. The servers are those of TEST_POSTGRES_URL and TEST_MYSQL_URL, else
on their standard ports, with their settings as they are; databases are made there and dropped.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from easyimg.metadata import totals
from easyimg.metadata.sqlalchemy import SqlAlchemyMetadata
from easyimg.source import Source
from easyimg.testing.metadata import INFO, built, wanted
from easyimg.variant import Claim, Wanted
from tests.benchmarks.filled import DATABASES, WORDS, database, fill, source_id, variant_key

_SAME = "at most twice"
_GOALS: dict[str, dict[str, str | float]] = {
    "fetch 300 keys": dict.fromkeys(DATABASES, _SAME),
    "pending counts": dict.fromkeys(DATABASES, _SAME),
    "status": dict.fromkeys(DATABASES, 10.0),
    "claim of 100": dict.fromkeys(DATABASES, _SAME),
    "claim of 100, us/row": {"sqlite": 15.0, "postgres": 30.0},
}
"""Call -> database -> the most it may cost at the largest number of rows, or that number against the smallest."""


class Call(NamedTuple):
    """Something to be measured; what prepares it is not counted."""

    what: str
    call: Callable[[], Any]
    prepare: Callable[[], Any] = lambda: None
    floor: Call | None = None


def calls(store: SqlAlchemyMetadata, name: str, variants: int) -> list[Call]:
    """Return what is measured of a filled store."""
    sources = variants // 3
    page = {source_id(n): [variant_key(n, i) for i in range(3)] for n in range(1000, sources, (sources - 1000) // 100)}
    driver = Driver(store, name)
    keys = [key for asked in page.values() for key in asked]
    return [
        Call(
            "fetch 300 keys",
            lambda: store.fetch(page),
            driver.put_back,
            floor=Call("", lambda: driver.read(keys), driver.borrow),
        ),
        Call("due", lambda: store.due(limit=100)),
        Call("pending counts", lambda: pending(store)),
        Call("status", lambda: store.counts(stale_after=600)),
        *_claims(store, driver),
        *_inserts(store),
    ]


def pending(store: SqlAlchemyMetadata) -> None:
    """Ask for the part of the status page that is never remembered."""
    with store.engine.connect() as conn:
        assert store._sql.rows(conn, totals._open_rows, ago=0)


class Driver:
    """The same rows by statements that SQLAlchemy never sees."""

    def __init__(self, store: SqlAlchemyMetadata, name: str) -> None:
        self._store = store
        self._words = WORDS[name]
        self._connection: Any = None

    def borrow(self) -> None:
        """Take the store's own connection: of two, SQLite would read all pages again that the other changed."""
        self._connection = self._connection or self._store.engine.raw_connection()

    def put_back(self) -> None:
        """Let the store have it."""
        if self._connection:
            self._connection.close()
        self._connection = None

    def read(self, keys: list[str]) -> None:
        """Read what a page shows of its variants."""
        columns = "source_id, status, file_storage, file_name, format, width, height"
        assert len(self._run(f"SELECT {columns} FROM easyimg_variant", keys).fetchall()) == len(keys)

    def oldest(self, sources: int) -> list[str]:
        """Return the keys of the filled-in sources that have been due longest."""
        return [variant_key(int(id_[8:], 16), i) for id_ in self._store.due(limit=sources) for i in range(3)]

    def take(self, keys: list[str]) -> None:
        """Set what a claim sets."""
        self._change("status = 1, token = '{}', attempts = attempts + 1".format("0" * 32), "soon", keys)

    def give_back(self, keys: list[str]) -> None:
        """Set what a release sets."""
        self._change("status = 0, token = NULL, attempts = attempts - 1", "at_once", keys)

    def _change(self, row: str, due_at: str, keys: list[str]) -> None:
        changed = self._run(f"UPDATE easyimg_variant SET {row}, due_at = {self._words[due_at]}", keys).rowcount
        assert changed == len(keys)

    def _run(self, text: str, keys: list[str]) -> Any:
        cursor = self._connection.cursor()
        cursor.execute(f"{text} WHERE {self._words['key']} {self._words['among']}", (self._store._dialect.many(keys),))
        return cursor


def _claims(store: SqlAlchemyMetadata, driver: Driver) -> list[Call]:
    taken: list[Any] = []
    keys: list[str] = []

    def claim(limit: int) -> None:
        taken[:] = store.claim(lease=600, max_attempts=3, limit=limit)
        assert len(taken) == limit

    def give_back() -> None:
        while taken:
            store.release(taken.pop())
        if keys:
            driver.give_back(keys)
        keys.clear()
        driver.put_back()

    def choose(limit: int) -> None:
        give_back()
        keys[:] = driver.oldest(limit)
        driver.borrow()

    def publish(held: Claim) -> None:
        assert len(store.publish(held, built(held), info=INFO)) == 3

    def claim_afresh() -> None:
        give_back()
        claim(1)

    def floor(limit: int) -> Call:
        return Call("", lambda: driver.take(keys), lambda: choose(limit))

    return [
        Call("claim of 1", lambda: claim(1), give_back, floor(1)),
        Call("claim of 100, us/row", lambda: claim(100), give_back, floor(100)),
        Call("release of 1", lambda: store.release(taken.pop()), lambda: None if taken else claim(100)),
        Call("publish of 1", lambda: publish(taken.pop()), claim_afresh),
    ]


def _inserts(store: SqlAlchemyMetadata) -> list[Call]:
    fresh: list[Wanted] = []

    def think() -> None:
        fresh[:] = [wanted(f"{uuid.uuid4().hex}.jpg") for _ in range(100)]

    return [
        Call("enqueue of 100, us/row", lambda: store.enqueue(fresh), think),
        Call("replace", lambda: store.replace(Source("default", fresh[0].source.name))),
    ]


def measure(stores: Mapping[int, SqlAlchemyMetadata], name: str, runs: int) -> tuple[Costs, Costs]:
    """Return the least each call took, and its floor, in milliseconds or, where its name says so, microseconds a row.

    The sizes take turns, so that all of them meet the same machine.
    """
    by_size = {size: calls(store, name, size) for size, store in stores.items()}
    costs: Costs = {size: {} for size in stores}
    floors: Costs = {size: {} for size in stores}
    for turn in zip(*by_size.values(), strict=True):
        for _ in range(runs):
            for size, call in zip(by_size, turn, strict=True):
                if call.floor:
                    _time(call.floor, call.what, floors[size])
                _time(call, call.what, costs[size])
    return costs, floors


Costs = dict[int, dict[str, float]]
"""Size -> call -> what it takes."""


def _time(call: Call, what: str, costs: dict[str, float]) -> None:
    call.prepare()
    start = time.perf_counter()
    call.call()
    cost = (time.perf_counter() - start) * (1e6 / 300 if "us/row" in what else 1e3)
    costs[what] = min(costs.get(what, cost), cost)


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
        costs, floors = measure(stores, name, runs)
        return {"database": name, "costs": costs, "floors": floors}


def show(found: dict[str, Any]) -> None:
    """Print one database's table: a line a call.

    A column a size, how much more the last costs than the first, the floor at the last and how much more we cost, and
    what is to be reached.
    """
    costs, floors = found["costs"], found["floors"]
    sizes = list(costs)
    print(f"{found['database']:<24}" + "".join(f"{f'{size:,} rows':>16}" for size in sizes), end="")
    print(f"{'ratio':>8}{'floor':>13}{'of floor':>9}   goal")
    for what in costs[sizes[0]]:
        unit = "us" if "us/row" in what else "ms"
        values = [costs[size][what] for size in sizes]
        line = f"  {what:<22}" + "".join(f"{v:>13.2f} {unit}" for v in values) + f"{values[-1] / values[0]:>7.2f}x"
        if floor := floors[sizes[-1]].get(what):
            line += f"{floor:>10.2f} {unit}{values[-1] / floor:>8.2f}x"
        print(f"{line:<{90 if len(sizes) == 2 else 0}}" + _goals(found["database"], what, values))
    print(flush=True)


def _goals(name: str, what: str, values: Sequence[float]) -> str:
    """Return what is to be reached, and whether it is."""
    found = []
    for call in dict.fromkeys((what, what.partition(",")[0])):
        goal = _GOALS.get(call, {}).get(name)
        if goal is not None:
            value, limit, unit = (values[-1] / values[0], 2.0, "x") if goal == _SAME else (values[-1], float(goal), "")
            found.append(f"<= {limit:g}{unit} {'reached' if value <= limit else 'MISSED'}")
    return "   " + ", ".join(found) if found else ""


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
