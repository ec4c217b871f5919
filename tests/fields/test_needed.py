"""No file goes that a row needs, wherever the row is and however it came to name it; nothing private stays behind."""

from __future__ import annotations

import os
import time
from typing import Any

import pytest
from sqlalchemy import create_engine, event, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.horizontal_shard import ShardedSession
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

from easyimg import Source
from easyimg.clean import clean
from easyimg.errors import SpecError
from easyimg.fields import ImageField, StoredImage, bind
from easyimg.unsettled import Note, write_note
from tests.fields.conftest import DATABASES, Shop, picture, with_savepoints

NOBODY = "people/none.png"


@pytest.fixture
def forget():
    """Bases of a test's own, whose classes are forgotten after it."""
    bases: list[type[DeclarativeBase]] = []
    yield bases.append
    for base in bases:
        base.registry.dispose()


@pytest.mark.parametrize(
    "default",
    [
        {"default": NOBODY},
        {"server_default": NOBODY},
        {"default": lambda: StoredImage(NOBODY)},
        {"insert_default": Source("default", NOBODY)},
    ],
    ids=["text", "of the server", "callable", "Source"],
)
def test_the_file_of_a_columns_default_stays(shop, forget, default):
    class Base(DeclarativeBase):
        pass

    forget(Base)

    class User(Base):
        __tablename__ = "user_"
        id: Mapped[int] = mapped_column(primary_key=True)
        photo: Mapped[StoredImage | None] = mapped_column(ImageField("people/"), **default)

    Base.metadata.create_all(shop.engine)
    shop.app.storage("default").write(NOBODY, picture(5), "image/png")
    with shop.Session() as session:
        user: Any = User()
        session.add(user)
        session.commit()
        assert user.photo.name == NOBODY
        user.photo = picture(1)
        session.commit()
        session.delete(user)
        session.commit()
    assert shop.files() == [NOBODY]


def test_a_default_that_does_work_is_called_once_and_not_for_each_deletion(shop, forget):
    class Base(DeclarativeBase):
        pass

    forget(Base)
    called = []

    def make_portrait():
        called.append(1)
        return Source("default", NOBODY)

    class User(Base):
        __tablename__ = "user_"
        id: Mapped[int] = mapped_column(primary_key=True)
        photo: Mapped[StoredImage | None] = mapped_column(ImageField("people/"), default=make_portrait)

    Base.metadata.create_all(shop.engine)
    shop.app.storage("default").write(NOBODY, picture(5), "image/png")
    bind(Base, shop.Session)
    bind(shop.models.Base, shop.Session)
    for number in range(3):
        with shop.Session() as session:
            session.add(shop.Product(main_image=picture(number)))
            session.flush()
            session.rollback()
        note = write_note(shop.app.storage("default"), Note("product.main_image", {NOBODY: NOBODY}))
        os.utime(shop.media / note, (time.time() - 7200,) * 2)
        assert clean(shop.app, older_than=3600, dry_run=True).uploads == 0
        assert clean(shop.app, older_than=3600).uploads == 0
    assert len(called) == 1
    assert shop.files() == [NOBODY]


@pytest.mark.parametrize("database", DATABASES)
def test_another_application_s_table_of_the_same_name_is_in_nobody_s_way(tmp_path, forget, database, request, caplog):
    shop = Shop(tmp_path, None if database == "sqlite" else request.getfixturevalue(database))

    class Base(DeclarativeBase):
        pass

    forget(Base)

    class Other(Base):
        __tablename__ = "product"
        id: Mapped[int] = mapped_column(primary_key=True)
        portrait: Mapped[StoredImage | None] = mapped_column(ImageField("people/"))

    with shop.app, shop.Session() as session:
        product = shop.Product(main_image=picture())
        session.add(product)
        session.commit()
        session.delete(product)
        session.commit()
        assert shop.files() == []
        assert "cannot be asked" not in caplog.text
        session.add(Other(portrait=picture(1)))
        with pytest.raises(DBAPIError):
            session.commit()
    assert "cannot be asked" in caplog.text, "a column that was written has to be there"
    assert len(shop.files()) == 1, "that of the other application, which clean decides on"
    shop.close()


def test_a_row_of_a_class_mapped_meanwhile_keeps_its_file(shop):
    with shop.Session() as session:
        product = shop.Product(main_image=picture())
        session.add(product)
        session.commit()
        session.add(shop.Product(main_image=picture(2)))
        session.flush()

        class Poster(shop.models.Base):  # type: ignore[name-defined]  # as an import inside a view does
            __tablename__ = "poster"
            id: Mapped[int] = mapped_column(primary_key=True)
            face: Mapped[StoredImage | None] = mapped_column(ImageField("photos/"))

        Poster.__table__.create(session.connection())
        poster = Poster(face=product.main_image.source)
        session.add(poster)
        session.delete(product)
        session.commit()
        assert poster.face.name in shop.files()


def test_a_picture_that_moves_inside_a_shard_stays(shop):
    other = with_savepoints(create_engine(f"sqlite:///{shop.root}/b.db"))
    shop.models.Base.metadata.create_all(other)

    def chosen(mapper: Any, instance: Any, clause: Any = None) -> str:
        return "a" if instance is None else "b"

    make = sessionmaker(
        class_=ShardedSession,
        shards={"a": shop.engine, "b": other},
        shard_chooser=chosen,
        identity_chooser=lambda *_, **__: ["a", "b"],
        execute_chooser=lambda _: ["a", "b"],
    )
    with make() as session:
        one, two = shop.Product(id=1, main_image=picture()), shop.Product(id=2)
        session.add_all([one, two])
        session.commit()
        two.main_image, one.main_image = one.main_image.source, None
        session.commit()
        assert shop.files() == [two.main_image.name]
    other.dispose()


def test_a_name_that_reads_like_one_with_facts_is_refused(shop):
    name = "x.jpg|40x30|jpeg|123"
    for each in ("x.jpg", name):
        shop.app.storage("default").write(each, picture(), "image/jpeg")
    with shop.Session() as session:
        with pytest.raises(SpecError, match="rename the file"):
            session.add(shop.Product(main_image=Source("default", name)))
        session.rollback()
    assert shop.files() == ["x.jpg", name]


def grow_old(shop: Shop) -> None:
    """Let everything there be a day old."""
    for path in shop.media.rglob("*"):
        if path.is_file():
            os.utime(path, (time.time() - 90_000,) * 2)


def test_clean_and_commits_get_along_with_a_class_that_is_mapped_to_a_subquery(shop, forget):
    class Base(DeclarativeBase):
        pass

    forget(Base)

    class Hat(Base):
        __tablename__ = "hat"
        id: Mapped[int] = mapped_column(primary_key=True)
        pic: Mapped[StoredImage | None] = mapped_column(ImageField("photos/"))

    worn = select(Hat.__table__).where(Hat.__table__.c.id > 0).subquery()

    class Worn(Base):
        __table__ = worn
        __mapper_args__ = {"primary_key": [worn.c.id]}  # noqa: RUF012 - as SQLAlchemy has it

    Base.metadata.create_all(shop.engine)
    bind(Base, shop.Session)
    bind(shop.models.Base, shop.Session)
    with shop.Session() as session:
        hat: Any = Hat(pic=picture())
        session.add(hat)
        session.commit()
        hat.pic = picture(1)
        session.commit()
        place = shop.app.storage("default")
        place.write("photos/left.jpg", picture(3), "image/jpeg")
        write_note(place, Note("hat.pic", {"photos/left.jpg": "photos/left.jpg"}))
        grow_old(shop)
        assert clean(shop.app, older_than=3600, force=True).uploads == 1
        assert shop.files() == [hat.pic.name]


def test_clean_does_not_take_a_tenants_column_for_that_of_the_default_schema(tmp_path, postgres_url):
    shop = Shop(tmp_path, postgres_url)
    bind(shop.models.Base, shop.Session)
    tenant = shop.engine.execution_options(schema_translate_map={None: "tenant1"})
    with shop.engine.begin() as connection:
        connection.exec_driver_sql("CREATE SCHEMA tenant1")
        shop.models.Base.metadata.create_all(
            connection.execution_options(schema_translate_map={None: "tenant1"}), checkfirst=False
        )
    with shop.app:
        with Session(tenant) as session:
            session.add(shop.Product(main_image=picture()))
            session.flush()
            session.info.pop("easyimg.fields")  # the process is killed after the COMMIT: nothing is settled
            session.commit()
        [note] = shop.notes()
        grow_old(shop)
        done = clean(shop.app, older_than=3600, force=True)
        assert (done.uploads, done.unsettled, len(shop.files())) == (0, 1, 1), note
    shop.close()


def test_an_adopted_file_is_adopted_again_after_a_rollback(shop):
    with shop.Session() as session:
        source = shop.app.save_upload(picture(), prefix="photos/")
        product = shop.Product(main_image=source)
        session.add(product)
        session.flush()
        session.rollback()
        session.add(product)
        session.commit()
        assert shop.files() == [source.name] == [product.main_image.name]


@pytest.fixture
def two_databases(tmp_path, postgres_url, forget):
    """Products in SQLite, orders in PostgreSQL, which refuses equal numbers at the commit only."""

    class Base(DeclarativeBase):
        pass

    forget(Base)

    class Order(Base):
        __tablename__ = "easyimg_order"
        id: Mapped[int] = mapped_column(primary_key=True)
        number: Mapped[int]
        pic: Mapped[StoredImage | None] = mapped_column(ImageField("photos/"))

    shop = Shop(tmp_path)
    other = create_engine(postgres_url)
    Base.metadata.create_all(other)
    with other.begin() as connection:
        connection.exec_driver_sql(
            "ALTER TABLE easyimg_order ADD CONSTRAINT c UNIQUE (number) DEFERRABLE INITIALLY DEFERRED"
        )
    with shop.app:
        yield shop, other, Order
    other.dispose()
    shop.close()


@pytest.mark.filterwarnings("ignore:transaction already deassociated")  # SQLAlchemy, of the one that was committed
@pytest.mark.parametrize("is_delete", [True, False])
def test_of_two_databases_that_end_differently_each_keeps_what_it_names(two_databases, is_delete):
    shop, other, order = two_databases
    make = sessionmaker(binds={order: other, shop.models.Base: shop.engine})
    for _ in range(4):  # which of them is committed first differs
        with make() as session:
            product = shop.Product(main_image=picture())
            session.add(product)
            session.commit()
            if is_delete:
                session.delete(product)
            else:
                product.main_image = picture(1)
            session.flush()
            session.add_all([order(number=1), order(number=1)])
            with pytest.raises(DBAPIError):
                session.commit()
            session.rollback()
    assert shop.named() == shop.files()
    assert shop.notes() == []


@pytest.mark.parametrize("is_last", [True, False], ids=["last", "first"])
def test_the_broken_connection_may_be_any_of_the_sessions(two_databases, is_last):
    shop, other, order = two_databases
    make = sessionmaker(binds={order: other, shop.models.Base: shop.engine})

    def cut(connection: Any) -> None:
        """Commit on the server; then cut the line, so that the client learns nothing."""
        pid = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar()
        connection.connection.dbapi_connection.commit()
        connection.exec_driver_sql("SELECT 1")  # the driver asks nothing where nothing has begun
        with other.connect() as second:
            second.exec_driver_sql(f"SELECT pg_terminate_backend({pid})")

    session = make()
    added = [shop.Product(main_image=picture()), order(number=5, pic=picture(2))]
    for one in added if is_last else reversed(added):
        session.add(one)
        session.flush()
    event.listen(session.connection(bind_arguments={"mapper": order}), "commit", cut)
    with pytest.raises(DBAPIError):
        session.commit()
    session.close()
    with other.connect() as connection:
        [kept] = connection.execute(select(order.pic)).scalars()
    assert kept.name in shop.files()
