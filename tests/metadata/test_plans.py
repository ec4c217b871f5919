"""What the databases say of how they would run the hot statements, on tables large enough that it matters."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event

from easyimg.metadata.sqlalchemy import SqlAlchemyMetadata
from easyimg.source import Source
from easyimg.testing.metadata import INFO, SPECS, built, failed, wanted
from easyimg.variant import ClaimOrder, Wanted
from tests.benchmarks.filled import fill, source_id, variant_key

pytestmark = pytest.mark.slow

DATABASES = {"sqlite": "sqlite_url", "postgres": "postgres_url", "mysql": "mysql_url"}
INDEXES = {
    "_due": {"easyimg_variant_due"},
    "_behind": {"easyimg_variant_pkey"},
    "_raised": {"easyimg_variant_pkey"},
    "_lock_sources": {"easyimg_source_pkey"},
    "_lock_variants": {"easyimg_variant_source"},
    "_taken": {"easyimg_variant_pkey"},
    "_held_keys": {"easyimg_variant_source"},
    "_built": {"easyimg_variant_pkey"},
    "_open_rows": {"easyimg_variant_due"},
    "_failed_rows": {"easyimg_variant_failed"},
    "_example": {"easyimg_variant_failed"},
    "_failed": {"easyimg_variant_failed", "easyimg_variant_source"},
    "_stale": {"easyimg_variant_due", "easyimg_variant_failed"},  # the latter on MariaDB, where it holds every status
    "_sources_of": {"easyimg_variant_pkey"},
    "_locked_sources": {"easyimg_source_pkey"},
    "_locked_variants": {"easyimg_variant_pkey"},
    "_forgiven": {"easyimg_source_pkey"},
    "_queued": {"easyimg_variant_pkey"},
}
"""Statement -> the indexes that would do. Primary keys are named as PostgreSQL does."""


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'easyimg.db'}"


@pytest.fixture(params=DATABASES)
def filled(request: pytest.FixtureRequest) -> Iterator[tuple[str, SqlAlchemyMetadata]]:
    store = SqlAlchemyMetadata(request.getfixturevalue(DATABASES[request.param]))
    fill(store, request.param, 30_000)
    yield request.param, store
    store.close()


def explained(conn: Connection, name: str, text: str, parameters: Any) -> str:
    """Return the plan as text, with primary keys called as on PostgreSQL."""
    if name == "postgres":
        return "\n".join(row[0] for row in conn.exec_driver_sql(f"EXPLAIN {text}", parameters))
    if name == "sqlite":
        plan = "\n".join(row[3] for row in conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", parameters))
        return plan.replace("sqlite_autoindex_easyimg_variant_1", "easyimg_variant_pkey").replace(
            "sqlite_autoindex_easyimg_source_1", "easyimg_source_pkey"
        )
    rows = conn.exec_driver_sql(f"EXPLAIN {text}", parameters).mappings().all()
    table = "easyimg_source" if "easyimg_source" in text else "easyimg_variant"
    rows = [row for row in rows if not str(row["table"]).startswith("<")]  # what parts of the statement itself gave
    return "\n".join(f"{row['type']} {str(row['key']).replace('PRIMARY', f'{table}_pkey')}" for row in rows)


def is_scan(plan: str) -> bool:
    """Return whether a whole table or the whole of an index that holds every row is read."""
    lines = [line.strip() for line in plan.splitlines()]
    return any(
        "Seq Scan on easyimg_variant" in line
        or "Seq Scan on easyimg_source" in line
        or line.startswith(("ALL ", "index "))  # MariaDB reads all of one, and its indexes hold every row
        or (line.startswith("SCAN easyimg_") and "_due" not in line and "_failed" not in line)
        for line in lines
    )


def test_hot_statements_find_their_rows_by_index(filled: tuple[str, SqlAlchemyMetadata]) -> None:
    name, store = filled
    plans: dict[str, list[str]] = {}
    run = store._sql._run

    def explain_first(conn: Connection, build: Any, shape: tuple[Any, ...], values: dict[str, Any]) -> Any:
        prepared = store._sql._prepared(build, *shape)
        given = {k: store._dialect.many(v) if isinstance(v, list) else v for k, v in values.items()}
        plan = explained(conn, name, prepared.text, prepared.parameters(given))
        plans.setdefault(build.__name__, []).append(plan)
        return run(conn, build, shape, values)

    store._sql._run = explain_first  # type: ignore[method-assign]
    got = store.claim(lease=60, max_attempts=3, limit=20)
    got += store.claim(lease=60, max_attempts=3, source_id=source_id(900))
    for order in ClaimOrder:
        got += store.claim(lease=60, max_attempts=3, limit=20, order=order)
    assert len(got) == 81
    asked = {variant_key(n, i): SPECS[0].canonical for n in range(700, 720) for i in range(3)}
    assert store.enqueue([Wanted(Source("default", "photos/asked.jpg"), asked)]) == []
    store.publish(got[0], built(got[0]), info=INFO)
    store.publish(got[1], [], failed(got[1]))
    store.due(overdue=1, limit=100)
    store.counts(stale_after=60)
    assert store.requeue(max_errors=-1, include_stale=True, stale_after=600) == 0
    assert store.requeue(source_id=source_id(1001)) == 3
    assert store.requeue(kinds=["BuildError"], max_errors=9) == 24
    assert plans.keys() >= INDEXES.keys() - {"_built"}
    for statement, found in plans.items():
        for plan in found:
            if statement != "_sizes":
                assert not is_scan(plan), (statement, plan)
            wished = INDEXES.get(statement, set()) | ({"easyimg_variant_source"} if statement == "_due" else set())
            if (name, statement) == ("sqlite", "_taken"):
                wished = {"INTEGER PRIMARY KEY (rowid=?)"}
            assert not wished or any(index in plan for index in wished), (statement, plan)


def test_a_backlog_that_came_since_the_first_plans_is_not_read_whole(postgres_url: str) -> None:
    store = SqlAlchemyMetadata(postgres_url)
    store.setup()
    with store.engine.connect() as conn:
        conn.exec_driver_sql("ALTER TABLE easyimg_variant SET (autovacuum_enabled = false)")
        conn.exec_driver_sql("ALTER TABLE easyimg_source SET (autovacuum_enabled = false)")
    store.enqueue([wanted("first.jpg")])
    for order in ClaimOrder:
        for _ in range(20):  # the driver prepares what it runs often, and PostgreSQL keeps the plan
            store.release(*store.claim(lease=60, max_attempts=99, order=order))
    for start in range(0, 10_000, 500):
        store.enqueue([wanted(f"{n}.jpg") for n in range(start, start + 500)])
    before = read_rows(store)
    for order in ClaimOrder:
        for _ in range(10):
            store.release(*store.claim(lease=60, max_attempts=99, order=order))
    assert read_rows(store) - before < 30 * 200, "a claim reads the whole backlog of 30,000 rows"
    store.close()


def read_rows(store: SqlAlchemyMetadata) -> int:
    """Return how many live rows of the tables PostgreSQL has fetched so far."""
    with store.engine.connect() as conn:
        conn.exec_driver_sql("SELECT pg_stat_force_next_flush()")
        text = "SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) FROM pg_stat_user_tables"
        return int(conn.exec_driver_sql(text).scalar_one())


def test_a_page_is_fetched_by_primary_keys(filled: tuple[str, SqlAlchemyMetadata]) -> None:
    name, store = filled
    seen: list[tuple[str, Any]] = []
    event.listen(store.engine, "before_cursor_execute", lambda _c, _k, text, given, *_: seen.append((text, given)))
    page = {source_id(n): [variant_key(n, i) for i in range(3)] for n in range(2000, 2010)}
    assert sum(len(record.variants) for record in store.fetch(page).values()) == 30
    [(text, given)] = seen
    with store.engine.connect() as conn:
        if name == "mysql":  # a line for each table
            lines = conn.exec_driver_sql(f"EXPLAIN {text}", given).mappings().all()
            assert [line["key"] for line in lines[:2]] == ["PRIMARY", "PRIMARY"]
            return
        plan = explained(conn, name, text, given)
    assert "easyimg_source_pkey" in plan
    assert "easyimg_variant_pkey" in plan
    assert not is_scan(plan)


# Totals that are remembered


def test_totals_of_large_tables_are_remembered_and_say_when(filled: tuple[str, SqlAlchemyMetadata]) -> None:
    name, store = filled
    exact = store.counts(stale_after=60)
    assert (exact.sources, exact.counted_at) == (10_000, "")
    fill_more(store, name)
    first = store.counts(stale_after=60)
    assert (first.sources, first.counted_at) == (20_000, "")
    assert first.generated == 60_000 - first.pending - first.build_errors
    store.enqueue([wanted("new.jpg")])
    second = store.counts(stale_after=60)
    assert (second.sources, second.generated) == (first.sources, first.generated)
    assert second.counted_at > "2000"
    assert second.queued == first.queued + 3


def test_remembered_totals_are_counted_again_when_they_are_old(filled: tuple[str, SqlAlchemyMetadata]) -> None:
    name, store = filled
    fill_more(store, name)
    store.counts(stale_after=60)
    store.replace(Source("default", "new.jpg"))
    store.recount()
    assert store.counts(stale_after=60).sources == 20_000
    age(store, 400)
    assert store.counts(stale_after=60).sources == 20_000
    store.recount()
    assert store.counts(stale_after=60).sources == 20_001
    store.replace(Source("default", "newer.jpg"))
    age(store, 4000)
    assert store.counts(stale_after=60).sources == 20_002


def test_totals_of_tables_that_shrank_are_counted_each_time_again(filled: tuple[str, SqlAlchemyMetadata]) -> None:
    name, store = filled
    fill_more(store, name)
    store.counts(stale_after=60)
    with store.engine.connect() as conn:
        conn.exec_driver_sql("DELETE FROM easyimg_variant")
        conn.exec_driver_sql("DELETE FROM easyimg_source")
    age(store, 400)
    store.recount()
    store.recount()
    counts = store.counts(stale_after=60)
    assert (counts.sources, counts.generated, counts.counted_at) == (0, 0, "")


def fill_more(store: SqlAlchemyMetadata, name: str) -> None:
    fill(store, name, 60_000, first=10_000)


def age(store: SqlAlchemyMetadata, seconds: int) -> None:
    """Let the remembered totals be that much older."""
    from sqlalchemy import update

    from easyimg.metadata.clock import now

    meta = store._tables.meta
    with store.engine.connect() as conn:
        conn.execute(update(meta).where(meta.c.name == "counts").values(due_at=now(-seconds)))
