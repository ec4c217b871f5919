"""Builds that a page makes itself: of what, how often, and what becomes of those that fail."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from easyimg import Img, current_app, process_queue
from easyimg.errors import SourceError
from easyimg.source import Source
from easyimg.testing import images
from tests.adapters import django_site

django_site.start()

from django.core.files.storage import InMemoryStorage  # noqa: E402 - needs a Django that is set up
from django.template import engines  # noqa: E402
from django.test import override_settings  # noqa: E402

SRC = '{% img photo width=100 alt="" build="src" %}'
ALL = '{% img photo width=100 alt="" build="all" %}'


class Full(InMemoryStorage):
    """A storage without any room left."""

    def _save(self, name: str, content: Any) -> str:
        raise OSError("No space left on device")


@pytest.fixture
def media(sqlite_alias: str, tmp_path: Path) -> Iterator[Path]:
    """The folder of a site whose pages build only what they say."""
    django_site.empty(sqlite_alias)
    easyimg = {"METADATA": f"django:{sqlite_alias}", "QUEUE": "none", "CACHE_SECONDS": 0}
    with override_settings(EASYIMG=easyimg, MEDIA_ROOT=str(tmp_path), MEDIA_URL="/media/"):
        yield tmp_path


def page(body: str, photo: str = "a.jpg", **context: Any) -> str:
    template = engines["django"].from_string("{% load easyimg %}" + body)
    return str(template.render({"photo": photo, **context}))


def variants(photo: str = "a.jpg") -> list[tuple[str, int]]:
    """Return state and attempts of each variant."""
    detail = current_app().metadata.inspect(Source("default", photo))
    return sorted((v.status.name, v.attempts) for v in detail.variants) if detail else []


@pytest.mark.parametrize("format", ["png", "gif", "webp", "jpeg"])
def test_a_picture_many_times_its_slot_is_built_in_every_format(media: Path, format: str) -> None:
    (media / f"a.{format}").write_bytes(images.photo(2400, 1600, format=format))
    html = page(SRC, f"a.{format}")
    (file,) = (media / "img").glob("*.*")
    assert f'src="/media/img/{file.name}" width="100" height="67"' in html
    with Image.open(io.BytesIO(file.read_bytes())) as built:
        assert built.size == (100, 67)


def test_what_a_page_left_unbuilt_is_completed_by_one_that_asks_for_all(media: Path) -> None:
    (media / "a.jpg").write_bytes(images.photo(400, 300))
    assert "srcset" not in page(SRC)
    assert 'webp 2x"' in page(ALL)
    assert variants() == [("BUILT", 0)] * 3, "no attempt is remembered of what succeeded"


def test_a_picture_that_cannot_be_built_is_tried_by_one_page_and_not_by_each(
    media: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (media / "a.jpg").write_bytes(images.photo(400, 300)[:3000])
    for _ in range(3):
        assert page(ALL).count("<img") == 1
    assert variants() == [("SOURCE_ERROR", 1)] * 3
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize(("data", "kind"), [(None, "SourceNotFound"), (b"\xff\xd8\xff nothing", "SourceUnreadable")])
def test_a_missing_or_broken_file_breaks_no_page_and_is_named_where_strict(
    media: Path, sqlite_alias: str, data: bytes | None, kind: str
) -> None:
    if data is not None:
        (media / "a.jpg").write_bytes(data)
    assert page(ALL).count("<img") == 1
    assert {v.error_kind for v in current_app().metadata.inspect(Source("default", "a.jpg")).variants} == {kind}
    with (
        override_settings(DEBUG=True),
        pytest.raises(SourceError, match=r"a\.jpg: its build failed; see: easyimg inspect"),
    ):
        page(ALL)


def test_a_full_storage_breaks_no_page_and_leaves_nothing_being_built(media: Path) -> None:
    (media / "a.jpg").write_bytes(images.photo(400, 300))
    local = {"BACKEND": "django.core.files.storage.FileSystemStorage"}
    with override_settings(STORAGES={"default": local, "easyimg": {"BACKEND": f"{__name__}.Full"}}):
        assert 'src="/media/a.jpg"' in page(ALL)
        assert variants() == [("QUEUED", 1)] * 3, "to be tried again later"


def test_parts_of_an_image_are_html_in_templates_without_safe(media: Path) -> None:
    (media / "a.jpg").write_bytes(images.photo(400, 300))
    bound = Img(width=100)("a.jpg", alt='"<&>"', build="all")
    shown = page("{{ b.as_html }}|{{ b }}|{% img photo width=100 alt=b.alt as v %}{{ v }}", b=bound).split("|")
    assert shown[0] == shown[1] == shown[2]
    assert 'alt="&quot;&lt;&amp;&gt;&quot;"' in shown[0]
    assert "&lt;img" not in shown[0]


def test_a_list_of_options_that_is_changed_later_changes_no_image(media: Path) -> None:
    densities = [2.0]
    img = Img(width=100, densities=densities)
    densities.append(3.0)
    (media / "a.jpg").write_bytes(images.photo(400, 300))
    assert img("a.jpg", alt="", build="all").srcset.count(",") == 1
    assert process_queue() == 0
    assert Img(width=100).plan == Img(width=100, densities=[2]).plan
