"""``flask easyimg clean`` for models of Flask-SQLAlchemy."""

from __future__ import annotations

import json

import pytest
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from easyimg.fields import ImageField, StoredImage, bind
from easyimg.unsettled import FOLDER
from easyimg_flask import EasyImg
from tests.fields.conftest import picture
from tests.fields.test_clean_uploads import age


class Site:
    """A Flask site whose models are bound by ``bind(db.Model, db.session)``."""

    def __init__(self, root):
        self.media = root / "media"
        self.app = Flask(__name__)
        self.app.config.update(
            SQLALCHEMY_DATABASE_URI=f"sqlite:///{root}/flask.db",
            EASYIMG_STORAGES=f"file://{self.media}",
            EASYIMG_METADATA=f"sqlite:///{root}/rows.db",
            EASYIMG_QUEUE="none",
            EASYIMG_ISOLATION="never",
        )

        class Base(DeclarativeBase):
            pass

        self.Base = Base
        self.db = SQLAlchemy(self.app, model_class=Base)
        EasyImg(self.app)

        class Item(self.db.Model):  # type: ignore[name-defined]
            id: Mapped[int] = mapped_column(primary_key=True)
            photo: Mapped[StoredImage | None] = mapped_column(ImageField("items/"))

        self.Item = Item
        with self.app.app_context():
            self.db.create_all()
            bind(self.db.Model, self.db.session)

    def files(self):
        return sorted(path.name for path in (self.media / "items").glob("*"))

    def clean(self):
        result = self.app.test_cli_runner().invoke(args=["easyimg", "clean", "--older-than", "1h", "--format", "json"])
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)


@pytest.fixture
def site(tmp_path):
    site = Site(tmp_path)
    yield site
    close(site)


def close(site):
    with site.app.app_context():
        for engine in site.db.engines.values():
            engine.dispose()
    site.Base.registry.dispose()


def test_the_command_reads_the_rows_and_removes_what_none_of_them_names(site):
    with site.app.app_context():
        session = site.db.session
        session.add_all([site.Item(photo=picture(1)), site.Item(photo=picture(2))])
        session.flush()
        notes = {path.name: path.read_bytes() for path in (site.media / FOLDER).iterdir()}
        session.commit()
        kept, lost = session.scalars(select(site.Item).order_by(site.Item.id))
        kept = kept.photo.name.rpartition("/")[2]
        session.execute(site.db.delete(site.Item).where(site.Item.id == lost.id))
        session.commit()
    assert len(site.files()) == 2
    for name, data in notes.items():  # as a process leaves them that is killed right after the first commit
        (site.media / FOLDER / name).write_bytes(data)
    age(site)
    report = site.clean()
    assert (report["uploads"], report["unsettled"]) == (1, 0)
    assert site.files() == [kept]
    assert list((site.media / FOLDER).iterdir()) == []


def test_two_sites_in_one_process_keep_rows_and_files_apart(site, tmp_path):
    (tmp_path / "two").mkdir()
    sites = [site, Site(tmp_path / "two")]
    for number, one in enumerate(sites):
        with one.app.app_context():
            session = one.db.session
            session.add(one.Item(photo=picture(number)))
            session.commit()
            session.add(one.Item(photo=picture(number + 2)))
            session.flush()
            session.rollback()
            (kept,) = session.scalars(select(one.Item))
            assert one.files() == [kept.photo.name.rpartition("/")[2]]
    names = [one.files() for one in sites]
    with site.app.app_context():
        session = site.db.session
        session.delete(session.scalars(select(site.Item)).one())
        session.flush()
        (note,) = (site.media / FOLDER).iterdir()
        data = note.read_bytes()
        session.rollback()
    note.write_bytes(data)
    age(site)
    report = site.clean()  # the rows of the other site cannot be read in this one's context
    assert (report["uploads"], report["unsettled"]) == (0, 1)
    assert [one.files() for one in sites] == names
    close(sites[1])
    report = site.clean()
    assert (report["uploads"], report["unsettled"]) == (0, 0)
    assert site.files() == names[0]


def test_a_moved_image_stays_and_a_deleted_one_goes(site):
    with site.app.app_context():
        session = site.db.session
        first, second = site.Item(photo=picture(1)), site.Item()
        session.add_all([first, second])
        session.commit()
        second.photo, first.photo = first.photo.source, None
        session.commit()
        assert site.files() == [second.photo.name.rpartition("/")[2]]
        session.delete(second)
        session.commit()
    assert site.files() == []
