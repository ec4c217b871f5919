"""Whether a row names a file: found by an index where there is one, and told from its likes."""

from __future__ import annotations

import pytest
from sqlalchemy import Column, Index, Integer, MetaData, String, Table, create_engine, insert, select
from sqlalchemy.dialects import mssql
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from easyimg.fields import ImageField, StoredImage
from easyimg.fields.columns import ImageColumn
from easyimg.fields.looking import _query, named
from easyimg.metadata.dialects import parse_url
from tests.fields.conftest import DATABASES

FACTS = "|40x30|jpeg|123"
LIKES = [
    "a_b.jpg",
    "axb.jpg",
    "A_B.jpg",
    "a_b.jpg2",
    "a%.jpg",
    "100!.jpg",
    "o'hara.jpg",
    "ä.jpg",
    "a[b].jpg",
    "a\\b.jpg",
    "ab.jpg",
]


@pytest.fixture(params=DATABASES)
def engine(request, tmp_path):
    url = f"sqlite:///{tmp_path}/rows.db" if request.param == "sqlite" else request.getfixturevalue(request.param)
    engine = create_engine(parse_url(url)[1])
    yield engine
    engine.dispose()


@pytest.fixture
def posters(engine):
    """A mapped class with an index on its image; nobody knows it after the test."""

    class Base(DeclarativeBase):
        pass

    class Poster(Base):
        __tablename__ = "poster"
        __table_args__ = (Index("poster_picture", "picture", postgresql_ops={"picture": "varchar_pattern_ops"}),)
        id: Mapped[int] = mapped_column(primary_key=True)
        picture: Mapped[StoredImage | None] = mapped_column(ImageField())

    Base.metadata.create_all(engine)
    yield Poster
    Base.metadata.drop_all(engine)
    Base.registry.dispose()


def image_column(posters):
    return ImageColumn("picture", posters.__table__.c.picture, ImageField())


def fill(engine, texts):
    plain = Table("poster", MetaData(), Column("id", Integer), Column("picture", String(255)))
    with engine.begin() as connection:
        connection.execute(insert(plain), [{"id": n, "picture": text} for n, text in enumerate(texts, 1)])


def test_names_are_told_from_their_likes(engine, posters):
    held = LIKES[::2]
    fill(engine, [name + (FACTS if number % 2 else "") for number, name in enumerate(held)] + [None])
    with engine.connect() as connection:
        for name in LIKES:
            found = named(lambda query: list(connection.execute(query)), image_column(posters), [name, "other.jpg"])
            assert found == ({name} if name in held else set()), name
        # The facts of the file itself are nobody's name.
        assert not named(lambda query: list(connection.execute(query)), image_column(posters), ["a_b.jpg|40x30"])


def test_a_name_compares_with_one_image(engine, posters):
    names = LIKES
    if engine.dialect.name == "mysql":  # compares as the column's collation says: blind to case unless chosen otherwise
        names = [name for name in LIKES if name.islower()]
    fill(engine, [name + FACTS for name in names])
    with engine.connect() as connection:
        for number, name in enumerate(names, 1):
            assert connection.scalars(select(posters.id).where(posters.picture == name)).all() == [number], name


def test_a_database_with_patterns_of_its_own_is_asked_without_one(posters):
    text = str(_query(image_column(posters), ["a[b].jpg"]).compile(dialect=mssql.dialect()))
    assert "substr(poster.picture, 1, length(" in text
    assert "LIKE" not in text


def test_a_table_of_many_rows_is_not_read(engine, posters):
    fill(engine, [f"photos/{number:06}.jpg{FACTS}" for number in range(20_000)])
    names = ["photos/000123.jpg", "photos/none.jpg"]
    text = str(_query(image_column(posters), names).compile(engine, compile_kwargs={"literal_binds": True}))
    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql("ANALYZE poster")
        explain = "EXPLAIN QUERY PLAN " if engine.dialect.name == "sqlite" else "EXPLAIN "
        plan = str(connection.execution_options(no_parameters=True).exec_driver_sql(explain + text).all())
        assert named(lambda query: list(connection.execute(query)), image_column(posters), names) == {
            "photos/000123.jpg"
        }
    assert "poster_picture" in plan
    assert not any(whole in plan for whole in ("SCAN poster", "Seq Scan", "'ALL'"))
