"""A phone's photo from the upload form to the screen, through each of the galleries, a broker and a worker."""

from __future__ import annotations

import io
from typing import Any

import pytest
from PIL import Image

from easyimg.testing import images
from tests.adapters.gallery_site import FRAMEWORKS, Gallery

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]  # seconds, of processes and twelve megapixels

RED = pytest.approx([255, 0, 0], abs=30)
NO_WAITING = "() => document.images.length && [...document.images].every(i => i.currentSrc.includes('/media/img/'))"


@pytest.fixture(params=FRAMEWORKS)
def gallery(request, tmp_path, redis_url):
    made = Gallery(request.param, tmp_path, BROKER_URL=redis_url)
    with made.served():
        yield made


def phone_photo() -> bytes:
    """Return 12 megapixels, stored on their side, that tell a place; upright the top left corner is red."""
    data = images.corners(3000, 4000, format="jpeg", orientation=6, gps=True)
    with Image.open(io.BytesIO(data)) as picture:
        assert picture.size == (4000, 3000)
        assert picture.getexif().get_ifd(0x8825), "it tells a place"
    return data


class Traffic(list[Any]):
    """The pictures that windows have loaded: their answers, and their bytes."""

    def watch(self, page: Any) -> None:
        page.on("response", lambda answer: self.append(answer) if "/media/" in answer.url else None)


def test_a_phone_s_photo_is_shown_without_its_place(gallery, window, look):
    traffic = Traffic()
    page = window(dpr=2)
    traffic.watch(page)
    page.goto(gallery.url)
    page.fill("[name=title]", "Harbour")
    page.set_input_files("[name=picture]", {"name": "IMG_0001.JPG", "mimeType": "image/jpeg", "buffer": phone_photo()})
    with page.expect_navigation(url=gallery.url + "/"):
        page.click("button")

    (waiting,) = look(page)
    assert waiting["url"].startswith("data:image/svg+xml,"), "a placeholder at once"
    assert (waiting["width"], waiting["height"]) == (300, 225)
    assert waiting["alt"] == "Harbour"
    assert traffic == [], "nothing of the original is shown"
    first = page.request.get(gallery.url)
    assert first.headers["cache-control"] == "public, max-age=0, s-maxage=10"
    assert first.headers["refresh"] == "2"

    with gallery.worker():
        page.wait_for_function(NO_WAITING, timeout=90_000)  # the page looks again by itself
        page.goto(gallery.url + "/photos/1")
        page.wait_for_function(NO_WAITING, timeout=90_000)

    shown = look(page)[0]
    assert shown["naturalWidth"] < shown["naturalHeight"], "upright"
    assert shown["corners"]["tl"] == RED

    for dpr, width in ((1, 300), (2, 600)):
        other = window(dpr=dpr)
        traffic.watch(other)
        other.goto(gallery.url)
        (card,) = look(other)
        assert card["url"].endswith(".webp")
        assert (card["width"], card["height"]) == (300, 225)
        assert loaded_width(other, card["url"]) == width

    last = page.request.get(gallery.url)
    assert last.headers["cache-control"] == "public, max-age=0, s-maxage=60"
    assert "refresh" not in last.headers
    assert_public(page, {answer.url for answer in traffic})
    (original,) = (gallery.folder / "media" / "photos").iterdir()
    assert page.request.get(f"{gallery.url}/media/photos/{original.name}").status == 404


def loaded_width(page: Any, url: str) -> int:
    with Image.open(io.BytesIO(page.request.get(url).body())) as picture:
        return picture.width


def assert_public(page: Any, urls: set[str]) -> None:
    """All that was loaded says nothing of the place, and may be kept for ever."""
    assert len(urls) >= 3
    for url in urls:
        answer = page.request.get(url)
        assert answer.status == 200
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-type"] in ("image/webp", "image/jpeg")
        data = answer.body()
        assert b"Exif" not in data
        assert b"easyimg test camera" not in data
        with Image.open(io.BytesIO(data)) as picture:
            assert not picture.getexif()
        again = page.request.get(url, headers={"If-None-Match": answer.headers["etag"]})
        assert again.status == 304
        part = page.request.get(url, headers={"Range": "bytes=0-9"})
        assert (part.status, part.body()) == (206, data[:10])
