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
from easyimg.metadata.tables import Tables
from easyimg.testing.metadata import drain, in_threads, wanted


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'easyimg.db'}"


@pytest.fixture(params=["url", "postgres_url", "mysql_url"])
def any_url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(request.param))


@pytest.fixture
def old_url(any_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A database of the version before the first: without the column ``blur``; and the step that adds it."""
    store = SqlAlchemyMetadata(any_url)
    store.enqueue([wanted("a.jpg")])
    with store.engine.connect() as conn:
        conn.exec_driver_sql("ALTER TABLE easyimg_source DROP COLUMN blur")
    store.close()
    set_version(any_url, "0")

    def add_blur(conn: Connection, _tables: Tables) -> None:
        if "blur" not in columns(conn):
            conn.exec_driver_sql("ALTER TABLE easyimg_source ADD COLUMN blur TEXT")

    monkeypatch.setitem(schema.STEPS, 0, add_blur)
    return any_url


def columns(connectable: Any) -> set[str]:
    return {column["name"] for column in inspect(connectable).get_columns("easyimg_source")}


def set_version(url: str, version: str) -> None:
    engine = create_engine(url)
    with engine.begin() as conn:
        conn.exec_driver_sql(f"UPDATE easyimg_meta SET value = '{version}' WHERE name = 'schema'")
    engine.dispose()


def migrate(url: str) -> Any:
    return CliRunner().invoke(main, ["migrate"], env={"EASYIMG_METADATA": url, "EASYIMG_STORAGES": "memory://x"})


def test_migrate_creates_the_tables_and_then_finds_them_up_to_date(any_url: str) -> None:
    for told in ("version 1, created", "version 1, up to date"):
        result = migrate(any_url)
        assert (result.exit_code, result.output) == (0, f"Metadata schema: {told}\n")


def test_an_older_schema_is_upgraded_and_its_rows_are_kept(old_url: str) -> None:
    store = SqlAlchemyMetadata(old_url)
    with pytest.raises(MetadataError, match="version 0, this easyimg needs 1; run 'easyimg migrate'"):
        store.due()
    assert store.migrate() == ("0", "1")
    assert "blur" in columns(store.engine)
    assert len(drain(store)) == 3
    assert store.migrate() == ("1", "1")
    store.close()


def test_the_command_says_what_it_upgraded(old_url: str) -> None:
    result = migrate(old_url)
    assert (result.exit_code, result.output) == (0, "Metadata schema: version 1, upgraded from 0\n")


def test_of_several_that_upgrade_at_once_one_does(old_url: str) -> None:
    stores = [SqlAlchemyMetadata(old_url) for _ in range(3)]
    left = list(stores)
    versions = in_threads(3, lambda: left.pop().migrate())
    assert {after for _, after in versions} == {"1"}
    assert "blur" in columns(stores[0].engine)
    for store in stores:
        store.close()


def test_a_step_that_fails_leaves_the_version_and_may_be_run_again(
    old_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(conn: Connection, _tables: Tables) -> None:
        conn.exec_driver_sql("ALTER TABLE easyimg_source ADD COLUMN blur TEXT")
        conn.exec_driver_sql("SELECT none FROM nowhere")

    store = SqlAlchemyMetadata(old_url)
    with monkeypatch.context() as patch:
        patch.setitem(schema.STEPS, 0, fail)
        with pytest.raises(MetadataError, match="nowhere"):
            store.migrate()
    assert store.migrate() == ("0", "1")
    store.close()


def test_a_newer_schema_is_left_alone(url: str) -> None:
    SqlAlchemyMetadata(url).migrate()
    set_version(url, "99")
    result = migrate(url)
    assert result.exit_code == 1
    assert "version 99, this easyimg needs 1; upgrade easyimg" in result.stderr


def test_a_schema_older_than_the_oldest_step_is_refused(url: str) -> None:
    SqlAlchemyMetadata(url).migrate()
    set_version(url, "0")
    result = migrate(url)
    assert result.exit_code == 1
    assert "version 0, which this easyimg cannot upgrade any more" in result.stderr


def test_a_wrong_url_is_an_error_of_configuration() -> None:
    result = migrate("oracle://h/d")
    assert result.exit_code == 2
    assert "'oracle' is not supported" in result.stderr
