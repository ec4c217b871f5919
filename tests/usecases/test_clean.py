"""Files that no row names are removed, and nothing else, whatever happens at the same moment."""

import signal
import subprocess
import sys
import textwrap
import tracemalloc
import uuid

import pytest

from easyimg import Source
from easyimg.build import build_claim, variant_name
from easyimg.clean import DAY, Cleaned, clean
from easyimg.drain import drain
from easyimg.errors import ConfigError, MetadataError, StorageError
from easyimg.formats import FORMATS
from easyimg.ports import StoredFile
from easyimg.presence import VariantNames
from easyimg.storages.fsspec import FsspecStorage
from easyimg.testing import images
from easyimg.variant import VariantStatus
from tests.counting import Statements
from tests.usecases.files import (
    Counting,
    age_file,
    age_sources,
    build,
    lost_files,
    make_many,
    order,
    orphan,
    rows_of,
    unnamed_files,
)

OLD = 2 * DAY


@pytest.fixture
def counted(make_site, tmp_path):
    """A site whose storage counts calls and can be interfered with."""
    storage = Counting(f"file://{tmp_path}/media")
    site = make_site(storages={"default": storage})
    site.storage = storage
    with site.app:
        yield site


def put_orphans(site, *names, age=OLD):
    for name in names:
        site.put(name, b"orphan")
        age_file(site.media / name, age)
    return names


def names_in(site):
    return {str(path.relative_to(site.media)) for path in site.media.rglob("*") if path.is_file()}


def assert_nothing_is_counted_twice(report):
    assert report.listed == (
        report.kept + report.young + report.foreign + report.orphans + report.temporaries + report.failed
    )


# what goes


def test_old_files_without_a_row_go_and_those_of_rows_stay(site):
    build(site, "a.jpg", "b.jpg")
    named = site.variants()
    assert len(named) == 6
    for name in named:
        age_file(site.media / name, OLD)
    orphans = put_orphans(site, orphan(1), orphan(2, "jpg"))
    report = clean(site.app)
    assert site.variants() == named
    assert report == Cleaned(listed=8, kept=6, orphans=2, bytes=12)
    assert clean(site.app) == Cleaned(listed=6, kept=6)
    assert unnamed_files(site.app) == []
    assert not names_in(site) & set(orphans)


def test_a_file_younger_than_the_grace_time_stays(site):
    build(site, "a.jpg")
    put_orphans(site, orphan(1), age=3500)
    put_orphans(site, orphan(2), age=3700)
    assert clean(site.app).orphans == 0
    report = clean(site.app, older_than=3600)
    assert (report.orphans, report.young) == (1, 4)
    assert unnamed_files(site.app) == [orphan(1)]
    assert clean(site.app, older_than=0).orphans == 1


def test_files_from_the_future_are_young(site):
    build(site, "a.jpg")
    put_orphans(site, orphan(1), age=-3600)
    assert clean(site.app, older_than=60).orphans == 0


def test_a_dry_run_says_what_would_go_and_removes_nothing(site):
    build(site, "a.jpg", "b.jpg")
    put_orphans(site, *map(orphan, range(250)), "img/.easyimg-0123456789abcdef.tmp")
    (site.media / "b.jpg").unlink()
    before, rows = names_in(site), rows_of(site.app)
    would = clean(site.app, older_than=0, sources=True, dry_run=True)
    assert (names_in(site), rows_of(site.app)) == (before, rows)
    assert (would.orphans, would.temporaries, would.sources) == (253, 1, 1)
    assert clean(site.app, older_than=0, sources=True) == would
    assert len(names_in(site)) == len(before) - 254
    assert lost_files(site.app) == []


@pytest.mark.parametrize(
    "name",
    [
        "img/logo.png",
        f"img/{'a' * 32}.webp",
        f"img/{'a' * 32}.{'b' * 12}",
        f"img/{'a' * 32}.{'b' * 12}.exe",
        f"img/{'a' * 32}.{'b' * 12}.webp.bak",
        f"img/{'A' * 32}.{'b' * 12}.webp",
        f"img/{'a' * 31}.{'b' * 12}.webp",
        f"img/{'a' * 32}.{'b' * 13}.webp",
        f"img/x{'a' * 32}.{'b' * 12}.webp",
        f"img/deeper/{'a' * 32}.{'b' * 12}.webp",
        f"img2/{'a' * 32}.{'b' * 12}.webp",
        f"photos/{'a' * 32}.{'b' * 12}.webp",
        f"{'a' * 32}.{'b' * 12}.webp",
        "img/.easyimg-123.tmp",
        "img/.easyimg-0123456789abcdef.tmp.jpg",
        "img/deeper/.easyimg-0123456789abcdef.tmp",
        "photos/.easyimg-0123456789abcdef.tmp",
        ".easyimg-0123456789abcdef.tmp",
    ],
)
def test_files_of_other_names_and_places_are_never_touched(site, name):
    build(site, "a.jpg")
    put_orphans(site, name, orphan(1))
    report = clean(site.app, older_than=0, force=True)
    assert report.orphans == 1
    assert (site.media / name).read_bytes() == b"orphan"
    assert_nothing_is_counted_twice(report)


@pytest.mark.parametrize("prefix", ["img", "a/b", ""])
@pytest.mark.parametrize("form", FORMATS.values(), ids=lambda form: form.name)
def test_every_name_that_a_build_makes_is_known_by_its_key(prefix, form):
    name = variant_name(prefix, "0123456789abcdef" * 2, "fedcba987654", form.extension)
    assert VariantNames(prefix).key(name) == "0123456789abcdef" * 2


def test_without_a_folder_of_their_own_variants_are_told_by_their_names(make_site):
    site = make_site(variants_prefix="")
    build(site, "photos/a.jpg")
    flat = orphan(1).removeprefix("img/")
    put_orphans(site, flat, orphan(2), "logo.png", "photos/.easyimg-0123456789abcdef.tmp")
    report = clean(site.app, older_than=0)
    assert (report.orphans, report.kept, report.foreign) == (1, 3, 4)
    assert flat not in names_in(site)
    assert lost_files(site.app) == []


def test_leftovers_of_interrupted_writes_go_when_they_are_old(site):
    build(site, "a.jpg")
    put_orphans(site, "img/.easyimg-0123456789abcdef.tmp")
    put_orphans(site, "img/.easyimg-fedcba9876543210.tmp", age=60)
    report = clean(site.app)
    assert (report.temporaries, report.bytes) == (1, 6)
    assert {name for name in names_in(site) if "easyimg-" in name} == {"img/.easyimg-fedcba9876543210.tmp"}


def test_a_storage_in_memory_is_cleaned_alike(make_site):
    site = make_site(storages={"default": f"memory://{uuid.uuid4().hex}"})
    storage = site.app.storage("default")
    storage.write("a.jpg", images.photo(120, 90), "image/jpeg")
    order(site.app, "a.jpg")
    drain(site.app)
    storage.write(orphan(1), b"orphan", "image/webp")
    storage.write("img/logo.png", b"logo", "image/png")
    assert clean(site.app).young == 4
    assert clean(site.app, older_than=0) == Cleaned(listed=5, kept=3, foreign=1, orphans=1, bytes=6)
    assert len(list(storage.list())) == 5
    assert lost_files(site.app) == []


def test_files_of_a_storage_that_tells_no_time_stay_unless_all_ages_are_asked_for(make_site, tmp_path):
    class Timeless(FsspecStorage):
        def list(self, prefix=""):
            yield from (file._replace(modified=0.0) for file in super().list(prefix))

    site = make_site(storages={"default": Timeless(f"file://{tmp_path}/media")})
    build(site, "a.jpg")
    put_orphans(site, orphan(1))
    assert clean(site.app, older_than=1).orphans == 0
    assert clean(site.app, older_than=0).orphans == 1


# what a killed build and a replaced picture leave


KILLED = """
import os, signal, sys
from easyimg import EasyImg, process_queue
from easyimg.storages.fsspec import FsspecStorage

class Killing(FsspecStorage):
    def write(self, name, data, content_type):
        super().write(name, data, content_type)
        os.kill(os.getpid(), signal.SIGKILL)

process_queue(EasyImg(storages={"default": Killing("file://" + sys.argv[1])}, metadata=sys.argv[2], queue="none",
                      isolation="never", lease_seconds=0.3))
"""


def test_what_a_killed_build_has_written_goes_once_its_source_is_built_otherwise(site, tmp_path):
    [source] = order(site.app, site.put("a.jpg", images.photo(120, 90)))
    words = [sys.executable, "-c", textwrap.dedent(KILLED), str(site.media), f"sqlite:///{tmp_path}/rows.db"]
    assert subprocess.run(words, check=False).returncode == -signal.SIGKILL
    assert [row.status for row in rows_of(site.app)] == [VariantStatus.BUILDING] * 3
    [left] = unnamed_files(site.app)
    assert clean(site.app, older_than=0).kept == 1  # whoever takes the build over may publish that very file

    site.put("a.jpg", images.corners(120, 90, format="jpeg"))
    site.app.metadata.replace(source)
    drain(site.app)
    assert unnamed_files(site.app) == [left]
    assert clean(site.app).orphans == 0
    age_file(site.media / left, OLD)
    assert clean(site.app).kept == 1  # replaced just now: a page may still show it
    age_sources(site.app, OLD)
    assert clean(site.app).orphans == 1
    assert unnamed_files(site.app) == []
    assert lost_files(site.app) == []


def test_a_replaced_pictures_old_files_stay_for_the_grace_time_after_the_replacement(site):
    [source] = build(site, "a.jpg")
    old = site.variants()
    for name in old:
        age_file(site.media / name, OLD)
    age_sources(site.app, OLD)
    site.put("a.jpg", images.corners(120, 90, format="jpeg"))
    site.app.metadata.replace(source)
    assert clean(site.app).kept == 3  # owed: the picture may be put back
    drain(site.app)
    assert clean(site.app).orphans == 0
    age_sources(site.app, OLD)
    assert clean(site.app).orphans == 3
    assert not set(site.variants()) & set(old)
    assert len(site.variants()) == 3


def test_files_of_a_picture_that_was_given_up_go_after_the_grace_time(site):
    [source] = build(site, "a.jpg")
    build(site, "b.jpg")
    site.put("a.jpg", b"no picture")
    site.app.metadata.replace(source)
    drain(site.app)
    for name in site.variants():
        age_file(site.media / name, OLD)
    assert clean(site.app).orphans == 0
    age_sources(site.app, OLD)
    assert clean(site.app).orphans == 3
    assert lost_files(site.app) == []


# what happens at the same moment


def bring_back(site, source, first):
    """Put the picture of before back, and build it: rows name the old files again."""
    site.put(source.name, first)
    site.app.metadata.replace(source)
    drain(site.app)


@pytest.fixture
def replaced(counted):
    """A source built from its second picture; files of the first are left."""
    [source] = build(counted, "a.jpg")
    first = (counted.media / "a.jpg").read_bytes()
    counted.put("a.jpg", images.corners(120, 90, format="jpeg"))
    counted.app.metadata.replace(source)
    drain(counted.app)
    assert len(unnamed_files(counted.app)) == 3
    return source, first


def test_a_row_published_between_listing_and_deletion_keeps_its_file(counted, replaced):
    for number in range(600):  # more than is asked about at once: the first are looked at before the listing ends
        counted.put(f"img/z{number}.txt", b"")
    counted.storage.after_listing = lambda: bring_back(counted, *replaced)
    report = clean(counted.app, older_than=0)
    assert lost_files(counted.app) == []
    assert [row.status for row in rows_of(counted.app)] == [VariantStatus.BUILT] * 3
    assert report.orphans == 0
    counted.storage.after_listing = lambda: None
    assert clean(counted.app, older_than=0).orphans == 3  # the second picture's
    assert lost_files(counted.app) == []


def test_a_row_published_at_the_moment_of_deletion_is_queued_again(counted, replaced):
    source, _ = replaced

    def once(name):
        counted.storage.before_deleting = lambda name: None
        bring_back(counted, *replaced)

    counted.storage.before_deleting = once
    counted.bell.rung.clear()
    assert clean(counted.app, older_than=0).orphans == 3
    assert [row.status for row in rows_of(counted.app)] == [VariantStatus.QUEUED] * 3
    assert counted.bell.rung == [[source.id]]
    assert drain(counted.app).built == 3
    assert lost_files(counted.app) == []


def test_a_build_that_wrote_at_the_moment_of_deletion_cannot_publish(counted, replaced):
    source, first = replaced
    written = []

    def claim_and_write(name):
        counted.storage.before_deleting = lambda name: None
        counted.put("a.jpg", first)
        counted.app.metadata.replace(source)
        [claim] = counted.app.metadata.claim(lease=60, max_attempts=3)
        publish = counted.app.metadata.publish
        counted.app.metadata.publish = lambda *args, **kw: written.append((publish, args, kw)) or frozenset()
        build_claim(counted.app, claim)  # its files are there, its rows still BUILDING
        counted.app.metadata.publish = publish

    counted.storage.before_deleting = claim_and_write
    clean(counted.app, older_than=0)
    [(publish, args, kw)] = written
    assert publish(*args, **kw) == frozenset()
    assert lost_files(counted.app) == []
    assert drain(counted.app).built == 3
    assert lost_files(counted.app) == []


def test_nothing_is_deleted_when_the_rows_cannot_be_read(counted):
    build(counted, "a.jpg")
    put_orphans(counted, *map(orphan, range(300)))
    before = names_in(counted)
    with counted.app.metadata.engine.connect() as conn:
        conn.exec_driver_sql("ALTER TABLE easyimg_variant RENAME TO hidden")
    with pytest.raises(MetadataError):
        clean(counted.app, older_than=0, force=True)
    assert names_in(counted) == before
    assert counted.storage.calls["delete"] == 0


def test_a_file_that_cannot_be_removed_is_counted_and_the_others_go(counted, caplog):
    build(counted, "a.jpg")
    put_orphans(counted, *map(orphan, range(30)))

    def refuse(name):
        if name != orphan(7):
            raise StorageError("permission denied")

    counted.storage.before_deleting = refuse
    report = clean(counted.app, older_than=0)
    assert (report.failed, report.orphans, report.bytes) == (29, 1, 6)
    assert len(unnamed_files(counted.app)) == 29
    assert caplog.text.count("permission denied") == 10
    assert_nothing_is_counted_twice(report)


# another site's rows


def test_with_another_database_nothing_goes_unless_forced(site, make_site, tmp_path):
    build(site, "a.jpg")
    other = make_site(metadata=f"sqlite:///{tmp_path}/other.db")
    before = names_in(site)
    with pytest.raises(ConfigError, match="is this the right database"):
        clean(other.app, older_than=0)
    assert names_in(site) == before
    assert clean(other.app, older_than=0, dry_run=True).orphans == 3
    assert names_in(site) == before
    assert clean(other.app, older_than=0, force=True).orphans == 3
    assert names_in(site) == before - {row.file_name for row in rows_of(site.app)}


def test_sources_of_a_storage_that_is_not_there_stay_unless_forced(site, tmp_path):
    build(site, "a.jpg", "b.jpg")
    rows = rows_of(site.app)
    site.media.rename(tmp_path / "away")
    with pytest.raises(ConfigError, match="and mounted"):
        clean(site.app, older_than=0, sources=True)
    assert rows_of(site.app) == rows
    assert clean(site.app, older_than=0, sources=True, force=True).sources == 2
    assert rows_of(site.app) == []


# sources


def test_rows_of_vanished_sources_go_with_their_files_only_when_asked(site):
    kept, gone = build(site, "a.jpg", "b.jpg")
    (site.media / "b.jpg").unlink()
    assert clean(site.app, older_than=0) == Cleaned(listed=6, kept=6)
    assert clean(site.app, sources=True).sources == 0  # its row changed within the last day
    report = clean(site.app, older_than=0, sources=True)
    assert (report.sources, report.orphans, report.kept) == (1, 3, 3)
    assert site.app.metadata.inspect(gone) is None
    assert {row.source_id for row in rows_of(site.app)} == {kept.id}
    assert unnamed_files(site.app) == lost_files(site.app) == []


def test_a_source_that_comes_back_before_its_removal_stays(counted):
    _, back = build(counted, "a.jpg", "b.jpg")
    data = (counted.media / "b.jpg").read_bytes()
    (counted.media / "b.jpg").unlink()
    size, asked = counted.storage.size, []

    def size_then_back(name):
        found = size(name)
        asked.append(name)
        if name == "b.jpg":
            counted.put("b.jpg", data)
        return found

    counted.storage.size = size_then_back
    assert clean(counted.app, older_than=0, sources=True).sources == 0
    assert asked.count("b.jpg") == 2
    assert counted.app.metadata.inspect(back) is not None
    assert lost_files(counted.app) == []


def test_sources_of_a_storage_that_the_settings_do_not_have_stop_the_run(site, make_site):
    build(site, "a.jpg")
    site.app.metadata.record_info(Source("archive", "old.jpg"), None)
    with pytest.raises(ConfigError, match="no storage 'archive'"):
        clean(site.app, older_than=0, sources=True)
    assert len(rows_of(site.app)) == 3


# at size


@pytest.mark.slow
def test_ten_thousand_files_cost_one_listing_and_few_statements(counted):
    make_many(counted, 3000)
    put_orphans(counted, *map(orphan, range(1000)))
    steps: list[int] = []
    with Statements(counted.app) as sent:
        report = clean(counted.app, older_than=0, progress=steps.append)
    assert report == Cleaned(listed=10_000, kept=9000, orphans=1000, bytes=6000)
    assert counted.storage.calls == {"list": 1, "delete": 1000}
    # 500 files a question; then twice for each 100 of the 1,000 orphans: right before their deletion, and after it
    assert len(sent) == 20 + 10 * 2
    assert all(text.startswith("SELECT") for text in sent)
    assert sum(steps) == 10_000
    assert lost_files(counted.app) == unnamed_files(counted.app) == []


@pytest.mark.slow
def test_vanished_sources_cost_one_listing_beyond_a_thousand(counted):
    make_many(counted, 3000)
    for n in range(40):
        (counted.media / f"photos/{n}.jpg").unlink()
    with Statements(counted.app) as sent:
        report = clean(counted.app, older_than=0, sources=True)
    assert (report.sources, report.orphans, report.kept) == (40, 120, 8880)
    # 1,000 asked one by one, then a listing; the 40 are asked again in any case, and once more before they are removed
    assert counted.storage.calls["list"] == 2
    assert 1000 + 40 <= counted.storage.calls["size"] <= 1000 + 2 * 40
    assert len(sent) < 60
    assert lost_files(counted.app) == unnamed_files(counted.app) == []


class Endless(FsspecStorage):
    """Lists as many files as told, which are not there."""

    number = 0

    def list(self, prefix=""):
        for n in range(self.number):
            yield StoredFile(orphan(n), 100, 1.0)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_files(make_site, tmp_path):
    storage = Endless(f"file://{tmp_path}/media")
    site = make_site(storages={"default": storage})
    site.app.metadata.setup()

    def peak(number):
        storage.number = number
        tracemalloc.start()
        assert clean(site.app, dry_run=True).orphans == number
        _, highest = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return highest

    small, large = peak(20_000), peak(100_000)
    assert large < small + 1_000_000
