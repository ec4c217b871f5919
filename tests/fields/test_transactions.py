"""What becomes of files at every end of a transaction."""

from __future__ import annotations

import logging

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import Session, scoped_session

from easyimg import Img
from easyimg.errors import SourceUnreadable, SpecError, StorageError
from easyimg.fields import StoredImage
from easyimg.fields import ledger as ledger_module
from tests.fields.conftest import Shop, picture


def test_a_flush_stores_and_a_commit_keeps(any_shop):
    shop = any_shop
    with shop.Session() as session:
        product = shop.Product(main_image=picture())
        session.add(product)
        assert shop.files() == []
        session.flush()
        (name,) = shop.files()
        assert name == product.main_image.name
        assert len(shop.notes()) == 1
        session.commit()
        assert (product.main_image.width, product.main_image.height) == (90, 60)
    assert shop.files() == shop.named() == [name]
    assert shop.notes() == []


def failing_view(shop, session):
    session.add(shop.Product(main_image=picture()))
    session.flush()
    assert len(shop.files()) == 1
    raise ZeroDivisionError


def test_a_rollback_leaves_no_file_no_row_and_no_message(any_shop):
    shop = any_shop
    Img(width=30).queue(shop.Product)
    with pytest.raises(ZeroDivisionError), shop.Session.begin() as session:
        failing_view(shop, session)
    assert (shop.files(), shop.named(), shop.notes()) == ([], [], [])
    assert shop.bell.rung == []
    assert shop.app.metadata.counts(stale_after=0).sources == 0


def test_of_two_uploads_in_nested_savepoints_the_rolled_back_one_goes(any_shop):
    shop = any_shop
    with shop.Session.begin() as session:
        with session.begin_nested() as outer:
            session.add(shop.Product(main_image=picture(1)))
            session.flush()
            (kept,) = shop.files()
            inner = session.begin_nested()
            session.add(shop.Product(main_image=picture(2)))
            session.flush()
            assert len(shop.files()) == 2
            inner.rollback()
            outer.commit()
        assert len(shop.files()) == len(shop.notes()) == 2  # nothing is deleted while the transaction is open
    assert shop.files() == shop.named() == [kept]
    assert shop.notes() == []


def test_what_a_released_savepoint_stored_goes_with_the_transaction(any_shop):
    shop = any_shop
    with shop.Session() as session:
        with session.begin_nested():
            session.add(shop.Product(main_image=picture(1)))
        with session.begin_nested(), session.begin_nested():
            session.add(shop.Product(main_image=picture(2)))
        assert len(shop.files()) == 2
        session.rollback()
    assert (shop.files(), shop.named(), shop.notes()) == ([], [], [])


@pytest.mark.parametrize("end", ["close", "reset", "invalidate", "expunge_all"])
def test_a_session_that_ends_without_a_commit_keeps_nothing(any_shop, end):
    shop = any_shop
    session = shop.Session()
    session.add(shop.Product(main_image=picture()))
    session.flush()
    with session.begin_nested():
        session.add(shop.Product(main_image=picture(2)))
        session.flush()
        assert len(shop.files()) == 2
    getattr(session, end)()
    session.close()
    assert (shop.files(), shop.named(), shop.notes()) == ([], [], [])


def test_another_rows_integrity_error_undoes_the_upload(any_shop):
    shop = any_shop
    with shop.Session.begin() as session:
        session.add(shop.Product(name="shoe"))
    with shop.Session() as session:
        session.add(shop.Product(name="boot", main_image=picture()))
        session.flush()
        session.add(shop.Product(name="shoe", main_image=picture(1)))
        with pytest.raises(IntegrityError):
            session.flush()
        session.rollback()
        assert shop.files() == []
        session.commit()
    assert (shop.files(), shop.named(), shop.notes()) == ([], [], [])


def test_an_integrity_error_inside_a_savepoint_keeps_what_was_before_it(any_shop):
    shop = any_shop
    with shop.Session.begin() as session:
        session.add(shop.Product(name="shoe", main_image=picture()))
        session.flush()
        (kept,) = shop.files()
        with pytest.raises(IntegrityError), session.begin_nested():
            session.add(shop.Product(name="shoe", main_image=picture(1)))
    assert shop.files() == shop.named() == [kept]


def test_an_object_that_was_rolled_back_can_be_added_again(any_shop):
    shop = any_shop
    with shop.Session.begin() as session:
        session.add(shop.Product(name="shoe"))
    product = shop.Product(name="shoe", main_image=picture())
    with shop.Session() as session:
        session.add(product)
        with pytest.raises(IntegrityError):
            session.commit()
        session.rollback()
        assert shop.files() == []
        product.name = "boot"
        session.add(product)
        session.commit()
        assert shop.files() == shop.named() == [product.main_image.name]


def test_an_object_whose_upload_is_not_at_hand_any_more_says_so(shop, monkeypatch):
    monkeypatch.setattr(ledger_module, "RETAINED", 10)
    product = shop.Product(main_image=picture())
    with shop.Session() as session:
        session.add(product)
        session.flush()
        session.rollback()
        session.add(product)
        with pytest.raises(SpecError, match=r"main_image: the file of 'photos/image-.*assign the upload again"):
            session.flush()
        session.rollback()
        product.main_image = picture()
        session.add(product)
        session.commit()
    assert len(shop.files()) == 1


def test_replacing_deletes_the_old_file_after_the_commit_and_not_before(any_shop):
    shop = any_shop
    with shop.Session() as session:
        product = shop.Product(main_image=picture(1))
        session.add(product)
        session.commit()
        old = product.main_image.name
        product.main_image = picture(2)
        session.flush()
        new = product.main_image.name
        assert shop.files() == sorted([old, new])
        session.rollback()
        assert shop.files() == [product.main_image.name] == [old]
        product.main_image = picture(3)
        session.commit()
        assert shop.files() == shop.named() == [product.main_image.name]
        assert product.main_image.name != old
    assert shop.notes() == []


def test_the_last_of_several_uploads_before_a_flush_is_the_only_one_stored(shop):
    with shop.Session() as session:
        product = shop.Product(main_image=picture(1))
        product.main_image = picture(2)
        session.add(product)
        product.main_image = picture(3, 30, 20)
        session.commit()
        assert product.main_image.width == 30
    assert len(shop.files()) == 1


def test_of_several_uploads_flushed_in_one_transaction_the_last_stays(any_shop):
    shop = any_shop
    with shop.Session() as session:
        product = shop.Product(main_image=picture(1))
        session.add(product)
        session.flush()
        for seed in (2, 3):
            product.main_image = picture(seed)
            session.flush()
        assert len(shop.files()) == 3
        session.commit()
        assert shop.files() == shop.named() == [product.main_image.name]
    assert shop.notes() == []


def test_a_replacement_undone_by_a_savepoint_leaves_the_old_file_wanted(any_shop):
    shop = any_shop
    with shop.Session() as session:
        product = shop.Product(main_image=picture(1))
        session.add(product)
        session.commit()
        old = product.main_image.name
        savepoint = session.begin_nested()
        product.main_image = picture(2)
        session.flush()
        savepoint.rollback()
        assert product.main_image.name == old
        session.commit()
    assert shop.files() == shop.named() == [old]
    assert shop.notes() == []


def test_setting_none_deletes_the_file_after_the_commit(any_shop):
    shop = any_shop
    with shop.Session() as session:
        product = shop.Product(main_image=picture())
        session.add(product)
        session.commit()
        product.main_image = None
        session.flush()
        assert len(shop.files()) == 1
        session.commit()
    assert (shop.files(), shop.named(), shop.notes()) == ([], [], [])


def test_deleting_a_row_deletes_its_files_and_variants_after_the_commit(any_shop):
    shop = any_shop
    Img(width=30).queue(shop.Product, build="all")
    with shop.Session() as session:
        product = shop.Product(main_image=picture(1), back_image=picture(2))
        session.add(product)
        session.commit()
        assert len(shop.variants()) == 6
        source = product.main_image.source
        session.delete(product)
        session.flush()
        assert len(shop.files()) == 2
        session.commit()
    assert shop.files() == shop.variants() == shop.notes() == []
    assert shop.app.metadata.inspect(source) is None


def test_a_rolled_back_delete_deletes_nothing(any_shop):
    shop = any_shop
    with shop.Session() as session:
        product = shop.Product(main_image=picture(1))
        session.add(product)
        session.commit()
        session.delete(product)
        session.flush()
        session.rollback()
        assert shop.files() == shop.named() == [product.main_image.name]
    assert shop.notes() == []


def test_rows_deleted_by_a_cascade_or_as_orphans_take_their_files_with_them(any_shop):
    shop = any_shop
    with shop.Session() as session:
        category = shop.Category(products=[shop.Product(main_image=picture(n)) for n in range(3)])
        session.add(category)
        session.commit()
        assert len(shop.files()) == 3
        category.products.pop()
        session.commit()
        assert len(shop.files()) == 2
        session.delete(category)
        session.commit()
    assert shop.files() == shop.notes() == []


def test_a_row_that_takes_the_place_of_a_deleted_one_takes_the_file_away_that_it_does_not_name(any_shop):
    """SQLAlchemy makes an UPDATE of the two, which leaves the columns alone that the new object says nothing of."""
    shop = any_shop
    with shop.Session() as session:
        old = shop.Product(id=1, main_image=picture(1), back_image=picture(2))
        session.add(old)
        session.commit()
        session.delete(old)
        new = shop.Product(id=1, main_image=picture(3))
        session.add(new)
        session.flush()
        assert len(shop.files()) == 3
        session.commit()
        assert shop.files() == sorted([new.main_image.name, new.back_image.name])
        assert shop.named() == [new.main_image.name]


def test_a_delete_of_an_expired_row_still_knows_its_file(any_shop):
    shop = any_shop
    with shop.Session() as session:
        product = shop.Product(main_image=picture(1))
        session.add(product)
        session.commit()
        session.expire(product, ["main_image"])
        session.delete(product)
        session.commit()
    assert shop.files() == []


def test_replacing_an_expired_attribute_costs_one_query_and_deletes_the_old_file(any_shop):
    shop = any_shop
    with shop.Session() as session:
        product = shop.Product(main_image=picture(1))
        session.add(product)
        session.commit()
        with shop.statements() as statements:
            product.main_image = picture(2)
            assert statements == []
            session.flush()
        assert len([s for s in statements if s.startswith("SELECT product.main_image \n")]) == 1
        session.commit()
        assert shop.files() == [product.main_image.name]


def test_a_row_of_a_joined_subclass_whose_attribute_was_expired_finds_its_old_file(any_shop):
    shop = any_shop
    with shop.Session() as session:
        shoes = [shop.Shoe(sole=picture(n), main_image=picture(n + 9)) for n in range(2)]
        session.add_all(shoes)
        session.commit()
        shoes[0].sole = picture(5)
        shoes[0].main_image = picture(6)
        session.commit()
        kept = sorted(image.name for shoe in shoes for image in (shoe.sole, shoe.main_image))
    assert shop.files() == kept


def test_saving_without_a_change_to_images_costs_no_query_and_no_storage_call(shop):
    with shop.Session() as session:
        product = shop.Product(main_image=picture(1))
        session.add(product)
        session.commit()
        image = product.main_image
        with shop.statements() as statements:
            product.name = "shoe"
            product.main_image = image
            session.flush()
        assert [s.split()[0] for s in statements] == ["UPDATE"]
        assert shop.notes() == []
        session.commit()
        assert shop.files() == [product.main_image.name]


def test_an_image_that_another_row_has_is_copied(any_shop):
    shop = any_shop
    with shop.Session() as session:
        first = shop.Product(main_image=picture(1))
        session.add(first)
        session.commit()
        second = shop.Product(main_image=first.main_image)
        first.back_image = first.main_image
        session.add(second)
        session.commit()
        names = {first.main_image.name, first.back_image.name, second.main_image.name}
        assert set(shop.files()) == names
        assert len(names) == 3
        assert len({(shop.media / name).read_bytes() for name in names}) == 1
        session.delete(first)
        session.commit()
        assert shop.files() == [second.main_image.name]


def test_one_upload_assigned_to_two_rows_is_stored_for_each(any_shop):
    shop = any_shop
    upload = StoredImage.from_file(picture(), name="My shoes.jpeg")
    with shop.Session() as session:
        products = [shop.Product(main_image=upload) for _ in range(2)]
        session.add_all(products)
        session.commit()
        assert shop.files() == sorted(product.main_image.name for product in products)
        assert all(name.startswith("photos/my-shoes-") for name in shop.files())


def test_merging_a_detached_object_stores_its_new_image_and_removes_the_old(any_shop):
    shop = any_shop
    with shop.Session() as session:
        product = shop.Product(main_image=picture(1))
        session.add(product)
        session.commit()
        session.refresh(product)
    with shop.Session() as session:
        session.merge(product)
        session.commit()
    assert len(shop.files()) == 1
    product.main_image = picture(2)
    with shop.Session() as session:
        merged = session.merge(product)
        session.commit()
        assert shop.files() == shop.named() == [merged.main_image.name]


def test_an_expunged_object_is_not_stored(shop):
    with shop.Session() as session:
        product = shop.Product(main_image=picture(1))
        session.add(product)
        session.expunge(product)
        session.commit()
    assert shop.files() == []


def test_a_scoped_session_is_a_session(shop):
    session = scoped_session(shop.Session)
    session.add(shop.Product(main_image=picture(1)))
    session.flush()
    assert len(shop.files()) == 1
    session.remove()
    assert shop.files() == []


def test_a_session_on_the_rows_own_sqlite_file_does_not_wait_for_itself(tmp_path, shop):
    """The session holds the file's only write lock while it stores: nothing of ours may need it before the end."""
    folder = tmp_path / "own"
    folder.mkdir()
    own = Shop(folder, metadata=f"sqlite:///{folder}/shop.db")
    Img(width=30, app=own.app).queue(own.Product)
    with own.app, own.Session.begin() as session:
        session.add(own.Product(name="first"))
        session.flush()
        with session.begin_nested() as savepoint:
            session.add(own.Product(main_image=picture(2)))
            session.flush()
            savepoint.rollback()
        session.add(own.Product(main_image=picture(1)))
    assert own.app.metadata.counts(stale_after=0).queued == 3
    assert own.files() == own.named()
    own.close()


def test_two_phase_commits_keep_and_their_rollbacks_remove(tmp_path, mysql_url):
    shop = Shop(tmp_path, mysql_url)
    with shop.app:
        for end in ("rollback", "close", "commit"):
            session = Session(shop.engine, twophase=True)
            session.add(shop.Product(main_image=picture()))
            session.flush()
            assert len(shop.files()) == 1
            getattr(session, end)()
            session.close()
            assert len(shop.files()) == (end == "commit")
        assert shop.files() == shop.named()
    shop.close()


def test_a_commit_refused_by_the_database_removes_the_upload(tmp_path, postgres_url):
    """A deferred constraint fails at COMMIT: the outcome is known, and it is not a commit."""
    shop = Shop(tmp_path, postgres_url)
    with shop.engine.begin() as connection:
        connection.execute(text("ALTER TABLE product ADD CONSTRAINT c UNIQUE (kind) DEFERRABLE INITIALLY DEFERRED"))
    with shop.app, pytest.raises(IntegrityError), shop.Session.begin() as session:
        session.add_all([shop.Product(main_image=picture(n)) for n in range(2)])
    assert (shop.files(), shop.named(), shop.notes()) == ([], [], [])
    shop.close()


@pytest.mark.parametrize("is_committed", [True, False])
@pytest.mark.parametrize("is_flushed", [True, False])
def test_a_connection_lost_at_the_commit_leaves_the_file_to_clean(
    tmp_path, postgres_url, caplog, is_committed, is_flushed
):
    """Nobody knows whether it was committed: deleting the file now could be the loss of a committed one."""
    shop = Shop(tmp_path, postgres_url)

    def cut(connection):
        """Commit on the server, or do not; then cut the line, so that the client learns nothing."""
        pid = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar()
        if is_committed:
            connection.connection.dbapi_connection.commit()
            connection.exec_driver_sql("SELECT 1")  # the driver asks nothing where nothing has begun
        with shop.engine.connect() as other:
            other.exec_driver_sql(f"SELECT pg_terminate_backend({pid})")

    with shop.app, caplog.at_level(logging.WARNING, "easyimg"):
        session = shop.Session()
        session.add(shop.Product(main_image=picture()))
        if is_flushed:
            session.flush()
        event.listen(session.connection(), "commit", cut)
        with pytest.raises(OperationalError):
            session.commit()
        session.rollback()
    assert "outcome is unknown" in caplog.text
    assert len(shop.files()) == len(shop.notes()) == 1
    assert shop.named() == (shop.files() if is_committed else [])
    session.close()
    shop.close()


def away(*_args):
    raise StorageError("the storage is away")


def test_a_storage_that_fails_at_the_rollback_is_logged_and_left_to_clean(shop, monkeypatch, caplog):
    place = shop.app.storage("default")
    session = shop.Session()
    session.add(shop.Product(main_image=picture()))
    session.flush()
    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING, "easyimg"):
        patch.setattr(place, "delete", away)
        session.rollback()
    assert "an upload that was rolled back stays behind" in caplog.text
    assert len(shop.files()) == len(shop.notes()) == 1
    session.close()


def test_a_storage_that_fails_at_the_flush_fails_it_and_leaves_nothing(shop, monkeypatch):
    (shop.media / "photos").write_text("a file where the folder should be")
    with shop.Session() as session:
        session.add(shop.Product(main_image=picture()))
        with pytest.raises(StorageError):
            session.commit()
        session.rollback()
    assert shop.files() == ["photos"]
    assert shop.named() == []


def test_a_storage_that_is_away_does_not_hinder_a_delete(shop, monkeypatch, caplog):
    place = shop.app.storage("default")
    with shop.Session() as session:
        product = shop.Product(main_image=picture())
        session.add(product)
        session.commit()
        with monkeypatch.context() as patch, caplog.at_level(logging.WARNING, "easyimg"):
            patch.setattr(place, "delete", away)
            patch.setattr(place, "write", away)
            session.delete(product)
            session.commit()
    assert shop.named() == []
    assert "a deletion is not noted" in caplog.text
    assert "an image that was replaced or deleted stays behind" in caplog.text


def test_rows_that_cannot_be_written_do_not_break_the_commit(shop, caplog):
    Img(width=30).queue(shop.Product)
    (shop.root / "rows.db").mkdir()
    with shop.Session() as session, caplog.at_level(logging.WARNING, "easyimg"):
        session.add(shop.Product(main_image=picture()))
        session.commit()
    assert "cannot be queued now" in caplog.text
    assert shop.files() == shop.named()
    assert shop.notes() == []


def test_what_is_no_picture_is_refused_at_the_assignment(shop):
    product = shop.Product()
    with pytest.raises(SourceUnreadable, match="empty") as caught:
        product.main_image = b""
    assert caught.value.__notes__ == ["while it was assigned to product.main_image"]
    assert product.main_image is None
