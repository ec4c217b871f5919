from __future__ import annotations

import multiprocessing
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, create_engine, event, func, insert, select
from sqlalchemy.pool import StaticPool

from easyimg.errors import ConfigError, MetadataError, MissingDependency
from easyimg.lease import Leases
from easyimg.metadata import claims
from easyimg.metadata.dialects import parse_url
from easyimg.metadata.sqlalchemy import SqlAlchemyMetadata
from easyimg.metadata.tables import define_tables, include_object
from easyimg.source import Source
from easyimg.testing.metadata import INFO, SPECS, built, drain, in_threads, wanted
from easyimg.variant import VariantStatus


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'easyimg.db'}"


@pytest.fixture
def store(url: str) -> Iterator[SqlAlchemyMetadata]:
    store = SqlAlchemyMetadata(url)
    yield store
    store.close()


@pytest.fixture(params=["postgres_url", "mysql_url"])
def server_store(request: pytest.FixtureRequest) -> Iterator[SqlAlchemyMetadata]:
    store = SqlAlchemyMetadata(request.getfixturevalue(request.param))
    yield store
    store.close()


@pytest.fixture(params=["url", "postgres_url", "mysql_url"])
def any_url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(request.param))


def statements(store: SqlAlchemyMetadata) -> list[str]:
    seen: list[str] = []
    store.setup()
    event.listen(store.engine, "before_cursor_execute", lambda _c, _k, text, *_: seen.append(text))
    return seen


def in_processes(number: int, work: Any, url: str) -> list[Any]:
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(number, mp_context=spawn) as pool:  # ends its processes without a signal
        return list(pool.map(work, [url] * number))


def drain_in_a_process(url: str) -> list[str]:
    store = SqlAlchemyMetadata(url)
    try:
        return drain(store)
    finally:
        store.close()


def enqueue_in_a_process(url: str) -> list[str]:
    store = SqlAlchemyMetadata(url)
    try:
        return store.enqueue([wanted("a.jpg")])
    finally:
        store.close()


# Statements


@pytest.mark.parametrize("images", [1, 100])
def test_a_page_costs_one_select_and_two_inserts_whatever_its_size(store: SqlAlchemyMetadata, images: int) -> None:
    wishes = [wanted(f"{i}.jpg", info=INFO) for i in range(images)]
    seen = statements(store)
    assert store.fetch({w.source.id: list(w.specs) for w in wishes}) == {}
    assert [text.split()[0] for text in seen] == ["SELECT"]
    seen.clear()
    assert len(store.enqueue(wishes, wait=0.05)) == images
    assert [text.split()[0] for text in seen] == ["INSERT", "INSERT"]
    seen.clear()
    assert len(store.fetch({w.source.id: list(w.specs) for w in wishes})) == images
    assert len(seen) == 1


def test_servers_take_a_page_in_as_many_statements(server_store: SqlAlchemyMetadata) -> None:
    wishes = [wanted(f"{i}.jpg", info=INFO) for i in range(100)]
    seen = statements(server_store)
    server_store.fetch({w.source.id: list(w.specs) for w in wishes})
    server_store.enqueue(wishes)
    assert [text.split()[0] for text in seen] == ["SELECT", "INSERT", "INSERT"]


def test_an_idle_worker_never_writes(store: SqlAlchemyMetadata, url: str, tmp_path: Path) -> None:
    store.setup()
    with sqlite3.connect(tmp_path / "easyimg.db", isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        assert store.claim(lease=60, max_attempts=3) == []
        other.execute("ROLLBACK")
    other.close()


def test_the_file_is_in_wal_mode(store: SqlAlchemyMetadata) -> None:
    store.setup()
    with store.engine.connect() as conn:
        assert conn.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert conn.exec_driver_sql("PRAGMA synchronous").scalar() == 1


# Several at once


@pytest.mark.slow
def test_two_processes_claim_four_hundred_variants_once_each(any_url: str) -> None:
    store = SqlAlchemyMetadata(any_url)
    store.enqueue([wanted(f"{i}.jpg", SPECS[:2]) for i in range(200)])
    claimed = [key for keys in in_processes(2, drain_in_a_process, any_url) for key in keys]
    assert (len(claimed), len(set(claimed))) == (400, 400)
    assert store.counts(stale_after=0).generated == 400
    store.close()


@pytest.mark.slow
def test_processes_that_start_at_once_create_the_tables_once(any_url: str) -> None:
    new = in_processes(3, enqueue_in_a_process, any_url)
    assert sorted(map(len, new)) == [0, 0, 1]


FORK = """
import os, sys
from easyimg.metadata.sqlalchemy import SqlAlchemyMetadata
from easyimg.testing.metadata import drain, wanted
store = SqlAlchemyMetadata(sys.argv[1])
store.enqueue([wanted("a.jpg"), wanted("b.jpg")])
child = os.fork()
if child == 0:
    os._exit(0 if len(drain(store)) == 6 else 1)
assert os.waitpid(child, 0)[1] == 0
assert store.counts(stale_after=0).generated == 6
store.close()
"""


def test_a_store_works_in_parent_and_child_of_a_fork(any_url: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORK, any_url], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


FORK_BESIDE_A_WRITER = """
import os, sys, threading, time
from easyimg.metadata.sqlalchemy import SqlAlchemyMetadata
from easyimg.testing.metadata import drain, wanted
store = SqlAlchemyMetadata(sys.argv[1])
store.enqueue([wanted("a.jpg")])
begun = threading.Event()
def write(conn, _):
    begun.set()
    time.sleep(0.5)
writer = threading.Thread(target=store._write, args=(write,))
writer.start()
begun.wait(10)
child = os.fork()
if child == 0:
    started = time.monotonic()
    assert store.enqueue([wanted("b.jpg")])
    os._exit(0 if time.monotonic() - started < 4 else 1)
writer.join()
assert os.waitpid(child, 0)[1] == 0, "the child found the database locked for ever"
assert len(drain(store)) == 6
store.close()
"""


def test_a_fork_beside_a_writing_thread_does_not_inherit_its_lock(any_url: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORK_BESIDE_A_WRITER, any_url], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_fork_inherits_no_open_sqlite_file(store: SqlAlchemyMetadata, tmp_path: Path) -> None:
    store.enqueue([wanted("a.jpg")])
    child = os.fork()
    if child == 0:
        code = 1
        try:
            opened = [fd.readlink() for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink()]
            code = int(any(file.is_relative_to(tmp_path) for file in opened))
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    assert store.enqueue([wanted("b.jpg")])


def test_a_page_gives_up_on_a_lock_quickly_and_a_worker_waits(store: SqlAlchemyMetadata, tmp_path: Path) -> None:
    store.setup()
    other = sqlite3.connect(tmp_path / "easyimg.db", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    start = time.monotonic()
    with pytest.raises(MetadataError, match="locked"):
        store.enqueue([wanted("a.jpg")], wait=0.05)
    assert time.monotonic() - start < 4.5  # others wait for five
    release = threading.Timer(0.2, lambda: other.execute("COMMIT"))
    release.start()
    assert len(store.enqueue([wanted("a.jpg")])) == 1
    release.join()
    other.close()


def test_a_page_gives_up_on_a_servers_lock_quickly(server_store: SqlAlchemyMetadata) -> None:
    server_store.enqueue([wanted("a.jpg")])
    source = define_tables().source
    with server_store.engine.connect().execution_options(isolation_level="READ COMMITTED") as conn:
        conn.execute(select(source.c.id).with_for_update())
        start = time.monotonic()
        with pytest.raises(MetadataError):
            server_store.enqueue([wanted("a.jpg", info=INFO)], wait=0.05)
        assert time.monotonic() - start < 4.5
        conn.rollback()
    assert server_store.enqueue([wanted("a.jpg", info=INFO)]) == []


@pytest.mark.slow
def test_a_lease_whose_rows_somebody_locks_holds_up_no_other(server_store: SqlAlchemyMetadata) -> None:
    locked, free = wanted("locked.jpg"), wanted("free.jpg")
    server_store.enqueue([locked, free])
    held = [server_store.claim(lease=6, max_attempts=3, source_id=w.source.id)[0] for w in (locked, free)]
    leases, variant = Leases(lambda: server_store), define_tables().variant
    with server_store.engine.connect().execution_options(isolation_level="READ COMMITTED") as conn:
        conn.execute(select(variant.c.key).where(variant.c.source_id == locked.source.id).with_for_update())
        start = time.monotonic()
        with pytest.raises(MetadataError):
            server_store.renew(held[0], 6)
        assert time.monotonic() - start < 15, "MariaDB itself waits 50 seconds, PostgreSQL for ever"
        with leases.keep(held[0], seconds=6, limit=60), leases.keep(held[1], seconds=6, limit=60):
            time.sleep(8)
            assert server_store.claim(lease=60, max_attempts=3, source_id=free.source.id) == []
        conn.rollback()
    leases.close()
    assert server_store.publish(held[1], built(held[1]))


@pytest.mark.parametrize("is_lent", [False, True])
def test_mariadb_is_not_waited_for_as_long_as_it_would_have_it(mysql_url: str, is_lent: bool) -> None:
    engine = create_engine(mysql_url)
    store = SqlAlchemyMetadata(engine if is_lent else mysql_url)
    asked = "SELECT @@innodb_lock_wait_timeout"
    within: list[int] = []

    def ask(conn: Any, _cursor: Any, text: str, *_: Any) -> None:
        if text.startswith("UPDATE easyimg_variant"):
            cursor = conn.connection.cursor()
            cursor.execute(asked)
            within.append(cursor.fetchone()[0])

    store.enqueue([wanted("a.jpg")])
    event.listen(store.engine, "before_cursor_execute", ask)
    assert store.claim(lease=60, max_attempts=3)
    assert within == [5]
    if is_lent:
        with engine.connect() as conn:
            assert conn.exec_driver_sql(asked).scalar_one() > 5, "the site's own connections keep their patience"
    store.close()
    engine.dispose()


def test_claimers_pass_by_sources_that_others_hold(server_store: SqlAlchemyMetadata) -> None:
    server_store.enqueue([wanted("a.jpg")])
    time.sleep(0.01)
    server_store.enqueue([wanted("b.jpg")])
    source = define_tables().source
    with server_store.engine.connect().execution_options(isolation_level="READ COMMITTED") as conn:
        conn.execute(select(source.c.id).where(source.c.name == "a.jpg").with_for_update())
        [claim] = server_store.claim(lease=60, max_attempts=3)
        assert claim.source.name == "b.jpg"
        conn.rollback()


def test_lost_connections_are_replaced(server_store: SqlAlchemyMetadata) -> None:
    server_store.enqueue([wanted("a.jpg")])
    for kill in range(3):
        _disconnect(server_store)
        assert len(server_store.enqueue([wanted(f"{kill}.jpg")])) == 1


def _disconnect(store: SqlAlchemyMetadata) -> None:
    """Have the server end all other connections to this database."""
    engine = create_engine(store.engine.url, isolation_level="AUTOCOMMIT")
    with engine.connect() as conn:
        if engine.dialect.name == "postgresql":
            conn.exec_driver_sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        else:
            query = "SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()"
            for (number,) in conn.exec_driver_sql(query).all():
                conn.exec_driver_sql(f"KILL {number}")
    engine.dispose()


def test_a_connection_lost_in_the_middle_is_tried_once_more(server_store: SqlAlchemyMetadata) -> None:
    server_store.enqueue([wanted("a.jpg")])
    [claim] = server_store.claim(lease=60, max_attempts=3)
    cuts = iter([True])

    def cut(_conn: Any, _cursor: Any, text: str, *_: Any) -> None:
        if text.startswith("UPDATE easyimg_variant") and next(cuts, False):
            _disconnect(server_store)

    event.listen(server_store.engine, "before_cursor_execute", cut)
    assert len(server_store.publish(claim, built(claim))) == 3
    assert next(cuts, None) is None


def test_files_committed_before_the_connection_was_lost_count_as_accepted(store: SqlAlchemyMetadata) -> None:
    store.enqueue([wanted("a.jpg")])
    [claim] = store.claim(lease=60, max_attempts=3)
    verdict = claims.Verdict(claim, built(claim), (), None, "")
    assert len(store.publish(claim, built(claim)[:2])) == 2
    with store.engine.connect() as conn:
        again = claims.publish(conn, store._sql, verdict, repeated=True)
    assert again == {v.key for v in claim.variants}


def test_deadlocks_are_tried_again(server_store: SqlAlchemyMetadata) -> None:
    wishes = [wanted(f"{i}.jpg") for i in range(6)]
    server_store.enqueue(wishes)
    sources = [w.source for w in wishes]

    def stir() -> int:
        for source in sorted(sources, key=lambda _: os.urandom(1)):
            server_store.replace(source)
            server_store.requeue(include_stale=True, stale_after=-60)
            server_store.claim(lease=60, max_attempts=3, limit=3)
        return 1

    assert in_threads(4, stir) == [1, 1, 1, 1]
    assert {r.generation for r in server_store.fetch({s.id: [] for s in sources}).values()} == {5}


# Schema


@pytest.mark.parametrize(("found", "advice"), [("0", "run 'easyimg migrate'"), ("99", "upgrade easyimg")])
def test_another_schema_version_is_refused_with_advice(url: str, tmp_path: Path, found: str, advice: str) -> None:
    SqlAlchemyMetadata(url).setup()
    with sqlite3.connect(tmp_path / "easyimg.db") as other:
        other.execute("UPDATE easyimg_meta SET value = ? WHERE name = 'schema'", (found,))
    other.close()
    for auto_create in (True, False):
        with pytest.raises(MetadataError, match=f"version {found}.*{advice}"):
            SqlAlchemyMetadata(url, auto_create=auto_create).counts(stale_after=0)


def test_without_auto_create_nothing_is_created(url: str) -> None:
    store = SqlAlchemyMetadata(url, auto_create=False)
    with pytest.raises(MetadataError, match="do not exist; run 'easyimg migrate'"):
        store.due()
    store.setup()
    assert store.due() == []
    store.close()


def test_alembic_is_told_to_leave_our_tables_alone() -> None:
    metadata = MetaData()
    tables = define_tables(metadata)
    site = Table("product", metadata, Column("id", Integer, primary_key=True, index=True))
    assert not include_object(tables.source, "easyimg_source", "table", True, None)
    assert not include_object(next(iter(tables.variant.indexes)), "ix", "index", True, None)
    assert include_object(site, "product", "table", False, None)
    assert include_object(next(iter(site.indexes)), "ix_product_id", "index", False, None)


def test_a_sites_own_metadata_may_know_our_tables(url: str) -> None:
    metadata = MetaData()
    store = SqlAlchemyMetadata(url, metadata=metadata)
    assert define_tables(metadata).source is metadata.tables["easyimg_source"]
    assert SqlAlchemyMetadata(url, metadata=metadata).due() == []
    assert store.due() == []


# Engines and URLs


def test_rows_are_never_part_of_the_callers_transaction(any_url: str) -> None:
    engine = create_engine(any_url)
    site = Table("product", MetaData(), Column("id", Integer))
    site.create(engine)
    store = SqlAlchemyMetadata(engine)
    store.setup()
    with engine.connect() as conn:
        if engine.dialect.name != "sqlite":  # there, an open write transaction keeps all others out
            conn.execute(insert(site).values(id=1))
        store.enqueue([wanted("a.jpg")])
        conn.rollback()
    assert store.counts(stale_after=0).queued == 3
    store.close()
    with engine.connect() as conn:
        assert conn.execute(select(func.count()).select_from(site)).scalar() == 0
    engine.dispose()


def test_an_engine_with_one_shared_connection_in_memory_is_left_alone() -> None:
    engine = create_engine("sqlite://", poolclass=StaticPool)
    store = SqlAlchemyMetadata(engine)
    with engine.connect() as conn:
        conn.exec_driver_sql("CREATE TABLE product (id INTEGER)")
        conn.exec_driver_sql("INSERT INTO product VALUES (1)")
        store.enqueue([wanted("a.jpg")])
        conn.rollback()
    assert store.counts(stale_after=0).queued == 3
    store.close()
    engine.dispose()


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("sqlite:///a.db", "sqlite+pysqlite"),
        ("sqlite+aiosqlite:///a.db", "sqlite+pysqlite"),
        ("postgres://h/d", "postgresql+psycopg"),
        ("postgresql://h/d", "postgresql+psycopg"),
        ("postgresql+asyncpg://h/d", "postgresql+psycopg"),
        ("postgresql+psycopg2://h/d", "postgresql+psycopg2"),
        ("mysql://h/d", "mysql+pymysql"),
        ("mariadb+asyncmy://h/d", "mariadb+pymysql"),
    ],
)
def test_drivers_are_chosen(given: str, used: str) -> None:
    assert parse_url(given)[1].drivername == used


@pytest.mark.parametrize("bad", ["easyimg.db", "oracle://scott:tiger@h/d", "http://user:tiger@h/", "", None, 5])
def test_other_urls_are_refused_without_being_shown(bad: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        SqlAlchemyMetadata(bad)
    assert "tiger" not in str(caught.value)


def test_an_absent_driver_is_named_with_its_extra() -> None:
    with pytest.raises(MissingDependency, match=r"easyimg\[mysql\]"):
        SqlAlchemyMetadata("mysql+mysqlconnector://root@127.0.0.1/test")


def test_a_server_that_is_down_is_told_without_the_password() -> None:
    store = SqlAlchemyMetadata("postgresql://site:s3cr3t@127.0.0.1:1/d")
    with pytest.raises(MetadataError) as caught:
        store.due()
    assert "PostgreSQL" in str(caught.value)
    assert "s3cr3t" not in str(caught.value) + repr(store)


def test_an_absent_folder_is_told_and_not_made(tmp_path: Path) -> None:
    store = SqlAlchemyMetadata(f"sqlite:///{tmp_path}/none/easyimg.db")
    with pytest.raises(MetadataError, match="none' does not exist"):
        store.setup()
    assert not (tmp_path / "none").exists()


def test_a_database_in_memory_is_gone_when_closed_and_usable_again() -> None:
    store = SqlAlchemyMetadata("sqlite://")
    store.enqueue([wanted("a.jpg")])
    store.close()
    assert store.inspect(Source("default", "a.jpg")) is None
    store.close()


def test_a_source_row_with_an_error_closes_variants_that_slipped_in(store: SqlAlchemyMetadata) -> None:
    store.enqueue([wanted("a.jpg")])
    source = define_tables().source
    with store.engine.connect() as conn:
        conn.execute(source.update().values(error="crashed 3 times"))
    assert store.claim(lease=60, max_attempts=3) == []
    [record] = store.fetch({w.source.id: list(w.specs) for w in [wanted("a.jpg")]}).values()
    assert {v.status for v in record.variants.values()} == {VariantStatus.SOURCE_ERROR}


def test_variants_whose_source_was_deleted_by_hand_hide_nothing(any_url: str) -> None:
    store = SqlAlchemyMetadata(any_url)
    lost = [wanted(f"lost/{n}.jpg") for n in range(60)]
    store.enqueue(lost)
    with store.engine.connect() as conn:
        conn.exec_driver_sql("DELETE FROM easyimg_source")
    store.enqueue([wanted("real.jpg")])
    [claim] = store.claim(lease=60, max_attempts=3)
    assert claim.source.name == "real.jpg"
    store.publish(claim, built(claim))
    counts = store.counts(stale_after=60)
    assert (counts.pending, counts.source_errors) == (0, 60 * len(SPECS))
    assert counts.error_kinds[0][2] == "its source has no row any more"
    store.close()
