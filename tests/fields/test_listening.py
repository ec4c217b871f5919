"""``Img.queue`` and ``Img.queue_existing`` for mapped classes."""

from __future__ import annotations

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, scoped_session

from easyimg import EasyImg, Img, Source
from easyimg.errors import SpecError
from easyimg.fields import ImageField, StoredImage, bind
from easyimg.signals import file_post_save, queued_img
from tests.fields.conftest import picture

THUMB = Img(width=30, format="webp")


def save(shop, *objects):
    with shop.Session(expire_on_commit=False) as session:
        session.add_all(objects)
        session.commit()
    return objects


def queued(shop):
    return shop.app.metadata.counts(stale_after=0).queued


def test_a_save_queues_after_the_commit_and_rings_once(any_shop):
    shop = any_shop
    THUMB.queue(shop.Product, fields=["main_image"])
    with shop.Session() as session:
        product = shop.Product(main_image=picture(), back_image=picture(1))
        session.add(product)
        session.flush()
        assert queued(shop) == 0
        session.commit()
        source = product.main_image.source
    assert shop.bell.rung == [[source.id]]
    assert queued(shop) == len(THUMB.plan.specs)
    assert shop.app.metadata.inspect(source).info.size == (90, 60)


def test_what_did_not_change_is_not_queued_again(shop):
    THUMB.queue(shop.Product)
    (product,) = save(shop, shop.Product(main_image=picture()))
    shop.bell.rung.clear()
    with shop.Session() as session:
        session.add(product)
        product.name = "shoe"
        session.commit()
    assert shop.bell.rung == []


@pytest.mark.parametrize(("build", "files"), [("src", 1), ("srcset", 2), ("all", 3)])
def test_what_is_to_be_built_at_once_is_there_when_commit_returns(shop, build, files):
    THUMB.queue(shop.Product, build=build)
    save(shop, shop.Product(main_image=picture()))
    assert len(shop.variants()) == files


def test_a_rolled_back_upload_orders_and_builds_nothing(shop):
    THUMB.queue(shop.Product, build="all")
    with shop.Session() as session:
        session.add(shop.Product(main_image=picture()))
        session.flush()
        session.rollback()
    assert (shop.variants(), shop.bell.rung, queued(shop)) == ([], [], 0)


def test_signals_are_sent_after_the_commit_once_a_source(shop):
    THUMB.queue(shop.Product)
    seen = []

    def saved(**kwargs):
        seen.append(("saved", kwargs["source"], kwargs["info"].size))

    def ordered(**kwargs):
        seen.append(("queued", kwargs["source"]))

    with file_post_save.connected_to(saved), queued_img.connected_to(ordered), shop.Session() as session:
        product = shop.Product(main_image=picture())
        session.add(product)
        session.flush()
        assert seen == []
        session.commit()
        source = product.main_image.source
    assert seen == [("saved", source, (90, 60)), ("queued", source)]


def test_subclasses_bases_and_mixins_are_listened_to(shop):
    THUMB.queue(shop.Product, fields=["main_image"])
    Img(width=11).queue(shop.models.Base)
    Img(width=25).queue(shop.models.HasPhoto)
    boot, author = save(
        shop,
        shop.Shoe(main_image=picture(1), sole=picture(2)),
        shop.models.Author(first="A", last="B", photo=picture(3)),
    )
    numbers = [len(shop.app.metadata.inspect(image.source).variants) for image in (boot.main_image, boot.sole)]
    each = len(THUMB.plan.specs)
    assert numbers == [2 * each, each]
    assert len(shop.app.metadata.inspect(author.photo.source).variants) == 2 * each


def test_a_second_call_with_the_same_dispatch_uid_replaces_the_first(shop):
    Img(width=10).queue(shop.Product, dispatch_uid="thumb")
    THUMB.queue(shop.Product, dispatch_uid="thumb")
    THUMB.queue(shop.Product)
    save(shop, shop.Product(main_image=picture()))
    assert queued(shop) == len(THUMB.plan.specs)


def test_an_image_taken_in_by_another_easyimg_is_queued_there(shop, tmp_path):
    other = EasyImg(
        storages={"default": f"file://{tmp_path}/other"},
        metadata=f"sqlite:///{tmp_path}/other.db",
        queue="none",
        isolation="never",
    )
    THUMB.queue(shop.Product, build="src")
    save(shop, shop.Product(main_image=StoredImage.from_file(picture(), app=other)))
    assert queued(shop) == 0
    assert other.metadata.counts(stale_after=0).generated == 1
    assert shop.files() == []
    other.close()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda m: THUMB.queue(m.Product, fields=["main_imag"]),
            "of Product .* did you mean 'main_image'",
        ),
        (
            lambda m: THUMB.queue(m.Product, fields="name"),
            "'name' is no attribute of Product that holds images",
        ),
        (lambda m: THUMB.queue(m.Plain), "model: Plain has no column of ImageField"),
        (lambda m: THUMB.queue(m.Product, fields=str), "model: Product has no column of str"),
        (lambda m: THUMB.queue(dict), "is no model that easyimg can listen to"),
        (lambda m: THUMB.queue("Product"), "is no model that easyimg can listen to"),
        (lambda m: THUMB.queue(m.Product, build="everything"), "everything"),
    ],
)
def test_a_wrong_wish_is_refused_when_it_is_made(shop, call, words):
    with pytest.raises(SpecError, match=words):
        call(shop.models)


def test_listening_does_not_need_the_rest_of_the_models_to_be_there_yet():
    class Base(DeclarativeBase):
        pass

    class Early(Base):
        __tablename__ = "early"
        id: Mapped[int] = mapped_column(primary_key=True)
        photo: Mapped[StoredImage | None] = mapped_column(ImageField("photos/"))

    THUMB.queue(Early, fields="photo")
    Base.registry.dispose()


@pytest.mark.parametrize("how", ["session", "scoped", "maker", "engine", "connection", "bound"])
def test_existing_rows_are_queued_with_whatever_reads_them(any_shop, how):
    shop = any_shop
    save(shop, *(shop.Product(main_image=picture(n)) for n in range(3)), shop.Product(), shop.Shoe(sole=picture(5)))
    with shop.engine.begin() as connection:
        connection.execute(text("UPDATE product SET back_image = 'old.jpg' WHERE id = 1"))
    session, connection = shop.Session(), shop.engine.connect()
    bind(shop.models.Base, shop.Session)
    chosen = {
        "session": session,
        "scoped": scoped_session(shop.Session),
        "maker": shop.Session,
        "engine": shop.engine,
        "connection": connection,
        "bound": None,
    }[how]
    steps: list[int] = []
    assert THUMB.queue_existing(shop.Product, session=chosen, progress=steps.append) == 5
    assert sum(steps) == 5
    assert THUMB.queue_existing(shop.Product, session=chosen) == 0
    assert shop.app.metadata.inspect(Source("default", "old.jpg")) is not None
    session.close()
    connection.close()
    if how == "scoped":
        chosen.remove()


def test_existing_rows_are_read_in_pages_also_by_keys_of_two_columns(any_shop):
    shop = any_shop
    with shop.Session.begin() as session:
        rows = [{"first": f"{n // 40:03}", "last": f"{n % 40:03}", "photo": f"p/{n}.jpg"} for n in range(1001)]
        session.execute(shop.models.Author.__table__.insert(), rows)
    with shop.statements() as statements:
        assert THUMB.queue_existing(shop.models.HasPhoto, session=shop.Session) == 1001
    assert len([s for s in statements if s.startswith("SELECT")]) == 1 + 3


def test_only_the_rows_of_a_subclass_are_queued_for_it(shop):
    save(shop, shop.Product(main_image=picture(1)), shop.Shoe(main_image=picture(2), sole=picture(3)))
    assert THUMB.queue_existing(shop.Shoe, fields="main_image", session=shop.engine) == 1
    assert THUMB.queue_existing(shop.Shoe, session=shop.engine) == 1


def test_what_cannot_read_rows_is_a_clear_error(shop):
    with pytest.raises(SpecError, match="nothing says where the rows of Product are; give session="):
        THUMB.queue_existing(shop.Product)
    maker = async_sessionmaker(create_async_engine("sqlite+aiosqlite://"))
    for wrong in (maker, maker.kw["bind"], 7, create_engine):
        with pytest.raises(SpecError, match="is not a Session, sessionmaker or Engine"):
            THUMB.queue_existing(shop.Product, session=wrong)
    with pytest.raises(SpecError, match="base: 'Product' is not a class"):
        bind("Product", Session)
