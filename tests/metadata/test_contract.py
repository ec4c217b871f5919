from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from easyimg.metadata.sqlalchemy import SqlAlchemyMetadata
from easyimg.testing.metadata import MetadataContract


def opened(url: str) -> Iterator[SqlAlchemyMetadata]:
    store = SqlAlchemyMetadata(url)
    yield store
    store.close()


class TestSqliteFile(MetadataContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[SqlAlchemyMetadata]:
        yield from opened(f"sqlite:///{tmp_path / 'easyimg.db'}")


class TestSqliteInMemory(MetadataContract):
    @pytest.fixture
    def store(self) -> Iterator[SqlAlchemyMetadata]:
        yield from opened("sqlite://")


class TestPostgres(MetadataContract):
    @pytest.fixture
    def store(self, postgres_url: str) -> Iterator[SqlAlchemyMetadata]:
        yield from opened(postgres_url)


class TestMariaDb(MetadataContract):
    @pytest.fixture
    def store(self, mysql_url: str) -> Iterator[SqlAlchemyMetadata]:
        yield from opened(mysql_url)
