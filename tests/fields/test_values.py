"""What attributes and columns hold: definitions, assignments, comparisons, JSON."""

from __future__ import annotations

import copy
import io
import json
import pickle

import pytest
from pydantic import BaseModel
from sqlalchemy import bindparam, func, insert, inspect, null, select, text, update
from sqlalchemy.exc import StatementError
from starlette.datastructures import UploadFile
from werkzeug.datastructures import FileStorage

from easyimg import Img, Source
from easyimg.errors import EasyImgError, SourceTooLarge, SourceUnreadable, SpecError, UnsafeName, UnsupportedFormat
from easyimg.fields import ImageField, StoredImage
from tests.fields.conftest import Shop, picture


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: ImageField("../"), UnsafeName, "'../x' has the part '..'"),
        (lambda: ImageField("/etc/"), UnsafeName, "is absolute"),
        (lambda: ImageField(7), SpecError, "prefix: 7 is not a string"),
        (lambda: ImageField(storage=""), SpecError, "storage: '' is not the alias"),
        (lambda: ImageField("photos/", length=100), SpecError, "length: 100 is too short; names below 'photos/' need"),
        (lambda: ImageField("a" * 200), SpecError, "length: 255 is too short"),
        (lambda: ImageField(length="255"), SpecError, "length: '255' is too short"),
    ],
)
def test_a_wrong_definition_is_refused_when_it_is_made(make, error, words):
    with pytest.raises(error, match=words):
        make()


@pytest.mark.parametrize(
    ("make", "readable"),
    [
        (lambda path: path.read_bytes(), "image"),
        (lambda path: path, "my-shoes"),
        (lambda path: path.open("rb"), "my-shoes"),
        (lambda path: FileStorage(io.BytesIO(path.read_bytes()), "Höhe 2.PNG"), "hohe-2"),
        (lambda path: UploadFile(io.BytesIO(path.read_bytes()), filename="../../etc/passwd"), "passwd"),
        (lambda path: StoredImage.from_file(path, name="the best"), "the-best"),
    ],
    ids=["bytes", "path", "file", "werkzeug", "starlette", "from_file"],
)
def test_every_kind_of_upload_can_be_assigned(shop, tmp_path, make, readable):
    path = tmp_path / "My shoes.png"
    path.write_bytes(picture())
    upload = make(path)
    product = shop.Product(main_image=upload)
    getattr(getattr(upload, "file", upload), "close", lambda: None)()
    assert not product.main_image.is_stored
    with shop.Session.begin() as session:
        session.add(product)
    (name,) = shop.files()
    assert name.startswith(f"photos/{readable}-")
    assert name.endswith(".jpg")
    assert (shop.media / name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("value", "error", "words"),
    [
        (b"", SourceUnreadable, "empty"),
        (b"<html>", UnsupportedFormat, "not a known image format"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", UnsupportedFormat, "found svg"),
        (b"\xff\xd8\xff\xe0 not really", SourceUnreadable, "."),
        (FileStorage(), SourceUnreadable, "empty"),
        (picture() + b"\0" * 300_000, SourceTooLarge, "300,000"),
        ("/etc/passwd", SpecError, "main_image: '/etc/passwd' is text; give an upload, pathlib.Path"),
        ("", SpecError, "main_image: '' is text"),
        (7, SpecError, "7 is not bytes, a pathlib.Path, a binary file or an upload"),
        (Source("other", "a.jpg"), SpecError, "'a.jpg' is in storage 'other'; this column keeps files of 'default'"),
        (Source("default", "a" * 300), SpecError, "300 characters; the column holds 255"),
    ],
)
def test_what_cannot_be_an_image_is_refused_at_the_assignment(tmp_path, value, error, words):
    shop = Shop(tmp_path, max_bytes=300_000)
    with shop.app:
        product = shop.Product(main_image=picture())
        before = product.main_image
        with pytest.raises(error, match=words):
            product.main_image = value
        assert product.main_image is before
        with pytest.raises(error, match=words):
            shop.Product(main_image=value)
    shop.close()
    assert shop.files() == []


def test_the_facts_are_there_at_once_and_cost_no_query_later(shop):
    product = shop.Product(main_image=picture(orientation=6))
    image = product.main_image
    assert (image.width, image.height, image.format, image.ratio) == (90, 60, "jpeg", 1.5)
    assert (image.name, str(image), image.url, image.source) == ("", "", None, None)
    with shop.Session() as session:
        session.add_all([product, *(shop.Product(main_image=picture(n, 40, 30)) for n in range(1, 5))])
        session.commit()
    with shop.Session() as session, shop.statements() as statements:
        images = [product.main_image for product in session.scalars(select(shop.Product).order_by(shop.Product.id))]
        assert [(i.width, i.height, i.url, i.bytes) for i in images] == [
            (i.width, i.height, f"/media/{i.name}", (shop.media / i.name).stat().st_size) for i in images
        ]
        assert [i.width for i in images] == [90, 40, 40, 40, 40]
        assert len([s for s in statements if s.startswith("SELECT")]) == 1


def test_an_image_is_shown_by_img_and_an_absent_or_unsaved_one_is_nothing(shop):
    product = shop.Product(main_image=picture())
    assert str(Img(width=30)(product.main_image, alt="")) == ""
    assert str(Img(width=30)(product.back_image, alt="")) == ""
    with shop.Session() as session:
        session.add(product)
        session.commit()
        html = str(Img(width=30)(product.main_image, alt="Shoe"))
    assert f'src="/media/{shop.files()[0]}"' in html
    assert 'width="30" height="20"' in html


def test_bare_names_of_older_columns_are_read_and_found(any_shop):
    shop = any_shop
    with shop.engine.begin() as connection:
        connection.execute(text("INSERT INTO product (id, kind, main_image) VALUES (7, 'product', 'old/a|b.jpg')"))
        connection.execute(text("INSERT INTO product (id, kind, main_image) VALUES (8, 'product', '')"))
    with shop.Session() as session:
        image = session.get(shop.Product, 7).main_image
        assert (image.name, image.width, image.ratio, image.url) == ("old/a|b.jpg", None, None, "/media/old/a%7Cb.jpg")
        assert session.get(shop.Product, 8).main_image is None
        found = session.scalars(select(shop.Product.id).where(shop.Product.main_image == "old/a|b.jpg")).all()
        assert found == [7]


def test_images_are_compared_by_their_names(any_shop):
    shop = any_shop
    with shop.Session() as session:
        session.add_all([shop.Product(id=n, main_image=picture(n)) for n in (1, 2)] + [shop.Product(id=3)])
        session.commit()
        one, two, three = (session.get(shop.Product, n) for n in (1, 2, 3))

        def ids(condition):
            return sorted(session.scalars(select(shop.Product.id).where(condition)))

        column = shop.Product.main_image
        for same in (one.main_image, one.main_image.source, one.main_image.name):
            assert ids(column == same) == [1]
            assert ids(column.in_([same, two.main_image])) == [1, 2]
        assert ids(column == one.main_image) == [1]
        assert ids(one.main_image == column) == [1]
        assert ids(column != one.main_image) == [2]
        assert ids(column.in_([])) == []
        assert ids(column.not_in([one.main_image.name])) == [2]
        assert ids(column.is_(None)) == ids(column == None) == [3]  # noqa: E711 - SQLAlchemy's way
        assert ids(column.like("photos/%")) == ids(column.startswith("photos/")) == [1, 2]
        assert ids(column == one.main_image.name[:-1]) == []
        assert session.scalar(select(func.max(column))).name in (one.main_image.name, two.main_image.name)
        assert three.main_image is None


def test_values_are_equal_by_address_hashable_copied_and_pickled(shop):
    one, same, other = StoredImage("a.jpg"), StoredImage("a.jpg", width=3), StoredImage("a.jpg", "other")
    assert one == same
    assert one != other
    assert one != "a.jpg"
    assert {one, same, other} == {one, other}
    assert pickle.loads(pickle.dumps(same)) == copy.deepcopy(same) == copy.copy(same) == one
    assert pickle.loads(pickle.dumps(same)).width == 3
    assert bool(one)
    fresh, again = (StoredImage.from_file(picture()) for _ in range(2))
    assert fresh != again
    assert fresh == copy.copy(fresh) == copy.deepcopy(fresh)
    assert len({fresh, again}) == 2
    with pytest.raises(TypeError, match="pickled once it is stored"):
        pickle.dumps(fresh)
    with pytest.raises(AttributeError):
        one.name = "b.jpg"


def test_an_image_is_written_as_json(shop):
    class Shown(BaseModel):
        image: StoredImage | None

    image = StoredImage("photos/a.jpg", "default", 90, 60, "jpeg", 1234)
    values = {
        "name": "photos/a.jpg",
        "storage": "default",
        "url": "/media/photos/a.jpg",
        "width": 90,
        "height": 60,
        "format": "jpeg",
        "bytes": 1234,
    }
    assert image.as_dict() == values
    assert json.loads(Shown(image=image).model_dump_json()) == {"image": values}
    assert Shown(image=None).model_dump_json() == '{"image":null}'
    properties = Shown.model_json_schema(mode="serialization")["properties"]["image"]["anyOf"][0]["properties"]
    assert set(properties) == set(values)


def test_a_source_is_adopted_without_a_copy(shop):
    source = shop.app.save_upload(picture(), prefix="photos/")
    with shop.Session() as session:
        product = shop.Product(main_image=source)
        session.add(product)
        session.flush()
        session.rollback()
        assert shop.files() == [source.name]  # it was there before
        product = shop.Product(main_image=source)
        session.add(product)
        session.commit()
        assert shop.files() == shop.named() == [source.name]
        assert product.main_image == StoredImage(source.name)
        session.delete(product)
        session.commit()
    assert shop.files() == []


def test_a_file_that_two_rows_name_stays_until_the_last_lets_go(any_shop):
    shop = any_shop
    (shop.media / "none.png").write_bytes(picture())
    with shop.engine.begin() as connection:
        for number in (1, 2):
            row = f"({number}, 'product', 'none.png')"
            connection.execute(text(f"INSERT INTO product (id, kind, main_image) VALUES {row}"))
    with shop.Session() as session:
        session.get(shop.Product, 1).main_image = picture(1)
        session.commit()
        assert "none.png" in shop.files()
        session.delete(session.get(shop.Product, 2))
        session.commit()
        assert "none.png" not in shop.files()


def test_an_image_whose_file_is_gone_cannot_be_copied(shop):
    with shop.Session() as session:
        session.add(shop.Product(main_image=StoredImage("photos/gone.jpg")))
        with pytest.raises(EasyImgError, match=r"no file 'photos/gone.jpg'"):
            session.flush()


def test_sql_expressions_are_left_alone(shop):
    with shop.Session() as session:
        product = shop.Product(main_image=picture())
        session.add(product)
        session.commit()
        product.main_image = null()
        product.back_image = select(func.lower("a.jpg")).scalar_subquery()
        session.commit()
        assert product.main_image is None
        assert product.back_image.name == "a.jpg"
    assert shop.files() == []


def test_an_image_of_another_storage_is_found_in_no_row(any_shop):
    shop = any_shop
    with shop.Session() as session:
        names = enumerate(["a.jpg", "b.jpg", None], 1)
        session.execute(insert(shop.Product), [{"id": n, "kind": "product", "main_image": name} for n, name in names])
        column = shop.Product.main_image
        ours, strange = Source("default", "a.jpg"), [Source("archive", "a.jpg"), StoredImage("a.jpg", "archive")]
        for one in strange:
            assert found(session, shop, column == one) == []
            assert found(session, shop, column != one) == [1, 2]
            assert found(session, shop, column.in_([ours, one])) == [1]
            assert found(session, shop, column.not_in([ours, one])) == [2]
        assert found(session, shop, column.in_(strange)) == []
        assert found(session, shop, column.not_in(strange)) == [1, 2]
        assert found(session, shop, column.in_([])) == []


def found(session, shop, condition):
    return session.scalars(select(shop.Product.id).where(condition).order_by(shop.Product.id)).all()


def test_statements_take_what_is_stored_and_refuse_uploads(any_shop):
    shop = any_shop
    source = shop.app.save_upload(picture())
    with shop.Session() as session:
        rows = [{"id": 1, "main_image": source}, {"id": 2, "main_image": "b.jpg"}, {"id": 3, "main_image": None}]
        session.execute(insert(shop.Product), [{"kind": "product", **row} for row in rows])
        session.execute(update(shop.Product).where(shop.Product.id == 3).values(main_image=StoredImage("c.jpg")))
        session.bulk_save_objects([shop.Product(id=4, main_image=source)])
        session.commit()
        assert shop.named() == sorted([source.name, source.name, "b.jpg", "c.jpg"])
        images = (StoredImage.from_file(picture()), picture(), Source("other", "a.jpg"))
        for image, words in zip(images, ("is not stored", "is not stored", "in storage 'other'"), strict=True):
            with pytest.raises(StatementError, match=words):
                session.execute(insert(shop.Product), [{"id": 9, "kind": "product", "main_image": image}])
            session.rollback()
        with pytest.raises(StatementError, match="is not stored"):
            session.bulk_save_objects([shop.Product(id=9, main_image=picture())])
    query = select(shop.Product.id).where(shop.Product.main_image == bindparam("image"))
    with shop.engine.connect() as connection:
        assert connection.execute(query, {"image": StoredImage("c.jpg")}).scalars().all() == [3]
    assert shop.files() == [source.name]


def test_the_column_is_a_plain_varchar_in_the_database(any_shop):
    columns = {column["name"]: column["type"] for column in inspect(any_shop.engine).get_columns("product")}
    assert columns["main_image"].length == 255
    assert columns["main_image"].__visit_name__ == "VARCHAR"
    assert any_shop.Product.__table__.c.main_image.type.python_type is StoredImage
