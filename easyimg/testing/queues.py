"""The contract of ``ports.BuildQueue`` as tests: subclass :class:`QueueContract` and say which queue."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from easyimg.app import EasyImg
from easyimg.ports import BuildQueue
from easyimg.source import Source
from easyimg.spec import VariantSpec
from easyimg.testing.images import photo
from easyimg.variant import SourceDetail, VariantStatus, Wanted

SPECS = (VariantSpec(width=40, format="webp"), VariantSpec(width=80, format="webp"))

PATIENCE = 60.0
"""Seconds a build may take on a busy machine before a test fails."""


def upload(app: EasyImg, name: str, data: bytes | None = None) -> Source:
    """Store a small picture and return its address."""
    source = Source("default", name)
    app.storage("default").write(name, photo(160, 120) if data is None else data, "image/jpeg")
    return source


def order(app: EasyImg, *sources: Source, specs: tuple[VariantSpec, ...] = SPECS, ring: bool = True) -> None:
    """Queue variants of sources, with doorbells or without."""
    wanted = [Wanted(source, {spec.key(source.address): spec.canonical for spec in specs}) for source in sources]
    if ring:
        app.outbox.order(wanted, wait=None)
    else:
        app.metadata.enqueue(wanted)


def detail(app: EasyImg, source: Source) -> SourceDetail:
    """Return what the rows say about a source."""
    found = app.metadata.inspect(source)
    assert found is not None
    return found


def statuses(app: EasyImg, source: Source) -> list[VariantStatus]:
    """Return the states of a source's variants."""
    return [variant.status for variant in detail(app, source).variants]


def wait_until_settled(app: EasyImg, seconds: float = PATIENCE) -> None:
    """Wait until nothing is owed, or fail."""
    deadline = time.monotonic() + seconds
    while app.metadata.counts(stale_after=60).pending:
        assert time.monotonic() < deadline, app.metadata.counts(stale_after=60)
        time.sleep(0.02)


def assert_built(app: EasyImg, *sources: Source, attempts: int = 1) -> None:
    """Check that every variant is BUILT, after so many attempts, and that its file is there in full."""
    for source in sources:
        for variant in detail(app, source).variants:
            assert variant.status is VariantStatus.BUILT, variant
            assert variant.attempts in (0, attempts), variant
            assert app.storage(variant.storage).size(variant.file_name) == variant.bytes


class QueueContract:
    """Subclass it as ``class TestMine(QueueContract)`` and override the fixture ``queue``.

    Override ``helper`` too where the builds happen elsewhere.
    """

    @pytest.fixture
    def queue(self) -> Any:
        """Return a value for the setting ``queue``."""
        raise NotImplementedError

    @pytest.fixture
    def helper(self, app: EasyImg) -> Any:  # noqa: ARG002  # for overriding ones
        """Return a function that is called after ringing, for queues whose builds happen elsewhere."""
        return lambda: None

    @pytest.fixture
    def settings(self) -> dict[str, Any]:
        """Return further settings."""
        return {}

    @pytest.fixture
    def app(self, tmp_path: Path, queue: Any, settings: dict[str, Any]) -> Iterator[EasyImg]:
        """Return an EasyImg with that queue on a SQLite file and a directory."""
        storage, rows = f"file://{tmp_path}/media", f"sqlite:///{tmp_path}/rows.db"
        app = EasyImg(storages={"default": storage}, metadata=rows, queue=queue, **settings)
        yield app
        app.close()

    def test_it_fits_the_protocol(self, app: EasyImg) -> None:
        """It has inline, ring and close."""
        assert isinstance(app.queue, BuildQueue)

    def test_what_is_rung_for_is_built(self, app: EasyImg, helper: Any) -> None:
        """Rows that were queued and rung for are BUILT once, and their files are there."""
        sources = [upload(app, f"photos/{number}.jpg") for number in range(4)]
        order(app, *sources)
        helper()
        wait_until_settled(app)
        assert_built(app, *sources)

    def test_an_inline_queue_has_built_when_ring_returns(self, app: EasyImg, monkeypatch: pytest.MonkeyPatch) -> None:
        """``inline`` is a promise; other queues return at once."""
        source = upload(app, "photos/a.jpg")
        order(app, source, ring=False)
        if app.queue.inline:
            app.queue.ring([source.id])
            assert_built(app, source)
            return
        go, storage = threading.Event(), app.storage("default")
        read = storage.read

        def held(*args: Any) -> bytes:
            go.wait(15)
            return read(*args)

        monkeypatch.setattr(storage, "read", held)
        started = time.monotonic()
        app.queue.ring([source.id])
        assert time.monotonic() - started < 10
        go.set()

    def test_ringing_again_and_for_unknown_sources_does_no_harm(self, app: EasyImg, helper: Any) -> None:
        """Doorbells may be doubled, old, or for rows that are gone."""
        source = upload(app, "photos/a.jpg")
        order(app, source)
        for _ in range(3):
            app.queue.ring([source.id, "0" * 32])
            app.queue.ring([])
        helper()
        wait_until_settled(app)
        assert_built(app, source)

    def test_a_picture_that_cannot_be_built_does_not_stop_others(self, app: EasyImg, helper: Any) -> None:
        """What is wrong with a picture ends in its rows."""
        bad, good = upload(app, "photos/bad.jpg", b"\xff\xd8\xff\xe0 no picture"), upload(app, "photos/good.jpg")
        order(app, bad, good)
        helper()
        wait_until_settled(app)
        assert set(statuses(app, bad)) == {VariantStatus.SOURCE_ERROR}
        assert_built(app, good)

    def test_closing_twice_leaves_no_thread_and_the_app_can_go_on(self, app: EasyImg, helper: Any) -> None:
        """After ``close`` an EasyImg makes a new queue when one is needed."""
        order(app, upload(app, "photos/a.jpg"))
        helper()
        wait_until_settled(app)
        queue = app.queue
        app.close()
        queue.close()
        names = {thread.name for thread in threading.enumerate()}
        assert not {name for name in names if name.startswith(("easyimg-build", "easyimg-doorbell"))}
        source = upload(app, "photos/b.jpg")
        order(app, source)
        assert statuses(app, source)
