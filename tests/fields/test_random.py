"""Random transactions: no committed row loses its file, and no file is forgotten."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, insert
from sqlalchemy.exc import SQLAlchemyError

from easyimg.errors import EasyImgError
from tests.fields.conftest import Shop, picture, with_savepoints

UPLOADS = [picture(seed, 12, 8) for seed in range(4)]

ROWS = st.integers(0, 3)
COLUMNS = st.sampled_from(["main_image", "back_image"])
PLACES = st.tuples(ROWS, COLUMNS)

STEPS = st.one_of(
    st.tuples(st.just("upload"), PLACES, st.integers(0, 3)),
    st.tuples(st.sampled_from(["move", "share", "copy"]), PLACES, PLACES),
    st.tuples(st.sampled_from(["clear", "keep_source", "give_source", "insert", "delete"]), PLACES),
    st.tuples(st.sampled_from(["new", "flush", "begin", "release", "undo", "expire", "commit", "rollback"])),
)


class Player:
    """Plays steps in one session; a step that makes no sense now does nothing."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.session = shop.Session()
        self.rows: list[Any] = []
        self.savepoints: list[Any] = []
        self.source: Any = None

    def play(self, step: Any) -> bool:
        """Return whether a transaction has ended."""
        name, *arguments = step
        try:
            getattr(self, name)(*arguments)
        except (SQLAlchemyError, EasyImgError):  # a Source whose file is gone, a savepoint that is none any more
            self.rollback()
            return True
        return name in ("commit", "rollback")

    def _row(self, place: Any) -> Any:
        rows = [row for row in self.rows if row in self.session and row not in self.session.deleted]
        return rows[place[0] % len(rows)] if rows else None

    def _image(self, place: Any) -> Any:
        row = self._row(place)
        return None if row is None else getattr(row, place[1])

    def _set(self, place: Any, value: Any) -> None:
        row = self._row(place)
        if row is not None:
            setattr(row, place[1], value)

    def new(self) -> None:
        self.rows.append(self.shop.Product())
        self.session.add(self.rows[-1])

    def upload(self, place: Any, seed: int) -> None:
        if self._row(place) is None:
            self.new()
        self._set(place, UPLOADS[seed])

    def move(self, start: Any, end: Any) -> None:
        image = self._image(start)
        if image is not None and image.source is not None:
            self._set(start, None)
            self._set(end, image.source)

    def share(self, start: Any, end: Any) -> None:
        image = self._image(start)
        if image is not None and image.source is not None:
            self._set(end, image.source)

    def copy(self, start: Any, end: Any) -> None:
        image = self._image(start)
        if image is not None:
            self._set(end, image)

    def keep_source(self, place: Any) -> None:
        image = self._image(place)
        self.source = image.source if image is not None else self.source

    def give_source(self, place: Any) -> None:
        if self.source is not None:
            self._set(place, self.source)

    def insert(self, place: Any) -> None:
        image = self._image(place)
        if image is not None and image.is_stored:
            self.session.execute(insert(self.shop.Product).values(back_image=image))

    def clear(self, place: Any) -> None:
        self._set(place, None)

    def delete(self, place: Any) -> None:
        row = self._row(place)
        if row is None:
            return
        if row in self.session.new:
            self.session.expunge(row)
        else:
            self.session.delete(row)

    def flush(self) -> None:
        self.session.flush()

    def expire(self) -> None:
        self.session.flush()
        self.session.expire_all()

    def begin(self) -> None:
        self.savepoints.append(self.session.begin_nested())

    def release(self) -> None:
        if self.savepoints:
            self.savepoints.pop().commit()

    def undo(self) -> None:
        if self.savepoints:
            self.savepoints.pop().rollback()

    def commit(self) -> None:
        self.savepoints.clear()
        self.session.commit()

    def rollback(self) -> None:
        self.savepoints.clear()
        self.session.rollback()


@pytest.fixture(params=["as documented", "as the driver is", "autocommit"])
def place(request, tmp_path):
    shop = Shop(tmp_path)
    options = {"isolation_level": "AUTOCOMMIT"} if request.param == "autocommit" else {}
    engine = create_engine(f"sqlite:///{shop.root}/shop.db", **options)
    shop.engine.dispose()
    shop.engine = with_savepoints(engine) if request.param == "as documented" else engine
    shop.Session.configure(bind=shop.engine)
    with shop.app:
        yield shop, request.param == "as documented"
    shop.close()


def check(shop: Shop, *, is_sound: bool) -> None:
    named, files = shop.all_named(), set(shop.files())
    assert named <= files
    if is_sound:  # else what was to be rolled back may be committed: a file may be left over, and none is lost
        assert files == named
        assert shop.notes() == []


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEPS, min_size=4, max_size=25))
def test_after_every_transaction_the_rows_have_their_files(place, steps):
    shop, is_sound = place
    with shop.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM product")
    for name in [*shop.files(), *(path.relative_to(shop.media).as_posix() for path in shop.media.glob(".easyimg-*/*"))]:
        (shop.media / name).unlink()
    player = Player(shop)
    try:
        for step in [*steps, ("commit",)]:
            if player.play(step):
                check(shop, is_sound=is_sound)
    finally:
        player.session.close()
    check(shop, is_sound=is_sound)
