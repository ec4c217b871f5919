"""The ways in which sites have their models: Flask-SQLAlchemy, SQLModel, dataclasses, async sessions, Alembic."""

from __future__ import annotations

import asyncio
import dataclasses
import io
import sys
import threading
from typing import Any

import anyio
import httpx
import pytest
from alembic.autogenerate import produce_migrations, render_python_code
from alembic.migration import MigrationContext
from fastapi import FastAPI
from fastapi import UploadFile as FormFile
from flask import Flask, request
from flask_sqlalchemy import SQLAlchemy
from flask_sqlalchemy.model import Model
from sqlalchemy import Column, Integer, MetaData, String, Table, create_engine, inspect, select
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedAsDataclass, Session, mapped_column, registry
from sqlmodel import Field, SQLModel
from starlette.datastructures import UploadFile

from easyimg import Img
from easyimg.errors import SourceUnreadable
from easyimg.fields import ImageField, StoredImage, render_item
from easyimg.signals import file_post_save
from tests.fields.conftest import picture, with_savepoints


class FlaskBase(DeclarativeBase):
    pass


def test_flask_sqlalchemy_stores_what_a_form_sent_and_undoes_what_a_view_did_not_commit(shop, tmp_path):
    db = SQLAlchemy(model_class=FlaskBase)
    app = Flask(__name__)
    app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{tmp_path}/flask.db"
    db.init_app(app)

    class Item(db.Model):  # type: ignore[name-defined]
        id: Mapped[int] = mapped_column(primary_key=True)
        photo: Mapped[StoredImage | None] = mapped_column(ImageField("items/"))

    assert issubclass(Item, Model)
    Img(width=30).queue(Item)

    @app.post("/<how>")
    def upload(how: str) -> Any:
        item = Item(photo=request.files["photo"])
        db.session.add(item)
        db.session.flush()
        if how == "fail":
            raise ZeroDivisionError
        if how == "commit":
            db.session.commit()
        return {"photo": item.photo.as_dict()}

    with app.app_context():
        db.create_all()
    client = app.test_client()

    def post(how: str, data: bytes) -> Any:
        return client.post(f"/{how}", data={"photo": (io.BytesIO(data), "My shoe.jpeg")})

    assert post("fail", picture()).status_code == 500
    assert post("forget", picture()).status_code == 200
    assert shop.files() == []
    assert shop.bell.rung == []
    answer = post("commit", picture()).json["photo"]
    assert shop.files() == [answer["name"]]
    assert answer["url"] == f"/media/{answer['name']}"
    assert answer["name"].startswith("items/my-shoe-")
    assert len(shop.bell.rung) == 1
    with app.app_context():
        assert Img(width=30).queue_existing(Item, session=db.session) == 0
        db.session.delete(db.session.scalars(select(Item)).one())
        db.session.commit()
        for engine in db.engines.values():
            engine.dispose()
    assert shop.files() == []
    FlaskBase.registry.dispose()


def test_sqlmodel_classes_hold_images_and_write_them_as_json(shop):
    class Base(SQLModel, registry=registry()):
        pass

    class Pet(Base, table=True):
        id: int | None = Field(default=None, primary_key=True)
        photo: StoredImage | None = Field(default=None, sa_column=Column(ImageField("pets/")))

    Img(width=30).queue(Pet)
    Pet.metadata.create_all(shop.engine)
    with Session(shop.engine) as session:
        with pytest.raises(SourceUnreadable, match="empty"):
            Pet(photo=b"")
        pet = Pet(photo=picture())  # SQLModel keeps the bytes in the attribute until the flush
        assert Pet(photo=StoredImage.from_file(picture())).photo.width == 90
        session.add(pet)
        session.commit()
        session.refresh(pet)
        assert shop.files() == [pet.photo.name]
        assert len(shop.bell.rung) == 1
        assert pet.model_dump(mode="json")["photo"] == pet.photo.as_dict()
        pet.photo = picture(2)  # type: ignore[assignment]
        session.flush()
        assert len(shop.files()) == 2
        session.rollback()
        session.delete(pet)
        session.commit()
    assert shop.files() == []
    Base._sa_registry.dispose()


def test_dataclass_mapped_classes_take_uploads_as_arguments(shop):
    class Base(MappedAsDataclass, DeclarativeBase):
        pass

    class Card(Base):
        __tablename__ = "card"
        id: Mapped[int] = mapped_column(primary_key=True, init=False)
        photo: Mapped[StoredImage | None] = mapped_column(ImageField("cards/"), default=None)

    Base.metadata.create_all(shop.engine)
    with pytest.raises(SourceUnreadable, match="empty"):
        Card(photo=b"")
    with Session(shop.engine) as session:
        cards = [Card(photo=picture()), Card()]
        session.add_all(cards)
        session.commit()
        assert [cards[0].photo.name] == shop.files()
        assert cards[1].photo is None
    Base.registry.dispose()


def decorated(mapping: registry) -> Any:
    @mapping.mapped_as_dataclass
    class Decorated:
        __tablename__ = "decorated"
        id: Mapped[int] = mapped_column(primary_key=True, init=False)
        photo: Mapped[StoredImage | None] = mapped_column(ImageField("cards/"), default=None)

    return Decorated


def imperative(mapping: registry) -> Any:
    @dataclasses.dataclass
    class Imperative:
        photo: Any = None

    columns: list[Any] = [Column("id", Integer, primary_key=True), Column("photo", ImageField("cards/"))]
    mapping.map_imperatively(Imperative, Table("imperative", mapping.metadata, *columns))
    return Imperative


@pytest.mark.parametrize("make", [decorated, imperative])
def test_dataclasses_mapped_by_a_registry_store_keep_undo_and_delete(shop, make):
    mapping = registry()
    cls = make(mapping)
    Img(width=30).queue(cls)
    mapping.metadata.create_all(shop.engine)
    with pytest.raises(SourceUnreadable, match="empty"):
        cls(photo=b"")
    with Session(shop.engine) as session:
        session.add(cls(photo=picture()))
        session.flush()
        assert len(shop.files()) == 1
        session.rollback()
        assert (shop.files(), shop.bell.rung) == ([], [])
        card = cls(photo=picture())
        session.add(card)
        session.commit()
        assert [card.photo.name] == shop.files()
        assert len(shop.bell.rung) == 1
        session.delete(card)
        session.commit()
    assert shop.files() == []
    mapping.dispose()


# Async sessions.


@pytest.fixture
def run(shop):
    """Return a function that runs a coroutine function with an AsyncEngine on the shop's database."""

    def run(work: Any) -> Any:
        async def main() -> Any:
            engine = create_async_engine(f"sqlite+aiosqlite:///{shop.root}/shop.db")
            with_savepoints(engine.sync_engine)
            try:
                return await work(engine)
            finally:
                await engine.dispose()

        return asyncio.run(main())

    return run


def test_async_sessions_store_keep_and_undo(shop, run):
    Img(width=30).queue(shop.Product, build="src")

    async def work(engine: Any) -> None:
        async with AsyncSession(engine) as session:
            upload = UploadFile(io.BytesIO(picture()), filename="Shoe.jpeg")
            product = shop.Product(name="a", main_image=await StoredImage.from_upload(upload))
            await upload.close()
            session.add(product)
            await session.commit()
            (first,) = shop.files()
            assert first.startswith("photos/shoe-")
            assert len(shop.variants()) == 1
            product.main_image = picture(2)  # expired by the commit: must not be loaded here
            await session.flush()
            assert len(shop.files()) == 2
            await session.rollback()
            assert shop.files() == [first]
            async with session.begin_nested() as savepoint:
                session.add(shop.Product(main_image=picture(3)))
                await session.flush()
                await savepoint.rollback()
            assert len(shop.files()) == 2  # nothing is deleted while the transaction is open
            await session.refresh(product)
            product.main_image = picture(4)
            await session.commit()
            await session.refresh(product)
            assert shop.files() == [product.main_image.name] != [first]
        async with AsyncSession(engine) as session:
            session.add(shop.Product(main_image=picture(5)))
            await session.flush()
        assert shop.files() == [product.main_image.name]

    run(work)
    assert shop.notes() == []


@pytest.mark.parametrize("moment", ["before the flush", "after the flush"])
def test_an_exception_in_a_view_of_fastapi_leaves_no_file_no_row_and_no_message(shop, run, moment):
    Img(width=30).queue(shop.Product)

    async def work(engine: Any) -> None:
        site = FastAPI()

        @site.post("/products")
        async def create(photo: FormFile, fails: bool) -> str:
            async with AsyncSession(engine) as session, session.begin():
                session.add(product := shop.Product(main_image=await StoredImage.from_upload(photo)))
                if moment == "after the flush":
                    await session.flush()
                if fails:
                    raise ZeroDivisionError
            return str(inspect(product).identity)

        transport = httpx.ASGITransport(site, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:

            async def send(*, fails: bool) -> int:
                form = {"params": {"fails": fails}, "files": {"photo": ("shoe.jpg", picture())}}
                return (await client.post("/products", **form)).status_code

            assert await send(fails=True) == 500
            assert (shop.files(), shop.notes(), shop.named(), shop.bell.rung) == ([], [], [], [])
            assert shop.app.metadata.counts(stale_after=0).sources == 0
            assert await send(fails=False) == 200
            assert shop.files() == shop.named()
            assert len(shop.bell.rung) == 1

    run(work)


def test_async_sessions_store_off_the_event_loop(shop, run, monkeypatch):
    place, threads = shop.app.storage("default"), set()
    write = place.write

    def noted(*args: Any) -> None:
        threads.add(threading.get_ident())
        write(*args)

    monkeypatch.setattr(place, "write", noted)

    def saved(**kwargs: Any) -> None:
        threads.add(threading.get_ident())

    async def work(engine: Any) -> None:
        async with AsyncSession(engine) as session:
            session.add(shop.Product(main_image=await StoredImage.from_upload(picture())))
            await session.commit()
        assert threads
        assert threading.get_ident() not in threads

    with file_post_save.connected_to(saved):
        run(work)


@pytest.mark.parametrize("how", ["once", "twice", "by anyio"])
def test_a_task_cancelled_while_it_stores_leaves_nothing(shop, run, monkeypatch, how):
    place = shop.app.storage("default")
    write = place.write
    begun, go_on = threading.Event(), threading.Event()

    def slow(name: str, *args: Any) -> None:
        if name.startswith("photos/"):
            begun.set()
            assert go_on.wait(30)
        write(name, *args)

    monkeypatch.setattr(place, "write", slow)

    async def store(engine: Any) -> None:
        async with AsyncSession(engine) as session:
            session.add(shop.Product(main_image=picture()))
            await session.commit()

    async def store_in_scope(engine: Any) -> None:
        with anyio.CancelScope() as scope:  # as Starlette has around each request; it cancels again and again
            scopes.append(scope)
            await store(engine)
        if scope.cancelled_caught:
            raise asyncio.CancelledError

    scopes: list[anyio.CancelScope] = []

    async def work(engine: Any) -> None:
        task = asyncio.create_task((store_in_scope if how == "by anyio" else store)(engine))
        assert await asyncio.to_thread(begun.wait, 30)
        if how == "by anyio":
            scopes[0].cancel()
        else:
            task.cancel()
        await asyncio.sleep(0.05)
        if how == "twice":
            task.cancel()
            await asyncio.sleep(0.05)
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(work)
    assert (shop.files(), shop.notes(), shop.named()) == ([], [], [])


def test_from_upload_refuses_early(shop):
    with pytest.raises(SourceUnreadable, match="empty"):
        asyncio.run(StoredImage.from_upload(b""))


# Alembic.


class Photo(ImageField):
    """A site's own kind of column."""

    cache_ok = True


@pytest.mark.parametrize(
    ("kind", "options", "expected"),
    [
        (ImageField, {}, "easyimg.fields.ImageField('photos/', storage='media', length=300)"),
        (ImageField, {"render_item": render_item}, "sa.String(length=300)"),
        (Photo, {}, "tests.fields.test_frameworks.Photo('photos/', storage='media', length=300)"),
    ],
)
def test_alembic_writes_a_migration_that_runs(tmp_path, kind, options, expected):
    metadata = MetaData()
    engine = create_engine(f"sqlite:///{tmp_path}/m.db")
    Table("product", metadata, Column("photo", kind("photos/", storage="media", length=300)), Column("a", String))
    with engine.begin() as connection:
        context = MigrationContext.configure(connection, opts={"target_metadata": metadata, **options})
        migration = produce_migrations(context, metadata)
        code = render_python_code(migration.upgrade_ops, migration_context=context, **options)
        assert expected in code
        import sqlalchemy as sa
        from alembic.operations import Operations

        import easyimg.fields

        names = {"sa": sa, "op": Operations(context), "easyimg": easyimg, "tests": sys.modules["tests"]}
        exec("if True:\n    " + code.strip(), names)
        assert not produce_migrations(context, metadata).upgrade_ops.ops
    engine.dispose()


def test_a_migration_from_a_plain_column_changes_its_length_alone(tmp_path):
    engine = create_engine(f"sqlite:///{tmp_path}/m.db")
    metadata = MetaData()
    Table("product", metadata, Column("photo", ImageField("photos/")))
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE product (photo VARCHAR(100))")
        context = MigrationContext.configure(connection, opts={"target_metadata": metadata})
        code = render_python_code(produce_migrations(context, metadata).upgrade_ops, render_item=render_item)
    assert "existing_type=sa.VARCHAR(length=100)" in code
    assert "type_=sa.String(length=255)" in code
    engine.dispose()
