"""What pages wait for goes first, and everything else moves all the same: seen by the order of what is built."""

import pytest

from easyimg import Img
from easyimg.drain import drain
from easyimg.existing import find_pictures, queue_pictures
from easyimg.queues.builder import Builder
from easyimg.signals import img_built
from easyimg.source import Source
from easyimg.testing import images
from easyimg.variant import ClaimOrder, Failure, VariantStatus

THUMB = Img(width=40)


@pytest.fixture
def backlog(site):
    """Twelve pictures queued in bulk."""
    data = images.photo(96, 72)
    names = [site.put(f"bulk/{n:02}.jpg", data) for n in range(12)]
    assert queue_pictures(site.app, THUMB.plan, find_pictures(site.app, ["bulk"])) == 12
    return names


@pytest.fixture
def built(site):
    """Names of sources in the order in which their pictures were built, each once."""
    names: dict[str, None] = {}

    def note(sender, source, **_):
        names.setdefault(source.name, None)

    img_built.connect(note, sender=site.app)
    yield names
    img_built.disconnect(note, sender=site.app)


def show(name):
    return str(THUMB(name, alt=""))


def test_a_fresh_upload_does_not_wait_behind_a_backlog(site, backlog, built):
    show(site.put("fresh.jpg"))
    drain(site.app, limit=1)
    assert list(built) == ["fresh.jpg"]


def test_a_page_gets_what_was_queued_in_bulk_before_the_rest(site, backlog, built):
    show("bulk/07.jpg")
    drain(site.app)
    assert next(iter(built)) == "bulk/07.jpg"
    assert sorted(built) == backlog


def test_what_a_page_shows_now_goes_before_what_others_showed_earlier(site, backlog, built):
    show(site.put("earlier.jpg"))
    show("bulk/07.jpg")
    drain(site.app, order=ClaimOrder.PAGES_ONLY)
    assert list(built) == ["bulk/07.jpg", "earlier.jpg"]


def test_a_page_does_not_shorten_the_pause_before_another_try(site, built):
    site.put("bulk/1.jpg")
    queue_pictures(site.app, THUMB.plan, find_pictures(site.app, ["bulk"]))
    (claim,) = site.app.metadata.claim(lease=60, max_attempts=3)
    failed = [Failure(o.key, VariantStatus.BUILD_ERROR, "StorageError", "full", retry_in=60) for o in claim.variants]
    site.app.metadata.publish(claim, [], failed)
    show("bulk/1.jpg")
    assert drain(site.app).sources == 0
    assert list(built) == []


def test_a_page_asks_once_for_what_was_queued_in_bulk(site, backlog, statements):
    site.bell.rung.clear()
    with statements() as first:
        show("bulk/07.jpg")
    with statements() as second:
        show("bulk/07.jpg")
    assert any(text.startswith("UPDATE") for text in first)
    assert [text.split()[0] for text in second] == ["SELECT"]
    assert site.bell.rung == []  # it was rung for when it was queued


def test_a_stream_of_new_pages_leaves_a_quarter_to_what_waits_longest(site, backlog, built):
    fresh = [site.put(f"fresh/{n}.jpg", images.photo(96, 72, seed=n)) for n in range(12)]
    left = iter(fresh)

    def one_more(outcome):
        if (name := next(left, None)) is not None:
            show(name)

    show(next(left))
    drain(site.app, progress=one_more)
    turns = ["old" if name.startswith("bulk/") else "new" for name in list(built)[:12]]
    assert turns == ["new", "new", "new", "old"] * 3


def test_a_doorbell_of_the_backlog_answers_the_newest_page_first(site, backlog, built):
    show(site.put("fresh.jpg"))
    Builder(site.app).answer(Source("default", backlog[5]).id)
    assert list(built) == ["fresh.jpg", backlog[5]]


def test_an_old_doorbell_answers_what_waits_longest(site, backlog, built):
    show(site.put("first.jpg"))
    drain(site.app, order=ClaimOrder.PAGES_ONLY)
    builder = Builder(site.app)
    for name in ("second.jpg", "third.jpg"):
        show(site.put(name))
        builder.answer(Source("default", "first.jpg").id)
    old = [name for name in built if name in backlog]
    assert len(old) == 2
    assert list(built) == ["first.jpg", "second.jpg", old[0], "third.jpg", old[1]]


def test_what_is_requeued_waits_behind_pages(site, built):
    broken = site.put("broken.jpg", b"no picture")
    show(broken)
    drain(site.app)
    site.put("broken.jpg", images.photo(96, 72))
    assert site.app.metadata.requeue() > 0
    show(site.put("fresh.jpg"))
    drain(site.app)
    assert list(built) == ["fresh.jpg", "broken.jpg"]
