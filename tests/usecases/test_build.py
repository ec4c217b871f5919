"""From a claim to files and rows, and what becomes of everything that can go wrong on the way."""

import errno
import io
import json
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image

from easyimg import Img, Source
from easyimg.drain import _builds, drain
from easyimg.errors import BuildCrashed, BuildError, MetadataError, NoBuildProcess, SourceNotFound, StorageError
from easyimg.signals import img_built, img_failed
from easyimg.testing import images
from easyimg.variant import VariantStatus, Wanted

THUMB = Img(width=300, ratio="video")


def order(site, name, img=THUMB):
    source = Source("default", name)
    specs = dict(zip(img.plan.keys(source.address), (s.canonical for s in img.plan.specs), strict=True))
    site.app.metadata.enqueue([Wanted(source, specs)])
    return source


def rows(site, source):
    return {row.spec: row for row in site.app.metadata.inspect(source).variants}


def test_one_claim_becomes_files_of_the_promised_size_and_built_rows(site):
    source = order(site, site.put())
    total = drain(site.app)
    assert (total.built, total.failed, total.sources) == (3, 0, 1)
    detail = site.app.metadata.inspect(source)
    assert (detail.info.width, detail.info.height, detail.info.format) == (900, 600, "jpeg")
    for row in detail.variants:
        data = (site.media / row.file_name).read_bytes()
        assert row.status == VariantStatus.BUILT
        assert row.bytes == len(data)
        assert row.file_name.startswith(f"img/{row.key}.{detail.version}.")
        with Image.open(io.BytesIO(data)) as picture:
            assert picture.size == (row.width, row.height)
            assert picture.format.lower() == row.format
    assert sorted((r.format, r.width, r.height) for r in detail.variants) == [
        ("jpeg", 300, 169),
        ("webp", 300, 169),
        ("webp", 600, 338),
    ]


def test_the_source_is_read_once_for_all_its_variants(site):
    order(site, site.put())
    storage, reads = site.app.storage("default"), []
    original = storage.read
    storage.read = lambda name, max_bytes=None: reads.append(name) or original(name, max_bytes)
    drain(site.app)
    assert reads == ["shoe.jpg"]


def test_what_one_more_crash_gives_up_is_built_alone_in_its_process(site):
    suspect = order(site, site.put("suspect.jpg"))
    for _ in range(2):
        assert site.app.metadata.claim(lease=0.01, max_attempts=3)
        time.sleep(0.05)
    others = [order(site, site.put(f"{n}.jpg")) for n in range(6)]
    storage, beside = site.app.storage("default"), {}
    original = storage.read

    def read(name, max_bytes=None):
        time.sleep(0.03)
        sources = [suspect, *others]
        claimed = {
            s.name for s in sources if any(row.status == VariantStatus.BUILDING for row in rows(site, s).values())
        }
        beside[name] = claimed - {name}
        return original(name, max_bytes)

    storage.read = read
    with ThreadPoolExecutor(3) as pool:
        done = [pool.submit(drain, site.app) for _ in range(3)]
    assert sum(total.result().built for total in done) == 21
    assert beside.pop("suspect.jpg") == set()
    assert any(beside.values()), "the others were built side by side"
    assert site.app.metadata.inspect(suspect).crashes == 0


@pytest.mark.parametrize(
    ("data", "kind", "message"),
    [
        (b"", "SourceUnreadable", "the file is empty (0 bytes)"),
        (b"%!PS-Adobe-3.0", "UnsupportedFormat", "found eps; allowed: jpeg, png"),
        (images.photo(900, 600)[:20_000], "SourceUnreadable", ""),
        (None, "SourceNotFound", "no file 'gone.jpg' in storage"),
    ],
    ids=["empty", "eps", "truncated", "absent"],
)
def test_a_bad_source_ends_in_its_rows_with_a_reason(site, data, kind, message):
    name = "gone.jpg" if data is None else site.put("bad.jpg", data)
    source = order(site, name)
    good = order(site, site.put("good.jpg"))
    total = drain(site.app)
    assert (total.failed, total.built) == (3, 3)
    for row in site.app.metadata.inspect(source).variants:
        assert (row.status, row.error_kind) == (VariantStatus.SOURCE_ERROR, kind)
        assert message in row.error
        assert row.error
    assert all(row.status == VariantStatus.BUILT for row in site.app.metadata.inspect(good).variants)
    assert drain(site.app).sources == 0


def test_limits_are_settings(make_site):
    site = make_site(max_pixels=1000)
    source = order(site, site.put())
    drain(site.app)
    assert {row.error for row in site.app.metadata.inspect(source).variants} == {
        "900 x 600 = 0.5 megapixels; at most 0.001 are allowed"
    }


def test_a_spec_of_a_newer_release_fails_alone(site):
    source = Source("default", site.put())
    good = THUMB.plan.base
    site.app.metadata.enqueue(
        [Wanted(source, {good.key(source.address): good.canonical, "f" * 32: json.dumps({"depth": 16})})]
    )
    total = drain(site.app)
    assert (total.built, total.failed) == (1, 1)
    assert "unknown field 'depth'" in rows(site, source)['{"depth": 16}'].error


class Faulty:
    """An engine around the real one that fails as told."""

    def __init__(self, engine, error=None, only=None):
        self.engine, self.error, self.only = engine, error, only
        self.name = "faulty"

    def can_write(self, format):
        return self.engine.can_write(format)

    def probe(self, data, format):
        return self.engine.probe(data, format)

    def build(self, data, format, specs, focus=None, **options):
        for i, spec in enumerate(specs):
            if self.only is None or spec.format == self.only:
                raise type(self.error)(str(self.error), i) if self.only else self.error
        return self.engine.build(data, format, specs, focus, **options)


def with_engine(make_site, error, only=None, **options):
    from easyimg.engines import load_engine

    return make_site(engine=Faulty(load_engine("auto"), error, only), **options)


def test_an_encoder_that_fails_takes_only_its_own_variants_along(make_site):
    site = with_engine(make_site, BuildError("no room"), "webp")
    source = order(site, site.put())
    total = drain(site.app)
    assert (total.built, total.failed) == (1, 2)
    by_status = {row.format or "none": row for row in site.app.metadata.inspect(source).variants}
    assert by_status["jpeg"].status == VariantStatus.BUILT
    assert by_status["none"].error == "no room"


def test_an_unforeseen_error_is_a_verdict_and_the_worker_goes_on(make_site, caplog):
    site = with_engine(make_site, ZeroDivisionError("odd"))
    source = order(site, site.put())
    assert drain(site.app).failed == 3
    assert {(r.status, r.error) for r in site.app.metadata.inspect(source).variants} == {
        (VariantStatus.BUILD_ERROR, "ZeroDivisionError: odd")
    }
    assert "a build failed in an unforeseen way source=shoe.jpg" in caplog.text


def test_a_crash_is_tried_again_later_and_given_up_at_last(make_site, monkeypatch):
    monkeypatch.setattr("easyimg.build.retry_delay", lambda attempts: 0.0)
    site = with_engine(make_site, BuildCrashed("killed by signal 6"))
    source = order(site, site.put())
    first = drain(site.app, limit=1)
    assert first.retried + first.failed > 0
    drain(site.app)
    detail = site.app.metadata.inspect(source)
    assert {row.status for row in detail.variants} == {VariantStatus.BUILD_ERROR}
    assert all("killed by signal 6" in row.error for row in detail.variants)
    assert detail.crashes == 3


def test_giving_up_without_another_build_is_told(site, caplog):
    source = order(site, site.put())
    good = order(site, site.put("good.jpg"))
    for _ in range(3):
        assert site.app.metadata.claim(lease=0.01, max_attempts=3, source_id=source.id)
        time.sleep(0.05)
    told = []
    note = lambda **kw: told.append((kw["sender"], kw["source"], kw["failure"]))  # noqa: E731
    img_failed.connect(note)
    total = drain(site.app)
    assert (total.built, total.failed, total.sources) == (3, 3, 1)
    reason = "gave up: the process that built it died or hung 3 times"
    keys = {row.key for row in site.app.metadata.inspect(source).variants}
    assert {failure.key for _, _, failure in told} == keys
    assert {(app, of, *failure[1:]) for app, of, failure in told} == {
        (site.app, source, VariantStatus.BUILD_ERROR, "GaveUp", reason, None)
    }
    [record] = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert (record.message.split()[:2], record.source, record.kind, record.error) == (
        ["given", "up"],
        "shoe.jpg",
        "GaveUp",
        reason,
    )
    assert set(record.keys.split()) == keys
    assert {row.status for row in site.app.metadata.inspect(good).variants} == {VariantStatus.BUILT}


def test_rows_without_a_source_are_closed_with_a_line_in_the_log(site, caplog):
    source = order(site, site.put())
    with site.app.metadata.engine.begin() as conn:
        conn.exec_driver_sql("DELETE FROM easyimg_source")
    assert drain(site.app).failed == 3
    [record] = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert (record.source_id, record.error) == (source.id, "its source has no row any more")


def test_every_built_variant_has_a_line_for_who_looks_closer(site, caplog):
    caplog.set_level(logging.DEBUG, "easyimg")
    source = order(site, site.put())
    drain(site.app)
    lines = {(r.source, r.key, r.file, r.bytes) for r in caplog.records if r.message.startswith("built ")}
    rows_ = site.app.metadata.inspect(source).variants
    assert lines == {("shoe.jpg", row.key, row.file_name, row.bytes) for row in rows_}


def test_a_storage_that_cannot_write_keeps_the_rows_owed(site, monkeypatch):
    source = order(site, site.put())
    storage = site.app.storage("default")

    def full(name, data, content_type):
        raise StorageError("disk full")

    monkeypatch.setattr(storage, "write", full)
    total = drain(site.app)
    assert (total.built, total.failed, total.retried) == (0, 0, 3)
    for row in site.app.metadata.inspect(source).variants:
        assert (row.status, row.error_kind, row.error) == (VariantStatus.QUEUED, "StorageError", "disk full")
    assert site.variants() == []


def test_a_source_replaced_while_it_is_built_never_shows_the_old_picture(make_site):
    from easyimg.engines import load_engine

    class Replacing(Faulty):
        def build(self, data, format, specs, focus=None, **options):
            files = self.engine.build(data, format, specs, focus)
            if not self.only:
                self.only = "done"
                site.put("shoe.jpg", images.corners(900, 600, format="jpeg"))
                site.app.metadata.replace(Source("default", "shoe.jpg"))
            return files

    site = make_site(engine=Replacing(load_engine("auto")))
    source = order(site, site.put())
    total = drain(site.app)
    assert (total.built, total.lost) == (3, 3)
    detail = site.app.metadata.inspect(source)
    assert detail.generation == 2
    row = next(r for r in detail.variants if r.format == "jpeg")
    with Image.open(site.media / row.file_name) as picture:
        red, green, blue = picture.convert("RGB").getpixel((5, 5))
    assert red > 150 > max(green, blue)


def test_signals_tell_of_every_variant(site):
    got = []
    built = lambda **kw: got.append(("built", kw["source"].name, kw["built"].format))  # noqa: E731
    failed = lambda **kw: got.append(("failed", kw["source"].name, kw["failure"].kind))  # noqa: E731
    img_built.connect(built)
    img_failed.connect(failed)
    order(site, site.put())
    order(site, "gone.jpg", Img(width=10, densities=[]))
    drain(site.app)
    assert sorted(got) == [
        ("built", "shoe.jpg", "jpeg"),
        ("built", "shoe.jpg", "webp"),
        ("built", "shoe.jpg", "webp"),
        ("failed", "gone.jpg", "SourceNotFound"),
        ("failed", "gone.jpg", "SourceNotFound"),
    ]


def test_nothing_is_claimed_once_told_to_stop(site):
    order(site, site.put())
    assert drain(site.app, stop=lambda: True).sources == 0
    assert drain(site.app).sources == 1


def test_source_not_found_names_storage_and_file():
    assert str(SourceNotFound("default", "a.jpg")) == "no file 'a.jpg' in storage 'default'"


@pytest.fixture
def no_process(monkeypatch):
    """Let no process be started, as where a container has its full number."""

    def refuse(*args, **kwargs):
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr("subprocess.Popen", refuse)


def test_a_moment_without_room_for_a_process_costs_no_attempt(make_site, no_process, monkeypatch):
    site = make_site(isolation="always")
    source = order(site, site.put())
    with pytest.raises(NoBuildProcess, match=r"cannot be started: .*temporarily unavailable"):
        drain(site.app)
    assert {(row.status, row.attempts) for row in rows(site, source).values()} == {(VariantStatus.QUEUED, 0)}
    monkeypatch.undo()
    assert drain(site.app).built == 3


@pytest.mark.parametrize("strict", [False, True])
def test_a_page_that_builds_shows_the_source_where_no_process_can_be_started(make_site, no_process, strict, caplog):
    site = make_site(isolation="always", strict=strict)
    with site.app:
        bound = THUMB(site.put(), alt="", build="all")
        if strict:
            with pytest.raises(NoBuildProcess):
                str(bound)
        else:
            assert 'src="/media/shoe.jpg"' in str(bound)
            assert "could not be built inline" in caplog.text


def test_nothing_is_claimed_once_it_is_told_to_stop_while_it_waits(site):
    source = order(site, site.put())
    alone, stop, over = threading.Event(), threading.Event(), threading.Event()

    def suspect():
        with _builds.one():
            assert _builds.be_alone(10, stop.is_set)
            alone.set()
            over.wait(10)

    def waiting():
        drain(site.app, stop=stop.is_set)

    threads = [threading.Thread(target=suspect), threading.Thread(target=waiting)]
    threads[0].start()
    assert alone.wait(10)
    threads[1].start()
    time.sleep(0.2)
    stop.set()
    over.set()
    for thread in threads:
        thread.join(10)
    assert {(row.status, row.attempts) for row in rows(site, source).values()} == {(VariantStatus.QUEUED, 0)}


def test_a_commit_that_the_server_made_before_it_went_away_is_told_as_built(site, monkeypatch):
    order(site, site.put())
    publish, told, calls = site.app.metadata.publish, [], []

    def lost(*args, **kwargs):
        found = publish(*args, **kwargs)
        calls.append(found)
        if len(calls) == 1:
            raise MetadataError("the server has gone away")
        return found

    def heard(sender, built, **_):
        told.append(built.key)

    monkeypatch.setattr(site.app.metadata, "publish", lost)
    with img_built.connected_to(heard):
        done = drain(site.app)
    assert (done.built, done.lost, len(told), len(calls)) == (3, 0, 3, 2)


def test_what_waits_to_be_built_alone_is_not_in_hand_meanwhile(site):
    """What is built beside it may kill this process: that would count as the last crash of an innocent picture."""
    source = order(site, site.put())
    for _ in range(2):
        assert site.app.metadata.claim(lease=0.01, max_attempts=3)
        time.sleep(0.05)
    begun, over = threading.Event(), threading.Event()

    def beside():
        with _builds.one():
            begun.set()
            over.wait(20)

    threads = [threading.Thread(target=beside), threading.Thread(target=drain, args=(site.app,))]
    threads[0].start()
    assert begun.wait(10)
    threads[1].start()
    while _builds._alone is None:
        time.sleep(0.01)
    time.sleep(0.2)
    assert {row.status for row in rows(site, source).values()} == {VariantStatus.QUEUED}
    over.set()
    for thread in threads:
        thread.join(20)
    assert {row.status for row in rows(site, source).values()} == {VariantStatus.BUILT}
