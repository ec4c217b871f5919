"""A file that more than one row names, or that moves: no committed row ever loses its file."""

from __future__ import annotations

import logging
from contextlib import contextmanager, nullcontext

import pytest
from sqlalchemy import create_engine, delete, event, insert, select, text, update
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.orm.exc import StaleDataError

from easyimg import Img, Source
from easyimg.clean import clean
from easyimg.errors import SourceNotFound
from easyimg.fields import ImageField, StoredImage, bind
from tests.fields.conftest import Shop, picture
from tests.fields.test_clean_uploads import HOUR, age


def stored(shop, session, **values):
    """Return a committed row."""
    row = shop.Product(**values)
    session.add(row)
    session.commit()
    return row


def legacy(shop, session, name, rows=1):
    """Return committed rows that name a file which no flush has stored."""
    path = shop.media / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(picture(9))
    products = [shop.Product() for _ in range(rows)]
    session.add_all(products)
    session.flush()
    session.execute(update(shop.Product).values(main_image=name))
    session.commit()
    return products


def shared_and_one_deleted(shop, session):
    source = shop.app.save_upload(picture(), prefix="photos/")
    rows = [shop.Product(main_image=source) for _ in range(2)]
    session.add_all(rows)
    session.commit()
    yield
    session.delete(rows[0])


def shared_and_one_replaced(shop, session):
    first = stored(shop, session, main_image=picture())
    stored(shop, session, main_image=first.main_image.source)
    yield
    first.main_image = picture(2)


def shared_and_the_second_deleted(shop, session):
    """It holds the bare name, and the first the name with its facts."""
    first = stored(shop, session, main_image=picture())
    second = stored(shop, session, main_image=first.main_image.source)
    yield
    session.delete(second)


def moved_in_one_flush(shop, session):
    first, second = stored(shop, session, main_image=picture()), stored(shop, session)
    yield
    second.main_image, first.main_image = first.main_image.source, None


def moved_back_to_an_earlier_row(shop, session):
    first, second = stored(shop, session), stored(shop, session, main_image=picture())
    yield
    first.main_image, second.main_image = second.main_image.source, None


def moved_in_two_flushes(shop, session):
    first, second = stored(shop, session, main_image=picture()), stored(shop, session)
    yield
    source, first.main_image = first.main_image.source, None
    session.flush()
    second.main_image = source


def moved_from_a_row_that_is_deleted(shop, session):
    first = stored(shop, session, main_image=picture())
    yield
    session.add(shop.Product(main_image=first.main_image.source))
    session.delete(first)


def moved_to_another_class(shop, session):
    first = stored(shop, session, main_image=picture())
    yield
    session.add(shop.models.Author(first="Jane", last="Doe", photo=first.main_image.source))
    session.delete(first)


def moved_between_columns(shop, session):
    row = stored(shop, session, main_image=picture())
    yield
    row.back_image, row.main_image = row.main_image.source, None


def legacy_moved_between_columns(shop, session):
    (row,) = legacy(shop, session, "old.jpg")
    yield
    row.back_image, row.main_image = row.main_image.source, None


def emptied_and_given_back(shop, session):
    row = stored(shop, session, main_image=picture())
    yield
    source, row.main_image = row.main_image.source, None
    session.flush()
    row.main_image = source


def emptied_and_given_back_in_savepoints(shop, session):
    row = stored(shop, session, main_image=picture())
    yield
    with session.begin_nested():
        source, row.main_image = row.main_image.source, None
    with session.begin_nested():
        row.main_image = source


def given_back_after_a_savepoint_that_was_rolled_back(shop, session):
    row = stored(shop, session)
    yield
    savepoint = session.begin_nested()
    row.main_image = picture()
    session.flush()
    source = row.main_image.source
    savepoint.rollback()
    row.main_image = source


def legacy_shared_with_a_name_like_ours(shop, session):
    rows = legacy(shop, session, "photos/default-20230101.png", rows=2)
    yield
    rows[0].main_image = picture(3)


def copied_by_a_statement(shop, session):
    row = stored(shop, session, main_image=picture())
    session.execute(insert(shop.Product).values(main_image=row.main_image))
    session.commit()
    yield
    session.delete(row)


def copied_by_a_statement_of_the_same_transaction(shop, session):
    row = stored(shop, session, main_image=picture())
    yield
    session.execute(insert(shop.Product).values(back_image=row.main_image))
    row.main_image = None


CASES = [
    shared_and_one_deleted,
    shared_and_one_replaced,
    shared_and_the_second_deleted,
    moved_in_one_flush,
    moved_back_to_an_earlier_row,
    moved_in_two_flushes,
    moved_from_a_row_that_is_deleted,
    moved_to_another_class,
    moved_between_columns,
    legacy_moved_between_columns,
    emptied_and_given_back,
    emptied_and_given_back_in_savepoints,
    given_back_after_a_savepoint_that_was_rolled_back,
    legacy_shared_with_a_name_like_ours,
    copied_by_a_statement,
    copied_by_a_statement_of_the_same_transaction,
]


@contextmanager
def undone(session):
    savepoint = session.begin_nested()
    yield
    session.flush()
    savepoint.rollback()


WAYS = {"plain": lambda _: nullcontext(), "released": lambda session: session.begin_nested(), "undone": undone}


def check(shop):
    """Every row has its file, and nothing else is there."""
    assert set(shop.files()) == shop.all_named() != set()
    assert shop.notes() == []


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", CASES)
def test_no_row_loses_its_file_and_the_last_one_takes_it_along(shop, case, way):
    with shop.Session() as session:
        steps = case(shop, session)
        next(steps)
        before = shop.all_named()
        with WAYS[way](session):
            assert next(steps, "done") == "done"
        session.commit()
        if way == "undone":
            assert shop.all_named() == before
        if before or way != "undone":
            check(shop)
        for model in (shop.Product, shop.models.Author):
            for row in session.scalars(select(model)):
                session.delete(row)
        session.commit()
    assert (shop.files(), shop.notes()) == ([], [])


@pytest.mark.parametrize("case", CASES)
def test_no_row_loses_its_file_in_any_database(any_shop, case):
    with any_shop.Session() as session:
        steps = case(any_shop, session)
        next(steps)
        next(steps, None)
        session.commit()
    check(any_shop)


@pytest.mark.parametrize("case", CASES)
def test_a_rollback_of_all_of_it_changes_nothing(shop, case):
    with shop.Session() as session:
        steps = case(shop, session)
        next(steps)
        before = shop.files()
        next(steps, None)
        session.flush()
        session.rollback()
    assert shop.files() == before
    assert set(before) == shop.all_named()
    assert shop.notes() == []


def test_a_moved_image_is_queued_for_its_new_row_and_keeps_its_variants(shop):
    Img(width=30).queue(shop.Product, build="all")
    with shop.Session() as session:
        first, second = stored(shop, session, main_image=picture()), stored(shop, session)
        variants = shop.variants()
        second.main_image, first.main_image = first.main_image.source, None
        session.commit()
    assert shop.variants() == variants != []


def test_a_source_that_names_no_file_is_refused_by_the_flush(shop):
    with shop.Session() as session:
        session.add(shop.Product(main_image=Source("default", "nothing.jpg")))
        with pytest.raises(SourceNotFound, match=r"no file 'nothing\.jpg'") as caught:
            session.commit()
        session.rollback()
    assert caught.value.__notes__ == ["while it was given to product.main_image"]
    assert shop.all_named() == set()


# Databases that do not roll back.


@pytest.fixture
def plain(tmp_path):
    """A shop on SQLite as its driver is out of the box: it begins no transaction before a savepoint."""
    shop = Shop(tmp_path)
    shop.engine.dispose()
    shop.engine = create_engine(f"sqlite:///{tmp_path}/shop.db")
    shop.Session.configure(bind=shop.engine)
    with shop.app:
        yield shop
    shop.close()


def test_a_savepoint_that_sqlites_driver_has_committed_keeps_its_file(plain, caplog):
    with plain.Session() as session, caplog.at_level(logging.WARNING, "easyimg"):
        with session.begin_nested():
            session.add(plain.Product(main_image=picture()))
        session.rollback()
    assert len(plain.named()) == 1  # if this fails, the driver was mended, and this test can go
    assert plain.files() == plain.named()
    assert "its database did not" in caplog.text


def test_a_savepoint_that_sqlites_driver_rolls_back_leaves_no_file(plain):
    with plain.Session() as session:
        with session.begin_nested() as savepoint:
            session.add(plain.Product(main_image=picture()))
            session.flush()
            savepoint.rollback()
        session.commit()
    assert plain.files() == plain.named() == []


def test_an_engine_that_commits_every_statement_keeps_the_file_of_what_it_did_not_roll_back(plain):
    engine = plain.engine.execution_options(isolation_level="AUTOCOMMIT")
    with Session(engine) as session:
        session.add(plain.Product(main_image=picture()))
        session.flush()
        session.rollback()
    assert len(plain.named()) == 1
    assert plain.files() == plain.named()


def test_a_table_whose_engine_knows_no_transactions_keeps_its_files(tmp_path, mysql_url):
    shop = Shop(tmp_path, mysql_url)
    with shop.engine.begin() as connection:
        connection.execute(text("ALTER TABLE author ENGINE=MyISAM"))
    with shop.app, shop.Session() as session:
        session.add(shop.models.Author(first="Jane", last="Doe", photo=picture()))
        session.flush()
        session.rollback()
        assert shop.all_named() == set(shop.files()) != set()
    shop.close()


# Transactions of others.


def test_a_session_that_has_joined_a_transaction_deletes_nothing_of_it(shop):
    """As in the recipe of many test suites: what the session commits is undone afterwards."""
    with shop.Session() as session:
        kept = stored(shop, session, main_image=picture()).main_image.name
    with shop.engine.connect() as connection:
        outer = connection.begin()
        with Session(connection, join_transaction_mode="create_savepoint") as session:
            session.delete(session.scalars(select(shop.Product)).one())
            session.commit()
            assert session.scalars(select(shop.Product)).all() == []
            session.add(shop.Product(main_image=picture(2)))
            session.flush()
            assert len(shop.files()) == 2
            session.rollback()
            assert shop.files() == [kept]
        outer.rollback()
    assert shop.files() == shop.named() == [kept]


def test_what_such_a_session_let_go_of_is_left_to_clean(shop):
    with shop.Session() as session:
        stored(shop, session, main_image=picture())
    with shop.engine.begin() as connection, Session(connection) as session:
        session.delete(session.scalars(select(shop.Product)).one())
        session.commit()
    assert len(shop.files()) == len(shop.notes()) == 1
    bind(shop.models.Base, shop.Session)
    age(shop)
    assert clean(shop.app, older_than=HOUR).uploads == 1
    assert (shop.files(), shop.notes()) == ([], [])


def test_a_connection_of_the_site_is_left_as_it_was(shop):
    with shop.engine.connect() as connection, Session(connection) as session:
        row = stored(shop, session, main_image=picture())
        session.delete(row)
        session.commit()
        assert not connection.in_transaction()
        assert shop.files() == []


def test_a_replica_that_lags_is_not_asked(shop, tmp_path):
    replica = create_engine(f"sqlite:///{tmp_path}/replica.db")
    shop.models.Base.metadata.create_all(replica)

    class Routing(Session):
        def get_bind(self, mapper=None, clause=None, **_):
            return shop.engine if self._flushing else replica

    with Routing(expire_on_commit=False) as session:
        first, second = stored(shop, session, main_image=picture()), stored(shop, session)
        second.main_image, first.main_image = first.main_image.source, None
        session.commit()
    replica.dispose()
    check(shop)


# Columns that cannot be asked.


def other_base():
    class Base(DeclarativeBase):
        pass

    class Poster(Base):
        __tablename__ = "poster"
        id: Mapped[int] = mapped_column(primary_key=True)
        photo: Mapped[StoredImage | None] = mapped_column(ImageField("posters/"))

    return Poster


def test_a_class_whose_table_was_never_made_holds_nothing_back(any_shop):
    other = other_base()
    with any_shop.Session() as session:
        row = stored(any_shop, session, main_image=picture())
        session.delete(row)
        session.commit()
    assert (any_shop.files(), any_shop.notes()) == ([], [])
    other.registry.dispose()


def test_a_class_of_which_nobody_knows_where_its_rows_are_leaves_files_to_clean(shop, caplog):
    other = other_base()
    other.metadata.create_all(shop.engine)
    bind(shop.models.Base, shop.Session)
    with Session(binds={shop.models.Base: shop.engine}) as session, caplog.at_level(logging.WARNING, "easyimg"):
        row = stored(shop, session, main_image=picture())
        session.delete(row)
        session.commit()
        assert len(shop.files()) == len(shop.notes()) == 1
        assert "left to clean" in caplog.text
        assert "call easyimg.fields.bind" in caplog.text
        age(shop)
        assert clean(shop.app, older_than=HOUR).uploads == 0
        bind(other, shop.engine)
        assert clean(shop.app, older_than=HOUR).uploads == 1
        row = stored(shop, session, main_image=picture())
        session.delete(row)
        session.commit()
    assert (shop.files(), shop.notes()) == ([], [])
    other.registry.dispose()


def test_rows_that_cannot_be_read_any_more_leave_the_file_and_its_note(shop, caplog):
    with shop.Session() as session, caplog.at_level(logging.WARNING, "easyimg"):
        row = stored(shop, session, main_image=picture())
        session.delete(row)

        session.flush()

        @event.listens_for(session, "after_commit")
        def lose(_session):
            with shop.engine.begin() as connection:
                connection.exec_driver_sql("ALTER TABLE product RENAME TO product_moved")

        session.commit()
        event.remove(session, "after_commit", lose)
    assert "left to clean" in caplog.text
    assert len(shop.files()) == len(shop.notes()) == 1


def test_a_column_added_to_a_mapped_class_is_asked_as_well(shop):
    class Late(shop.models.Base):  # type: ignore[name-defined]
        __tablename__ = "late"
        id: Mapped[int] = mapped_column(primary_key=True)

    Late.__mapper__  # noqa: B018 - mapped by now
    Late.photo = mapped_column(ImageField("late/"))
    shop.models.Base.metadata.create_all(shop.engine)
    with shop.Session() as session:
        row = stored(shop, session, main_image=picture())
        late = Late(photo=row.main_image.source)
        session.add(late)
        session.delete(row)
        session.commit()
        assert shop.files() == [late.photo.name]
        late.photo = picture(2)
        session.commit()
        assert shop.files() == [late.photo.name]
        assert late.photo.name.startswith("late/")
        session.delete(late)
        session.commit()
    assert shop.files() == []


def test_a_row_that_another_process_has_deleted_meanwhile_takes_no_file_of_others_along(shop):
    with shop.Session(expire_on_commit=False) as session:
        first = stored(shop, session, main_image=picture())
        stored(shop, session, main_image=first.main_image.source)
        number = first.id
        session.commit()
        with shop.engine.begin() as connection:
            connection.execute(delete(shop.Product).where(shop.Product.id == number))
        first.main_image = picture(2)
        with pytest.raises(StaleDataError):
            session.commit()
        session.rollback()
    check(shop)
