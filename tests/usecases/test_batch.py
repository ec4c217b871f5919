"""ImageBatch and BoundImg on real rows and files: queries counted, HTML as a browser gets it."""

import asyncio
import re
import sqlite3
import threading
import time

import pytest
from PIL import Image

from easyimg import EasyImg, ImageBatch, Img, Source, batch
from easyimg.build import build_claim
from easyimg.drain import drain
from easyimg.errors import ConfigError, SourceError, SpecError
from easyimg.follow import file_stored
from easyimg.removal import remove_picture
from easyimg.signals import queued_img
from easyimg.testing import images
from easyimg.variant import VariantStatus
from tests.counting import Statements, Threads

THUMB = Img(width=300, ratio="video")


def size(path):
    with Image.open(path) as picture:
        return picture.size


def top_left(path):
    with Image.open(path) as picture:
        return picture.convert("RGB").getpixel((5, 5))


def test_an_image_shows_its_source_first_and_its_variants_later(site):
    name = site.put()
    first = str(THUMB(name, alt="Red shoe"))
    assert first == (
        '<img src="/media/shoe.jpg" width="300" height="169" alt="Red shoe" loading="lazy" decoding="async" '
        'style="object-fit: cover; aspect-ratio: 300 / 169">'
    )
    drain(site.app)
    bound = THUMB(name, alt="Red shoe")
    jpeg, webp, double = (site.file(u) for u in (bound.base_url(), *bound.srcset.replace(" 2x", "").split(", ")))
    assert str(bound) == (
        f'<img src="/media/{jpeg.relative_to(site.media)}" srcset="/media/{webp.relative_to(site.media)}, '
        f'/media/{double.relative_to(site.media)} 2x" width="300" height="169" alt="Red shoe" loading="lazy" '
        'decoding="async">'
    )
    assert [size(path) for path in (jpeg, webp, double)] == [(300, 169), (300, 169), (600, 338)]


def test_the_slot_is_known_before_anything_is_built_once_the_source_was_seen(site):
    name = site.put()
    assert THUMB.extend(ratio=None)(name).width is None
    drain(site.app)
    other = Img(width=100, alt="")(name)
    assert (other.width, other.height, other.is_built) == (100, 67, False)


def test_a_page_of_known_images_asks_one_query_and_no_storage(site, statements, monkeypatch):
    names = [site.put(f"{i}.jpg", images.photo(700, 500, seed=i)) for i in range(4)]
    names = [names[i % 4] for i in range(100)]
    for name in names[:4]:
        str(THUMB(name))
    drain(site.app)
    site.app.cache.clear()
    monkeypatch.setattr("builtins.open", None)  # any file opened by the page would fail it
    batch = ImageBatch()
    bound = [THUMB(name, alt="", batch=batch) for name in names]
    with statements() as sent:
        html = [str(image) for image in bound]
    assert len(sent) == 1
    assert all(h.count("/media/img/") == 3 for h in html)
    with statements() as sent:
        warm = ImageBatch()
        assert [str(THUMB(name, alt="", batch=warm)) for name in names] == html
    assert sent == []


def test_a_page_of_unknown_images_sends_three_statements_and_one_doorbell_per_source(site, statements):
    batch = ImageBatch()
    bound = [THUMB(f"{i}.jpg", batch=batch) for i in range(100)]
    with statements() as sent:
        for image in bound:
            str(image)
    assert len([s for s in sent if s.split()[0] in ("SELECT", "INSERT")]) == 3
    assert not [s for s in sent if s.split()[0] not in ("SELECT", "INSERT", "BEGIN", "PRAGMA")]
    [rung] = site.bell.rung
    assert sorted(rung) == sorted(Source("default", f"{i}.jpg").id for i in range(100))


def test_a_second_view_of_owed_images_rings_nobody(site):
    str(THUMB(site.put()))
    str(THUMB("shoe.jpg"))
    assert len(site.bell.rung) == 1


def test_images_added_to_a_loaded_batch_are_the_only_new_ones_asked_for(site, statements):
    batch = ImageBatch()
    first = THUMB(site.put("a.jpg"), batch=batch)
    str(first)
    second = THUMB(site.put("b.jpg"), batch=batch)
    with statements() as sent:
        str(second)
        str(first)
    selects = [s for s in sent if s.startswith("SELECT")]
    assert len(selects) == 1


def test_without_a_batch_nothing_accumulates(site):
    bound = [THUMB("a.jpg"), THUMB("b.jpg")]
    assert bound[0].batch is not bound[1].batch
    assert len(bound[0].batch) == 1


def test_the_same_image_twice_in_one_batch_is_asked_for_once(site, statements):
    batch = ImageBatch()
    bound = [THUMB("a.jpg", batch=batch), THUMB("a.jpg", batch=batch), Img(width=50)("a.jpg", batch=batch)]
    for image in bound:
        str(image)
    assert len(site.app.metadata.inspect(Source("default", "a.jpg")).variants) == 6
    assert len(site.bell.rung) == 1


@pytest.mark.parametrize(
    ("build", "formats"), [("src", ["jpeg"]), ("srcset", ["webp", "webp"]), ("all", ["jpeg", "webp", "webp"])]
)
def test_build_makes_its_choice_when_a_property_is_first_used(site, build, formats):
    bound = THUMB(site.put(), build=build)
    assert site.variants() == []
    bound.base_url()
    rows = site.app.metadata.inspect(Source("default", "shoe.jpg")).variants
    assert sorted(r.format for r in rows if r.status == VariantStatus.BUILT) == formats
    assert sum(r.status == VariantStatus.QUEUED for r in rows) == 3 - len(formats)
    assert bound.is_built


def test_base_url_builds_on_access_and_gives_the_built_file(site):
    url = THUMB(site.put(), build="src").base_url()
    assert url.startswith("/media/img/")
    assert size(site.file(url)) == (300, 169)


def test_an_explicit_batch_build_makes_every_choice_with_one_read_per_source(site, monkeypatch):
    batch = ImageBatch()
    img = Img(batch=batch, width=300)
    one, two = img(site.put("1.jpg"), build="src"), img(site.put("2.jpg"), build="srcset")
    three = Img(batch=batch, width=100)("1.jpg", build="all")
    left_alone = img(site.put("3.jpg"))
    storage, reads = site.app.storage("default"), []
    original = storage.read
    monkeypatch.setattr(storage, "read", lambda name, m=None: reads.append(name) or original(name, m))
    batch.build()
    assert sorted(reads) == ["1.jpg", "2.jpg"]
    assert (one.is_built, two.is_built, three.is_built, left_alone.is_built) == (True, True, True, False)


def test_immediate_builds_before_the_call_returns(site):
    bound = Img(width=300)(site.put(), build="src", immediate=True)
    assert len(site.variants()) == 1
    assert bound.is_built
    assert len(site.variants()) == 1
    Img(width=300)("shoe.jpg", immediate=True)
    assert len(site.variants()) == 3


def test_a_failing_source_is_tried_once_and_not_at_every_page_view(site, caplog):
    name = site.put("bad.jpg", b"\xff\xd8\xffnothing")
    for _ in range(3):
        html = str(THUMB(name, build="all"))
        assert "data:image/svg+xml" in html
    rows = site.app.metadata.inspect(Source("default", name)).variants
    assert {(row.status, row.attempts) for row in rows} == {(VariantStatus.SOURCE_ERROR, 1)}
    assert caplog.text.count("see: easyimg inspect bad.jpg") <= 1


def test_strict_raises_for_a_broken_source(make_site):
    site = make_site(strict=True)
    with site.app:
        name = site.put("bad.jpg", b"\xff\xd8\xffnothing")
        with pytest.raises(SourceError, match=r"bad\.jpg: its build failed; see: easyimg inspect bad\.jpg"):
            str(THUMB(name, build="all"))


def test_what_another_worker_builds_is_waited_for_and_not_built_twice(site, monkeypatch):
    name = site.put()
    str(THUMB(name))
    [claim] = site.app.metadata.claim(lease=60, max_attempts=3)
    storage, reads = site.app.storage("default"), []
    original = storage.read
    monkeypatch.setattr(storage, "read", lambda name, m=None: reads.append(name) or original(name, m))
    other = threading.Timer(0.3, build_claim, (site.app, claim))
    other.start()
    html = str(THUMB(name, build="all"))
    assert html.count("/media/img/") == 3
    assert len(site.variants()) == 3
    other.join()
    assert reads == [name]


def test_what_another_worker_gives_back_is_built_by_the_page(site):
    name = site.put()
    str(THUMB(name))
    [claim] = site.app.metadata.claim(lease=60, max_attempts=3)
    other = threading.Timer(0.3, site.app.metadata.release, (claim,))
    other.start()
    assert str(THUMB(name, build="all")).count("/media/img/") == 3
    other.join()


def test_a_page_does_not_wait_for_ever_for_another_worker(site, monkeypatch):
    monkeypatch.setattr(batch, "WAIT_SECONDS", 0.2)
    name = site.put()
    str(THUMB(name))
    [claim] = site.app.metadata.claim(lease=60, max_attempts=3)
    html = str(THUMB(name, build="all"))
    assert "/media/shoe.jpg" in html
    assert site.variants() == []
    assert len(claim.variants) == 3


@pytest.mark.parametrize("build", ["src", "all"])
def test_an_inline_build_shows_its_choice_though_the_queues_threads_are_quicker(make_site, build):
    site = make_site(queue="thread")
    with site.app:
        for number in range(20):
            bound = THUMB(site.put(f"{number}.jpg"), build=build)
            assert "/media/img/" in bound.base_url()
            assert bound.is_built


def test_queued_img_is_sent_once_per_source_after_the_rows_exist(site):
    got = []

    def receiver(**kwargs):
        rows = kwargs["sender"].metadata.inspect(kwargs["source"]).variants
        got.append((kwargs["source"].name, len(rows)))

    queued_img.connect(receiver)
    batch = ImageBatch()
    for image in [THUMB("a.jpg", batch=batch), THUMB("b.jpg", batch=batch), Img(width=9)("a.jpg", batch=batch)]:
        str(image)
    assert sorted(got) == [("a.jpg", 6), ("b.jpg", 3)]


@pytest.mark.parametrize("empty", [None, ""])
def test_an_empty_source_is_empty_everywhere(site, empty):
    bound = THUMB(empty, alt="x", build="all")
    assert not bound
    assert (str(bound), bound.base_url(), bound.srcset, bound.sizes, bound.width) == ("", "", "", "", None)
    assert (bound.as_dict(), bound.is_built, bound.is_pending, bound.build()) == ({}, False, False, False)


def test_as_dict_is_plain_values(site):
    name = site.put()
    THUMB(name, immediate=True)
    values = THUMB(name, alt="x").as_dict()
    assert values["src"].startswith("/media/img/")
    assert values["srcset"].endswith(" 2x")
    assert {k: values[k] for k in ("sizes", "width", "height", "alt", "is_built")} == {
        "sizes": "",
        "width": 300,
        "height": 169,
        "alt": "x",
        "is_built": True,
    }


@pytest.mark.parametrize("event", ["replaced", "removed", "replaced while it was read"])
def test_a_warm_page_does_not_show_what_was_replaced(site, event, monkeypatch):
    name = site.put()
    str(THUMB(name, alt=""))
    drain(site.app)

    def change():
        if event == "removed":
            remove_picture(site.app, Source("default", name))
            return
        site.put(data=images.corners(900, 600, format="jpeg"))
        file_stored(site.app, Source("default", name))

    if event == "replaced while it was read":
        fetch, waiting = site.app.metadata.fetch, [change]

        def fetch_slowly(wanted, **options):
            found = fetch(wanted, **options)
            if waiting:
                waiting.pop()()
                drain(site.app)
            return found

        monkeypatch.setattr(site.app.metadata, "fetch", fetch_slowly)
        old = str(THUMB(name, alt=""))
    else:
        str(THUMB(name, alt=""))
        with Statements(site.app) as statements:
            old = str(THUMB(name, alt=""))
        assert not statements  # it is warm
        change()
    html = str(THUMB(name, alt=""))
    assert old.count("/media/img/") == 3
    urls = set(re.findall(r"/media/img/[^ ,\"]+", old))
    assert not any(url in html for url in urls)
    if event != "replaced while it was read":
        assert 'src="/media/shoe.jpg"' in html


def test_what_is_remembered_of_a_source_is_bounded_however_many_recipes_show_it(site):
    name = site.put()
    source = Source("default", name)
    first = Img(widths=[20], sizes="20px")
    first(name, alt="", immediate=True)
    for number in range(300):  # the same files each time
        html = str(Img(widths=[20], sizes=f"{number + 20}px", loading=None)(name, alt=""))
        assert f'sizes="{number + 20}px"' in html
    assert 0 < len(site.app.cache.recall(source.id, first.plan.keys(source.address))) <= 100


def test_an_img_made_anew_for_each_page_is_remembered_as_one(site):
    name = site.put()
    source = Source("default", name)
    THUMB(name, alt="", immediate=True)
    for number in range(50):
        batch = ImageBatch()
        str(Img(batch=batch, width=300, ratio="video", img_title=str(number))(name, alt=""))
    assert len(site.app.cache.recall(source.id, THUMB.plan.keys(source.address))) == 1


def test_as_dict_says_the_style_that_the_tag_has(site):
    name = site.put()
    square = Img(width=120, ratio="square", placeholder="color", img_style="border: 0")
    THUMB(name, immediate=True)
    for _ in range(2):
        bound = square(name, alt="x")
        style = bound.as_dict()["style"]
        assert f' style="{style}">' in str(bound)
        assert style == bound.style
        assert style.endswith("; border: 0")
        drain(site.app)
    assert style.startswith("background")
    assert Img(width=300)(name, alt="").as_dict()["style"] == ""


@pytest.mark.parametrize("cache_seconds", [0, 10])
def test_a_strict_policy_leaves_out_the_authors_style_as_well(make_site, caplog, cache_seconds):
    site = make_site(csp="strict", cache_seconds=cache_seconds)
    name = site.put()
    bordered = Img(app=site.app, width=300, img_style=f"border: {cache_seconds}px")
    for _ in range(3):
        assert "style" not in str(bordered(name, alt=""))
        assert bordered(name, alt="").style == ""
        drain(site.app)
    assert caplog.text.count("img_style") == 1


def test_a_strict_site_refuses_the_authors_style_under_a_strict_policy(make_site):
    site = make_site(csp="strict", strict=True)
    with pytest.raises(SpecError, match="img_class"):
        str(Img(app=site.app, width=300, img_style="border: 0")(site.put(), alt=""))


@pytest.mark.parametrize("name", ["a\udc80.jpg", "a\0.jpg"])
def test_a_name_that_no_database_can_hold_is_shown_as_a_placeholder_and_not_tried_again(site, caplog, name):
    batch = ImageBatch(site.app)
    bad, good = (THUMB(n, alt="", batch=batch) for n in (name, site.put()))
    assert 'src="data:' in str(bad)
    assert 'src="/media/shoe.jpg"' in str(good)
    assert len(site.app.outbox) == 0
    assert site.app.metadata.inspect(Source("default", "shoe.jpg")) is not None
    assert site.app.metadata.counts(stale_after=0).queued == 3
    assert "is not queued" in caplog.text


def test_has_pending_knows_images_that_others_of_their_source_were_asked_for_already(site):
    name = site.put()
    THUMB(name, alt="").as_html()
    drain(site.app)
    for _ in range(2):  # the second time, what is built is remembered
        batch = ImageBatch(site.app)
        THUMB(name, alt="", batch=batch)
        assert not batch.has_pending
    batch = ImageBatch(site.app)
    Img(width=40)(name, alt="", batch=batch).as_html()
    THUMB(name, alt="", batch=batch)
    assert batch.has_pending
    drain(site.app)
    batch = ImageBatch(site.app)
    first = Img(width=50)(name, alt="", batch=batch)
    first.as_html()
    Img(width=50)(name, alt="once more", batch=batch)
    assert batch.has_pending
    first.build("all")
    assert not batch.has_pending


def test_has_pending_says_whether_the_page_still_waits(site):
    batch = ImageBatch()
    THUMB(site.put(), batch=batch)
    assert batch.has_pending
    drain(site.app)
    later = ImageBatch()
    THUMB("shoe.jpg", batch=later)
    assert not later.has_pending


def test_a_source_smaller_than_its_slot_needs_no_second_file(site):
    name = site.put("tiny.png", images.photo(21, 32, format="png"))
    bound = THUMB(name, immediate=True)
    assert bound.is_built
    later = Img(width=500, densities=[2, 3])(name)
    str(later)
    drain(site.app)
    assert len(Img(width=500, densities=[2, 3])(name).srcset.split(", ")) == 1
    assert (later.width, later.height) == (21, 32)


def test_a_replaced_source_gets_new_files_and_new_urls(site):
    name = site.put()
    old = THUMB(name, immediate=True).base_url()
    site.put(name, images.corners(900, 600, format="jpeg"))
    site.app.metadata.replace(Source("default", name))
    site.app.cache.clear()
    new = THUMB(name, immediate=True).base_url()
    assert new != old
    assert site.file(old).exists()
    assert top_left(site.file(new))[0] > 150


def test_a_page_inside_an_open_write_transaction_neither_waits_nor_loses_its_images(site, tmp_path):
    site.app.metadata.setup()
    name = site.put()
    writer = sqlite3.connect(tmp_path / "rows.db", isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    started = time.perf_counter()
    html = str(THUMB(name))
    took = time.perf_counter() - started
    assert "/media/shoe.jpg" in html
    assert took < 4.5, "the page waited for its own view's transaction"
    assert len(site.app.outbox) == 1
    writer.execute("COMMIT")
    writer.close()
    deadline = time.monotonic() + 30
    while not site.bell.rung and time.monotonic() < deadline:  # rung once the rows are there
        time.sleep(0.05)
    assert len(site.app.metadata.inspect(Source("default", name)).variants) == 3
    assert len(site.bell.rung) == 1


def test_a_metadata_store_that_is_gone_does_not_break_the_page(make_site, caplog):
    site = make_site(metadata="sqlite:////nonexistent/dir/rows.db")
    with site.app:
        html = str(THUMB(site.put(), alt=""))
    assert '<img src="/media/shoe.jpg"' in html
    assert "images are rendered without their variants" in caplog.text


@pytest.mark.parametrize(
    ("options", "build", "built"), [({}, None, 0), ({}, "src", 1), ({}, "all", 3), ({"pending": "build"}, None, 1)]
)
def test_loading_in_an_event_loop_does_not_hold_it_up(make_site, options, build, built):
    site = make_site(**options)
    name = site.put()

    async def page():
        batch = ImageBatch(site.app)
        bound = THUMB(name, batch=batch, build=build, alt="")
        with Threads(site.app) as asked:
            await batch.aload()
            html, values, pending = str(bound), bound.as_dict(), batch.has_pending
            await batch.aload()
        return html, values, pending, asked

    html, values, pending, asked = asyncio.run(page())
    assert asked
    assert threading.get_ident() not in asked
    assert html.count("/media/img/") == built
    assert values["src"] in html
    assert pending == (built < 3)


def test_loading_in_an_event_loop_builds_what_was_loaded_before(site):
    name = site.put()

    async def page():
        batch = ImageBatch()
        bound = THUMB(name, batch=batch, build="src", alt="")
        batch.load()
        with Threads(site.app) as asked:
            await batch.aload()
            html = str(bound)
        return html, asked

    html, asked = asyncio.run(page())
    assert 'src="/media/img/' in html
    assert asked
    assert threading.get_ident() not in asked


def test_the_immediate_queue_shows_variants_at_once(make_site):
    site = make_site(queue="immediate")
    with site.app:
        assert str(THUMB(site.put())).count("/media/img/") == 3


def test_two_apps_in_one_process_do_not_cross(make_site, tmp_path, site):
    other_root = tmp_path / "other"
    other_root.mkdir()
    other = EasyImg(
        storages={"default": f"file://{other_root}"},
        base_urls={"default": "/other/"},
        metadata=f"sqlite:///{other_root}/rows.db",
        queue="none",
    )
    name = site.put()
    assert "/media/shoe.jpg" in str(THUMB(name))
    assert "/other/shoe.jpg" in str(Img(app=other, width=300)(name))
    assert other.metadata.counts(stale_after=0).queued == 3
    other.close()


def test_wrong_arguments_of_a_call_are_refused(site):
    for arguments in ({"build": "both"}, {"alt": 3}, {"width": 3}, {"img_onload": "x"}):
        with pytest.raises(SpecError):
            THUMB("a.jpg", **arguments)


def test_attributes_of_a_call_are_added_to_those_of_the_img(site):
    html = str(Img(img_class="a", img_id="x")("a.jpg", alt="", img_class="b", img_data_n=3))
    assert ' class="b" id="x" data-n="3"' in html


def test_an_unknown_storage_is_named_in_the_log_and_raised_where_strict(make_site, caplog):
    with make_site().app:
        assert "data:image/svg+xml" in str(THUMB(Source("photos", "a.jpg")))
    assert "no storage 'photos'" in caplog.text
    with make_site(strict=True).app, pytest.raises(ConfigError, match="no storage 'photos'"):
        str(THUMB(Source("photos", "a.jpg")))


def test_a_batch_belongs_to_one_app(site, make_site):
    batch = ImageBatch()
    Img(app=site.app, width=30)("a.jpg", batch=batch)
    with pytest.raises(ConfigError, match="the batch belongs to"):
        Img(app=EasyImg(queue="none"), width=30)("a.jpg", batch=batch)


def test_a_storage_with_a_dangerous_url_is_not_written(make_site, caplog):
    site = make_site()

    class Evil(type(site.app.storage("default"))):
        def url(self, name):
            return "javascript:alert(1)"

    evil = EasyImg(storages={"default": Evil(f"file://{site.media}")}, metadata="sqlite://", queue="none", base_urls={})
    html = str(Img(app=evil, width=30, ratio=1)("a.jpg", alt=""))
    assert "javascript" not in html
    assert "gave a URL that is not written" in caplog.text
    evil.close()


def test_formats_are_built_and_shown_in_order_of_preference(site):
    bound = Img(width=200, formats=["avif", "webp"], loading=None, decoding=None)(site.put(), "x", immediate=True)
    html = str(bound)
    assert html.startswith('<picture><source type="image/avif" srcset="/media/img/')
    assert html.index("image/avif") < html.index("image/webp") < html.index("<img ")
    assert html.endswith(' width="200" height="133" alt="x"></picture>')
    assert [source["type"] for source in bound.as_dict()["sources"]] == ["image/avif", "image/webp"]
    assert {path.suffix for path in (site.media / "img").iterdir()} == {".avif", ".webp", ".jpg"}


def test_a_fluid_slot_lists_the_files_that_its_source_allows(site):
    bound = Img(layout="constrained", width=600)(site.put(), "x", immediate=True)
    widths = [int(candidate.split()[1][:-1]) for candidate in bound.srcset.split(", ")]
    assert widths == [320, 480, 600, 640, 828, 900]
    assert bound.sizes == "auto, (min-width: 600px) 600px, 100vw"
    assert all(size(site.file(c.split()[0]))[0] == w for c, w in zip(bound.srcset.split(", "), widths, strict=True))
