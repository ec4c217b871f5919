"""How the databases would run what ``clean`` and ``check`` ask, on tables large enough that it matters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Connection

from easyimg.metadata.sqlalchemy import SqlAlchemyMetadata
from easyimg.variant import VariantStatus
from tests.benchmarks.filled import fill, source_id, variant_key
from tests.metadata import test_plans
from tests.metadata.test_plans import DATABASES, explained, is_scan

pytestmark = pytest.mark.slow

INDEXES = {
    "_file_page": "easyimg_variant_pkey",
    "_files": "easyimg_variant_pkey",
    "_locked_files": "easyimg_variant_pkey",
    "_owed": "easyimg_variant_pkey",
    "_source_page": "easyimg_source_pkey",
    "_sources": "easyimg_source_pkey",
    "_locked_sources": "easyimg_source_pkey",
    "_removed": "easyimg_source_pkey",
    "_variants_of": "easyimg_variant_source",
    "_orphaned": "easyimg_variant_source",
}

sqlite_url = test_plans.sqlite_url


@pytest.fixture(params=DATABASES)
def filled(request: pytest.FixtureRequest) -> Iterator[tuple[str, SqlAlchemyMetadata]]:
    store = SqlAlchemyMetadata(request.getfixturevalue(DATABASES[request.param]))
    fill(store, request.param, 30_000)
    yield request.param, store
    store.close()


def test_rows_are_found_by_primary_keys_and_by_their_source(filled: tuple[str, SqlAlchemyMetadata]) -> None:
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
    first = store.file_page()
    assert len(store.file_page(first[-1].key)) == len(store.source_page("8" * 32)) == 1000
    rows = store.file_rows([variant_key(n, i) for n in range(2000, 2040) for i in range(3)])
    assert len(rows) == 120
    owed = store.owe([row for row in rows.values() if row.status == VariantStatus.BUILT])
    assert len(owed) > 100
    sources = store.source_rows([source_id(n) for n in range(3000, 3040)])
    assert len(store.remove(list(sources.values()))) == 40
    assert plans.keys() == INDEXES.keys()
    for statement, found in plans.items():
        for plan in found:
            assert not is_scan(plan), (statement, plan)
            assert INDEXES[statement] in plan, (statement, plan)


def test_pages_go_through_all_rows_once(filled: tuple[str, SqlAlchemyMetadata]) -> None:
    _, store = filled
    keys: list[str] = []
    ids: list[str] = []
    while page := store.file_page(keys[-1] if keys else ""):
        keys += [row.key for row in page]
    while sources := store.source_page(ids[-1] if ids else ""):
        ids += [row.id for row in sources]
    assert (len(keys), len(ids)) == (30_000, 10_000)
    assert keys == sorted(set(keys))
    assert ids == sorted(set(ids))
