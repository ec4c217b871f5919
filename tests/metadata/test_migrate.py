from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import Connection, create_engine, inspect

from easyimg.cli import main
from easyimg.errors import MetadataError
from easyimg.metadata import schema
from easyimg.metadata.sqlalchemy import SqlAlchemyMetadata
from easyimg.metadata.tables import Tables, define_tables
from easyimg.testing.metadata import drain, in_threads, wanted


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'easyimg.db'}"


@pytest.fixture(params=["url", "postgres_url", "mysql_url"])
def any_url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(request.param))


V1_INDEX = "CREATE INDEX easyimg_variant_due ON easyimg_variant (due_at, status, source_id)"
ON = {"mysql": " ON easyimg_variant"}
PARTIAL = {"sqlite": " WHERE due_at IS NOT NULL", "postgresql": " WHERE due_at IS NOT NULL"}


@pytest.fixture
def old_url(any_url: str) -> str:
    """A database as version 1 made it, with rows: no priority, and an index that does not begin with it."""
    store = SqlAlchemyMetadata(any_url)
    store.enqueue([wanted("a.jpg")])
    backend = store.engine.dialect.name
    with store.engine.connect() as conn:
        conn.exec_driver_sql(f"DROP INDEX easyimg_variant_due{ON.get(backend, '')}")
        conn.exec_driver_sql("ALTER TABLE easyimg_variant DROP COLUMN priority")
        conn.exec_driver_sql(V1_INDEX + PARTIAL.get(backend, ""))
    store.close()
    set_version(any_url, "1")
    return any_url


def columns(connectable: Any) -> set[str]:
    return {column["name"] for column in inspect(connectable).get_columns("easyimg_variant")}


def due_index(connectable: Any) -> list[Any]:
    (index,) = [i for i in inspect(connectable).get_indexes("easyimg_variant") if i["name"] == "easyimg_variant_due"]
    return list(index["column_names"])


def set_version(url: str, version: str) -> None:
    engine = create_engine(url)
    with engine.begin() as conn:
        conn.exec_driver_sql(f"UPDATE easyimg_meta SET value = '{version}' WHERE name = 'schema'")
    engine.dispose()


def migrate(url: str) -> Any:
    return CliRunner().invoke(main, ["migrate"], env={"EASYIMG_METADATA": url, "EASYIMG_STORAGES": "memory://x"})


def test_migrate_creates_the_tables_and_then_finds_them_up_to_date(any_url: str) -> None:
    for told in ("version 2, created", "version 2, up to date"):
        result = migrate(any_url)
        assert (result.exit_code, result.output) == (0, f"Metadata schema: {told}\n")


@pytest.mark.parametrize("version", ["created", "upgraded"])
def test_postgresql_vacuums_the_rows_long_before_a_fifth_of_them_changed(postgres_url: str, version: str) -> None:
    store = SqlAlchemyMetadata(postgres_url)
    store.setup()
    with store.engine.connect() as conn:
        if version == "upgraded":
            conn.exec_driver_sql("ALTER TABLE easyimg_variant RESET (autovacuum_vacuum_scale_factor)")
            conn.exec_driver_sql("UPDATE easyimg_meta SET value = '1' WHERE name = 'schema'")
            assert store.migrate() == ("1", "2")
        options = conn.exec_driver_sql("SELECT reloptions FROM pg_class WHERE relname = 'easyimg_variant'").scalar_one()
    assert sorted(options) == ["autovacuum_vacuum_scale_factor=0.01", "autovacuum_vacuum_threshold=10000"]
    store.close()


def test_a_sites_own_tables_keep_their_settings(postgres_url: str) -> None:
    engine = create_engine(postgres_url)
    define_tables().variant.create(engine)
    store = SqlAlchemyMetadata(postgres_url)
    store.setup()
    with engine.connect() as conn:
        query = "SELECT reloptions FROM pg_class WHERE relname = 'easyimg_variant'"
        assert conn.exec_driver_sql(query).scalar_one() is None
    engine.dispose()
    store.close()


def test_an_older_schema_is_upgraded_and_its_rows_are_kept(old_url: str) -> None:
    store = SqlAlchemyMetadata(old_url)
    with pytest.raises(MetadataError, match="version 1, this easyimg needs 2; run 'easyimg migrate'"):
        store.due()
    assert store.migrate() == ("1", "2")
    assert due_index(store.engine) == ["priority", "due_at", "status", "source_id"]
    wish = wanted("a.jpg")
    waiting = store.fetch({wish.source.id: list(wish.specs)})[wish.source.id].variants
    assert [v.is_background for v in waiting.values()] == [True] * 3
    assert len(drain(store)) == 3
    assert store.migrate() == ("2", "2")
    store.close()


def test_the_command_says_what_it_upgraded(old_url: str) -> None:
    result = migrate(old_url)
    assert (result.exit_code, result.output) == (0, "Metadata schema: version 2, upgraded from 1\n")


def test_of_several_that_upgrade_at_once_one_does(old_url: str) -> None:
    stores = [SqlAlchemyMetadata(old_url) for _ in range(3)]
    left = list(stores)
    versions = in_threads(3, lambda: left.pop().migrate())
    assert {after for _, after in versions} == {"2"}
    assert "priority" in columns(stores[0].engine)
    for store in stores:
        store.close()


def test_a_step_that_got_half_way_is_run_again(old_url: str) -> None:
    store = SqlAlchemyMetadata(old_url)
    with store.engine.connect() as conn:
        conn.exec_driver_sql("ALTER TABLE easyimg_variant ADD COLUMN priority SMALLINT DEFAULT 0 NOT NULL")
    assert store.migrate() == ("1", "2")
    assert due_index(store.engine)[0] == "priority"
    store.close()


def test_a_step_that_fails_leaves_the_version(old_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(conn: Connection, _tables: Tables) -> None:
        conn.exec_driver_sql("SELECT none FROM nowhere")

    store = SqlAlchemyMetadata(old_url)
    with monkeypatch.context() as patch:
        patch.setitem(schema.STEPS, 1, fail)
        with pytest.raises(MetadataError, match="nowhere"):
            store.migrate()
    assert store.migrate() == ("1", "2")
    store.close()


def test_a_newer_schema_is_left_alone(url: str) -> None:
    SqlAlchemyMetadata(url).migrate()
    set_version(url, "99")
    result = migrate(url)
    assert result.exit_code == 2
    assert "version 99, this easyimg needs 2; upgrade easyimg" in result.stderr


def test_a_schema_older_than_the_oldest_step_is_refused(url: str) -> None:
    SqlAlchemyMetadata(url).migrate()
    set_version(url, "0")
    result = migrate(url)
    assert result.exit_code == 2
    assert "version 0, which this easyimg cannot upgrade any more" in result.stderr


def test_a_wrong_url_is_an_error_of_configuration() -> None:
    result = migrate("oracle://h/d")
    assert result.exit_code == 2
    assert "'oracle' is not supported" in result.stderr
