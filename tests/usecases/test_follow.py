"""Following files that a site's models name: stored, replaced, dropped; without a framework."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from easyimg import EasyImg, Img, process_queue
from easyimg.existing import queue_pictures
from easyimg.follow import file_stored
from easyimg.removal import remove_rows
from easyimg.signals import file_post_save, queued_img
from easyimg.source import Source, SourceInfo
from easyimg.testing import images

SOURCE = Source("default", "a.jpg")
PLANS = [Img(width=30).plan, Img(width=100).plan]


@pytest.fixture
def app(tmp_path: Path) -> Iterator[EasyImg]:
    (tmp_path / "a.jpg").write_bytes(images.photo(300, 200))
    metadata = f"sqlite:///{tmp_path / 'rows.db'}"
    with EasyImg(storages=f"file://{tmp_path}", metadata=metadata, queue="none", isolation="never") as app:
        yield app


@pytest.fixture
def told() -> Iterator[list[str]]:
    """The signals that were sent, in order."""
    names: list[str] = []

    def queued(source: Source, **_: object) -> None:
        names.append(f"queued {source}")

    def stored(source: Source, info: SourceInfo | None, **_: object) -> None:
        names.append(f"stored {source} {tuple(info.size) if info else None}")

    with queued_img.connected_to(queued), file_post_save.connected_to(stored):
        yield names


def test_a_stored_picture_is_measured_and_queued_once(app: EasyImg, told: list[str]) -> None:
    for _ in range(2):
        info = file_stored(app, SOURCE, PLANS)
        assert info is not None
        assert info.size == (300, 200)
    detail = app.metadata.inspect(SOURCE)
    assert detail is not None
    assert (detail.info, len(detail.variants), detail.generation) == (info, 6, 1)
    assert told == ["queued a.jpg", "stored a.jpg (300, 200)", "stored a.jpg (300, 200)"]


def test_another_picture_under_the_name_starts_all_variants_over(app: EasyImg, told: list[str], tmp_path: Path) -> None:
    file_stored(app, SOURCE, PLANS)
    assert process_queue(app) == 6
    (tmp_path / "a.jpg").write_bytes(images.photo(300, 300, seed=2))
    file_stored(app, SOURCE)
    detail = app.metadata.inspect(SOURCE)
    assert detail is not None
    assert (detail.generation, detail.info and detail.info.height) == (2, 300)
    assert told == ["queued a.jpg", "stored a.jpg (300, 200)", "queued a.jpg", "stored a.jpg (300, 300)"]
    assert process_queue(app) == 6
    file_stored(app, SOURCE)
    assert process_queue(app) == 0


def test_an_unknown_document_is_not_even_read(app: EasyImg, told: list[str], tmp_path: Path) -> None:
    assert file_stored(app, Source("default", "gone.pdf"), only_known=True) is None
    (tmp_path / "a.pdf").write_bytes(b"%PDF-1.7")
    assert file_stored(app, Source("default", "a.pdf"), PLANS) is None
    assert told == ["stored a.pdf None"]
    assert app.metadata.counts(stale_after=0).sources == 0


def test_dropped_names_take_rows_and_variants_along(app: EasyImg, tmp_path: Path) -> None:
    file_stored(app, SOURCE, PLANS)
    process_queue(app)
    assert remove_rows(app, [SOURCE.id, Source("default", "none.jpg").id]).sources == 1
    assert app.metadata.inspect(SOURCE) is None
    assert [path.name for path in tmp_path.glob("img/*")] == []
    assert (tmp_path / "a.jpg").is_file()
    assert remove_rows(app, [SOURCE.id]).sources == 0


def test_variants_of_a_storage_that_is_gone_break_no_removal(
    app: EasyImg, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    storages = {"default": f"file://{tmp_path}", "old": f"file://{tmp_path}/old"}
    rows = f"sqlite:///{tmp_path / 'rows.db'}"
    with EasyImg(storages=storages, variants="old", metadata=rows, queue="none", isolation="never") as before:
        file_stored(before, SOURCE, PLANS)
        process_queue(before)
    assert remove_rows(app, [SOURCE.id]).sources == 1
    assert caplog.text.count("a file cannot be removed") == 6


def test_a_drawing_is_never_queued(app: EasyImg) -> None:
    drawing = Source("default", "a.svg")
    assert file_stored(app, drawing, PLANS) is None
    assert queue_pictures(app, PLANS[0], [drawing, SOURCE]) == 1
    assert app.metadata.inspect(drawing) is None
