"""A shop with images in its models: real databases, real files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Self

import pytest
from sqlalchemy import create_engine, event
from sqlalchemy.orm import sessionmaker

from easyimg import EasyImg
from easyimg.testing import images
from tests.counting import Bell
from tests.fields.models import make_models

DATABASES = ["sqlite", "postgres_url", "mysql_url"]


def picture(seed: int = 0, width: int = 90, height: int = 60, **options: Any) -> bytes:
    return images.photo(width, height, seed=seed, **options)


def with_savepoints(engine: Any) -> Any:
    """Let SQLite's driver begin transactions where SQLAlchemy says, as its documentation has it."""
    if engine.dialect.name == "sqlite":

        @event.listens_for(engine, "connect")
        def connect(connection: Any, _record: Any) -> None:
            connection.isolation_level = None

        @event.listens_for(engine, "begin")
        def begin(connection: Any) -> None:
            connection.exec_driver_sql("BEGIN")

    return engine


class Shop:
    def __init__(self, root: Path, url: str | None = None, **options: Any) -> None:
        self.root = root
        self.media = root / "media"
        self.media.mkdir(exist_ok=True)
        self.bell = Bell()
        settings = {
            "storages": {"default": f"file://{self.media}"},
            "metadata": f"sqlite:///{root}/rows.db",
            "queue": self.bell,
            "isolation": "never",
        }
        self.app = EasyImg(**{**settings, **options})
        self.models = make_models()
        self.Product, self.Shoe, self.Category = self.models.Product, self.models.Shoe, self.models.Category
        self.engine = with_savepoints(create_engine(url or f"sqlite:///{root}/shop.db"))
        self.models.Base.metadata.create_all(self.engine)
        self.Session = sessionmaker(self.engine)

    def files(self) -> list[str]:
        """Every file but the variants' and the notes."""
        return self._below(lambda name: not name.startswith(("img/", ".")))

    def variants(self) -> list[str]:
        return self._below(lambda name: name.startswith("img/"))

    def notes(self) -> list[dict[str, Any]]:
        found = self._below(lambda name: name.startswith(".easyimg-unsettled/"))
        return [json.loads((self.media / name).read_text()) for name in found]

    def _below(self, wanted: Any) -> list[str]:
        names = [p.relative_to(self.media).as_posix() for p in self.media.rglob("*") if p.is_file()]
        return sorted(filter(wanted, names))

    def named(self) -> list[str]:
        """What the table says, as it is committed."""
        with self.engine.connect() as connection:
            rows = connection.exec_driver_sql("SELECT main_image FROM product WHERE main_image IS NOT NULL")
            return sorted(row[0].partition("|")[0] for row in rows)

    def all_named(self) -> set[str]:
        """What every column of every table says, as it is committed."""
        columns = ["product.main_image", "product.back_image", "shoe.sole", "author.photo"]
        found: set[str] = set()
        with self.engine.connect() as connection:
            for table, column in (where.split(".") for where in columns):
                rows = connection.exec_driver_sql(f"SELECT {column} FROM {table} WHERE {column} IS NOT NULL")
                found |= {row[0].partition("|")[0] for row in rows}
        return found

    def statements(self) -> Any:
        return _Statements(self.engine)

    def close(self) -> None:
        self.engine.dispose()
        self.models.Base.registry.dispose(cascade=True)
        self.app.close()


class _Statements(list[str]):
    """The statements sent to the shop's own database since the block began."""

    def __init__(self, engine: Any) -> None:
        super().__init__()
        self._engine = engine

    def _note(self, _connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        self.append(statement)

    def __enter__(self) -> Self:
        event.listen(self._engine, "before_cursor_execute", self._note)
        return self

    def __exit__(self, *_: object) -> None:
        event.remove(self._engine, "before_cursor_execute", self._note)


@pytest.fixture
def shop(tmp_path):
    shop = Shop(tmp_path)
    with shop.app:
        yield shop
    shop.close()


@pytest.fixture(params=DATABASES)
def any_shop(tmp_path, request):
    url = None if request.param == "sqlite" else request.getfixturevalue(request.param)
    shop = Shop(tmp_path, url)
    with shop.app:
        yield shop
    shop.close()
